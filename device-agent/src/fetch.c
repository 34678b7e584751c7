/* Fetch: the image into the other slot, with resume; then read back. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"

static uint32_t size_now(const struct ota_agent *a)
{
	return a->fresh.component[a->component].size;
}

static unsigned region_now(const struct ota_agent *a)
{
	return slot_region(a->component, agent_other(a));
}

static uint32_t base_of(const struct ota_agent *a, unsigned component)
{
	uint32_t sum = 0;

	for (unsigned c = 0; c < component; c++)
		sum += a->fresh.component[c].size;
	return sum;
}

uint32_t fetch_total(const struct ota_agent *a)
{
	return base_of(a, a->cfg.n_components);
}

uint32_t fetch_done(const struct ota_agent *a)
{
	return base_of(a, a->component) + a->pos;
}

static uint32_t round_up(uint32_t n, uint32_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static bool is_blank(const struct ota_agent *a, unsigned region, uint32_t from, uint32_t to, uint8_t erased)
{
	uint8_t buf[64];

	while (from < to) {
		uint32_t n = to - from < sizeof buf ? to - from : (uint32_t)sizeof buf;

		if (a->cfg.flash->read(a->cfg.flash->ctx, region, from, buf, n) != OTA_OK)
			return false;
		for (uint32_t i = 0; i < n; i++) {
			if (buf[i] != erased)
				return false;
		}
		from += n;
	}
	return true;
}

uint32_t fetch_keep(const struct ota_agent *a, unsigned component, uint32_t have)
{
	unsigned region = slot_region(component, agent_other(a));
	struct ota_flash_geometry geo;

	a->cfg.flash->geometry(a->cfg.flash->ctx, region, &geo);
	if (have < a->fresh.component[component].size ||
		!is_blank(a, region, have, round_up(have, geo.erase_unit), geo.erased))
		return have / geo.erase_unit * geo.erase_unit;
	return have;
}

static void component_start(struct ota_agent *a)
{
	struct ota_flash_geometry geo;

	a->cfg.flash->geometry(a->cfg.flash->ctx, region_now(a), &geo);
	a->pos = 0;
	a->erased_to = round_up(a->mark[a->component], geo.erase_unit);
	a->cfg.crypto->sha256_init(&a->sha);
	a->phase = a->mark[a->component] > 0 ? PHASE_REHASH : PHASE_FETCH;
}

void fetch_start(struct ota_agent *a)
{
	a->is_fetch_live = true;
	a->bad_answers = 0;
	a->component = 0;
	component_start(a);
}

/* From the first byte of this component, whatever is in flash. */
static void component_restart(struct ota_agent *a)
{
	a->mark[a->component] = 0;
	component_start(a);
}

static enum ota_err record(struct ota_agent *a, uint32_t bytes)
{
	struct journal_state *s = &a->journal.s;
	enum ota_err err;

	if (s->phase == JOURNAL_FETCHING && s->target.bytes == bytes)
		return OTA_OK;
	s->phase = JOURNAL_FETCHING;
	s->target.bytes = bytes;
	err = agent_commit(a);
	if (err == OTA_OK)
		agent_event_fetch(a, OTA_EVENT_FETCHING, bytes, fetch_total(a));
	return err;
}

/* Erase what is needed and program the buffered bytes. */
static enum ota_err write_chunk(struct ota_agent *a)
{
	const struct ota_flash *flash = a->cfg.flash;
	unsigned region = region_now(a);
	struct ota_flash_geometry geo;
	uint32_t mark, n = a->msg_len;
	enum ota_err err = OTA_OK;

	flash->geometry(flash->ctx, region, &geo);
	while (err == OTA_OK && a->erased_to < a->pos + n) {
		err = flash->erase(flash->ctx, region, a->erased_to, geo.erase_unit);
		a->erased_to += geo.erase_unit;
	}
	if (err == OTA_OK)
		err = flash_write(flash, region, a->pos, a->msg, n);
	if (err != OTA_OK)
		return err;
	a->cfg.crypto->sha256_update(&a->sha, a->msg, n);
	mark = round_up(AGENT_MARK, geo.erase_unit);
	a->pos += n;
	a->msg_len = 0;
	if (a->pos == size_now(a))
		return record(a, fetch_done(a));
	if (a->pos / mark != (a->pos - n) / mark)
		return record(a, base_of(a, a->component) + a->pos / mark * mark);
	return OTA_OK;
}

static enum ota_err sink(struct ota_agent *a, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		uint32_t room = AGENT_CHUNK - a->msg_len;
		uint32_t n = len < room ? (uint32_t)len : room;
		enum ota_err err;

		memcpy(a->msg + a->msg_len, bytes, n);
		a->msg_len += n;
		bytes += n;
		len -= n;
		if (a->msg_len < AGENT_CHUNK && a->pos + a->msg_len < size_now(a))
			continue;
		err = write_chunk(a);
		if (err != OTA_OK)
			return err;
	}
	return OTA_OK;
}

/* Bounded hashing of the slot from a->pos up to `end`. */
static enum ota_err hash_some(struct ota_agent *a, uint32_t end)
{
	uint32_t n = end - a->pos < AGENT_STEP_BYTES ? end - a->pos : (uint32_t)AGENT_STEP_BYTES;
	enum ota_err err = slot_hash(a->cfg.flash, a->cfg.crypto, region_now(a), a->pos, n, &a->sha);

	if (err == OTA_OK)
		a->pos += n;
	return err;
}

static void rehash_step(struct ota_agent *a)
{
	uint32_t end = a->mark[a->component];

	if (hash_some(a, end) != OTA_OK) {
		component_restart(a);
		return;
	}
	if (a->pos < end)
		return;
	a->phase = PHASE_FETCH;
	agent_event_fetch(
		a, end == size_now(a) ? OTA_EVENT_PRESENT : OTA_EVENT_RESUMED, fetch_done(a), fetch_total(a));
}

static void read_back_start(struct ota_agent *a)
{
	a->phase = PHASE_READ_BACK;
	a->pos = 0;
	a->erased_to = 0;
	a->cfg.crypto->sha256_init(&a->sha);
}

static bool is_match(struct ota_agent *a)
{
	struct ota_sha256 h = a->sha;
	uint8_t sha256[32];

	a->cfg.crypto->sha256_final(&h, sha256);
	return memcmp(sha256, a->fresh.component[a->component].sha256, sizeof sha256) == 0;
}

static void component_done(struct ota_agent *a)
{
	if (!is_match(a)) {
		/* What was in flash before may be to blame: once more, from nothing. */
		if (a->mark[a->component] > 0 && !a->is_restarted) {
			a->journal.s.target.bytes = base_of(a, a->component);
			if (agent_commit(a) != OTA_OK) {
				agent_poll_in(a, AGENT_SPREAD_MAX_S);
				return;
			}
			a->is_restarted = true;
			component_restart(a);
			return;
		}
		release_fail(a, OTA_DIGEST, fetch_done(a));
		return;
	}
	if (a->component + 1U < a->cfg.n_components) {
		a->component++;
		component_start(a);
		return;
	}
	a->component = 0;
	read_back_start(a);
}

/* Erase what follows the image, one unit a step, and the envelope's place in any case. True: done. */
static bool erase_rest(struct ota_agent *a)
{
	const struct ota_flash *flash = a->cfg.flash;
	unsigned region = region_now(a);
	struct ota_flash_geometry geo;

	flash->geometry(flash->ctx, region, &geo);
	if (a->erased_to == 0)
		a->erased_to = round_up(size_now(a), geo.erase_unit);
	while (a->erased_to < geo.size) {
		uint32_t from = a->erased_to;

		a->erased_to += geo.erase_unit;
		if (a->erased_to <= geo.size - OTA_ENVELOPE_AREA &&
			is_blank(a, region, from, a->erased_to, geo.erased))
			continue;
		if (flash->erase(flash->ctx, region, from, geo.erase_unit) != OTA_OK)
			release_fail(a, OTA_FLASH, from);
		return false;
	}
	return true;
}

static void read_back_step(struct ota_agent *a)
{
	if (a->pos < size_now(a)) {
		if (hash_some(a, size_now(a)) != OTA_OK)
			release_fail(a, OTA_FLASH, a->pos);
		else if (a->pos == size_now(a) && !is_match(a))
			release_fail(a, OTA_DIGEST, fetch_done(a));
		return;
	}
	if (!erase_rest(a))
		return;
	if (a->component + 1U < a->cfg.n_components) {
		a->component++;
		read_back_start(a);
		return;
	}
	agent_event_fetch(a, OTA_EVENT_VERIFIED, fetch_total(a), fetch_total(a));
	a->is_asked_twice = false;
	a->phase = PHASE_STAGE;
}

/* The running slot holds the same image of this component: copied, not fetched. */
static bool is_copy(const struct ota_agent *a)
{
	const struct journal_state *s = &a->journal.s;
	unsigned c = a->component;

	return s->slot[s->active].component[c].size == size_now(a) &&
	       memcmp(s->slot[s->active].component[c].sha256, a->fresh.component[c].sha256, 32) == 0;
}

static void copy_some(struct ota_agent *a)
{
	unsigned from = slot_region(a->component, a->journal.s.active);

	a->msg_len = 0;
	for (uint32_t left = AGENT_STEP_BYTES; left > 0 && a->pos < size_now(a); left -= AGENT_CHUNK) {
		uint32_t n = size_now(a) - a->pos < AGENT_CHUNK ? size_now(a) - a->pos
								: (uint32_t)AGENT_CHUNK;
		enum ota_err err = a->cfg.flash->read(a->cfg.flash->ctx, from, a->pos, a->msg, n);

		a->msg_len = n;
		if (err == OTA_OK)
			err = write_chunk(a);
		if (err != OTA_OK) {
			release_fail(a, OTA_FLASH, fetch_done(a));
			return;
		}
	}
}

void fetch_step(struct ota_agent *a, struct ota_want *want)
{
	if (a->phase == PHASE_REHASH) {
		rehash_step(a);
		return;
	}
	if (a->phase == PHASE_READ_BACK) {
		read_back_step(a);
		return;
	}
	if (a->pos == size_now(a)) {
		component_done(a);
		return;
	}
	if (is_copy(a)) {
		copy_some(a);
		return;
	}
	if (agent_is_ticket_old(a)) {
		agent_poll_at_once(a);
		return;
	}
	agent_path_hex(a, "i/", a->fresh.component[a->component].sha256);
	agent_request(a, want, REQUEST_IMAGE, 0);
	agent_request_authorize(a, want);
	want->request.has_range = a->pos > 0;
	want->request.offset = a->pos;
	a->asked_pos = a->pos;
	a->msg_len = 0;
	if (a->pos == 0)
		agent_event_fetch(a, OTA_EVENT_FETCHING, fetch_done(a), fetch_total(a));
}

enum ota_err fetch_begin(struct ota_agent *a)
{
	const struct ota_response *r = &a->answer;
	uint32_t size = size_now(a);

	a->msg_len = 0;
	if (r->status == 200) {
		if (r->content_length >= 0 && r->content_length != (int64_t)size)
			return OTA_SIZE;
		if (a->pos > 0) {
			/* Written again from its first byte: counted, because flash wears out. */
			a->bad_answers++;
			component_restart(a);
			a->asked_pos = 0;
		}
		return OTA_OK;
	}
	if (r->status != 206)
		return OTA_FETCH;
	if (a->pos > 0 && r->has_content_range && r->range_first == a->pos && r->range_last == size - 1U &&
		r->range_total == size &&
		(r->content_length < 0 || r->content_length == (int64_t)(size - a->pos)))
		return OTA_OK;
	/* Not exactly what was asked for: the next request asks for all of it. */
	component_restart(a);
	a->asked_pos = 0;
	return OTA_SIZE;
}

enum ota_err fetch_data(struct ota_agent *a, const uint8_t *bytes, size_t len)
{
	if (len > size_now(a) - a->pos - a->msg_len)
		return OTA_SIZE;
	if (agent_is_ticket_old(a))
		return OTA_TIMEOUT;
	return sink(a, bytes, len);
}

void fetch_answered(struct ota_agent *a, bool is_complete)
{
	enum ota_err err = a->answer_err;
	int status = a->is_answered ? a->answer.status : 0;

	a->msg_len = 0;
	if (a->pos > a->asked_pos) {
		a->urls_failed = 0;
		a->backoff_s = 0;
	}
	if (err == OTA_FLASH) {
		release_fail(a, OTA_FLASH, fetch_done(a));
		return;
	}
	if (err == OTA_TIMEOUT) {
		agent_poll_at_once(a);
		return;
	}
	if (err == OTA_OK && a->pos == size_now(a))
		return;
	if (status == 429 || status == 503) {
		agent_defer(a);
		return;
	}
	/* A definite wrong answer is counted; a line that breaks is not. */
	if (err == OTA_SIZE || (status >= 400 && status < 500) ||
		(err == OTA_OK && is_complete && status != 0))
		a->bad_answers++;
	if (a->bad_answers >= AGENT_BAD_ANSWERS) {
		a->bad_answers = 0;
		release_give_up(a, err == OTA_SIZE || err == OTA_OK ? OTA_SIZE : OTA_FETCH, fetch_done(a));
		return;
	}
	if (a->pos > a->asked_pos && err == OTA_OK)
		return; /* it moved on before it broke: ask for the rest at once */
	(void)agent_unreached(a, err == OTA_OK ? OTA_FETCH : err);
}
