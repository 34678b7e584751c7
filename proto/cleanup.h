/* AUTO(x): a variable that ends itself at the end of its scope. Host programs only.
 *
 *	AUTO(fd) int fd = open(...);
 *	AUTO(file) FILE *f = NULL;
 *	AUTO(free) char *text = NULL;
 *	AUTO(arena) struct arena mem;   (initialise it at once)
 *
 * Always declared initialised. A function uses AUTO or goto, never both: jumping over such a declaration is
 *an error in clang and a mere warning in gcc, which then ends an unset variable. A layer adds its own kinds
 *by defining auto_<kind>(T *). */
#ifndef PROTO_CLEANUP_H
#define PROTO_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/arena.h"

#define AUTO(kind) __attribute__((cleanup(auto_##kind)))

/* Each keeps errno: cleanup runs between the failing call and the caller's look at it. */
static inline void auto_fd(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void auto_file(FILE **f)
{
	int saved = errno;

	if (*f)
		fclose(*f);
	errno = saved;
}

/* `p` is the address of a pointer of any object type. */
static inline void auto_free(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

static inline void auto_arena(struct arena *a)
{
	arena_release(a);
}

/* Hand an owned descriptor on: the variable forgets it. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
