#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/root.h"

/* Is `dir` the root of a mount of its own? A key in a container's own layer dies with the container. */
static bool is_mount(const char *dir)
{
	struct stat here, up;
	char parent[512];

	if ((size_t)snprintf(parent, sizeof parent, "%s/..", dir) >= sizeof parent)
		return false;
	return stat(dir, &here) == 0 && stat(parent, &up) == 0 &&
	       (here.st_dev != up.st_dev || here.st_ino == up.st_ino);
}

/* A bind mount of a folder on the same file system has its parent's st_dev: the mount table tells. */
static bool is_listed_mount(const char *dir)
{
	char line[2048], want[600];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;

	if (!f)
		return false;
	(void)snprintf(want, sizeof want, " %s ", dir);
	while (!found && fgets(line, sizeof line, f))
		found = strstr(line, want) != NULL;
	(void)fclose(f);
	return found;
}

static bool key_path(const struct cli *cli, const struct args *args, const char *name, char path[600])
{
	const char *given = args_get(args, "key"), *dir = getenv("OTACTL_ROOT_DIR"), *home = getenv("HOME");
	char base[512];

	if (given && strcmp(name, "root.pem") == 0) {
		(void)snprintf(path, 600, "%s", given);
		return true;
	}
	if (dir && dir[0]) {
		(void)snprintf(base, sizeof base, "%s", dir);
		if (!is_mount(base) && !is_listed_mount(base)) {
			(void)cli_fail(cli,
				"'%s' is no mounted folder: a root key made there would vanish with the "
				"container; mount one",
				base);
			return false;
		}
	} else if (home && home[0] == '/') {
		(void)snprintf(base, sizeof base, "%s/.otad-root", home);
		if (mkdir(base, 0700) != 0 && errno != EEXIST) {
			(void)cli_fail(cli, "cannot make '%s': %s", base, strerror(errno));
			return false;
		}
	} else {
		(void)cli_fail(cli, "HOME is not set: say where the root key goes with --key FILE");
		return false;
	}
	(void)snprintf(path, 600, "%s/%s", base, name);
	return true;
}

/* A public key out of the server's JSON {alg, pub}. */
static bool take_key(const json_t *o, uint8_t pub[OTA_PUB_MAX], struct cose_key *key)
{
	const char *hex = js_text(o, "pub", "");
	size_t len = strlen(hex) / 2;

	if (!o || (len != OTA_P256_PUB_LEN && len != OTA_ED25519_PUB_LEN) ||
		hex_decode(hex, strlen(hex), HEX_LOWER, pub, len) != OTA_OK)
		return false;
	key->alg = len == OTA_P256_PUB_LEN ? OTA_ALG_ESP256 : OTA_ALG_ED25519;
	key->pub = (struct ota_slice){pub, len};
	ota_kid(crypto_openssl(), pub, len, key->kid);
	return true;
}

/* Root 1: one key a role, thresholds of 1. */
static enum ota_err make_root(const struct ota_signer *root, const struct cose_key *release,
	const struct cose_key *server, uint8_t *buf, size_t cap, size_t *len)
{
	struct root_doc d = {.version = 1, .n_keys = 3, .epoch = 0};
	uint8_t payload[ROOT_MAX], block[160];
	size_t payload_len = 0, block_len = 0;

	d.key[0] = (struct cose_key){.alg = root->alg, .pub = {root->pub, root->pub_len}};
	memcpy(d.key[0].kid, root->kid, sizeof root->kid);
	d.key[1] = *release;
	d.key[2] = *server;
	for (uint8_t role = 0; role < ROOT_ROLES; role++) {
		d.role[role].threshold = 1;
		d.role[role].n = 1;
		d.role[role].index[0] = role;
	}
	enum ota_err err = root_payload_encode(&d, payload, sizeof payload, &payload_len);
	struct ota_slice p = {payload, payload_len};

	if (err == OTA_OK)
		err = root_sign(root, p, block, sizeof block, &block_len);
	if (err == OTA_OK)
		err = root_encode(p, &(struct ota_slice){block, block_len}, 1, buf, cap, len);
	return err;
}

/* Make a key pair and write it encrypted; `*out` is the caller's to release. */
static bool make_key(const struct cli *cli, const char *path, const char *passphrase, struct ota_signer *out)
{
	struct errmsg e;
	char *pem = NULL;
	size_t len = 0;

	if (crypto_signer_generate(OTA_ALG_ESP256, out) != OTA_OK) {
		(void)cli_fail(cli, "cannot make a key");
		return false;
	}
	bool ok = crypto_signer_to_pem(out, passphrase, &pem, &len) == OTA_OK;

	if (!ok)
		(void)cli_fail(cli, "cannot encrypt the key");
	else if (file_write_new(path, 0600, pem, len, &e) != OTA_OK)
		ok = cli_fail(cli, "%s", e.text) == EXIT_DONE;
	if (pem)
		ota_wipe(pem, len);
	free(pem);
	if (!ok)
		crypto_signer_release(out);
	return ok;
}

/* All or nothing: a key that no server knows would only be in the way of the next try. NULL: not made. */
static void forget_keys(const char *root, const char *release)
{
	if (root)
		(void)remove(root);
	if (release)
		(void)remove(release);
}

enum upload_end { UPLOAD_DONE, UPLOAD_REFUSED, UPLOAD_UNKNOWN };

static enum upload_end upload_root(struct cli *cli, const uint8_t *root, size_t len)
{
	struct client_answer a = {.upload_offset = -1};
	struct errmsg e;
	enum upload_end end = UPLOAD_UNKNOWN;

	if (client_call(cli->client, "PUT", "/v1/roots/1", "application/cbor", root, len, 0, &a, &e) !=
		OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
	} else if (a.status < 200 || a.status > 299) {
		(void)cli_problem(cli, "PUT", "/v1/roots/1", &a);
		end = a.status < 500 ? UPLOAD_REFUSED : UPLOAD_UNKNOWN;
	} else {
		end = UPLOAD_DONE;
	}
	client_answer_clear(&a);
	return end;
}

/* Root 1 is for ever: what cannot be done with an offline release key is said before it is set. */
static bool agrees_to_offline(const struct cli *cli)
{
	fputs("this version has no command that signs a release with a key kept outside of otad: with\n"
	      "--offline releases stay drafts, nothing can be pushed, and it cannot be changed later\n",
		stderr);
	return cli_confirm_final(cli, "Go on all the same?") == EXIT_DONE;
}

int cmd_init(struct cli *cli, const struct args *args)
{
	bool is_offline = args_has(args, "offline");
	json_t *server = NULL, *hosted = NULL;
	struct ota_signer root = {0}, release_signer = {0};
	uint8_t server_pub[OTA_PUB_MAX], release_pub[OTA_PUB_MAX], doc[ROOT_MAX];
	struct cose_key server_key, release_key;
	char path[600], release_path[600], passphrase[256] = "";
	size_t len = 0;
	struct errmsg e;
	int code = EXIT_FAILED;

	if (!cli_call(cli, "GET", "/v1/server", NULL, &server))
		return EXIT_FAILED;
	if (js_int(server, "root_version", 0) > 0) {
		(void)cli_fail(cli, "%s has root %lld already; nothing was done", client_name(cli->client),
			(long long)js_int(server, "root_version", 0));
		goto out;
	}
	if (!take_key(
		    json_array_get(js_array(js_get(server, "keys"), "server"), 0), server_pub, &server_key)) {
		(void)cli_fail(cli, "the server shows no server key");
		goto out;
	}
	if (!key_path(cli, args, "root.pem", path) || !key_path(cli, args, "release.pem", release_path))
		goto out;
	if (is_offline && strcmp(path, release_path) == 0) {
		(void)cli_fail(cli, "'%s' is where the release key goes: say another file with --key", path);
		goto out;
	}
	if (is_offline && !agrees_to_offline(cli))
		goto out;
	if (file_check_new(path, &e) != OTA_OK ||
		(is_offline && file_check_new(release_path, &e) != OTA_OK)) {
		(void)cli_fail(cli, "%s", e.text);
		goto out;
	}
	if (!cli_passphrase(cli, args_get(args, "passphrase-file"), "the new root key", true, passphrase,
		    sizeof passphrase))
		goto out;
	if (!is_offline) {
		if (!cli_call(cli, "POST", "/v1/keys/release", NULL, &hosted))
			goto out;
		if (!take_key(hosted, release_pub, &release_key)) {
			(void)cli_fail(cli, "the server shows no release key");
			goto out;
		}
	} else {
		if (!make_key(cli, release_path, passphrase, &release_signer))
			goto out;
		release_key = (struct cose_key){
			.alg = release_signer.alg, .pub = {release_signer.pub, release_signer.pub_len}};
		memcpy(release_key.kid, release_signer.kid, sizeof release_signer.kid);
	}
	if (!make_key(cli, path, passphrase, &root)) {
		forget_keys(NULL, is_offline ? release_path : NULL);
		goto out;
	}
	if (make_root(&root, &release_key, &server_key, doc, sizeof doc, &len) != OTA_OK) {
		(void)cli_fail(cli, "cannot make root 1");
		forget_keys(path, is_offline ? release_path : NULL);
		goto out;
	}
	switch (upload_root(cli, doc, len)) {
	case UPLOAD_DONE:
		break;
	case UPLOAD_REFUSED:
		forget_keys(path, is_offline ? release_path : NULL);
		goto out;
	case UPLOAD_UNKNOWN:
		/* The server may have stored root 1: then this key is the only one that can ever follow it.
		 */
		(void)cli_fail(cli, "keep %s until 'otactl status' says whether root 1 arrived", path);
		goto out;
	}
	code = EXIT_DONE;
	if (cli->json) {
		json_t *made = json_pack("{s:i, s:o}", "root_version", 1, "root_key", js_string(path));

		if (is_offline)
			(void)json_object_set_new(made, "release_key", js_string(release_path));

		out_json(made);
		json_decref(made);
		goto out;
	}
	printf("root 1 is set. The root key is in %s, encrypted by your passphrase.\n"
	       "Copy it off this machine and keep it: without it the keys can never be changed, short of "
	       "touching every device.\n",
		path);
	if (is_offline)
		printf("The release key is in %s: otad holds none, releases are signed where that file is.\n",
			release_path);
	else
		puts("Releases are signed by a key that otad holds (hosted signing).");
out:
	ota_wipe(passphrase, sizeof passphrase);
	crypto_signer_release(&root);
	crypto_signer_release(&release_signer);
	json_decref(server);
	json_decref(hosted);
	return code;
}
