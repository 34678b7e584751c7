#include "proto/suit.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

/* A manifest that is taken must survive being written and read again, and fit into a run. */
static void check_manifest(struct ota_slice bytes)
{
	const struct suit_image *images[SUIT_COMPONENTS_MAX];
	struct suit_target t = {.slot = 1};
	struct suit_manifest m, again;
	uint8_t buf[4096], same[4096];
	size_t len, same_len;

	if (suit_manifest_decode(bytes, &m))
		return;
	if (suit_manifest_encode(&m, buf, sizeof buf, &len) ||
		suit_manifest_decode((struct ota_slice){buf, len}, &again) ||
		suit_manifest_encode(&again, same, sizeof same, &same_len) || same_len != len ||
		memcmp(buf, same, len) != 0)
		abort();
	memcpy(t.vendor_id, m.vendor_id, 16);
	memcpy(t.class_id, m.class_id, 16);
	memcpy(t.device_id, m.device_id, 16);
	t.n_components = m.n_components;
	for (size_t i = 0; i < m.n_components; i++) {
		memcpy(t.component[i].id, m.component[i].id, SUIT_COMPONENT_ID_MAX);
		t.component[i].id_len = m.component[i].id_len;
		t.component[i].slot_size = UINT32_MAX;
	}
	if (suit_run(&m, m.text_sha256, &t, images))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct suit_envelope e;

	if (suit_envelope_decode(lax_crypto(), data, size, &e) == OTA_OK)
		check_manifest(e.manifest);
	/* The digest is hard to meet by chance: the input as a bare manifest, too. */
	check_manifest((struct ota_slice){data, size});
	return 0;
}
