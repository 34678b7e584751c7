#include "device-agent/src/journal.h"

#include <stddef.h>
#include <string.h>

/* The state's fields in the order of the record, behind its head of format, length and number. What is at
 * most 8 bytes long is a little-endian number. */
#define FIELD(member)                                                                                        \
	{                                                                                                    \
		offsetof(struct journal_state, member), sizeof((struct journal_state *)0)->member            \
	}
#define FIELDS_OF_IMAGE(k, i) FIELD(slot[k].component[i].size), FIELD(slot[k].component[i].sha256)
#define FIELDS_OF_SLOT(k)                                                                                    \
	FIELD(slot[k].sequence), FIELD(slot[k].digest), FIELDS_OF_IMAGE(k, 0), FIELDS_OF_IMAGE(k, 1)

static const struct {
	uint16_t at;
	uint8_t len;
} fields[] = {FIELD(phase), FIELD(active), FIELD(attempts_left), FIELD(flags), FIELD(epoch), FIELD(floor),
	FIELD(boots), FIELD(counter_end), FIELDS_OF_SLOT(0), FIELDS_OF_SLOT(1), FIELD(target.digest),
	FIELD(target.attempt), FIELD(target.bytes), FIELD(failed.digest), FIELD(failed.attempt),
	FIELD(result.digest), FIELD(result.attempt), FIELD(result.reason), FIELD(result.detail),
	FIELD(result.offset), FIELD(move_unit), FIELD(move_phase)};

enum { N_FIELDS = sizeof fields / sizeof fields[0], HEAD = 8, READS = 4 };

/* Above what the commits of one start that all fail may try, and a million times in a number. */
enum { NUMBERS_OF_A_START = 4096 };

_Static_assert(OTA_SLOTS == 2 && OTA_COMPONENTS_MAX == 2, "format 1 has two slots of two components");

/* A field from the record into memory, or back. */
static void copy(void *to, const void *from, unsigned n)
{
	memcpy(to, from, n);
	for (unsigned i = 0; __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && n <= 8 && i < n; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[n - 1 - i];
}

static void check_of(const struct ota_crypto *c, const uint8_t *bytes, uint32_t len, uint8_t out[32])
{
	struct ota_slice part = {bytes, len};

	ota_sha256(c, &part, 1, out);
}

uint32_t journal_encode(const struct ota_crypto *c, const struct journal_state *s, uint32_t number,
	uint8_t out[JOURNAL_STRIDE])
{
	uint16_t length = (uint16_t)(JOURNAL_LEN_1 + s->tail_len);
	uint8_t *p = out + HEAD;
	uint8_t check[32];

	copy(out, &s->format, 2);
	copy(out + 2, &length, 2);
	copy(out + 4, &number, 4);
	for (unsigned i = 0; i < N_FIELDS; i++) {
		copy(p, (const uint8_t *)s + fields[i].at, fields[i].len);
		p += fields[i].len;
	}
	memcpy(p, s->tail, s->tail_len);
	check_of(c, out, length, check);
	memcpy(out + length, check, JOURNAL_CHECK_LEN);
	return (uint32_t)length + JOURNAL_CHECK_LEN;
}

static bool is_record(
	const struct ota_crypto *c, const uint8_t *bytes, uint32_t len, uint16_t *format, uint16_t *length)
{
	uint8_t check[32];

	if (len < JOURNAL_LEN_1 + JOURNAL_CHECK_LEN)
		return false;
	copy(format, bytes, 2);
	copy(length, bytes + 2, 2);
	if (*format < JOURNAL_FORMAT || *length < JOURNAL_LEN_1 ||
		*length > JOURNAL_LEN_1 + JOURNAL_TAIL_MAX || *length > len - JOURNAL_CHECK_LEN ||
		(*format == JOURNAL_FORMAT && *length != JOURNAL_LEN_1))
		return false;
	check_of(c, bytes, *length, check);
	if (memcmp(check, bytes + *length, JOURNAL_CHECK_LEN) != 0)
		return false;
	/* Values that no writer writes: a record of another program under a right check. */
	return bytes[8] < JOURNAL_PHASES && bytes[9] < OTA_SLOTS;
}

enum ota_err journal_decode(const struct ota_crypto *c, const uint8_t *bytes, uint32_t len,
	struct journal_state *s, uint32_t *number)
{
	const uint8_t *p = bytes + HEAD;
	uint16_t format, length;

	if (!is_record(c, bytes, len, &format, &length))
		return OTA_CORRUPT;

	memset(s, 0, sizeof *s);
	copy(number, bytes + 4, 4);
	for (unsigned i = 0; i < N_FIELDS; i++) {
		copy((uint8_t *)s + fields[i].at, p, fields[i].len);
		p += fields[i].len;
	}
	s->format = format;
	s->tail_len = (uint16_t)(length - JOURNAL_LEN_1);
	memcpy(s->tail, p, s->tail_len);
	return OTA_OK;
}

static uint32_t offset_of(const struct journal *j, uint32_t group, uint32_t index)
{
	return group * j->group_len + index * JOURNAL_STRIDE;
}

/* Tried a few times: a place that is taken for unreadable counts no more. */
static enum ota_err read_place(
	const struct journal *j, uint32_t group, uint32_t index, uint8_t out[JOURNAL_STRIDE])
{
	enum ota_err err = OTA_FLASH;

	for (unsigned i = 0; err != OTA_OK && i < READS; i++)
		err = j->flash->read(
			j->flash->ctx, OTA_REGION_JOURNAL, offset_of(j, group, index), out, JOURNAL_STRIDE);
	return err;
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
static void find_next(struct journal *j, uint8_t buf[JOURNAL_STRIDE])
{
	uint32_t last = j->index;

	for (uint32_t i = j->index + 1; i < j->per_group; i++) {
		if (read_place(j, j->group, i, buf) != OTA_OK || !is_blank(j, buf))
			last = i;
	}
	j->next = last + 2;
}

enum ota_err journal_open(struct journal *j, const struct ota_flash *flash, const struct ota_crypto *crypto)
{
	uint8_t buf[JOURNAL_STRIDE];
	bool is_readable = false;
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

			/* Flash with ECC cannot read what a cut left: junk like any other torn record. */
			if (read_place(j, g, i, buf) != OTA_OK)
				continue;
			is_readable = true;
			/* Decoded where it will stay only if it wins: two states at once are too much stack.
			 */
			if (buf[0] == j->geo.erased && is_blank(j, buf))
				continue;
			copy(&number, buf + 4, sizeof number);
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
		return is_readable ? OTA_NOT_FOUND : OTA_FLASH;
	}
	j->head = j->number - j->index + j->per_group;
	find_next(j, buf);
	return OTA_OK;
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

/* Of what may lie in a group that is passed over, only a record below the one that counts stays below. */
static bool has_junk(const struct journal *j, uint32_t group)
{
	uint8_t buf[JOURNAL_STRIDE];

	for (uint32_t i = 0; i < j->per_group; i++) {
		uint32_t number;
		uint16_t format, length;
		enum ota_err err = read_place(j, group, i, buf);

		if (err == OTA_OK && is_blank(j, buf))
			continue;
		copy(&number, buf + 4, sizeof number);
		if (err != OTA_OK || !is_record(j->crypto, buf, sizeof buf, &format, &length) ||
			number > j->number)
			return true;
	}
	return false;
}

/* Once a start, when its first record is whole in flash: what an earlier start tried elsewhere, and that was
 * torn, may read as whole one day, with a number above those that are written now. False: the flash keeps it,
 * and the next record has to go above all that it may say. */
static bool sweep(struct journal *j)
{
	bool is_clean = true;

	for (uint32_t g = 0; g < j->n_groups; g++) {
		if (g == j->group || !has_junk(j, g))
			continue;
		(void)erase_group(j, g);
		if (has_junk(j, g))
			is_clean = false;
	}
	j->is_swept = true;
	if (!is_clean) {
		j->head += NUMBERS_OF_A_START;
		j->next = j->per_group;
	}
	return is_clean;
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
	if (err == OTA_OK) {
		j->is_empty = j->is_lost = false;
		if (!j->is_swept && !sweep(j))
			err = append(j);
	}
	if (err != OTA_OK)
		journal_reload(j);
	return err;
}

void journal_mark(struct journal_state *s, enum journal_mark m, unsigned k)
{
	s->flags = (uint8_t)(s->flags | 1U << ((unsigned)m + k));
}

void journal_unmark(struct journal_state *s, enum journal_mark m, unsigned k)
{
	s->flags = (uint8_t)(s->flags & ~(1U << ((unsigned)m + k)));
}

bool journal_is_marked(const struct journal_state *s, enum journal_mark m, unsigned k)
{
	return ((unsigned)s->flags >> ((unsigned)m + k) & 1U) != 0;
}

/* The floor does not tell: a root may set it above what never ran, and a new epoch below what ran well. */
static bool was_confirmed(const struct journal_state *s, unsigned k)
{
	return !journal_is_marked(s, JOURNAL_DOUBT, k);
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
	if (s->phase == JOURNAL_TRIAL)
		journal_mark(s, JOURNAL_DOUBT, s->active);
	memset(&s->target, 0, sizeof s->target);
	s->phase = JOURNAL_IDLE;
	s->attempts_left = 0;
}

void journal_try(struct journal_state *s, uint8_t left)
{
	/* The first image of all stays marked: it has nothing to go back to. */
	if (s->slot[s->active].component[0].size != 0)
		journal_unmark(s, JOURNAL_DOUBT, s->active ^ 1U);
	s->active ^= 1;
	s->phase = JOURNAL_TRIAL;
	s->attempts_left = left;
}

void journal_fall_over(struct journal_state *s, uint8_t left)
{
	const struct journal_slot *fresh = &s->slot[s->active ^ 1];
	bool is_failed = memcmp(s->failed.digest, fresh->digest, sizeof s->failed.digest) == 0;
	bool was_staged = s->phase == JOURNAL_STAGED;

	s->active ^= 1;
	if (was_confirmed(s, s->active)) {
		memset(&s->target, 0, sizeof s->target);
		s->phase = JOURNAL_IDLE;
		s->attempts_left = 0;
		return;
	}
	if (!was_staged) {
		memcpy(s->target.digest, fresh->digest, sizeof s->target.digest);
		/* No number of it that failed is taken again. */
		s->target.attempt = is_failed && s->failed.attempt != 0 ? s->failed.attempt : 1;
		s->target.bytes = 0;
	}
	journal_mark(s, JOURNAL_DOUBT, s->active);
	s->phase = JOURNAL_TRIAL;
	s->attempts_left = left;
}

bool journal_is_stuck(const struct journal_state *s)
{
	return s->phase != JOURNAL_TRIAL && s->phase != JOURNAL_REVERT &&
	       journal_is_marked(s, JOURNAL_DOUBT, s->active);
}

bool journal_is_found(const struct journal_state *s)
{
	return s->target.bytes == 0 && !journal_is_marked(s, JOURNAL_DOUBT, s->active) &&
	       journal_is_marked(s, JOURNAL_DOUBT, s->active ^ 1U);
}

bool journal_may_go_back(const struct journal_state *s)
{
	return !journal_is_marked(s, JOURNAL_DOUBT, s->active) || was_confirmed(s, s->active ^ 1U);
}
