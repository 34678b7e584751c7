/* Faults in file calls, for tests: LD_PRELOADed into a program, told what to do through a shared mapping.
 *
 * strace counts the calls of each thread by itself and has to restart the program to end a fault; here one
 * counter runs over all threads, and the test begins and ends a fault while the program runs. Counted are
 * calls on regular files and on names below FAULTS_UNDER; descriptors 0 to 2 (the log) are left alone. The
 * test writes `action` last. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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
enum { ACT_NONE, ACT_ERROR, ACT_SHORT, ACT_KILL };

/* Layout known to tests/e2e/faults.py. */
struct control {
	_Atomic uint32_t action;
	_Atomic uint32_t kinds; /* bit set */
	_Atomic uint32_t error;
	_Atomic uint32_t spare;
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

/* What is to happen to this call: ACT_NONE, or errno is set (ACT_ERROR), or it goes half way (ACT_SHORT). */
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
	if (action == ACT_KILL) {
		(void)kill(getpid(), SIGKILL);
		for (;;)
			(void)pause();
	}
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

#define OUTPUT(name, type, params, args)                                                                     \
	ssize_t name params                                                                                  \
	{                                                                                                    \
		uint32_t action = is_file(fd) ? judge(KIND_WRITE) : (uint32_t)ACT_NONE;                      \
		if (action == ACT_ERROR)                                                                     \
			return -1;                                                                           \
		len = half(action, len);                                                                     \
		return NEXT(type, #name) args;                                                               \
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

OUTPUT(write, write_fn, (int fd, const void *bytes, size_t len), (fd, bytes, len))
OUTPUT(pwrite, pwrite_fn, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at))
OUTPUT(pwrite64, pwrite_fn, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at))
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

int fsync(int fd)
{
	return fails(KIND_SYNC) ? -1 : NEXT(fd_fn, "fsync")(fd);
}

int fdatasync(int fd)
{
	return fails(KIND_SYNC) ? -1 : NEXT(fd_fn, "fdatasync")(fd);
}

int ftruncate(int fd, off_t size)
{
	return fails(KIND_TRUNCATE) ? -1 : NEXT(truncate_fn, "ftruncate")(fd, size);
}

int ftruncate64(int fd, off_t size)
{
	return fails(KIND_TRUNCATE) ? -1 : NEXT(truncate_fn, "ftruncate64")(fd, size);
}

#define OPEN(name)                                                                                           \
	int name(const char *path, int flags, ...)                                                           \
	{                                                                                                    \
		mode_t mode;                                                                                 \
		va_list ap;                                                                                  \
		va_start(ap, flags);                                                                         \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                               \
		va_end(ap);                                                                                  \
		return is_ours(path) && fails(KIND_OPEN) ? -1 : NEXT(open_fn, #name)(path, flags, mode);     \
	}
#define OPENAT(name)                                                                                         \
	int name(int dir, const char *path, int flags, ...)                                                  \
	{                                                                                                    \
		mode_t mode;                                                                                 \
		va_list ap;                                                                                  \
		va_start(ap, flags);                                                                         \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                               \
		va_end(ap);                                                                                  \
		return is_ours(path) && fails(KIND_OPEN) ? -1                                                \
							 : NEXT(openat_fn, #name)(dir, path, flags, mode);   \
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
	return NEXT(syscall_fn, "syscall")(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int rename(const char *from, const char *to)
{
	return is_ours(from) && fails(KIND_RENAME) ? -1 : NEXT(rename_fn, "rename")(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return fails(KIND_RENAME) ? -1 : NEXT(renameat_fn, "renameat")(from_dir, from, to_dir, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return fails(KIND_RENAME) ? -1 : NEXT(linkat_fn, "linkat")(from_dir, from, to_dir, to, flags);
}

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
	return is_ours(path) && fails(KIND_MAKE) ? -1 : NEXT(mkdir_fn, "mkdir")(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	return fails(KIND_MAKE) ? -1 : NEXT(mkdirat_fn, "mkdirat")(dir, path, mode);
}

int fchmod(int fd, mode_t mode)
{
	return fails(KIND_MAKE) ? -1 : NEXT(int (*)(int, mode_t), "fchmod")(fd, mode);
}
