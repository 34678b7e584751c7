/* Boards: /v1/boards. */
#include <stdio.h>
#include <string.h>

#include "db/board.h"
#include "db/release.h"
#include "proto/suit.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/find.h"
#include "server/nouns.h"

static const char *const client_names[] = {
	[CLIENT_OTAD] = "agent",
	[CLIENT_URL] = "url",
	[CLIENT_DDI] = "ddi",
	[CLIENT_MQTT] = "mqtt",
};

static const struct {
	uint32_t bit;
	const char *name;
} algorithm_names[] = {
	{BOARD_ALG_ESP256, "esp256"},
	{BOARD_ALG_ED25519, "ed25519"},
};

enum { N_ALGORITHMS = sizeof(algorithm_names) / sizeof(algorithm_names[0]) };

static void uuid_json(struct js_out *o, const char *key, const uint8_t uuid[16])
{
	char text[UUID_TEXT_LEN + 1];

	uuid_encode(uuid, text);
	js_text(o, key, text);
}

static void board_json(struct js_out *o, const struct board_row *row)
{
	js_text(o, "name", row->name);
	js_text(o, "chip", row->chip);
	uuid_json(o, "vendor_id", row->vendor_id);
	uuid_json(o, "class_id", row->class_id);
	js_array(o, "components");
	for (size_t i = 0; i < row->n_components; i++) {
		js_object(o, NULL);
		js_text(o, "name", row->components[i].name);
		js_int(o, "slot_size", (int64_t)row->components[i].size_max);
		js_text(o, "format", row->components[i].format);
		js_end(o);
	}
	js_end(o);
	js_array(o, "algorithms");
	for (size_t i = 0; i < N_ALGORITHMS; i++) {
		if (row->algorithms & algorithm_names[i].bit)
			js_text(o, NULL, algorithm_names[i].name);
	}
	js_end(o);
	js_text(o, "client", client_names[row->client]);
	js_int(o, "envelope_max", row->envelope_max);
	js_int(o, "poll_s", row->poll_s);
	js_int(o, "last_sequence", row->sequence);
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_int(o, "revision", row->revision);
}

static enum ota_err item(void *out, const void *row)
{
	board_json(out, row);
	return OTA_OK;
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	struct board_list list;
	enum ota_err err = board_list(job->db, api_query(a->req, "chip"), a->in, job->mem, &list, &job->e);

	return err ? err : api_items(a, API_ROWS(list), item, &a->out);
}

enum h_result h_board_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct board_row row;
	enum ota_err err = find_board(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	js_object(&a->out, NULL);
	board_json(&a->out, &row);
	a->revision = row.revision;
	return OTA_OK;
}

enum h_result h_board_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

/* What somebody without this server needs to sign a release for the board: what is on it, and above which
 * sequence, and what devices run that may have to go back to it. */
static enum ota_err card_run(struct api_job *a, struct job *job)
{
	struct running_row running[7];
	struct board_row row;
	size_t n = 0;
	enum ota_err err = find_board(a, job, a->req->cap.value[0], &row);

	if (!err)
		err = release_running(
			job->db, row.id, running, sizeof(running) / sizeof(running[0]), &n, &job->e);
	if (err)
		return err;
	js_object(&a->out, NULL);
	js_text(&a->out, "card", "otad-board-1");
	board_json(&a->out, &row);
	js_object(&a->out, "limits");
	js_int(&a->out, "envelope", row.envelope_max);
	js_end(&a->out);
	js_array(&a->out, "predecessors");
	for (size_t i = 0; i < n; i++) {
		struct release_row release;

		err = release_load(job->db, running[i].release, job->mem, &release, &job->e);
		if (err)
			return err;
		js_object(&a->out, NULL);
		js_text(&a->out, "version", release.version);
		js_int(&a->out, "sequence", release.sequence);
		js_hex(&a->out, "digest", release.digest, sizeof(release.digest));
		js_int(&a->out, "devices", (int64_t)running[i].n_devices);
		js_end(&a->out);
	}
	js_end(&a->out);
	return OTA_OK;
}

enum h_result h_board_card(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, card_run, NULL);
}

struct component_in {
	const char *name, *format;
	int64_t slot_size;
};

struct board_in {
	const char *name, *chip, *domain, *model, *vendor_id, *class_id, *client;
	struct js_rows components;
	struct js_texts algorithms;
	int64_t envelope_max, poll_s;
	struct board_row row;
};

static const struct js_field component_fields[] = {
	JS_FIELD(struct component_in, name, JS_TEXT, true, 1, 8),
	JS_FIELD(struct component_in, slot_size, JS_INT, false, 0, UINT32_MAX),
	JS_FIELD(struct component_in, format, JS_TEXT, false, 0, 23),
};

static const struct js_field board_fields[] = {
	JS_FIELD(struct board_in, name, JS_TEXT, false, 1, 32),
	JS_FIELD(struct board_in, chip, JS_TEXT, false, 1, 11),
	JS_FIELD(struct board_in, domain, JS_TEXT, false, 1, 200),
	JS_FIELD(struct board_in, model, JS_TEXT, false, 1, 200),
	JS_FIELD(struct board_in, vendor_id, JS_TEXT, false, 1, UUID_TEXT_LEN),
	JS_FIELD(struct board_in, class_id, JS_TEXT, false, 1, UUID_TEXT_LEN),
	JS_FIELD(struct board_in, client, JS_TEXT, false, 1, 16),
	JS_ROWS_FIELD(struct board_in, components, false, 1, BOARD_COMPONENTS_MAX, component_fields,
		struct component_in),
	JS_FIELD(struct board_in, algorithms, JS_TEXTS, false, 1, N_ALGORITHMS),
	JS_FIELD(struct board_in, envelope_max, JS_INT, false, 256, SUIT_ENVELOPE_MAX),
	JS_FIELD(struct board_in, poll_s, JS_INT, false, 0, 604800),
};

/* Board names stand in commands, topics and file names: one spelling, no shift key. */
static bool name_is_plain(const char *name, size_t longest)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= longest && name[n] == '\0' && name[0] != '-';
}

static enum ota_err take_components(const struct board_in *in, struct board_row *row, struct errmsg *e)
{
	const struct component_in *c = in->components.row;

	row->n_components = in->components.n;
	for (size_t i = 0; i < in->components.n; i++) {
		struct board_component *to = &row->components[i];

		memset(to, 0, sizeof(*to));
		if (!name_is_plain(c[i].name, sizeof(to->id)))
			return errmsg_fail(e, OTA_INVALID,
				"component '%s': a name is 1 to 8 of a-z, 0-9 and '-'", c[i].name);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(c[k].name, c[i].name) == 0)
				return errmsg_fail(
					e, OTA_INVALID, "component '%s' stands there twice", c[i].name);
		}
		to->id_len = (uint8_t)strlen(c[i].name);
		memcpy(to->id, c[i].name, to->id_len);
		memcpy(to->name, c[i].name, to->id_len);
		to->size_max = (uint64_t)c[i].slot_size;
		snprintf(to->format, sizeof(to->format), "%s", c[i].format ? c[i].format : "");
	}
	return OTA_OK;
}

static enum ota_err take_algorithms(const struct board_in *in, struct board_row *row, struct errmsg *e)
{
	row->algorithms = 0;
	for (size_t i = 0; i < in->algorithms.n; i++) {
		size_t k = 0;

		while (k < N_ALGORITHMS && strcmp(algorithm_names[k].name, in->algorithms.value[i]) != 0)
			k++;
		if (k == N_ALGORITHMS)
			return errmsg_fail(e, OTA_INVALID, "unknown algorithm '%.40s' (esp256, ed25519)",
				in->algorithms.value[i]);
		row->algorithms |= algorithm_names[k].bit;
	}
	return OTA_OK;
}

static enum ota_err take_client(const char *client, struct board_row *row, struct errmsg *e)
{
	for (size_t i = 0; i < sizeof(client_names) / sizeof(client_names[0]); i++) {
		if (strcmp(client_names[i], client) == 0) {
			row->client = (enum client_kind)i;
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_INVALID, "unknown client '%s' (agent, url, ddi, mqtt)", client);
}

/* What a body may say both at the start and later. */
static enum ota_err take_common(const struct board_in *in, struct board_row *row, struct errmsg *e)
{
	enum ota_err err = OTA_OK;

	if (in->name && !name_is_plain(in->name, 32))
		return errmsg_fail(e, OTA_INVALID,
			"'%s' is no name for a board: 1 to 32 of a-z, 0-9 and '-', not starting with '-'",
			in->name);
	if (in->name)
		row->name = in->name;
	if (in->chip) {
		err = find_chip(in->chip, e);
		if (err)
			return err;
		row->chip = in->chip;
	}
	if (in->envelope_max)
		row->envelope_max = (uint32_t)in->envelope_max;
	if (in->poll_s >= 0)
		row->poll_s = (uint32_t)in->poll_s;
	if (in->components.n)
		err = take_components(in, row, e);
	if (!err && in->algorithms.n)
		err = take_algorithms(in, row, e);
	if (!err && in->client)
		err = take_client(in->client, row, e);
	return err;
}

/* RFC 9562 6.6: the namespace for domain names. */
static const uint8_t namespace_dns[16] = {
	0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

static enum ota_err take_ids(const struct board_in *in, struct board_row *row, struct errmsg *e)
{
	const char *domain = in->domain ? in->domain : "local.otad";
	const char *model = in->model ? in->model : in->name;

	if ((in->vendor_id && in->domain) || (in->class_id && in->model))
		return errmsg_fail(e, OTA_INVALID, "give an id or the name it is made of, not both");
	crypto_uuid5(namespace_dns, domain, strlen(domain), row->vendor_id);
	if (in->vendor_id && uuid_decode(in->vendor_id, row->vendor_id))
		return errmsg_fail(e, OTA_INVALID, "'vendor_id' must be a UUID");
	crypto_uuid5(row->vendor_id, model, strlen(model), row->class_id);
	if (in->class_id && uuid_decode(in->class_id, row->class_id))
		return errmsg_fail(e, OTA_INVALID, "'class_id' must be a UUID");
	return OTA_OK;
}

static const char *board_facts(struct arena *mem, const struct board_row *row)
{
	struct js_out o;
	size_t len;

	js_init(&o, mem);
	js_object(&o, NULL);
	board_json(&o, row);
	return js_finish(&o, &len);
}

static enum ota_err create_run(struct api_job *a, struct job *job)
{
	struct board_in *in = a->in;
	struct board_row row = in->row;
	enum ota_err err;
	int64_t id;

	row.created_at = a->now;
	row.created_by = a->req->who.name;
	err = board_insert(job->db, &row, &id, &job->e);
	if (err == OTA_EXISTS) {
		struct board_row other;

		if (!board_load_name(job->db, row.name, job->mem, &other, NULL))
			return errmsg_fail(&job->e, err, "there is a board '%s' already", row.name);
		if (!board_load_class(job->db, row.class_id, job->mem, &other, NULL))
			return errmsg_fail(&job->e, err, "board '%s' has this class-id already", other.name);
	}
	if (!err)
		err = board_load(job->db, id, job->mem, &row, &job->e);
	if (!err)
		err = api_audit(a, job, "board.create", row.name, NULL, board_facts(job->mem, &row));
	if (err)
		return err;
	a->status = 201;
	a->revision = row.revision;
	js_object(&a->out, NULL);
	board_json(&a->out, &row);
	return OTA_OK;
}

static struct board_in *board_body(struct req *req, enum h_result *answer)
{
	struct board_in *in = arena_alloc(req->mem, sizeof(*in));

	if (!in) {
		*answer = res_error(req, OTA_NO_MEMORY, NULL);
		return NULL;
	}
	in->poll_s = -1;
	return api_body(req, board_fields, sizeof(board_fields) / sizeof(board_fields[0]), in, answer) ? in
												       : NULL;
}

enum h_result h_board_create(struct req *req, struct res *res)
{
	struct errmsg e = {""};
	enum h_result answer = H_DONE;
	struct board_in *in = board_body(req, &answer);
	enum ota_err err;

	(void)res;
	if (!in)
		return answer;
	if (!in->name) {
		errmsg_set(&e, "'name' is missing");
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	in->row = (struct board_row){
		.chip = "",
		.algorithms = BOARD_ALG_ESP256,
		.envelope_max = SUIT_ENVELOPE_MAX,
		.n_components = 1,
		.components = {{.id = "app", .id_len = 3, .name = "app"}},
	};
	err = take_common(in, &in->row, &e);
	if (!err)
		err = take_ids(in, &in->row, &e);
	if (err)
		return api_fail(req, 400, err, &e, NULL);
	return api_store(req, create_run, in);
}

static enum ota_err update_run(struct api_job *a, struct job *job)
{
	struct board_in *in = a->in;
	struct board_row row, after;
	const char *name;
	enum ota_err err = find_board(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	after = row;
	name = row.name;
	err = take_common(in, &after, &job->e);
	if (!err)
		err = board_update(job->db, row.id, a->if_revision, &after, NULL, &job->e);
	if (err == OTA_EXISTS)
		return errmsg_fail(&job->e, err, "there is a board '%s' already", after.name);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, err,
			"board '%s' has releases: the number and names of its components stay", name);
	if (!err)
		err = board_load(job->db, row.id, job->mem, &after, &job->e);
	if (!err)
		err = api_audit(a, job, "board.update", name, board_facts(job->mem, &row),
			board_facts(job->mem, &after));
	if (err)
		return err;
	a->revision = after.revision;
	js_object(&a->out, NULL);
	board_json(&a->out, &after);
	return OTA_OK;
}

enum h_result h_board_update(struct req *req, struct res *res)
{
	struct errmsg e = {""};
	enum h_result answer = H_DONE;
	struct board_in *in = board_body(req, &answer);

	(void)res;
	if (!in)
		return answer;
	if (in->domain || in->model || in->vendor_id || in->class_id) {
		errmsg_set(&e, "vendor-id and class-id of a board never change; add another board");
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	return api_store(req, update_run, in);
}

static enum ota_err delete_run(struct api_job *a, struct job *job)
{
	struct board_row row;
	enum ota_err err = find_board(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	err = board_delete(job->db, row.id, a->if_revision, a->now, &job->e);
	if (err == OTA_STATE)
		a->hint =
			"otactl device list, release list and enroll list say which; a secret that may still "
			"be used: otactl enroll revoke";
	if (!err)
		err = api_audit(a, job, "board.delete", row.name, board_facts(job->mem, &row), NULL);
	a->status = 204;
	return err;
}

enum h_result h_board_delete(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, delete_run, NULL);
}
