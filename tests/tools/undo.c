#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { DATA, SIZE, MADE, MADE_DIR, RENAMED };

struct change {
	struct change *older;
	enum kind kind;
	dev_t dev; /* of the file, or of the directory whose sync settles it */
	ino_t ino;
	int fd;     /* DATA, SIZE: the file; MADE, RENAMED: the directory */
	off_t at;   /* DATA: where `bytes` stood; SIZE: the former size, and where they stood */
	off_t size; /* DATA: the file's former size */
	size_t len;
	char *bytes; /* what was there */
	char name[256];
	int from_fd; /* RENAMED: where it came from */
	char from_name[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_enabled;
static struct change *newest;

void undo_enable(void)
{
	is_enabled = true;
}

void undo_enter(void)
{
	if (is_enabled)
		(void)pthread_mutex_lock(&lock);
}

void undo_leave(void)
{
	if (is_enabled)
		(void)pthread_mutex_unlock(&lock);
}

static struct change *note(enum kind kind, int fd)
{
	struct change *c = calloc(1, sizeof *c);
	struct stat st;

	if (!c || fstat(fd, &st) < 0)
		abort();
	c->kind = kind;
	c->fd = fd;
	c->from_fd = -1;
	c->dev = st.st_dev;
	c->ino = st.st_ino;
	c->size = st.st_size;
	c->older = newest;
	newest = c;
	return c;
}

/* A descriptor of our own for the same file, to read and to write. */
static int again(int fd)
{
	char path[64];
	int own;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	own = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (own < 0)
		abort();
	return own;
}

static void keep_bytes(struct change *c, off_t at, size_t len)
{
	long n;

	c->at = at;
	if (at >= c->size)
		return;
	if (len > (size_t)(c->size - at))
		len = (size_t)(c->size - at);
	c->bytes = malloc(len);
	n = c->bytes ? syscall(SYS_pread64, c->fd, c->bytes, len, at) : -1;
	if (n < 0)
		abort();
	c->len = (size_t)n;
}

void undo_note_write(int fd, off_t at, size_t len)
{
	int kept = errno;

	if (is_enabled) {
		struct change *c = note(DATA, again(fd));

		keep_bytes(c, at < 0 ? lseek(fd, 0, SEEK_CUR) : at, len);
	}
	errno = kept;
}

void undo_note_truncate(int fd, off_t size)
{
	int kept = errno;

	if (is_enabled) {
		struct change *c = note(SIZE, again(fd));

		keep_bytes(c, size, c->size > size ? (size_t)(c->size - size) : 0);
	}
	errno = kept;
}

/* The directory of a path, opened, and the last part of it in `name`. */
static int parent_of(int dir, const char *path, char name[static 256])
{
	char copy[PATH_MAX], copy2[PATH_MAX];
	int fd;

	(void)snprintf(copy, sizeof copy, "%s", path);
	(void)snprintf(copy2, sizeof copy2, "%s", path);
	(void)snprintf(name, 256, "%s", basename(copy));
	fd = (int)syscall(SYS_openat, dir, dirname(copy2), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		abort();
	return fd;
}

void undo_note_made(int dir, const char *path, bool is_dir)
{
	int kept = errno;
	char name[256];

	if (is_enabled) {
		struct change *c = note(is_dir ? MADE_DIR : MADE, parent_of(dir, path, name));

		memcpy(c->name, name, sizeof name);
	}
	errno = kept;
}

void undo_note_renamed(int from_dir, const char *from, int to_dir, const char *to)
{
	int kept = errno;
	char name[256];

	if (is_enabled) {
		struct change *c = note(RENAMED, parent_of(to_dir, to, name));

		memcpy(c->name, name, sizeof name);
		c->from_fd = parent_of(from_dir, from, c->from_name);
	}
	errno = kept;
}

static void forget(struct change *c)
{
	(void)close(c->fd);
	if (c->from_fd >= 0)
		(void)close(c->from_fd);
	free(c->bytes);
	free(c);
}

void undo_note_synced(int fd)
{
	int kept = errno;
	struct stat st;

	if (is_enabled && fstat(fd, &st) == 0) {
		for (struct change **at = &newest; *at;) {
			struct change *c = *at;

			if (c->dev != st.st_dev || c->ino != st.st_ino) {
				at = &c->older;
				continue;
			}
			*at = c->older;
			forget(c);
		}
	}
	errno = kept;
}

bool undo_is_there(int dir, const char *path)
{
	int kept = errno;
	bool yes = !is_enabled || faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	errno = kept;
	return yes;
}

static void take_back(const struct change *c)
{
	switch (c->kind) {
	case DATA:
	case SIZE:
		(void)syscall(SYS_ftruncate, c->fd, c->size);
		if (c->len)
			(void)syscall(SYS_pwrite64, c->fd, c->bytes, c->len, c->at);
		break;
	case MADE:
		(void)syscall(SYS_unlinkat, c->fd, c->name, 0);
		break;
	case MADE_DIR:
		(void)syscall(SYS_unlinkat, c->fd, c->name, AT_REMOVEDIR);
		break;
	case RENAMED:
		(void)syscall(SYS_renameat, c->fd, c->name, c->from_fd, c->from_name);
		break;
	}
}

void undo_all(unsigned what)
{
	for (const struct change *c = newest; c; c = c->older) {
		bool is_data = c->kind == DATA || c->kind == SIZE;

		if (what & (is_data ? UNDO_DATA : UNDO_NAMES))
			take_back(c);
	}
}
