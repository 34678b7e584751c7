/* Faults in file calls, for tests: LD_PRELOADed into a program, told what to do through a shared mapping.
 *
 * strace counts the calls of each thread by itself and has to restart the program to end a fault; here one
 * counter runs over all threads, and the test begins and ends a fault while the program runs. Counted are
 * calls on regular files and on names below FAULTS_UNDER; descriptors 0 to 2 (the log) are left alone. The
 * test writes `action` last. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "undo.h"

enum {
	KIND_WRITE,
	KIND_SYNC,
	KIND_RENAME,
	KIND_UNLINK,
	KIND_TRUNCATE,
	KIND_OPEN,
	KIND_MAKE,
	KIND_READ,
	KINDS
};
enum { ACT_NONE, ACT_ERROR, ACT_SHORT, ACT_KILL, ACT_CUT, ACT_HANG };

/* Layout known to tests/e2e/faults.py. */
struct control {
	_Atomic uint32_t action;
	_Atomic uint32_t kinds; /* bit set */
	_Atomic uint32_t error;
	_Atomic uint32_t undo;    /* ACT_CUT: UNDO_... */
	_Atomic uint64_t from;    /* the first call that is hit, from 1 */
	_Atomic uint64_t count;   /* how many are hit */
	_Atomic uint64_t matched; /* calls of `kinds` so far */
	_Atomic uint64_t injected;
	_Atomic uint64_t seen[KINDS];
};

static struct control none;
static struct control *control = &none;
static const char *under;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULTS_CONTROL");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
	void *map;

	under = getenv("FAULTS_UNDER");
	if (getenv("FAULTS_UNDO"))
		undo_enable();
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		control = map;
	(void)close(fd);
}

static bool is_file(int fd)
{
	struct stat st;
	int kept = errno;
	bool yes = fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	errno = kept;
	return yes;
}

static bool is_ours(const char *path)
{
	return path[0] != '/' || (under && strncmp(path, under, strlen(under)) == 0);
}

/* What is to happen to this call: ACT_NONE, or errno is set (ACT_ERROR), or it goes half way (ACT_SHORT).
 * With ACT_HANG the call is made when the fault is over. */
static uint32_t judge(unsigned kind)
{
	uint32_t action;
	uint64_t number;

	atomic_fetch_add(&control->seen[kind], 1);
	action = atomic_load(&control->action);
	if (!(atomic_load(&control->kinds) >> kind & 1))
		return ACT_NONE;
	number = atomic_fetch_add(&control->matched, 1) + 1;
	if (action == ACT_NONE || number < atomic_load(&control->from) ||
		number - atomic_load(&control->from) >= atomic_load(&control->count))
		return ACT_NONE;
	if (action == ACT_SHORT && kind != KIND_WRITE && kind != KIND_READ)
		return ACT_NONE;
	atomic_fetch_add(&control->injected, 1);
	if (action == ACT_CUT) {
		undo_enter();
		undo_all(atomic_load(&control->undo));
	}
	if (action == ACT_KILL || action == ACT_CUT) {
		(void)kill(getpid(), SIGKILL);
		for (;;)
			(void)pause();
	}
	while (action == ACT_HANG && atomic_load(&control->action) == ACT_HANG)
		(void)usleep(1000);
	if (action == ACT_ERROR)
		errno = (int)atomic_load(&control->error);
	return action;
}

static bool fails(unsigned kind)
{
	return judge(kind) == ACT_ERROR;
}

/* The next definition of a function, as its type says. */
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

static size_t half(uint32_t action, size_t len)
{
	return action == ACT_SHORT && len > 1 ? len / 2 : len;
}

#define OUTPUT(name, type, at, params, args)                                                                 \
	ssize_t name params                                                                                  \
	{                                                                                                    \
		bool is_noted = is_file(fd);                                                                 \
		uint32_t action = is_noted ? judge(KIND_WRITE) : (uint32_t)ACT_NONE;                         \
		ssize_t n;                                                                                   \
		if (action == ACT_ERROR)                                                                     \
			return -1;                                                                           \
		len = half(action, len);                                                                     \
		if (!is_noted)                                                                               \
			return NEXT(type, #name) args;                                                       \
		undo_enter();                                                                                \
		undo_note_write(fd, at, len);                                                                \
		n = NEXT(type, #name) args;                                                                  \
		undo_leave();                                                                                \
		return n;                                                                                    \
	}
#define INPUT(name, type, params, args)                                                                      \
	ssize_t name params                                                                                  \
	{                                                                                                    \
		uint32_t action = is_file(fd) ? judge(KIND_READ) : (uint32_t)ACT_NONE;                       \
		if (action == ACT_ERROR)                                                                     \
			return -1;                                                                           \
		len = half(action, len);                                                                     \
		return NEXT(type, #name) args;                                                               \
	}

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*read_fn)(int, void *, size_t);
typedef ssize_t (*pread_fn)(int, void *, size_t, off_t);
typedef int (*fd_fn)(int);
typedef int (*truncate_fn)(int, off_t);
typedef int (*open_fn)(const char *, int, ...);
typedef int (*openat_fn)(int, const char *, int, ...);
typedef int (*path_fn)(const char *);
typedef int (*rename_fn)(const char *, const char *);
typedef int (*renameat_fn)(int, const char *, int, const char *);
typedef int (*unlinkat_fn)(int, const char *, int);
typedef int (*mkdir_fn)(const char *, mode_t);
typedef int (*mkdirat_fn)(int, const char *, mode_t);
typedef int (*linkat_fn)(int, const char *, int, const char *, int);
typedef long (*syscall_fn)(long, ...);

OUTPUT(write, write_fn, -1, (int fd, const void *bytes, size_t len), (fd, bytes, len))
OUTPUT(pwrite, pwrite_fn, at, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at))
OUTPUT(pwrite64, pwrite_fn, at, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at))
INPUT(read, read_fn, (int fd, void *bytes, size_t len), (fd, bytes, len))
INPUT(pread, pread_fn, (int fd, void *bytes, size_t len, off_t at), (fd, bytes, len, at))
INPUT(pread64, pread_fn, (int fd, void *bytes, size_t len, off_t at), (fd, bytes, len, at))

/* What _FORTIFY_SOURCE makes of read; the size of the buffer is checked by the real one. */
ssize_t __read_chk(int fd, void *bytes, size_t len, size_t room);
ssize_t __read_chk(int fd, void *bytes, size_t len, size_t room)
{
	uint32_t action = is_file(fd) ? judge(KIND_READ) : (uint32_t)ACT_NONE;

	if (action == ACT_ERROR)
		return -1;
	return NEXT(ssize_t(*)(int, void *, size_t, size_t), "__read_chk")(
		fd, bytes, half(action, len), room);
}

#define SYNC(name)                                                                                           \
	int name(int fd)                                                                                     \
	{                                                                                                    \
		int r;                                                                                       \
		if (fails(KIND_SYNC))                                                                        \
			return -1;                                                                           \
		undo_enter();                                                                                \
		r = NEXT(fd_fn, #name)(fd);                                                                  \
		if (r == 0)                                                                                  \
			undo_note_synced(fd);                                                                \
		undo_leave();                                                                                \
		return r;                                                                                    \
	}
#define TRUNCATE(name)                                                                                       \
	int name(int fd, off_t size)                                                                         \
	{                                                                                                    \
		int r;                                                                                       \
		if (fails(KIND_TRUNCATE))                                                                    \
			return -1;                                                                           \
		undo_enter();                                                                                \
		undo_note_truncate(fd, size);                                                                \
		r = NEXT(truncate_fn, #name)(fd, size);                                                      \
		undo_leave();                                                                                \
		return r;                                                                                    \
	}
SYNC(fsync)
SYNC(fdatasync)
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* A call that may make a name: noted when it did. */
#define MAKES(dir, path, is_dir, call)                                                                       \
	do {                                                                                                 \
		int result;                                                                                  \
		bool was;                                                                                    \
		undo_enter();                                                                                \
		was = undo_is_there(dir, path);                                                              \
		result = (int)(call);                                                                        \
		if (result >= 0 && !was)                                                                     \
			undo_note_made(dir, path, is_dir);                                                   \
		undo_leave();                                                                                \
		return result;                                                                               \
	} while (0)

#define OPEN(name)                                                                                           \
	int name(const char *path, int flags, ...)                                                           \
	{                                                                                                    \
		mode_t mode;                                                                                 \
		va_list ap;                                                                                  \
		va_start(ap, flags);                                                                         \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                               \
		va_end(ap);                                                                                  \
		if (is_ours(path) && fails(KIND_OPEN))                                                       \
			return -1;                                                                           \
		if (is_ours(path) && flags & O_CREAT)                                                        \
			MAKES(AT_FDCWD, path, false, NEXT(open_fn, #name)(path, flags, mode));               \
		return NEXT(open_fn, #name)(path, flags, mode);                                              \
	}
#define OPENAT(name)                                                                                         \
	int name(int dir, const char *path, int flags, ...)                                                  \
	{                                                                                                    \
		mode_t mode;                                                                                 \
		va_list ap;                                                                                  \
		va_start(ap, flags);                                                                         \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                               \
		va_end(ap);                                                                                  \
		if (is_ours(path) && fails(KIND_OPEN))                                                       \
			return -1;                                                                           \
		if (is_ours(path) && flags & O_CREAT)                                                        \
			MAKES(dir, path, false, NEXT(openat_fn, #name)(dir, path, flags, mode));             \
		return NEXT(openat_fn, #name)(dir, path, flags, mode);                                       \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* openat2 has no function of its own. */
long syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2 && fails(KIND_OPEN))
		return -1;
	if (number == SYS_openat2 && ((const struct open_how *)a[2])->flags & O_CREAT)
		MAKES((int)a[0], (const char *)a[1], false,
			NEXT(syscall_fn, "syscall")(number, a[0], a[1], a[2], a[3]));
	return NEXT(syscall_fn, "syscall")(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int moved(int r, int from_dir, const char *from, int to_dir, const char *to)
{
	if (r == 0)
		undo_note_renamed(from_dir, from, to_dir, to);
	undo_leave();
	return r;
}

int rename(const char *from, const char *to)
{
	if (is_ours(from) && fails(KIND_RENAME))
		return -1;
	undo_enter();
	return moved(NEXT(rename_fn, "rename")(from, to), AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (fails(KIND_RENAME))
		return -1;
	undo_enter();
	return moved(NEXT(renameat_fn, "renameat")(from_dir, from, to_dir, to), from_dir, from, to_dir, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	if (fails(KIND_RENAME))
		return -1;
	MAKES(to_dir, to, false, NEXT(linkat_fn, "linkat")(from_dir, from, to_dir, to, flags));
}

/* What was unlinked stays so: a name that comes back is what a kill before the unlink leaves too. */
int unlink(const char *path)
{
	return is_ours(path) && fails(KIND_UNLINK) ? -1 : NEXT(path_fn, "unlink")(path);
}

int unlinkat(int dir, const char *path, int flags)
{
	return fails(KIND_UNLINK) ? -1 : NEXT(unlinkat_fn, "unlinkat")(dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
	if (is_ours(path) && fails(KIND_MAKE))
		return -1;
	MAKES(AT_FDCWD, path, true, NEXT(mkdir_fn, "mkdir")(path, mode));
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	if (fails(KIND_MAKE))
		return -1;
	MAKES(dir, path, true, NEXT(mkdirat_fn, "mkdirat")(dir, path, mode));
}

int fchmod(int fd, mode_t mode)
{
	return fails(KIND_MAKE) ? -1 : NEXT(int (*)(int, mode_t), "fchmod")(fd, mode);
}
