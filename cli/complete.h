/* Completion: what may stand where the cursor is. */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

/* Print, one a line, what may follow the words argv[0..argc): commands, options, and the names of what the
 * server has, as the table's placeholders say. `current` is the word being typed, whose beginning the printed
 * ones share; NULL: unknown, and no server is asked. A server is asked quietly and not for long; what it does
 * not answer is not offered. Returns EXIT_DONE or EXIT_FAILED. */
int complete(const char *current, int argc, char **argv);

#endif
