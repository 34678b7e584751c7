#include "cli/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"

bool path_join(char *out, size_t cap, const char *prefix, const char *part, const char *tail)
{
	size_t n = strlen(prefix), tail_len = strlen(tail);

	if (!part[0] || n >= cap)
		return false;
	memcpy(out, prefix, n);
	for (const unsigned char *p = (const unsigned char *)part; *p; p++) {
		bool is_plain = isalnum(*p) || strchr("-_.~", *p);

		if (cap - n <= (is_plain ? 1 : 3))
			return false;
		if (is_plain)
			out[n++] = (char)*p;
		else
			n += (size_t)snprintf(out + n, cap - n, "%%%02X", *p);
	}
	if (cap - n <= tail_len)
		return false;
	memcpy(out + n, tail, tail_len + 1);
	return true;
}

static enum ota_err write_all(int fd, const char *name, const void *data, size_t len, struct errmsg *e)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errmsg_fail_errno(e, errno, "cannot write '%s'", name);
		p += n;
		len -= (size_t)n;
	}
	return OTA_OK;
}

/* A file that is synced under a name that is not is lost by a power cut. */
static enum ota_err sync_folder_of(const char *path, struct errmsg *e)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];

	if (snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".") >=
		(int)sizeof dir)
		return errmsg_fail(e, OTA_INVALID, "the path is too long");
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* A folder that may be written and not read, and file systems that cannot, are taken as they are. */
	if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
		return errmsg_fail_errno(e, errno, "cannot sync '%s'", dir);
	return OTA_OK;
}

static enum ota_err write_synced(
	const char *path, mode_t mode, const void *data, size_t len, struct errmsg *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", path);
	enum ota_err err = write_all(fd, path, data, len, e);

	if (err == OTA_OK && fsync(fd) != 0 && errno != EINVAL)
		err = errmsg_fail_errno(e, errno, "cannot write '%s'", path);
	if (close(fd) != 0 && err == OTA_OK)
		err = errmsg_fail_errno(e, errno, "cannot write '%s'", path);
	if (err == OTA_OK)
		err = sync_folder_of(path, e);
	if (err != OTA_OK)
		(void)unlink(path);
	return err;
}

enum ota_err file_write_new(const char *path, mode_t mode, const void *data, size_t len, struct errmsg *e)
{
	return write_synced(path, mode, data, len, e);
}

enum ota_err file_write(const char *path, mode_t mode, const void *data, size_t len, struct errmsg *e)
{
	char tmp[4096];

	if (!path || strcmp(path, "-") == 0)
		return write_all(STDOUT_FILENO, "standard output", data, len, e);
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.%ld.new", path, (long)getpid()) >= sizeof tmp)
		return errmsg_fail(e, OTA_INVALID, "the path is too long");
	enum ota_err err = write_synced(tmp, mode, data, len, e);

	if (err == OTA_OK && rename(tmp, path) != 0) {
		err = errmsg_fail_errno(e, errno, "cannot write '%s'", path);
		(void)unlink(tmp);
	}
	return err == OTA_OK ? sync_folder_of(path, e) : err;
}

enum ota_err file_check_new(const char *path, struct errmsg *e)
{
	AUTO(free) char *copy = strdup(path);

	if (!copy)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	if (!path[0])
		return errmsg_fail(
			e, OTA_INVALID, "the name of the file to write is empty; nothing was done");
	if (access(path, F_OK) == 0)
		return errmsg_fail(e, OTA_EXISTS, "'%s' exists already; nothing was done", path);
	if (access(dirname(copy), W_OK | X_OK) != 0)
		return errmsg_fail(
			e, OTA_IO, "cannot write '%s': %s; nothing was done", path, strerror(errno));
	return OTA_OK;
}

enum ota_err file_read(const char *path, size_t max, uint8_t **out, size_t *len, struct errmsg *e)
{
	AUTO(file) FILE *f = NULL;
	uint64_t size;
	enum ota_err err = file_open_input(path, &f, &size, e);

	if (err != OTA_OK)
		return err;
	if (size > max)
		return errmsg_fail(e, OTA_TOO_LARGE, "'%s' has more than %zu bytes", path, max);
	uint8_t *data = malloc((size_t)size + 1);

	if (!data)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	if (fread(data, 1, (size_t)size, f) != (size_t)size) {
		free(data);
		return errmsg_fail(e, OTA_IO, "cannot read '%s'", path);
	}
	data[size] = 0;
	*out = data;
	*len = (size_t)size;
	return OTA_OK;
}

static enum ota_err copy_stdin(FILE **out, struct errmsg *e)
{
	char block[65536];
	size_t n;
	FILE *f = tmpfile();

	if (!f)
		return errmsg_fail_errno(e, errno, "cannot make a temporary file");
	while ((n = fread(block, 1, sizeof block, stdin)) > 0) {
		if (fwrite(block, 1, n, f) != n) {
			int saved = errno;

			(void)fclose(f);
			return errmsg_fail_errno(e, saved, "cannot keep standard input");
		}
	}
	if (ferror(stdin) || fflush(f) != 0) {
		(void)fclose(f);
		return errmsg_fail(e, OTA_IO, "cannot read standard input");
	}
	*out = f;
	return OTA_OK;
}

enum ota_err file_open_input(const char *path, FILE **out, uint64_t *size, struct errmsg *e)
{
	FILE *f = NULL;
	struct stat st;

	if (strcmp(path, "-") == 0) {
		enum ota_err err = copy_stdin(&f, e);

		if (err != OTA_OK)
			return err;
	} else {
		f = fopen(path, "re");
		if (!f)
			return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	}
	if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)fclose(f);
		return errmsg_fail(e, OTA_INVALID, "'%s' is no regular file", path);
	}
	rewind(f);
	*out = f;
	*size = (uint64_t)st.st_size;
	return OTA_OK;
}
