/* Enrollment, poll times, counters, receipts, notices, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "proto/crypto_openssl.h"
#include "proto/keys.h"
#include "proto/notice.h"
#include "tests/unit/agent/device.h"

static void test_factory_to_update(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_rebuilt && k.choice.is_trial);
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.n_enrolls, 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_ENROLLED), 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_CONFIRMED), 1);
	assert_true(k.saw_confirmed);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	assert_false(k.agent.identity.has_secret); /* gone after the first valid ticket */
	assert_true(k.last.has_running);
	assert_int_equal(k.last.running_sequence, 1000);
	kit_forget(&k);

	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_int_equal(k.agent.journal.s.active, 1);
	assert_true(k.saw_confirmed);
	assert_int_equal(k.n_starts, 1);
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.image_bytes, 9000);
	assert_int_equal(k.n_results, 0); /* success is the confirmed check-in */
	assert_int_equal(k.flash.violations, 0);
	assert_int_equal(k.assigned, -1);
}

static void test_without_any_image(void **state)
{
	(void)state;
	assert_true(kit_start(&k));
	assert_int_equal(k.boot_err, OTA_NOT_FOUND);
	assert_true(kit_run(&k, 3600));
	assert_false(k.last.has_running);
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.active, 0);
}

/* Enrollment: an answer that was lost, one that is forged, one that is another's. */
static void spoil_enroll(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'n' && kit->n_enrolls < 4)
		bytes[*len - 1 - kit->n_enrolls] ^= 1;
}

static void test_enroll_forged(void **state)
{
	uint8_t before[PROVISION_MAX];

	(void)state;
	k.spoil = spoil_enroll;
	memcpy(before, k.flash.bytes[OTA_REGION_IDENTITY_A], sizeof before);
	assert_true(kit_start(&k));
	while (k.n_enrolls < 3)
		kit_step(&k);
	assert_memory_equal(before, k.flash.bytes[OTA_REGION_IDENTITY_A], sizeof before);
	assert_true(kit_run(&k, 7200));
	assert_int_equal(k.n_enrolls, 4);
	assert_memory_equal(k.agent.identity.k_dev, k.k_dev, KEY_LEN);
}

static void test_enroll_answer_lost(void **state)
{
	(void)state;
	k.is_off_line = true;
	assert_true(kit_start(&k));
	kit_live(&k, 100);
	assert_true(kit_start(&k));
	k.is_off_line = false;
	assert_true(kit_run(&k, 7200));
	assert_memory_equal(k.agent.identity.device_id, k.device_id, DEVICE_ID_LEN);
}

/* T7: whatever a ticket or a header says about the next poll. */
static void test_poll_clamped(void **state)
{
	int64_t t;

	(void)state;
	settled();
	k.next_poll_s = 0xFFFFFFFF;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 1, (int64_t)TICKET_POLL_MAX_S * 1100);
	k.agent.next_poll_ms = k.now;
	k.next_poll_s = 0;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 8000, 11000);
	k.status = 503;
	k.retry_after_s = 365 * 86400;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 10000, 3600 * 1000);
}

/* An hour is the most that anybody who answers 503 can ask for, the spread over the fleet with it; shorter
 * ones are never shortened. */
static void test_retry_after_bounded(void **state)
{
	static const uint32_t asked[] = {1, 11, 600, 3000, 3272, 3273, 3600, 3601, UINT32_MAX};

	(void)state;
	settled();
	k.status = 503;
	for (unsigned i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		uint32_t least = asked[i] < 10 ? 10 : asked[i] < 3272 ? asked[i] : 3272;

		k.retry_after_s = asked[i];
		for (unsigned n = 0; n < 200; n++) {
			k.agent.next_poll_ms = k.now;
			kit_step(&k);
			assert_in_range(k.agent.next_poll_ms - k.now, least * 1000, 3600 * 1000);
		}
	}
}

static void test_unreachable_backs_off(void **state)
{
	int64_t start;
	unsigned n = 0;

	(void)state;
	settled();
	k.is_off_line = true;
	start = k.now;
	while (k.now < start + 86400 * 1000) {
		struct ota_want want;

		ota_agent_step(&k.agent, &want);
		if (want.kind == OTA_WANT_REQUEST) {
			n++;
			ota_agent_response_end(&k.agent, false);
		} else if (want.kind == OTA_WANT_WAIT) {
			k.now += want.wait_ms;
		}
	}
	assert_in_range(n, 300, 700); /* two base URLs a poll of about 300 s */
	k.is_off_line = false;
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
}

/* Once in 24 h it asks for the next root, and for a signed answer. */
static void test_daily_wishes(void **state)
{
	(void)state;
	settled();
	kit_live(&k, 86400 + 1200);
	assert_true(k.asked_signed);
	assert_in_range(k.n_roots_asked, 1, 2);
}

static void test_counter_blocks(void **state)
{
	uint32_t number;

	(void)state;
	settled();
	k.poll_max_s = 10;
	k.agent.cfg.poll_max_s = 10;
	number = k.agent.journal.number;
	kit_live(&k, 20000);
	assert_true(k.n_checkins > 1900);
	assert_in_range(k.agent.journal.number - number, 1, 2);
	assert_false(k.counter_went_back);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(kit_start(&k));
		assert_true(kit_run(&k, 600));
	}
	assert_false(k.counter_went_back);
}

/* C4: the journal is lost and the counter with it: healed by the hint. */
static void test_counter_hint(void **state)
{
	(void)state;
	settled();
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 600));
	k.last_counter = 123456789;
	poll_once();
	assert_int_equal(k.n_409, 1);
	assert_int_equal(k.last_counter, 123456790);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 600));
	assert_true(k.last_counter >= 123456790 + 1024);
	assert_int_equal(k.n_409, 1);
}

static void test_receipt_when_unknown(void **state)
{
	(void)state;
	settled();
	k.is_unknown = true;
	poll_once();
	assert_true(k.saw_receipt);
	assert_int_equal(k.n_checkins, 2);
	assert_true(kit_run(&k, 10));
}

static void test_nonce_without_random(void **state)
{
	uint8_t first[NONCE_LEN];

	(void)state;
	k.has_random = false;
	settled();
	memcpy(first, k.last.nonce, sizeof first);
	poll_once();
	assert_int_equal(k.last.flags & CHECKIN_FLAG_HAS_RANDOM, 0);
	assert_memory_not_equal(first, k.last.nonce, sizeof first);
	/* Made of the counter and of the starts. */
	assert_true(k.agent.journal.s.boots > 0);
	keys_nonce(crypto_openssl(), k.k_dev, k.last.counter, k.agent.journal.s.boots, first);
	assert_memory_equal(first, k.last.nonce, sizeof first);
}

static void notify(uint32_t revision, uint32_t spread, bool is_board)
{
	struct notice n = {revision, spread};
	uint8_t bytes[NOTICE_MAX];
	size_t len;

	assert_int_equal(notice_encode(&n, bytes, sizeof bytes, &len), OTA_OK);
	ota_agent_notice(&k.agent, is_board, bytes, len);
}

static void test_notices(void **state)
{
	int64_t next;
	unsigned before;

	(void)state;
	settled();
	next = k.agent.next_poll_ms;
	notify(1, 0, true);
	assert_true(k.agent.next_poll_ms <= k.now);
	kit_live(&k, 1);
	/* T10: a flood makes one poll a minute. */
	before = k.n_checkins;
	for (unsigned i = 0; i < 600; i++) {
		notify(i + 2, 0, i & 1);
		kit_live(&k, 1);
	}
	assert_in_range(k.n_checkins - before, 5, 13);
	/* The same retained revision again is no news; a huge spread makes nothing later. */
	kit_live(&k, 100);
	next = k.agent.next_poll_ms;
	notify(599, 0, true);
	notify(601, 0, true);
	next = k.agent.next_poll_ms < next ? next : k.agent.next_poll_ms;
	notify(700, 86400, true);
	assert_true(k.agent.next_poll_ms <= next);
	ota_agent_notice(&k.agent, true, (const uint8_t *)"junkjunkjunkjunkjunkjunkjunkjunkjunkjunk", 40);
	ota_agent_notice(&k.agent, false, NULL, 0);
}

/* A push between a check-in and its answer: the notice comes while the answer, made before it, is on its way.
 */
static void spoil_notify(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	(void)bytes;
	(void)len;
	if (what == 't' && kit->assigned < 0 && kit->n_checkins == 1) {
		notify(1, 0, false);
		kit_assign(kit, 1, 1);
	}
}

static void test_notice_while_checking_in(void **state)
{
	int64_t start;

	(void)state;
	settled();
	k.spoil = spoil_notify;
	k.agent.next_poll_ms = k.now;
	start = k.now;
	while (k.n_checkins < 2)
		kit_step(&k);
	assert_true(k.now - start < 1000);
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	/* One while the device is put off, with a spread: not later than that, and not before. */
	k.spoil = NULL;
	kit_forget(&k);
	kit_live(&k, 600);
	k.status = 503;
	k.retry_after_s = 3000;
	k.agent.next_poll_ms = k.now;
	kit_forget(&k);
	start = k.now;
	while (k.n_checkins == 0) {
		struct ota_want want;

		ota_agent_step(&k.agent, &want);
		if (want.kind != OTA_WANT_REQUEST)
			continue;
		notify(9, 0, false);
		notify(10, 0, false);
		assert_int_equal(ota_agent_response_begin(&k.agent,
					 &(struct ota_response){.status = 503, .retry_after_s = 3000}),
			OTA_OK);
		ota_agent_response_end(&k.agent, true);
		k.n_checkins++;
	}
	assert_true(k.agent.next_poll_ms <= k.now);
	kit_live(&k, 10);
	assert_int_equal(k.n_checkins, 2);
	/* That one is answered likewise, and nothing was noticed since. */
	assert_true(k.agent.next_poll_ms > k.now + 2900 * 1000);
	/* The next one by a notice is a minute after it. */
	notify(11, 0, false);
	assert_in_range(k.agent.next_poll_ms - k.now, 40000, 60000);
	assert_true(k.now - start < 60000);
}

static struct ota_slice text(const char *s)
{
	return (struct ota_slice){(const uint8_t *)s, strlen(s)};
}

static void assert_url(unsigned i, const char *want)
{
	assert_int_equal(k.agent.identity.url[i].len, strlen(want));
	assert_memory_equal(k.agent.identity.url[i].p, want, strlen(want));
}

/* New addresses go first, one old one at least stays. */
static void test_server_moves(void **state)
{
	uint64_t ops;

	(void)state;
	settled();
	k.n_urls = 1;
	k.url[0] = text("http://new.example/");
	poll_once();
	assert_int_equal(k.agent.identity.n_urls, 3);
	assert_url(0, "http://new.example/");
	assert_url(1, "http://one.example/");
	ops = k.flash.ops;
	poll_once();
	assert_int_equal(k.flash.ops, ops); /* told again: nothing to write */
	assert_true(kit_start(&k));
	assert_url(0, "http://new.example/");
	/* A server that cannot make up its mind wears out nothing: once an hour. */
	assert_true(kit_run(&k, 3600));
	ops = k.flash.ops;
	for (unsigned i = 0; i < 40; i++) {
		k.url[0] = text(i % 2 ? "http://odd.example/" : "http://even.example/");
		poll_once();
	}
	assert_in_range(k.flash.ops - ops, 1, 5 * 12); /* 40 polls are 3.3 hours */
	kit_live(&k, 3600);
	k.n_urls = 3;
	k.url[0] = text("http://a/");
	k.url[1] = text("http://b/");
	k.url[2] = text("http://c/");
	assert_true(kit_run(&k, 3600));
	poll_once();
	assert_int_equal(k.agent.identity.n_urls, 3);
	assert_url(1, "http://b/");
	assert_memory_equal(k.agent.identity.k_dev, k.k_dev, KEY_LEN);
}

/* The first address is somebody else's: whatever is answered there, the second one is asked as well. */
static void test_first_url_taken(void **state)
{
	static const struct {
		int status;
		uint32_t retry_after_s;
		bool is_key_new; /* the server's: its tickets are understood only after a root walk */
	} rows[] = {{503, 3600, false}, {429, 10, false}, {404, 3600, false}, {401, 0, false},
		{500, 60, false}, {302, 60, false}, {0, 0, false}, {0, 0, true}, {404, 0, true},
		{503, 3600, true}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		settled();
		k.is_first_url_taken = true;
		k.status = rows[i].status;
		k.retry_after_s = rows[i].retry_after_s;
		if (rows[i].is_key_new) {
			memcpy(k.doc.key[2].kid, k.stranger.kid, OTA_KID_LEN);
			k.doc.key[2].pub = (struct ota_slice){k.stranger.pub, k.stranger.pub_len};
			kit_root_add(&k);
			k.ticket_signer = &k.stranger;
		}
		kit_assign(&k, 1, 1);
		kit_live(&k, 8 * 3600);
		print_message("%d, %u, %d\n", rows[i].status, rows[i].retry_after_s, rows[i].is_key_new);
		assert_true(kit_runs(&k, 1));
		assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_factory_to_update),
		T(test_without_any_image),
		T(test_enroll_forged),
		T(test_enroll_answer_lost),
		T(test_poll_clamped),
		T(test_retry_after_bounded),
		T(test_first_url_taken),
		T(test_unreachable_backs_off),
		T(test_daily_wishes),
		T(test_counter_blocks),
		T(test_counter_hint),
		T(test_receipt_when_unknown),
		T(test_nonce_without_random),
		T(test_notices),
		T(test_notice_while_checking_in),
		T(test_server_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
