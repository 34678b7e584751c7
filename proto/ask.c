#include "proto/ask.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>

bool ask_hidden(const char *prompt, char *buf, size_t cap)
{
	struct termios old, quiet;
	FILE *tty = fopen("/dev/tty", "r+e");

	if (!tty)
		return false;
	bool has_echo = tcgetattr(fileno(tty), &old) == 0;

	/* Before the prompt: what is typed once it shows is neither shown nor thrown away. */
	if (has_echo) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
	}
	fprintf(tty, "%s: ", prompt);
	(void)fflush(tty);
	bool ok = fgets(buf, (int)cap, tty) != NULL;

	if (has_echo) {
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &old);
		fputc('\n', tty);
	}
	(void)fclose(tty);
	buf[strcspn(buf, "\r\n")] = '\0';
	return ok;
}
