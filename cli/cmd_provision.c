#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/base64.h"
#include "cli/cmds.h"
#include "cli/file.h"
#include "proto/cleanup.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/provision.h"

enum {
	REGION_MIN = 256,
	REGION_MAX = 1 << 20,
};

static struct ota_slice slice_of(const char *text)
{
	return (struct ota_slice){(const uint8_t *)text, text ? strlen(text) : 0};
}

/* From the server's JSON to the file's fields; slices borrow from `answer` and `root`. */
static bool fill(const json_t *answer, const uint8_t *root, size_t root_len, struct provision *p)
{
	const json_t *broker = js_get(answer, "broker"), *urls = js_array(answer, "urls");
	const char *secret_id = js_text(answer, "secret_id", ""), *secret = js_text(answer, "secret", "");

	memset(p, 0, sizeof *p);
	if (uuid_decode(js_text(answer, "vendor_id", ""), p->vendor_id) != OTA_OK ||
		uuid_decode(js_text(answer, "class_id", ""), p->class_id) != OTA_OK ||
		hex_decode(secret_id, strlen(secret_id), HEX_LOWER, p->secret_id, sizeof p->secret_id) !=
			OTA_OK ||
		hex_decode(secret, strlen(secret), HEX_LOWER, p->secret, sizeof p->secret) != OTA_OK)
		return false;
	p->has_secret = true;
	p->serial = slice_of(js_text(answer, "serial", ""));
	p->root = (struct ota_slice){root, root_len};
	for (; p->n_urls < PROVISION_URLS_MAX && p->n_urls < json_array_size(urls); p->n_urls++)
		p->url[p->n_urls] = slice_of(json_string_value(json_array_get(urls, p->n_urls)));
	if (broker) {
		p->has_broker = true;
		p->broker_url = slice_of(js_text(broker, "url", ""));
		p->broker_user = slice_of(js_text(broker, "user", ""));
		p->broker_password = slice_of(js_text(broker, "password", ""));
		p->topic_prefix = slice_of(js_text(broker, "prefix", ""));
	}
	return true;
}

static enum ota_err encode(const json_t *answer, uint8_t *buf, size_t cap, size_t *len)
{
	const char *root64 = js_text(answer, "root", "");
	uint8_t root[ROOT_MAX + 3];
	struct provision p;
	size_t root_len = 0;

	if (!base64_decode(root64, root, sizeof root, &root_len) || !fill(answer, root, root_len, &p))
		return OTA_INVALID;
	enum ota_err err = provision_encode(&p, crypto_openssl(), buf, cap, len);

	ota_wipe(&p, sizeof p);
	return err;
}

/* Two copies, each padded with the erased value of flash, as the agent's identity region wants it. */
static uint8_t *make_region(const uint8_t *file, size_t len, size_t size)
{
	uint8_t *region = size >= 2 * len && size % 2 == 0 ? malloc(size) : NULL;

	if (region) {
		memset(region, 0xff, size);
		memcpy(region, file, len);
		memcpy(region + size / 2, file, len);
	}
	return region;
}

static bool folder_is_writable(const char *path)
{
	AUTO(free) char *copy = strdup(path);

	return copy && access(dirname(copy), W_OK | X_OK) == 0;
}

/* A file that could not be made must not leave a secret behind that would enroll somebody. */
static void revoke_secret(struct cli *cli, const json_t *answer)
{
	char path[200];

	if (path_join(path, sizeof path, "/v1/enroll-secrets/", js_text(answer, "secret_id", ""), ""))
		(void)cli_call(cli, "DELETE", path, NULL, NULL);
}

int cmd_provision(struct cli *cli, const struct args *args)
{
	const char *board = args_get(args, "board"), *name = args_get(args, "name"),
		   *id = args_get(args, "id");
	const char *output = args_get(args, "output"), *region = args_get(args, "region");
	json_t *answer = NULL, *body;
	uint8_t file[PROVISION_MAX], *padded = NULL;
	struct errmsg e;
	char *end = NULL;
	size_t len = 0;

	if (!board)
		return cli_usage(cli, "--board BOARD is needed: what kind of device is it?");
	if (!output && isatty(STDOUT_FILENO))
		return cli_usage(
			cli, "a provisioning file is binary and holds a secret: add > FILE, or -o FILE");
	unsigned long long size = region ? strtoull(region, &end, 0) : 0;

	if (region && (end == region || *end || size < REGION_MIN || size > REGION_MAX || size % 2))
		return cli_usage(
			cli, "--region takes an even number of bytes from %d to %d", REGION_MIN, REGION_MAX);
	/* Before the server is asked: it would hold the name for a file that nobody has. */
	if (output && access(output, F_OK) == 0)
		return cli_fail(cli, "'%s' exists already; nothing was done", out_safe(output));
	if (output && !folder_is_writable(output))
		return cli_fail(
			cli, "cannot write '%s': %s; nothing was done", out_safe(output), strerror(errno));
	body = json_pack("{s:s}", "board", board);
	if (name)
		(void)json_object_set_new(body, "name", json_string(name));
	if (id)
		(void)json_object_set_new(body, "serial", json_string(id));
	if (!cli_call(cli, "POST", "/v1/provisions", body, &answer))
		return EXIT_FAILED;
	enum ota_err err = encode(answer, file, sizeof file, &len);

	if (err != OTA_OK)
		err = errmsg_fail(
			&e, err, "the server's answer makes no provisioning file: %s", ota_err_text(err));
	if (err == OTA_OK && region && !(padded = make_region(file, len, (size_t)size)))
		err = errmsg_fail(&e, OTA_SIZE,
			"--region %s is too small or odd: two copies of %zu bytes must fit", region, len);
	if (err == OTA_OK)
		err = output ? file_write_new(
				       output, 0600, padded ? padded : file, padded ? (size_t)size : len, &e)
			     : file_write(
				       NULL, 0600, padded ? padded : file, padded ? (size_t)size : len, &e);
	if (err == OTA_OK) {
		fprintf(stderr, "provisioned %s, a %s; it enrolls at %s\n",
			out_safe(name ? name : js_text(answer, "serial", "?")), out_safe(board),
			out_safe(json_string_value(json_array_get(js_array(answer, "urls"), 0))
					 ? json_string_value(json_array_get(js_array(answer, "urls"), 0))
					 : "?"));
		if (js_text(answer, "warning", "")[0])
			fprintf(stderr, "note: %s\n", out_safe(js_text(answer, "warning", "")));
	}
	if (err != OTA_OK)
		revoke_secret(cli, answer);
	ota_wipe(file, sizeof file);
	if (padded)
		ota_wipe(padded, (size_t)size);
	free(padded);
	json_decref(answer);
	return err == OTA_OK ? EXIT_DONE : cli_fail(cli, "%s", e.text);
}
