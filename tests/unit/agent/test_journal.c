#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "device-agent/src/journal.h"
#include "proto/crypto_openssl.h"
#include "tests/sim/flash_sim.h"

static const struct flash_sim_options geometries[] = {
	{128, 1, 0xFF, 8192, 1, false},
	{512, 8, 0xFF, 8192, 1, true},
	{1024, 4, 0xFF, 8192, 1, false},
	{4096, 4, 0x00, 16384, 1, false},
	{4096, 32, 0xFF, 16384, 1, true},
	{65536, 16, 0x00, 65536, 1, false},
	{262144, 4, 0xFF, 262144, 1, false},
};

static enum ota_err open_at(struct journal *j, struct flash_sim *f)
{
	return journal_open(j, &f->flash, crypto_openssl());
}

static void fill_state(struct journal_state *s, uint32_t n)
{
	uint8_t tail[2] = {(uint8_t)n, 0xA5};
	uint16_t format = s->format;

	memset(s, (int)(n & 0x7F), sizeof *s);
	s->format = format;
	s->phase = (uint8_t)(n % JOURNAL_PHASES);
	s->active = (uint8_t)(n & 1);
	s->counter_end = ((uint64_t)n << 32) + n;
	s->tail_len = format > JOURNAL_FORMAT ? 2 : 0;
	memset(s->tail, 0, sizeof s->tail);
	if (s->tail_len)
		memcpy(s->tail, tail, sizeof tail);
}

static void assert_same(const struct journal_state *a, const struct journal_state *b)
{
	uint8_t x[JOURNAL_STRIDE], y[JOURNAL_STRIDE];
	uint32_t n = journal_encode(crypto_openssl(), a, 1, x);

	assert_int_equal(n, journal_encode(crypto_openssl(), b, 1, y));
	assert_memory_equal(x, y, n);
}

/* The bytes of format 1 are frozen: this is one record, written out. */
static void test_format_1(void **state)
{
	struct journal_state s;
	uint8_t r[JOURNAL_STRIDE];

	(void)state;
	memset(&s, 0, sizeof s);
	s.format = JOURNAL_FORMAT;
	s.phase = JOURNAL_FETCHING;
	s.active = 1;
	s.attempts_left = 3;
	s.flags = 0x80;
	s.epoch = 0x01020304;
	s.floor = 0x11223344;
	s.boots = 7;
	s.counter_end = 0x0102030405060708;
	s.slot[0].sequence = 0xAABBCCDD;
	s.slot[1].component[1].size = 0x99;
	s.target.attempt = 5;
	s.target.bytes = 0x10000;
	s.failed.attempt = 6;
	s.result.attempt = 8;
	s.result.reason = 11;
	s.result.detail = 0x7B;
	s.result.offset = 0x22;
	s.move_unit = 0x33;
	s.move_phase = 2;
	assert_int_equal(journal_encode(crypto_openssl(), &s, 0x55667788, r), 363 + 8);
	assert_memory_equal(r,
		"\x01\x00\x6b\x01\x88\x77\x66\x55\x02\x01\x03\x80\x04\x03\x02\x01\x44\x33\x22\x11"
		"\x07\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\xdd\xcc\xbb\xaa",
		36);
	assert_int_equal(r[32 + 108 + 36 + 36], 0x99);                     /* slot[1].component[1].size */
	assert_memory_equal(r + 32 + 216 + 32, "\x05\x00\x00\x01\x00", 5); /* target */
	assert_int_equal(r[285 + 32], 6);                                  /* failed.attempt */
	assert_memory_equal(r + 318 + 32, "\x08\x0b\x7b\x00\x22\x00\x00\x00", 8);
	assert_memory_equal(r + 358, "\x33\x00\x00\x00\x02", 5);
}

static void test_append_and_find(void **state)
{
	(void)state;
	for (unsigned g = 0; g < sizeof geometries / sizeof geometries[0]; g++) {
		struct flash_sim f;
		struct journal j, again;

		flash_sim_init(&f, &geometries[g]);
		assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
		for (uint32_t n = 0; n < 40; n++) {
			fill_state(&j.s, n);
			assert_int_equal(journal_commit(&j), OTA_OK);
			assert_int_equal(open_at(&again, &f), OTA_OK);
			assert_same(&again.s, &j.s);
		}
		assert_int_equal(f.violations, 0);
		flash_sim_release(&f);
	}
}

/* As a device lives: found, appended again, changed a few times, started again. */
static void test_restarts(void **state)
{
	struct flash_sim f;
	struct journal j;
	struct journal_state want;

	(void)state;
	flash_sim_init(&f, &geometries[1]);
	assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
	fill_state(&j.s, 0);
	assert_int_equal(journal_commit(&j), OTA_OK);
	for (uint32_t n = 1; n < 60; n++) {
		want = j.s;
		assert_int_equal(open_at(&j, &f), OTA_OK);
		assert_same(&j.s, &want);
		assert_int_equal(journal_commit(&j), OTA_OK);
		if (n % 3 == 0) {
			fill_state(&j.s, n);
			assert_int_equal(journal_commit(&j), OTA_OK);
		}
	}
	assert_int_equal(f.violations, 0);
	flash_sim_release(&f);
}

/* A record of a later format is read, and its unknown bytes are kept. */
static void test_later_format(void **state)
{
	struct flash_sim f;
	struct journal j;

	(void)state;
	flash_sim_init(&f, &geometries[2]);
	assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
	j.s.format = 2;
	fill_state(&j.s, 9);
	assert_int_equal(journal_commit(&j), OTA_OK);
	assert_int_equal(open_at(&j, &f), OTA_OK);
	j.s.floor = 77;
	assert_int_equal(journal_commit(&j), OTA_OK);
	assert_int_equal(open_at(&j, &f), OTA_OK);
	assert_int_equal(j.s.format, 2);
	assert_int_equal(j.s.floor, 77);
	assert_int_equal(j.s.tail_len, 2);
	assert_int_equal(j.s.tail[1], 0xA5);
	flash_sim_release(&f);
}

static void test_every_bit_flip(void **state)
{
	struct journal_state s, out;
	uint8_t r[JOURNAL_STRIDE];
	uint32_t len, number;

	(void)state;
	memset(&s, 0, sizeof s);
	s.format = JOURNAL_FORMAT;
	fill_state(&s, 3);
	memset(r, 0xFF, sizeof r);
	len = journal_encode(crypto_openssl(), &s, 12, r);
	assert_int_equal(journal_decode(crypto_openssl(), r, sizeof r, &out, &number), OTA_OK);
	assert_int_equal(number, 12);
	for (uint32_t bit = 0; bit < len * 8; bit++) {
		r[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(journal_decode(crypto_openssl(), r, sizeof r, &out, &number), OTA_CORRUPT);
		r[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (uint32_t n = 0; n < len; n++)
		assert_int_equal(journal_decode(crypto_openssl(), r, n, &out, &number), OTA_CORRUPT);
}

/* Cut every operation of 30 commits in every way, and cut the recovery too. What is found is the old or the
 * new state; once a start appended it again, it stays found. */
static void test_cuts(void **state)
{
	unsigned cuts = 0;

	(void)state;
	for (unsigned g = 0; g < 4; g++) {
		for (unsigned damage = 0; damage < DAMAGES; damage++) {
			for (uint64_t at = 0; at < 34; at++) {
				struct flash_sim f;
				struct journal j;
				uint32_t done = 0, found;

				flash_sim_init(&f, &geometries[g]);
				f.seed = (uint32_t)(at * 7919 + damage + 1);
				assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
				j.s.format = JOURNAL_FORMAT;
				assert_int_equal(journal_commit(&j), OTA_OK);
				flash_sim_cut(&f, at, (enum flash_damage)damage, 1 + (uint32_t)(at % 3), 4);
				while (!f.is_off && done < 30) {
					j.s.floor = done + 1;
					if (journal_commit(&j) == OTA_OK)
						done++;
				}
				for (unsigned again = 0; again < 3; again++) {
					flash_sim_power_on(&f);
					assert_int_equal(open_at(&j, &f), OTA_OK);
					found = j.s.floor;
					assert_true(found == done || found == done + 1);
					/* The recovery is cut as well, the first two times. */
					if (again < 2)
						flash_sim_cut(&f, again, (enum flash_damage)damage, 2, 3);
					if (journal_commit(&j) == OTA_OK)
						done = found;
				}
				flash_sim_power_on(&f);
				for (unsigned look = 0; look < 4; look++) {
					assert_int_equal(open_at(&j, &f), OTA_OK);
					assert_int_equal(j.s.floor, done);
				}
				cuts++;
				flash_sim_release(&f);
			}
		}
	}
	print_message("journal: %u cuts, each with a cut recovery\n", cuts);
}

/* What no writer writes, under a right check: refused. */
static void test_decode_refuses(void **state)
{
	static const struct {
		uint16_t format, length;
		uint32_t len;
		uint8_t phase, active;
		enum ota_err want;
	} rows[] = {
		{1, 363, 371, 0, 0, OTA_OK},
		{2, 363 + 64, 512, 7, 1, OTA_OK},
		{0, 363, 512, 0, 0, OTA_CORRUPT},
		{2, 362, 512, 0, 0, OTA_CORRUPT},
		{1, 364, 512, 0, 0, OTA_CORRUPT},      /* format 1 has one length */
		{2, 363 + 65, 512, 0, 0, OTA_CORRUPT}, /* more than is kept */
		{2, 364, 371, 0, 0, OTA_CORRUPT},      /* its check lies behind the end */
		{1, 363, 512, JOURNAL_PHASES, 0, OTA_CORRUPT},
		{1, 363, 512, 0, OTA_SLOTS, OTA_CORRUPT},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct journal_state out;
		uint8_t r[JOURNAL_STRIDE] = {0}, check[32];
		uint32_t number = 0;

		r[0] = (uint8_t)rows[i].format;
		r[2] = (uint8_t)rows[i].length;
		r[3] = (uint8_t)(rows[i].length >> 8);
		r[4] = 9;
		r[8] = rows[i].phase;
		r[9] = rows[i].active;
		ota_sha256(crypto_openssl(), &(struct ota_slice){r, rows[i].length}, 1, check);
		memcpy(r + rows[i].length, check, JOURNAL_CHECK_LEN);
		assert_int_equal(
			journal_decode(crypto_openssl(), r, rows[i].len, &out, &number), rows[i].want);
		assert_int_equal(number, rows[i].want == OTA_OK ? 9 : 0);
	}
}

static void given_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	(void)region;
	*out = *(const struct ota_flash_geometry *)ctx;
}

static enum ota_err no_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)buf, (void)len;
	fail_msg("a region of bad geometry is read");
	return OTA_FLASH;
}

static void test_bad_geometry(void **state)
{
	struct ota_flash_geometry rows[] = {
		{8192, 0, 4, 0xFF},     /* no erase unit */
		{8192, 1024, 0, 0xFF},  /* no program unit */
		{8192, 1024, 64, 0xFF}, /* too large a one */
		{8192, 1024, 5, 0xFF},  /* no part of a record's place */
		{4096, 1024, 4, 0xFF},  /* one group */
		{0, 1024, 4, 0xFF},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ota_flash flash = {.ctx = &rows[i], .read = no_read, .geometry = given_geometry};
		struct journal j;

		assert_int_equal(journal_open(&j, &flash, crypto_openssl()), OTA_INVALID);
	}
}

/* Flash whose n-th read or program call from now fails, or whose programs answer OTA_OK and do nothing. */
static struct {
	struct ota_flash real;
	uint64_t reads, progs;     /* calls until the first failure */
	uint64_t n_reads, n_progs; /* failures */
	bool is_silent;
} bad;

static bool fails(uint64_t *skip, uint64_t *n)
{
	if (*skip > 0) {
		(*skip)--;
		return false;
	}
	if (*n == 0)
		return false;
	(*n)--;
	return true;
}

static enum ota_err bad_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	return fails(&bad.reads, &bad.n_reads) ? OTA_FLASH : bad.real.read(ctx, region, off, buf, len);
}

static enum ota_err bad_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	if (fails(&bad.progs, &bad.n_progs))
		return bad.is_silent ? OTA_OK : OTA_FLASH;
	return bad.real.prog(ctx, region, off, buf, len);
}

static void go_bad(struct flash_sim *f)
{
	memset(&bad, 0, sizeof bad);
	bad.real = f->flash;
	f->flash.read = bad_read;
	f->flash.prog = bad_prog;
}

/* A read that fails now and then is tried again; a place that stays unreadable is junk, and what is written
 * next is behind it; a journal of which nothing can be read is not taken for an empty one. */
static void test_open_read_fails(void **state)
{
	const uint64_t places = 16, for_good = 4; /* tries of one place */
	struct flash_sim f;
	struct journal j;
	uint64_t ops;

	(void)state;
	flash_sim_init(&f, &geometries[2]);
	assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
	j.s.floor = 1;
	assert_int_equal(journal_commit(&j), OTA_OK);
	j.s.floor = 2;
	assert_int_equal(journal_commit(&j), OTA_OK);
	go_bad(&f);
	ops = f.ops;
	for (uint64_t n = 1; n <= for_good; n += for_good - 1) {
		/* All places once, and again those behind the record. */
		for (uint64_t at = 0; at < places + 6; at++) {
			bool is_lost = n == for_good && at == 1;

			bad.reads = at;
			bad.n_reads = n;
			assert_int_equal(open_at(&j, &f), OTA_OK);
			assert_int_equal(bad.n_reads, 0);
			assert_int_equal(j.s.floor, is_lost ? 1 : 2);
			assert_int_equal(j.next, n == 1 || at < places ? 3 : 2 + at - places + 2);
		}
	}
	bad.reads = 0;
	bad.n_reads = UINT64_MAX;
	assert_int_equal(open_at(&j, &f), OTA_FLASH);
	assert_int_equal(f.ops, ops);
	flash_sim_release(&f);
}

/* A record that did not get into flash is noticed by reading it back, and goes to the next place that holds.
 */
static void test_commit_is_read_back(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		for (uint64_t n = 1; n < 15; n++) {
			struct flash_sim f;
			struct journal j;

			flash_sim_init(&f, &geometries[2]);
			assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
			j.s.floor = 1;
			assert_int_equal(journal_commit(&j), OTA_OK);
			go_bad(&f);
			bad.is_silent = how == 1;
			bad.n_progs = how < 2 ? n : 0;
			bad.n_reads = how == 2 ? n : 0;
			j.s.floor = 2;
			/* 7 places are left in this group, and 8 in the other. */
			assert_int_equal(journal_commit(&j), OTA_OK);
			bad.n_progs = bad.n_reads = 0;
			assert_int_equal(open_at(&j, &f), OTA_OK);
			assert_int_equal(j.s.floor, 2);
			flash_sim_release(&f);
		}
	}
}

static enum ota_err no_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)len;
	return OTA_FLASH;
}

/* A new journal is not begun on flash that keeps what was there. */
static void test_new_journal_needs_erase(void **state)
{
	struct flash_sim f;
	struct journal j;

	(void)state;
	flash_sim_init(&f, &geometries[2]);
	assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
	go_bad(&f);
	f.flash.erase = no_erase;
	assert_int_equal(journal_commit(&j), OTA_FLASH);
	assert_true(j.is_empty);
	f.flash = bad.real;
	assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
	assert_int_equal(journal_commit(&j), OTA_OK);
	flash_sim_release(&f);
}

/* No place takes it: that is said, and what was found is found again. */
static void test_commit_fails(void **state)
{
	(void)state;
	for (unsigned is_silent = 0; is_silent < 2; is_silent++) {
		struct flash_sim f;
		struct journal j;

		flash_sim_init(&f, &geometries[2]);
		assert_int_equal(open_at(&j, &f), OTA_NOT_FOUND);
		j.s.floor = 1;
		assert_int_equal(journal_commit(&j), OTA_OK);
		go_bad(&f);
		bad.is_silent = is_silent;
		bad.n_progs = UINT64_MAX;
		for (unsigned again = 0; again < 3; again++) {
			j.s.floor = 2;
			assert_int_equal(journal_commit(&j), OTA_FLASH);
			assert_int_equal(open_at(&j, &f), OTA_OK);
			assert_int_equal(j.s.floor, 1);
		}
		flash_sim_release(&f);
	}
}

/* Its mark tells whether it was confirmed, and no floor: a new epoch has one below what ran well. */
static void test_fall_over(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct journal_state s = {.floor = 1999 + i % 2, .slot[1].sequence = 2000};
		bool is_confirmed = i < 2;

		if (i >= 2)
			journal_mark(&s, JOURNAL_DOUBT, 1);
		journal_fall_over(&s, 2);
		assert_int_equal(s.active, 1);
		assert_int_equal(s.phase, is_confirmed ? JOURNAL_IDLE : JOURNAL_TRIAL);
		assert_int_equal(s.attempts_left, is_confirmed ? 0 : 2);
		assert_int_equal(s.target.attempt, is_confirmed ? 0 : 1);
		assert_int_equal(journal_is_marked(&s, JOURNAL_DOUBT, 1), !is_confirmed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_1),
		cmocka_unit_test(test_append_and_find),
		cmocka_unit_test(test_restarts),
		cmocka_unit_test(test_later_format),
		cmocka_unit_test(test_every_bit_flip),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_decode_refuses),
		cmocka_unit_test(test_bad_geometry),
		cmocka_unit_test(test_open_read_fails),
		cmocka_unit_test(test_commit_is_read_back),
		cmocka_unit_test(test_new_journal_needs_erase),
		cmocka_unit_test(test_commit_fails),
		cmocka_unit_test(test_fall_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
