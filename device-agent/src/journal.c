#include "device-agent/src/journal.h"

#include <string.h>

static uint8_t *put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	return p + n;
}

static uint8_t *put_bytes(uint8_t *p, const uint8_t *src, uint32_t n)
{
	memcpy(p, src, n);
	return p + n;
}

static uint64_t get_le(const uint8_t **p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)(*p)[i] << (8 * i);
	*p += n;
	return v;
}

static void get_bytes(const uint8_t **p, uint8_t *dst, uint32_t n)
{
	memcpy(dst, *p, n);
	*p += n;
}

static void check_of(const struct ota_crypto *c, const uint8_t *bytes, uint32_t len, uint8_t out[32])
{
	struct ota_slice part = {bytes, len};

	ota_sha256(c, &part, 1, out);
}

uint32_t journal_encode(const struct ota_crypto *c, const struct journal_state *s, uint32_t number,
	uint8_t out[JOURNAL_STRIDE])
{
	uint32_t length = JOURNAL_LEN_1 + (uint32_t)s->tail_len;
	uint8_t *p = out;
	uint8_t check[32];

	p = put_le(p, s->format, 2);
	p = put_le(p, length, 2);
	p = put_le(p, number, 4);
	p = put_le(p, s->phase, 1);
	p = put_le(p, s->active, 1);
	p = put_le(p, s->attempts_left, 1);
	p = put_le(p, s->flags, 1);
	p = put_le(p, s->epoch, 4);
	p = put_le(p, s->floor, 4);
	p = put_le(p, s->boots, 4);
	p = put_le(p, s->counter_end, 8);
	for (unsigned k = 0; k < OTA_SLOTS; k++) {
		p = put_le(p, s->slot[k].sequence, 4);
		p = put_bytes(p, s->slot[k].digest, 32);
		for (unsigned i = 0; i < OTA_COMPONENTS_MAX; i++) {
			p = put_le(p, s->slot[k].component[i].size, 4);
			p = put_bytes(p, s->slot[k].component[i].sha256, 32);
		}
	}
	p = put_bytes(p, s->target.digest, 32);
	p = put_le(p, s->target.attempt, 1);
	p = put_le(p, s->target.bytes, 4);
	p = put_bytes(p, s->failed.digest, 32);
	p = put_le(p, s->failed.attempt, 1);
	p = put_bytes(p, s->result.digest, 32);
	p = put_le(p, s->result.attempt, 1);
	p = put_le(p, s->result.reason, 1);
	p = put_le(p, s->result.detail, 2);
	p = put_le(p, s->result.offset, 4);
	p = put_le(p, s->move_unit, 4);
	p = put_le(p, s->move_phase, 1);
	p = put_bytes(p, s->tail, s->tail_len);
	check_of(c, out, length, check);
	(void)put_bytes(p, check, JOURNAL_CHECK_LEN);
	return length + JOURNAL_CHECK_LEN;
}

enum ota_err journal_decode(const struct ota_crypto *c, const uint8_t *bytes, uint32_t len,
	struct journal_state *s, uint32_t *number)
{
	const uint8_t *p = bytes;
	uint32_t format, length;
	uint8_t check[32];

	if (len < JOURNAL_LEN_1 + JOURNAL_CHECK_LEN)
		return OTA_CORRUPT;
	format = (uint32_t)get_le(&p, 2);
	length = (uint32_t)get_le(&p, 2);
	if (format < JOURNAL_FORMAT || length < JOURNAL_LEN_1 || length > JOURNAL_LEN_1 + JOURNAL_TAIL_MAX ||
		length > len - JOURNAL_CHECK_LEN || (format == JOURNAL_FORMAT && length != JOURNAL_LEN_1))
		return OTA_CORRUPT;
	check_of(c, bytes, length, check);
	if (memcmp(check, bytes + length, JOURNAL_CHECK_LEN) != 0)
		return OTA_CORRUPT;
	/* Values that no writer writes: a record of another program under a right check. */
	if (bytes[8] >= JOURNAL_PHASES || bytes[9] >= OTA_SLOTS)
		return OTA_CORRUPT;

	memset(s, 0, sizeof *s);
	*number = (uint32_t)get_le(&p, 4);
	s->format = (uint16_t)format;
	s->phase = (uint8_t)get_le(&p, 1);
	s->active = (uint8_t)get_le(&p, 1);
	s->attempts_left = (uint8_t)get_le(&p, 1);
	s->flags = (uint8_t)get_le(&p, 1);
	s->epoch = (uint32_t)get_le(&p, 4);
	s->floor = (uint32_t)get_le(&p, 4);
	s->boots = (uint32_t)get_le(&p, 4);
	s->counter_end = get_le(&p, 8);
	for (unsigned k = 0; k < OTA_SLOTS; k++) {
		s->slot[k].sequence = (uint32_t)get_le(&p, 4);
		get_bytes(&p, s->slot[k].digest, 32);
		for (unsigned i = 0; i < OTA_COMPONENTS_MAX; i++) {
			s->slot[k].component[i].size = (uint32_t)get_le(&p, 4);
			get_bytes(&p, s->slot[k].component[i].sha256, 32);
		}
	}
	get_bytes(&p, s->target.digest, 32);
	s->target.attempt = (uint8_t)get_le(&p, 1);
	s->target.bytes = (uint32_t)get_le(&p, 4);
	get_bytes(&p, s->failed.digest, 32);
	s->failed.attempt = (uint8_t)get_le(&p, 1);
	get_bytes(&p, s->result.digest, 32);
	s->result.attempt = (uint8_t)get_le(&p, 1);
	s->result.reason = (uint8_t)get_le(&p, 1);
	s->result.detail = (uint16_t)get_le(&p, 2);
	s->result.offset = (uint32_t)get_le(&p, 4);
	s->move_unit = (uint32_t)get_le(&p, 4);
	s->move_phase = (uint8_t)get_le(&p, 1);
	s->tail_len = (uint16_t)(length - JOURNAL_LEN_1);
	get_bytes(&p, s->tail, s->tail_len);
	return OTA_OK;
}

static uint32_t offset_of(const struct journal *j, uint32_t group, uint32_t index)
{
	return group * j->group_len + index * JOURNAL_STRIDE;
}

static enum ota_err read_place(
	const struct journal *j, uint32_t group, uint32_t index, uint8_t out[JOURNAL_STRIDE])
{
	return j->flash->read(
		j->flash->ctx, OTA_REGION_JOURNAL, offset_of(j, group, index), out, JOURNAL_STRIDE);
}

static bool is_blank(const struct journal *j, const uint8_t bytes[JOURNAL_STRIDE])
{
	for (uint32_t i = 0; i < JOURNAL_STRIDE; i++) {
		if (bytes[i] != j->geo.erased)
			return false;
	}
	return true;
}

static enum ota_err layout(struct journal *j)
{
	uint32_t unit;

	j->flash->geometry(j->flash->ctx, OTA_REGION_JOURNAL, &j->geo);
	unit = j->geo.erase_unit;
	if (unit == 0 || j->geo.prog_unit == 0 || j->geo.prog_unit > OTA_PROG_UNIT_MAX ||
		JOURNAL_STRIDE % j->geo.prog_unit != 0)
		return OTA_INVALID;
	j->group_len = (JOURNAL_GROUP_MIN * JOURNAL_STRIDE + unit - 1) / unit * unit;
	j->n_groups = j->geo.size / j->group_len;
	j->per_group = j->group_len / JOURNAL_STRIDE;
	return j->n_groups < 2 ? OTA_INVALID : OTA_OK;
}

/* Where the next record goes after a start: past every place that shows a trace, and past one more, because a
 * program that was cut at its first moment can leave nothing to see. */
static enum ota_err find_next(struct journal *j, uint8_t buf[JOURNAL_STRIDE])
{
	uint32_t last = j->index;

	for (uint32_t i = j->index + 1; i < j->per_group; i++) {
		enum ota_err err = read_place(j, j->group, i, buf);

		if (err != OTA_OK)
			return err;
		if (!is_blank(j, buf))
			last = i;
	}
	j->next = last + 2;
	return OTA_OK;
}

enum ota_err journal_open(struct journal *j, const struct ota_flash *flash, const struct ota_crypto *crypto)
{
	uint8_t buf[JOURNAL_STRIDE];
	enum ota_err err;

	memset(j, 0, sizeof *j);
	j->flash = flash;
	j->crypto = crypto;
	j->is_empty = true;
	err = layout(j);
	if (err != OTA_OK)
		return err;
	for (uint32_t g = 0; g < j->n_groups; g++) {
		for (uint32_t i = 0; i < j->per_group; i++) {
			uint32_t number;

			err = read_place(j, g, i, buf);
			if (err != OTA_OK)
				return err;
			/* Decoded where it will stay only if it wins: two states at once are too much stack.
			 */
			if (buf[0] == j->geo.erased && is_blank(j, buf))
				continue;
			number = (uint32_t)buf[4] | (uint32_t)buf[5] << 8 | (uint32_t)buf[6] << 16 |
				 (uint32_t)buf[7] << 24;
			if (!j->is_empty && number <= j->number)
				continue;
			if (journal_decode(crypto, buf, sizeof buf, &j->s, &number) != OTA_OK)
				continue;
			j->is_empty = false;
			j->number = number;
			j->group = g;
			j->index = i;
		}
	}
	if (j->is_empty) {
		j->s.format = JOURNAL_FORMAT;
		return OTA_NOT_FOUND;
	}
	j->head = j->number - j->index + j->per_group;
	return find_next(j, buf);
}

void journal_was_appended(struct journal *j)
{
	if (j->next == j->index + 2)
		j->next--;
}

void journal_reload(struct journal *j)
{
	uint8_t buf[JOURNAL_STRIDE];
	uint32_t number;
	enum ota_err err = OTA_OK;

	if (j->is_empty) {
		memset(&j->s, 0, sizeof j->s);
		j->s.format = JOURNAL_FORMAT;
	} else {
		err = read_place(j, j->group, j->index, buf);
		if (err == OTA_OK)
			err = journal_decode(j->crypto, buf, sizeof buf, &j->s, &number);
	}
	j->is_lost = err != OTA_OK;
}

static enum ota_err erase_group(struct journal *j, uint32_t group)
{
	return j->flash->erase(j->flash->ctx, OTA_REGION_JOURNAL, group * j->group_len, j->group_len);
}

/* Program one place and read it back. */
static enum ota_err write_place(struct journal *j, uint32_t group, uint32_t index, uint32_t number)
{
	uint8_t record[JOURNAL_STRIDE], seen[64];
	uint32_t off = offset_of(j, group, index);
	uint32_t len, padded;
	enum ota_err err;

	memset(record, j->geo.erased, sizeof record);
	len = journal_encode(j->crypto, &j->s, number, record);
	padded = (len + j->geo.prog_unit - 1) / j->geo.prog_unit * j->geo.prog_unit;
	err = j->flash->prog(j->flash->ctx, OTA_REGION_JOURNAL, off, record, padded);
	for (uint32_t at = 0; err == OTA_OK && at < padded; at += (uint32_t)sizeof seen) {
		uint32_t n = padded - at < sizeof seen ? padded - at : (uint32_t)sizeof seen;

		err = j->flash->read(j->flash->ctx, OTA_REGION_JOURNAL, off + at, seen, n);
		if (err == OTA_OK && memcmp(seen, record + at, n) != 0)
			err = OTA_FLASH;
	}
	return err;
}

/* Append to the group that is open, then to each other one, erased before. */
static enum ota_err append(struct journal *j)
{
	uint32_t base = j->number - j->index, group = j->group, index = j->next;

	for (uint32_t tried = 0;;) {
		for (; index < j->per_group; index++) {
			if (write_place(j, group, index, base + index) != OTA_OK)
				continue; /* a place that does not hold is junk from now on */
			j->group = group;
			j->index = index;
			j->next = index + 1;
			j->number = base + index;
			return OTA_OK;
		}
		/* Back at the first group: it has the record that counts and is never erased. What was tried
		 * in it may read as whole one day: the next head is above all of that. */
		if (++tried >= j->n_groups) {
			j->next = j->per_group;
			return OTA_FLASH;
		}
		group = (group + 1) % j->n_groups;
		base = j->head;
		j->head += j->per_group;
		index = erase_group(j, group) == OTA_OK ? 0 : j->per_group;
	}
}

/* No record anywhere: whatever looks like one later must not outrank ours. */
static enum ota_err begin(struct journal *j)
{
	enum ota_err err = OTA_OK;

	for (uint32_t g = j->n_groups; err == OTA_OK && g > 0; g--)
		err = erase_group(j, g - 1);
	j->group = j->index = j->next = 0;
	j->number = 1;
	j->head = 1 + j->per_group;
	return err;
}

enum ota_err journal_commit(struct journal *j)
{
	enum ota_err err = j->is_empty ? begin(j) : OTA_OK;

	if (err == OTA_OK)
		err = append(j);
	if (err != OTA_OK) {
		journal_reload(j);
		return err;
	}
	j->is_empty = j->is_lost = false;
	return OTA_OK;
}

void journal_end(struct journal_state *s, enum ota_err err, uint32_t offset)
{
	if (s->target.attempt != 0) {
		memcpy(s->result.digest, s->target.digest, sizeof s->result.digest);
		s->result.attempt = s->target.attempt;
		s->result.reason = ota_err_reason(err);
		s->result.detail = ota_err_detail(err);
		s->result.offset = offset;
		if (err != OTA_WITHDRAWN) {
			memcpy(s->failed.digest, s->target.digest, sizeof s->failed.digest);
			s->failed.attempt = s->target.attempt;
		}
	}
	memset(&s->target, 0, sizeof s->target);
	s->phase = JOURNAL_IDLE;
	s->attempts_left = 0;
}
