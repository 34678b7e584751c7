#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "server/app.h"
#include "server/blob_reply.h"

enum {
	AHEAD_LEN = 1024 * 1024, /* read by a job at once; as much again is asked for and not waited for */
	CHUNK = 65536,
};

static enum ota_err ahead_run(struct job *job)
{
	struct blob_ahead *ahead = job->ctx;
	const uint64_t end = ahead->from + AHEAD_LEN;
	AUTO(free) char *buf = malloc(CHUNK);
	ssize_t n = 1;

	if (!buf)
		return OTA_NO_MEMORY;
	(void)posix_fadvise(ahead->fd, (off_t)ahead->from, 2 * (off_t)AHEAD_LEN, POSIX_FADV_WILLNEED);
	while (ahead->to < end && n > 0) {
		n = pread(ahead->fd, buf, CHUNK, (off_t)ahead->to);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			ahead->to += (uint64_t)n;
	}
	return OTA_OK;
}

static void ahead_done(struct job *job)
{
	struct blob_ahead *ahead = job->ctx;

	ahead->is_known = true;
	ahead->req->resume(ahead->req);
}

/* True: it is done already. */
static bool ahead_start(struct blob_reply *reply, struct req *req, uint64_t at)
{
	struct blob_ahead *ahead = &reply->ahead;
	struct jobs *jobs = req->app->jobs;

	memset(&ahead->job, 0, sizeof ahead->job);
	ahead->job.ctx = ahead;
	/* A pointer that is not the job's own arena: the job is not freed by its queue. */
	ahead->job.mem = req->mem;
	ahead->req = req;
	ahead->fd = reply->fd;
	ahead->from = ahead->to = at;
	ahead->is_known = false;
	if (jobs_is_inline(jobs)) {
		jobs_post(jobs, JOB_READ, &ahead->job, ahead_run, NULL);
		ahead->is_known = true;
		return true;
	}
	jobs_post(jobs, JOB_READ, &ahead->job, ahead_run, ahead_done);
	return false;
}

/* What is in the page cache; -1 with EAGAIN: nothing of it, or nobody can tell. */
static ssize_t read_cached(struct blob_ahead *ahead, int fd, char *buf, size_t len, uint64_t at)
{
	const struct iovec iov = {.iov_base = buf, .iov_len = len};
	ssize_t n;

	if (ahead->cannot_ask) {
		errno = EAGAIN;
		return -1;
	}
	n = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);
	if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
		ahead->cannot_ask = true;
		errno = EAGAIN;
	} else if (n < 0 && errno == EINTR) {
		errno = EAGAIN;
	}
	return n;
}

/* `len` bytes of the blob from `at` on; 0 and below: unreadable, or too short, which is the same: the blob is
 * not what it was. False: later. */
static bool read_blob(
	struct blob_reply *reply, struct req *req, char *buf, size_t len, uint64_t at, ssize_t *n)
{
	struct blob_ahead *ahead = &reply->ahead;

	for (;;) {
		*n = read_cached(ahead, reply->fd, buf, len, at);
		if (*n >= 0 || errno != EAGAIN)
			return true;
		/* Its own job has just read it: should it have left the cache already, this read waits for
		 * it, or there would be no end. Where nobody tells what is cached, all that a job has read
		 * counts as that. */
		if (ahead->is_known && at < ahead->to &&
			(at == ahead->from || (ahead->cannot_ask && at > ahead->from))) {
			if (len > ahead->to - at)
				len = (size_t)(ahead->to - at);
			*n = pread(reply->fd, buf, len, (off_t)at);
			return true;
		}
		if (ahead->is_known && at == ahead->from)
			return true;
		if (!ahead_start(reply, req, at))
			return false;
	}
}

enum blob_read blob_read(
	struct blob_reply *reply, struct req *req, uint64_t pos, char *buf, size_t max, size_t *n)
{
	const uint64_t begin = pos;

	for (unsigned i = 0; i < reply->n_pieces; i++) {
		const struct blob_piece *piece = &reply->pieces[i];
		ssize_t got;
		size_t len;

		if (pos >= piece->len) {
			pos -= piece->len;
			continue;
		}
		len = piece->len - pos < max ? (size_t)(piece->len - pos) : max;
		if (piece->text) {
			memcpy(buf, piece->text + pos, len);
			*n = len;
			return BLOB_READ_SOME;
		}
		if (!read_blob(reply, req, buf, len, piece->first + pos, &got))
			return BLOB_READ_LATER;
		if (got > 0) {
			*n = (size_t)got;
			return BLOB_READ_SOME;
		}
		reply->is_unread = true;
		reply->unread_at = begin;
		return BLOB_READ_FAILED;
	}
	return BLOB_READ_END;
}
