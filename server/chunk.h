/* A chunk of `change` rows: what they name is loaded on the store thread, in order with every commit, and
 * handed to the loop (follow.c). */
#ifndef SERVER_CHUNK_H
#define SERVER_CHUNK_H

#include "db/change.h"
#include "proto/root.h"
#include "server/damaged.h"
#include "server/facts.h"
#include "server/jobs.h"

enum {
	CHUNK_CHANGES = 1000, /* change rows a job */
	CHUNK_DEVICES = 250,  /* of a changed rollout, a job */
};

/* In the middle of a change that names too many devices for one job. */
struct chunk_within {
	int64_t seq;    /* the change; 0: of none */
	int64_t cursor; /* its devices up to this assignment are loaded */
};

struct domain;

struct gone {
	enum change_kind kind;
	int64_t row;
	struct gone *next;
};

struct found_device {
	struct reg_facts facts;
	struct found_device *next;
};

struct found_board {
	struct reg_board board;
	struct found_board *next;
};

struct found_size {
	uint8_t digest[32];
	uint16_t size;
	struct found_size *next;
};

struct found_image {
	int64_t image;
	struct damaged_row *rows;
	size_t n;
	struct found_image *next;
};

struct chunk {
	struct domain *domain; /* the loop's */
	const struct ota_crypto *crypto;
	const struct keystore *keys;
	int64_t from; /* changes after this */
	struct chunk_within
		within; /* and after this of the next one; as a result: where the next chunk begins */
	/* results */
	int64_t to;
	bool has_more;
	bool is_lost; /* rows were trimmed before we saw them */
	struct gone *gone;
	struct found_device *devices;
	struct found_board *boards;
	struct found_size *sizes;
	struct found_image *images;
	uint32_t root_version; /* 0: not changed */
	size_t root_len;
	uint8_t root[ROOT_MAX];
};

/* The job's function; job->ctx is the chunk, with the inputs set. */
OTA_MUST_USE enum ota_err chunk_load(struct job *job);

#endif
