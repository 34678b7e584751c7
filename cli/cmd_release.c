#include <stdlib.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/suit.h"
#include "proto/suit_generic.h"

int cmd_release_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"BOARD", "VERSION", "STATE", "SEQUENCE", "SIZE", "MADE", NULL};
	const char *board = args_get(args, "board");
	char path[300] = "/v1/releases";
	struct out_table t;
	json_t *list = NULL, *r;
	size_t i;

	if (board && !path_join(path, sizeof path, "/v1/releases?board=", board, ""))
		return cli_usage(cli, "--board is empty or too long");
	if (!cli_list(cli, path, &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, r)
		{
			char sequence[24];

			(void)snprintf(
				sequence, sizeof sequence, "%lld", (long long)js_int(r, "sequence", 0));
			out_table_row(
				&t, (const char *const[]){js_text(r, "board", ""), js_text(r, "version", ""),
					    js_text(r, "state", ""), sequence, out_size(js_int(r, "size", 0)),
					    out_time(js_int(r, "created", 0))});
		}
		out_table_end(&t, "no releases");
	}
	json_decref(list);
	return EXIT_DONE;
}

int cmd_release_show(struct cli *cli, const struct args *args)
{
	json_t *r = NULL;

	if (!find_release(cli, args->pos[0], &r))
		return EXIT_FAILED;
	return cli_show(cli, r, show_release);
}

static int change(struct cli *cli, const char *text, const char *method, const char *suffix, const char *done,
	const char *rest)
{
	char path[400]; /* a version of 64 bytes, each percent-encoded, fits */
	json_t *r = NULL;

	if (!find_release(cli, text, &r))
		return EXIT_FAILED;
	bool ok = cli_path(cli, path, sizeof path, "/v1/releases/", js_text(r, "id", ""), suffix) &&
		  cli_call(cli, method, path, NULL, NULL);

	if (ok)
		out_done(cli->json, done, js_text(r, "id", "?"), rest);
	json_decref(r);
	return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_release_remove(struct cli *cli, const struct args *args)
{
	return change(cli, args->pos[0], "DELETE", "", "removed", "");
}

int cmd_release_retire(struct cli *cli, const struct args *args)
{
	return change(cli, args->pos[0], "POST", "/retire", "retired",
		"; its images go within days, or now: otactl image remove");
}

int cmd_release_envelope(struct cli *cli, const struct args *args)
{
	struct client_answer a = {.upload_offset = -1};
	struct errmsg e;
	char path[400]; /* a version of 64 bytes, each percent-encoded, fits */
	json_t *r = NULL;
	int code = EXIT_FAILED;

	if (!find_release(cli, args->pos[0], &r))
		return EXIT_FAILED;
	if (!cli_path(cli, path, sizeof path, "/v1/releases/", js_text(r, "id", ""), "/envelope"))
		code = EXIT_FAILED;
	else if (client_call(cli->client, "GET", path, NULL, NULL, 0, 0, &a, &e) != OTA_OK)
		(void)cli_fail(cli, "%s", e.text);
	else if (a.status != 200)
		(void)cli_problem(cli, "GET", path, &a);
	else if (file_write(args_get(args, "output"), 0644, a.body, a.len, &e) != OTA_OK)
		(void)cli_fail(cli, "%s", e.text);
	else
		code = EXIT_DONE;
	if (code == EXIT_DONE)
		out_file(cli->json, args_get(args, "output"));
	client_answer_clear(&a);
	json_decref(r);
	return code;
}

struct envelope_facts {
	struct suit_generic generic;
	struct suit_manifest manifest;
	uint8_t digest[32];
	size_t n_blocks;
	bool is_profile, is_verified;
};

/* The profile first authenticates, then parses; without a key only the structure can be judged. */
static enum ota_err inspect(const uint8_t *bytes, size_t len, bool is_generic, const struct cose_key *key,
	struct envelope_facts *f)
{
	const struct ota_crypto *c = crypto_openssl();
	struct suit_envelope env;
	enum ota_err err;

	if (is_generic) {
		err = suit_generic_verify(c, bytes, len, key, &f->generic);
		if (err == OTA_OK) {
			memcpy(f->digest, f->generic.digest, sizeof f->digest);
			f->n_blocks = f->generic.n_blocks;
			f->is_verified = true;
		}
		return err;
	}
	err = suit_envelope_decode(c, bytes, len, &env);
	if (err == OTA_OK && key) {
		struct cose_keyring ring = {.key = {key}, .n = 1, .threshold = 1};

		err = suit_envelope_verify(c, &env, &ring);
		f->is_verified = err == OTA_OK;
	}
	if (err == OTA_OK)
		err = suit_manifest_decode(env.manifest, &f->manifest);
	if (err == OTA_OK) {
		memcpy(f->digest, env.digest, sizeof f->digest);
		f->n_blocks = env.n_blocks;
		f->is_profile = true;
	}
	return err;
}

static json_t *facts_json(const struct envelope_facts *f)
{
	const struct suit_manifest *m = &f->manifest;
	char hex[65], uuid[UUID_TEXT_LEN + 1];
	json_t *o = json_object();

	hex_encode(f->digest, sizeof f->digest, hex);
	(void)json_object_set_new(o, "digest", json_string(hex));
	(void)json_object_set_new(o, "signatures", json_integer((json_int_t)f->n_blocks));
	(void)json_object_set_new(o, "verified", json_boolean(f->is_verified));
	(void)json_object_set_new(o, "sequence",
		json_integer(f->is_profile ? (json_int_t)m->sequence : (json_int_t)f->generic.sequence));
	if (!f->is_profile) {
		(void)json_object_set_new(o, "components", json_integer((json_int_t)f->generic.n_components));
		return o;
	}
	uuid_encode(m->vendor_id, uuid);
	(void)json_object_set_new(o, "vendor_id", json_string(uuid));
	uuid_encode(m->class_id, uuid);
	(void)json_object_set_new(o, "class_id", json_string(uuid));
	json_t *images = json_array();

	for (size_t i = 0; i < m->n_components; i++) {
		const struct suit_component *c = &m->component[i];

		for (uint8_t k = 0; k < c->n_images; k++) {
			char name[SUIT_COMPONENT_ID_MAX + 1] = "";

			memcpy(name, c->id, c->id_len);
			hex_encode(c->image[k].sha256, 32, hex);
			(void)json_array_append_new(
				images, json_pack("{s:s, s:i, s:I, s:s}", "component", out_safe(name), "slot",
						c->n_images > 1 ? (int)k : -1, "size",
						(json_int_t)c->image[k].size, "sha256", hex));
		}
	}
	(void)json_object_set_new(o, "images", images);
	return o;
}

static void print_facts(const json_t *f, bool has_key)
{
	json_t *image;
	size_t i;

	out_field("digest", "%s", js_text(f, "digest", "?"));
	out_field("sequence", "%lld", (long long)js_int(f, "sequence", 0));
	out_field("signatures", "%lld, %s", (long long)js_int(f, "signatures", 0),
		has_key ? "verified by the key" : "not verified: give --key PEM");
	if (js_get(f, "vendor_id")) {
		out_field("vendor-id", "%s", js_text(f, "vendor_id", "?"));
		out_field("class-id", "%s", js_text(f, "class_id", "?"));
	}
	json_array_foreach(js_array(f, "images"), i, image)
		out_field("image", "%s %lld bytes %s", js_text(image, "component", "?"),
			(long long)js_int(image, "size", 0), js_text(image, "sha256", "?"));
}

static bool load_key(const struct cli *cli, const char *file, uint8_t pub[OTA_PUB_MAX], struct cose_key *key)
{
	struct errmsg e;
	uint8_t *pem = NULL;
	size_t len = 0, pub_len = 0;

	if (file_read(file, 65536, &pem, &len, &e) != OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
		return false;
	}
	enum ota_err err = crypto_pub_from_pem(pem, len, &key->alg, pub, &pub_len);

	free(pem);
	if (err != OTA_OK) {
		(void)cli_fail(cli, "'%s' is no PEM public key of P-256 or Ed25519", file);
		return false;
	}
	key->pub = (struct ota_slice){pub, pub_len};
	ota_kid(crypto_openssl(), pub, pub_len, key->kid);
	return true;
}

int cmd_release_inspect(struct cli *cli, const struct args *args)
{
	const char *pem = args_get(args, "key");
	struct envelope_facts facts = {0};
	struct cose_key key = {0};
	struct errmsg e;
	uint8_t pub[OTA_PUB_MAX], *bytes = NULL;
	size_t len = 0;

	if (args_has(args, "generic") && !pem)
		return cli_usage(cli, "--generic needs --key PEM");
	if (pem && !load_key(cli, pem, pub, &key))
		return EXIT_FAILED;
	if (file_read(args->pos[0], 1 << 20, &bytes, &len, &e) != OTA_OK)
		return cli_fail(cli, "%s", e.text);
	enum ota_err err = inspect(bytes, len, args_has(args, "generic"), pem ? &key : NULL, &facts);

	free(bytes);
	if (err != OTA_OK)
		return cli_fail(cli, "'%s' is no valid release: %s", args->pos[0], ota_err_text(err));
	json_t *o = facts_json(&facts);

	if (cli->json)
		out_json(o);
	else
		print_facts(o, pem != NULL);
	json_decref(o);
	return EXIT_DONE;
}
