# cmake -DIN=file -DOUT=file.c -DNAME=symbol -DHEADER=x.h -P embed.cmake: a file as a constant of the program.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include \"${HEADER}\"\n\nconst char ${NAME}[] = {${bytes}};\nconst size_t ${NAME}_len = sizeof(${NAME});\n")
