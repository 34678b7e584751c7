#include "server/find.h"

#include <string.h>
#include <strings.h>

#include "db/enroll.h"
#include "proto/hex.h"
#include "proto/suggest.h"

static void hint_from(struct api_job *a, struct job *job, const struct suggest *s)
{
	if (s->best)
		a->hint = arena_printf(job->mem, "did you mean %s?", s->best);
}

enum ota_err find_board(struct api_job *a, struct job *job, const char *name, struct board_row *out)
{
	struct suggest near = {0};
	struct db_page page = {0};
	struct board_list list;
	enum ota_err err = board_load_name(job->db, name, job->mem, out, &job->e);

	if (err != OTA_NOT_FOUND)
		return err;
	if (!board_list(job->db, NULL, &page, job->mem, &list, NULL)) {
		for (size_t i = 0; i < list.n; i++)
			suggest_offer(&near, name, list.rows[i].name);
		if (list.n == 0)
			a->hint = "there is no board yet: otactl board add";
	}
	hint_from(a, job, &near);
	return errmsg_fail(&job->e, OTA_NOT_FOUND, "there is no board '%.64s'", name);
}

/* Names near to `ref`, or where `begin` is set those whose id begins with it. At most a page of devices is
 * looked at: a hint is not worth more. */
static enum ota_err device_hint(struct api_job *a, struct job *job, const char *ref, bool begin)
{
	AUTO(arena) struct arena mem;
	struct suggest near = {0};
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct device_list list;
	size_t len = strlen(ref), n = 0;
	enum ota_err err;

	arena_init(&mem, (size_t)8 * 1024 * 1024);
	err = device_list(job->db, NULL, &page, &mem, &list, NULL);
	if (err)
		return err;
	for (size_t i = 0; i < list.n && n < 5; i++) {
		const struct device_row *row = &list.rows[i];

		if (!begin) {
			suggest_offer(&near, ref, row->name);
		} else if (strncasecmp(row->uid, ref, len) == 0) {
			a->hint = arena_printf(job->mem, "%s%s%s (%.8s)", n ? a->hint : "it may be ",
				n ? ", " : "", row->name, row->uid);
			if (!a->hint)
				return OTA_NO_MEMORY;
			n++;
		}
	}
	hint_from(a, job, &near);
	return OTA_OK;
}

enum ota_err find_absent(struct api_job *a, struct job *job, const char *ref)
{
	struct db_page page = {.limit = 1};
	struct secret_list list;

	if (secret_list_unused(job->db, ref, &page, job->mem, &list, NULL) || list.n == 0 ||
		(list.rows[0].expires_at && list.rows[0].expires_at <= a->now))
		return errmsg_fail(&job->e, OTA_NOT_FOUND, "there is no device '%.64s'", ref);
	a->hint = arena_printf(job->mem,
		"start it with its provisioning file first, then this again; to end that file: otactl enroll "
		"revoke %s",
		ref);
	return errmsg_fail(&job->e, OTA_NOT_FOUND, "'%.64s' is provisioned and has not enrolled yet", ref);
}

enum ota_err find_device(struct api_job *a, struct job *job, const char *ref, struct device_row *out)
{
	int64_t id;
	enum ota_err err = device_find(job->db, ref, &id, &job->e);

	if (!err)
		return device_load(job->db, id, job->mem, out, &job->e);
	if (err != OTA_NOT_FOUND && err != OTA_CONFLICT)
		return err;
	if (device_hint(a, job, ref, err == OTA_CONFLICT))
		a->hint = NULL;
	if (err == OTA_CONFLICT)
		return errmsg_fail(&job->e, OTA_EXISTS,
			a->hint ? "'%.64s' is the beginning of several device ids"
				: "'%.64s' is the serial of several devices: give the id of one",
			ref);
	return find_absent(a, job, ref);
}

static enum ota_err release_by_digest(struct job *job, const char *ref, struct release_row *out)
{
	struct manifest_row manifest;
	uint8_t digest[32];
	enum ota_err err;

	if (hex_decode(ref, 64, HEX_LOWER, digest, sizeof(digest)))
		return OTA_NOT_FOUND;
	err = manifest_load_digest(job->db, digest, job->mem, &manifest, &job->e);
	return err ? err : release_load(job->db, manifest.release, job->mem, out, &job->e);
}

static void release_hint(
	struct api_job *a, struct job *job, const struct board_row *board, const char *version)
{
	struct suggest near = {0};
	struct db_page page = {.limit = 100};
	struct release_list list;

	if (release_list(job->db, board->id, &page, job->mem, &list, NULL))
		return;
	for (size_t i = 0; i < list.n; i++)
		suggest_offer(&near, version, list.rows[i].version);
	if (near.best)
		a->hint = arena_printf(job->mem, "did you mean %s:%s?", board->name, near.best);
}

enum ota_err find_release(struct api_job *a, struct job *job, const char *ref, struct release_row *out)
{
	const char *colon = strchr(ref, ':');
	enum ota_err err;

	if (colon) {
		struct board_row board;
		const char *name = arena_strndup(job->mem, ref, (size_t)(colon - ref));

		if (!name)
			return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
		err = find_board(a, job, name, &board);
		if (err)
			return err;
		err = release_load_version(job->db, board.id, colon + 1, job->mem, out, &job->e);
		if (err == OTA_NOT_FOUND)
			release_hint(a, job, &board, colon + 1);
	} else {
		err = strlen(ref) == 64 ? release_by_digest(job, ref, out) : OTA_NOT_FOUND;
		if (err == OTA_NOT_FOUND)
			a->hint = "a release is named BOARD:VERSION, or by its manifest's digest";
	}
	return err == OTA_NOT_FOUND ? errmsg_fail(&job->e, err, "there is no release '%.100s'", ref) : err;
}

enum ota_err find_rollout(struct api_job *a, struct job *job, const char *uid, struct rollout_row *out)
{
	enum ota_err err = rollout_load_uid(job->db, uid, job->mem, out, &job->e);

	(void)a;
	return err == OTA_NOT_FOUND ? errmsg_fail(&job->e, err, "there is no push '%.64s'", uid) : err;
}

enum ota_err find_name_is_good(const char *name, struct errmsg *e)
{
	if (!limit_name_is_valid(name))
		return errmsg_fail(e, OTA_INVALID,
			"'%s' is no name: a-z, A-Z, 0-9, '.', '_' and '-', not starting with '.' or '-'",
			name);
	if (strcmp(name, "all") == 0)
		return errmsg_fail(e, OTA_INVALID, "'all' is no name: a push to it goes to every device");
	return OTA_OK;
}

static const char chips[] =
	"esp8266 esp32 esp32s2 esp32s3 esp32c2 esp32c3 esp32c5 esp32c6 esp32c61 esp32h2 esp32h4 "
	"esp32h21 esp32p4 rp2040 rp2350 nrf52840 samd21 stm32f4";

enum ota_err find_chip(const char *chip, struct errmsg *e)
{
	char all[sizeof chips], *rest = NULL;
	struct suggest near = {0};

	memcpy(all, chips, sizeof all);
	for (char *one = strtok_r(all, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
		if (strcmp(one, chip) == 0)
			return OTA_OK;
		suggest_offer(&near, chip, one);
	}
	return near.best ? errmsg_fail(
				   e, OTA_INVALID, "unknown chip '%.32s': did you mean %s?", chip, near.best)
			 : errmsg_fail(e, OTA_INVALID, "unknown chip '%.32s'; known: %s", chip, chips);
}
