#include "server/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/http.h"

enum {
	BACKLOG = 4096,
	FDS_BESIDE = 320, /* database, blobs, broker, epolls, and the margin of refused connections */
};

static enum ota_err write_pid(int fd)
{
	char text[32];
	int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return OTA_IO;
	return OTA_OK;
}

enum ota_err datadir_lock(const char *dir, int *lock_fd, struct errmsg *e)
{
	int dir_fd, fd;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return errmsg_fail_errno(e, errno, "cannot make the data directory '%s'", dir);
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open the data directory '%s'", dir);
	fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int saved = errno;

		close(dir_fd);
		return errmsg_fail_errno(e, saved, "cannot write in the data directory '%s'", dir);
	}
	close(dir_fd);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		char pid[32] = "";
		ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

		pid[n > 0 ? n : 0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		close(fd);
		return errmsg_fail(e, OTA_BUSY, "the data directory '%s' is in use by another otad%s%.12s",
			dir, pid[0] ? ", process " : "", pid);
	}
	if (write_pid(fd) != OTA_OK) {
		int saved = errno;

		close(fd);
		return errmsg_fail_errno(e, saved, "cannot write in the data directory '%s'", dir);
	}
	*lock_fd = fd;
	return OTA_OK;
}

static enum ota_err listen_on(
	int fd, const struct sockaddr *addr, socklen_t len, const char *text, int *out, struct errmsg *e)
{
	if (bind(fd, addr, len) != 0 || listen(fd, BACKLOG) != 0) {
		int saved = errno;

		close(fd);
		return errmsg_fail_errno(e, saved, "cannot listen on %s", text);
	}
	*out = fd;
	return OTA_OK;
}

enum ota_err datadir_damaged(const char *dir, struct errmsg *e)
{
	struct errmsg why = *e;

	return errmsg_fail(e, OTA_CORRUPT,
		"the database is damaged: %.90s; leave '%.60s' as it is and restore the last backup, see "
		"docs/operations.md",
		why.text, dir);
}

enum ota_err datadir_listen_socket(const char *dir, struct door_spec *spec, int *out, struct errmsg *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	enum ota_err err;
	mode_t before;
	int fd;

	if ((size_t)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/otad.sock", dir) >=
		sizeof addr.sun_path)
		return errmsg_fail(e, OTA_INVALID,
			"the data directory's path is too long for its socket (%zu bytes at most)",
			sizeof addr.sun_path - sizeof "/otad.sock");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make a socket");
	unlink(addr.sun_path);
	before = umask(0177);
	memset(spec, 0, sizeof *spec);
	spec->kind = DOOR_SOCKET;
	spec->doors = DOOR_ALL;
	snprintf(spec->text, sizeof spec->text, "%.120s", addr.sun_path);
	err = listen_on(fd, (struct sockaddr *)&addr, sizeof addr, spec->text, out, e);
	umask(before);
	return err;
}

void datadir_unlink_socket(const char *dir)
{
	char path[sizeof((struct sockaddr_un *)0)->sun_path];

	if ((size_t)snprintf(path, sizeof path, "%s/otad.sock", dir) < sizeof path)
		unlink(path);
}

enum ota_err door_listen(const struct door_spec *spec, int *out, struct errmsg *e)
{
	const int one = 1, zero = 0;
	int fd = socket(spec->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make a socket for %s", spec->text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	/* "*" is one socket for both families. */
	if (spec->addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	return listen_on(fd, (const struct sockaddr *)&spec->addr, spec->addr_len, spec->text, out, e);
}

int64_t datadir_fit_descriptors(int64_t *connections)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -1;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur != RLIM_INFINITY &&
		*connections + HTTP_LIMIT_MARGIN + FDS_BESIDE > (int64_t)limit.rlim_cur) {
		int64_t fit = (int64_t)limit.rlim_cur - HTTP_LIMIT_MARGIN - FDS_BESIDE;

		*connections = fit > 16 ? fit : 16;
	}
	return (int64_t)limit.rlim_cur;
}
