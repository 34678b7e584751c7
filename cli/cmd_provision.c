#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/base64.h"
#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
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

/* Where the file goes, checked before the server is asked: it would hold the name for a file nobody has. */
static int check_output(const struct cli *cli, const char *output)
{
	struct errmsg e;

	if (!output && cli->json)
		return cli_usage(cli, "--json needs -o FILE: the provisioning file itself is binary");
	if (!output && isatty(STDOUT_FILENO))
		return cli_usage(
			cli, "a provisioning file is binary and holds a secret: add > FILE, or -o FILE");
	if (output && file_check_new(output, &e) != OTA_OK)
		return output[0] ? cli_fail(cli, "%s", e.text) : cli_usage(cli, "%s", e.text);
	return EXIT_DONE;
}

/* A new file for a device that is there already: with its serial it stays the same one. */
static int for_device(struct cli *cli, const struct args *args, json_t **answer)
{
	static const char *const others[] = {"board", "name", "id", "replace", "batch"};
	json_t *d = NULL, *body;

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (args_has(args, others[i]))
			return cli_usage(cli, "--device says all of the device: no --%s with it", others[i]);
	}
	int code = find_device(cli, args_get(args, "device"), &d);

	if (code != EXIT_DONE)
		return code;
	if (!js_get(d, "serial")) {
		code = cli_fail(cli,
			"%s has no serial that is text: provision it under a new name, then: otactl "
			"device replace",
			out_safe(js_text(d, "name", "?")));
	} else {
		body = json_pack(
			"{s:s, s:s}", "board", js_text(d, "board", ""), "serial", js_text(d, "serial", ""));
		code = cli_call(cli, "POST", "/v1/provisions", body, answer) ? EXIT_DONE : EXIT_FAILED;
		/* Whose it is, which the server was not told: the name is that device's already. */
		if (code == EXIT_DONE)
			(void)json_object_set(*answer, "name", js_get(d, "name"));
	}
	json_decref(d);
	return code;
}

static int from_server(struct cli *cli, const struct args *args, json_t **answer)
{
	const char *board = args_get(args, "board"), *name = args_get(args, "name");
	const char *id = args_get(args, "id");

	if (!board)
		return cli_usage(cli, "--board BOARD is needed: what kind of device is it?");
	if (args_has(args, "replace") && !name)
		return cli_usage(cli, "--replace needs --name NAME: whose file is lost?");
	json_t *body = json_pack("{s:s, s:s*, s:s*}", "board", board, "name", name, "serial", id);

	if (args_has(args, "replace"))
		(void)json_object_set_new(body, "replace", json_true());
	return cli_call(cli, "POST", "/v1/provisions", body, answer) ? EXIT_DONE : EXIT_FAILED;
}

/* A file of `enroll create -o`, which every device of the batch leaves with a serial of its own. */
static int from_batch(struct cli *cli, const struct args *args, json_t **answer)
{
	const char *file = args_get(args, "batch"), *board = args_get(args, "board");
	const char *id = args_get(args, "id");
	char serial[33];
	uint8_t *text = NULL, random[16];
	struct errmsg e;
	size_t len = 0;

	if (args_has(args, "name") || args_has(args, "replace"))
		return cli_usage(
			cli, "a device of a batch has no name yet: otactl device rename, once it enrolled");
	if (file_read(file, 64 * 1024, &text, &len, &e) != OTA_OK)
		return cli_fail(cli, "%s", e.text);
	json_t *batch = json_loadb((const char *)text, len, 0, NULL);

	ota_wipe(text, len);
	free(text);
	if (!js_text(batch, "secret", NULL) || js_int(batch, "uses", 0) < 1) {
		json_decref(batch);
		return cli_fail(cli,
			"'%s' is no batch file; make one: otactl enroll create --board BOARD --uses N -o "
			"FILE",
			out_safe(file));
	}
	if (board && strcmp(board, js_text(batch, "board", "")) != 0) {
		(void)cli_fail(
			cli, "'%s' is for board %s", out_safe(file), out_safe(js_text(batch, "board", "?")));
		json_decref(batch);
		return EXIT_FAILED;
	}
	if (js_get(batch, "expires") && js_int(batch, "expires", 0) <= time(NULL))
		fprintf(stderr, "warning: the secret of '%s' has expired: no device can enroll with it\n",
			out_safe(file));
	if (!id) {
		if (crypto_random(random, sizeof random) != OTA_OK) {
			json_decref(batch);
			return cli_fail(cli, "no random numbers");
		}
		hex_encode(random, sizeof random, serial);
		id = serial;
	}
	(void)json_object_set_new(batch, "serial", json_string(id));
	*answer = batch;
	return EXIT_DONE;
}

/* `is_known`: the device that this file is for has enrolled before. */
static void tell(const struct cli *cli, const json_t *answer, const char *output, bool is_known)
{
	const char *url = json_string_value(json_array_get(js_array(answer, "urls"), 0));
	const char *name = js_text(answer, "name", js_text(answer, "serial", "?"));

	if (cli->json) {
		json_t *made = json_pack("{s:s, s:s*, s:s, s:O, s:o}", "board", js_text(answer, "board", ""),
			"name", js_text(answer, "name", NULL), "serial", js_text(answer, "serial", ""),
			"urls", js_array(answer, "urls"), "file", js_string(output));

		out_json(made);
		json_decref(made);
	}
	fprintf(stderr, "provisioned %s, a %s; it enrolls at %s\n", out_safe(name),
		out_safe(js_text(answer, "board", "?")), out_safe(url ? url : "?"));
	if (is_known)
		fprintf(stderr,
			"when %s has enrolled with it, let its new key in: otactl device approve %s\n",
			out_safe(name), out_safe(name));
	if (js_text(answer, "warning", "")[0])
		fprintf(stderr, "note: %s\n", out_safe(js_text(answer, "warning", "")));
}

static enum ota_err write_answer(
	const json_t *answer, const char *output, const char *region, long long size, struct errmsg *e)
{
	uint8_t file[PROVISION_MAX], *padded = NULL;
	size_t len = 0;
	enum ota_err err = encode(answer, file, sizeof file, &len);

	if (err != OTA_OK)
		err = errmsg_fail(
			e, err, "what the server said makes no provisioning file: %s", ota_err_text(err));
	if (err == OTA_OK && region && !(padded = make_region(file, len, (size_t)size)))
		err = errmsg_fail(e, OTA_SIZE,
			"--region %s is too small or odd: two copies of %zu bytes must fit", region, len);
	if (err == OTA_OK && !output)
		out_hide();
	if (err == OTA_OK) {
		const void *bytes = padded ? padded : file;
		size_t n = padded ? (size_t)size : len;

		err = output ? file_write_new(output, 0600, bytes, n, e)
			     : file_write(NULL, 0600, bytes, n, e);
	}
	ota_wipe(file, sizeof file);
	if (padded)
		ota_wipe(padded, (size_t)size);
	free(padded);
	return err;
}

int cmd_provision(struct cli *cli, const struct args *args)
{
	const char *output = args_get(args, "output"), *region = args_get(args, "region");
	const char *name = args_get(args, "name"), *id = args_get(args, "id");
	json_t *answer = NULL;
	struct errmsg e;
	long long size = 0;
	const bool is_size = !region || args_size(region, &size);
	int code = check_output(cli, output);

	if (code != EXIT_DONE)
		return code;
	if (region && (!is_size || size < REGION_MIN || size > REGION_MAX || size % 2))
		return cli_usage(cli, "--region takes an even size from %d bytes to 1M, such as 4096 or 4K",
			REGION_MIN);
	if (name && !name[0])
		return cli_usage(cli, "--name is empty: leave it out where there is none yet");
	if (id && (!id[0] || strlen(id) > SERIAL_MAX))
		return cli_usage(cli, "--id takes 1 to %d bytes", SERIAL_MAX);
	code = args_has(args, "device")  ? for_device(cli, args, &answer)
	       : args_has(args, "batch") ? from_batch(cli, args, &answer)
					 : from_server(cli, args, &answer);
	if (code != EXIT_DONE)
		return code;
	if (write_answer(answer, output, region, size, &e) == OTA_OK) {
		tell(cli, answer, output, args_has(args, "device"));
	} else {
		code = cli_fail(cli, "%s", e.text);
		if (!args_has(args, "batch"))
			cli_secret_revoke(cli, js_text(answer, "secret_id", ""));
	}
	json_decref(answer);
	return code;
}
