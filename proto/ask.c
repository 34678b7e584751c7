#include "proto/ask.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

/* What ends a program that is being typed at. */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

enum { N_ENDS = sizeof ends / sizeof ends[0] };

static volatile sig_atomic_t ended_by;

static void on_end(int sig)
{
	ended_by = sig;
}

/* Without SA_RESTART: the read ends, and the terminal gets its echo back before the program goes. */
static void watch_ends(struct sigaction before[N_ENDS])
{
	const struct sigaction watch = {.sa_handler = on_end};

	ended_by = 0;
	for (int i = 0; i < N_ENDS; i++) {
		(void)sigaction(ends[i], &watch, &before[i]);
		if (before[i].sa_handler == SIG_IGN)
			(void)sigaction(ends[i], &before[i], NULL);
	}
}

/* Ends the program as the signal would have, which a shell tells as 130. */
static void unwatch_ends(const struct sigaction before[N_ENDS])
{
	for (int i = 0; i < N_ENDS; i++)
		(void)sigaction(ends[i], &before[i], NULL);
	if (ended_by) {
		(void)signal(ended_by, SIG_DFL);
		(void)raise(ended_by);
	}
}

bool ask_hidden(const char *prompt, char *buf, size_t cap)
{
	struct sigaction before[N_ENDS];
	struct termios old, quiet;
	FILE *tty = fopen("/dev/tty", "r+e");

	if (!tty)
		return false;
	watch_ends(before);
	bool has_echo = tcgetattr(fileno(tty), &old) == 0;

	/* Before the prompt: what is typed once it shows is neither shown nor thrown away. */
	if (has_echo) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
	}
	fprintf(tty, "%s: ", prompt);
	(void)fflush(tty);
	bool ok = !ended_by && fgets(buf, (int)cap, tty) != NULL && !ended_by;

	if (has_echo) {
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &old);
		fputc('\n', tty);
	}
	(void)fclose(tty);
	unwatch_ends(before);
	buf[ok ? strcspn(buf, "\r\n") : 0] = '\0';
	return ok;
}
