#include <string.h>

#include "proto/hex.h"
#include "server/domain.h"
#include "server/h_device.h"

enum {
	ID_DIGITS = 2 * DEVICE_ID_LEN,
	PROOF_DIGITS = 2 * KEY_LEN,
};

static bool is_under(const struct req *req, const char *prefix)
{
	return strncmp(req->path, prefix, strlen(prefix)) == 0;
}

/* "<32 digits>.<64 digits>" */
static enum ota_err check_mac(struct app *app, struct req *req, const char *text)
{
	struct domain *d = app->domain;
	uint8_t id[DEVICE_ID_LEN], proof[KEY_LEN], want[KEY_LEN];
	struct plan_device dev;
	uint32_t at;
	bool is_right;

	if (strlen(text) != ID_DIGITS + 1 + PROOF_DIGITS || text[ID_DIGITS] != '.' ||
		hex_decode(text, ID_DIGITS, HEX_LOWER, id, sizeof(id)) ||
		hex_decode(text + ID_DIGITS + 1, PROOF_DIGITS, HEX_LOWER, proof, sizeof(proof)))
		return OTA_DENIED;
	at = registry_find(d->reg, id);
	if (at == REG_NONE)
		return OTA_DENIED;
	keys_fetch(app->crypto, registry_key(d->reg, at), want);
	is_right = ota_ct_equal(proof, want, sizeof(want));
	ota_wipe(want, sizeof(want));
	if (!is_right)
		return OTA_DENIED;
	/* Who waits for approval may walk the roots, nothing more. */
	registry_view(d->reg, at, &dev);
	if (!dev.approved && !is_under(req, "/d/v1/root/"))
		return OTA_DENIED;
	req->who.kind = WHO_DEVICE;
	req->who.role = ROLE_FETCH;
	memcpy(req->who.device_id, id, sizeof(id));
	hex_encode(id, sizeof(id), req->who.name);
	return OTA_OK;
}

static enum ota_err check_link(struct app *app, struct req *req, const char *link, const char *k)
{
	uint8_t link_id[16], proof[16], want[16], sha256[32];
	bool is_right;

	if (!is_under(req, "/i/") || req->cap.n != 1 ||
		hex_decode(req->cap.value[0], strlen(req->cap.value[0]), HEX_LOWER, sha256, sizeof(sha256)) ||
		hex_decode(link, strlen(link), HEX_LOWER, link_id, sizeof(link_id)) ||
		hex_decode(k, strlen(k), HEX_LOWER, proof, sizeof(proof)))
		return OTA_DENIED;
	keys_link(app->crypto, keystore_link(app->domain->keys), sha256, link_id, want);
	is_right = ota_ct_equal(proof, want, sizeof(want));
	ota_wipe(want, sizeof(want));
	if (!is_right)
		return OTA_DENIED;
	req->who.kind = WHO_DEVICE;
	req->who.role = ROLE_FETCH;
	hex_encode(link_id, sizeof(link_id), req->who.name);
	return OTA_OK;
}

enum ota_err device_auth(struct app *app, struct req *req)
{
	const char *header = req_header(req, "Authorization");
	const char *link = req_query(req, "d"), *k = req_query(req, "k");

	if (header && strncmp(header, "OTA ", 4) == 0)
		return check_mac(app, req, header + 4);
	if (!header && link && k)
		return check_link(app, req, link, k);
	return OTA_NOT_FOUND;
}
