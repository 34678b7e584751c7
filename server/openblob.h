/* Blobs that are open and mapped, shared by the requests that send them.
 *
 * Opening, closing and unmapping wait for the disk (the last descriptor of a removed file is what removes
 * it), so a job does them; the loop only counts references. Loop thread, where nothing else is said. */
#ifndef SERVER_OPENBLOB_H
#define SERVER_OPENBLOB_H

#include "server/jobs.h"

struct app;
struct blob_table;

struct open_blob {
	uint8_t sha256[32];
	uint64_t size;
	int fd;
	uint8_t *map; /* NULL for an empty blob */
	bool is_damaged;

	/* openblob.c's own. */
	struct blob_table *table;
	uint8_t *faulted; /* a bit per MiB that was populated */
	unsigned refs;
	uint64_t used_at; /* for the oldest one to go first */
	bool is_checking;
	bool is_dropped; /* out of the table; closed with its last reference */
	struct job job;  /* that checks or closes it, so that there is always memory for one */
	uint64_t check_first, check_len;
	struct open_blob *next;
};

OTA_MUST_USE enum ota_err blob_table_new(struct app *app, struct blob_table **out, struct errmsg *e);
/* After the jobs have ended. NULL is a no-op. */
void blob_table_free(struct blob_table *t);

/* Open and map a blob. On JOB_READ. OTA_NOT_FOUND. It belongs into blob_table_adopt. */
OTA_MUST_USE enum ota_err open_blob_new(
	const struct app *app, const uint8_t sha256[static 32], struct open_blob **out, struct errmsg *e);

/* How often something was dropped; taken before a blob is opened, for blob_table_adopt. */
uint64_t blob_table_drops(const struct blob_table *t);

/* Put it into the table, or close it again where another request was faster. A reference to the one that is
 * in the table; to one that goes with its last reference where something was dropped since `drops`. */
struct open_blob *blob_table_adopt(struct blob_table *t, struct open_blob *fresh, uint64_t drops);

/* A reference to the one in the table, or NULL. */
struct open_blob *blob_table_get(struct blob_table *t, const uint8_t sha256[static 32]);
void open_blob_put(struct open_blob *b);

/* The image was removed or written anew: nobody gets it any more. */
void blob_table_drop(struct blob_table *t, const uint8_t sha256[static 32]);

/* What must still be populated before [first, first + len) is sent: its first MiB, in whole MiB of the blob,
 * at most two. False: nothing. */
bool open_blob_needs_fault(const struct open_blob *b, uint64_t first, uint64_t len, uint64_t *at, size_t *n);
void open_blob_note_faulted(struct open_blob *b, uint64_t at, size_t n);

/* What one answer may ask open_blob_is_cached for: 0.3 ms where it lies in the cache and is not mapped. */
enum { OPEN_BLOB_ASK_MAX = 16 * 1024 * 1024 };

/* Is all of [first, first + len) in the page cache? The file's owner is told by the kernel; anybody else
 * hears yes. */
bool open_blob_is_cached(const struct open_blob *b, uint64_t first, uint64_t len);

/* A read failed. Said once, and told to app_hooks.image_damaged. */
void open_blob_damaged(struct open_blob *b);

/* Read all of [first, first + len) in a job and call it damaged if that fails. Takes the reference. For a
 * blob whose sending failed: not for a peer that went away, or a stranger makes the disk read by hanging up.
 */
void open_blob_check(struct open_blob *b, uint64_t first, uint64_t len);

#endif
