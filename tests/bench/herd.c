/* Many devices from one process: enrolls them, then checks in for them as fast as the server answers, or at a
 * rate.
 *
 * usage: herd enroll  PORT FILE --devices N --vendor HEX --class HEX --secret-id HEX --secret HEX
 * [--connections C] herd checkin PORT FILE [--connections C] [--seconds S] [--rate R] [--new-connections]
 * [--spread]
 *
 * FILE keeps the devices: 16 B device-id, 32 B K_dev, 8 B next counter each. One JSON line at the end. Exit 1
 * when anything but the expected answer came. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/checkin.h"
#include "proto/crypto_openssl.h"
#include "proto/enroll.h"
#include "proto/hex.h"
#include "proto/ticket.h"
#include "tests/bench/herd_http.h"

struct device {
	uint8_t id[DEVICE_ID_LEN];
	uint8_t k_dev[KEY_LEN];
	uint64_t counter;
};

struct load {
	const struct ota_crypto *crypto;
	struct device *devices;
	size_t n;                    /* devices */
	size_t next;                 /* index of the next device */
	bool *is_out;                /* by device: its request is under way, a second one would overtake it */
	size_t *of_slot;             /* device whose request is under way */
	uint8_t (*nonce)[NONCE_LEN]; /* of that request, by slot */
	bool is_enroll;
	uint8_t vendor_id[16], class_id[16], secret_id[SECRET_ID_LEN], secret[SECRET_LEN];
	double rate; /* requests a second; 0: as fast as answered */
	int64_t started_us, sent;
	size_t good, bad, n_latency, cap_latency;
	unsigned last_bad_status;
	uint32_t *latency; /* us */
};

static void note(struct load *l, int64_t us)
{
	if (l->n_latency == l->cap_latency) {
		size_t cap = l->cap_latency ? l->cap_latency * 2 : 65536;
		uint32_t *more = realloc(l->latency, cap * sizeof *more);

		if (!more)
			return;
		l->latency = more;
		l->cap_latency = cap;
	}
	l->latency[l->n_latency++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int wrap(const char *path, const uint8_t *body, size_t body_len, char *buf, size_t cap, size_t *len)
{
	int head = snprintf(buf, cap,
		"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/cbor\r\nContent-Length: "
		"%zu\r\n\r\n",
		path, body_len);

	if (head < 0 || (size_t)head + body_len > cap)
		return -1;
	memcpy(buf + head, body, body_len);
	*len = (size_t)head + body_len;
	return 1;
}

static int enroll_request(struct load *l, unsigned slot, char *buf, size_t cap, size_t *len)
{
	struct enroll_request r = {0};
	uint8_t body[ENROLL_MAX];
	size_t body_len;

	if (l->next == l->n)
		return -1;
	l->of_slot[slot] = l->next++;
	memcpy(r.secret_id, l->secret_id, sizeof r.secret_id);
	memcpy(r.vendor_id, l->vendor_id, sizeof r.vendor_id);
	memcpy(r.class_id, l->class_id, sizeof r.class_id);
	r.serial_len = (size_t)snprintf((char *)r.serial, sizeof r.serial, "herd-%zu", l->of_slot[slot]);
	if (crypto_random(l->nonce[slot], NONCE_LEN))
		return -1;
	memcpy(r.nonce_d, l->nonce[slot], NONCE_LEN);
	if (enroll_request_encode(&r, l->crypto, l->secret, body, sizeof body, &body_len))
		return -1;
	return wrap("/d/v1/enroll", body, body_len, buf, cap, len);
}

static bool find_idle(struct load *l)
{
	for (size_t tried = 0; tried < l->n; tried++) {
		if (!l->is_out[l->next])
			return true;
		l->next = (l->next + 1) % l->n;
	}
	return false;
}

static int checkin_request(struct load *l, unsigned slot, char *buf, size_t cap, size_t *len)
{
	struct checkin ci = {.root_version = 1, .flags = CHECKIN_FLAG_HAS_RANDOM};
	struct device *d;
	uint8_t body[CHECKIN_MAX];
	size_t body_len;

	if (l->rate > 0 && (double)l->sent >= (double)(herd_now_us() - l->started_us) / 1e6 * l->rate)
		return 0;
	if (!find_idle(l))
		return 0;
	d = &l->devices[l->next];
	l->is_out[l->next] = true;
	l->of_slot[slot] = l->next;
	l->next = (l->next + 1) % l->n;
	ci.counter = d->counter++;
	l->sent++;
	memcpy(ci.device_id, d->id, sizeof ci.device_id);
	/* Unguessable is not needed here, different is. */
	memcpy(ci.nonce, &ci.counter, sizeof ci.counter);
	memcpy(l->nonce[slot], ci.nonce, NONCE_LEN);
	if (checkin_encode(&ci, l->crypto, d->k_dev, body, sizeof body, &body_len))
		return -1;
	return wrap("/d/v1/checkin", body, body_len, buf, cap, len);
}

static int request(void *ctx, unsigned slot, char *buf, size_t cap, size_t *len)
{
	struct load *l = ctx;

	return l->is_enroll ? enroll_request(l, slot, buf, cap, len)
			    : checkin_request(l, slot, buf, cap, len);
}

static bool take_enrolled(struct load *l, unsigned slot, const struct herd_answer *a)
{
	struct device *d = &l->devices[l->of_slot[slot]];
	struct enroll_answer e;

	if (a->status != 200 ||
		enroll_answer_decode(l->crypto, a->body, a->len, l->secret, l->nonce[slot], &e))
		return false;
	memcpy(d->id, e.device_id, sizeof d->id);
	keys_device(l->crypto, l->secret, e.device_id, e.nonce_d, e.nonce_s, d->k_dev);
	d->counter = 1;
	return true;
}

static void answer(void *ctx, unsigned slot, const struct herd_answer *a)
{
	struct load *l = ctx;
	bool is_good = l->is_enroll ? take_enrolled(l, slot, a) : a->status == 200;

	l->is_out[l->of_slot[slot]] = false;
	note(l, a->latency_us);
	if (is_good) {
		l->good++;
	} else {
		l->bad++;
		l->last_bad_status = a->status;
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t at_share(const struct load *l, double share)
{
	return l->n_latency ? l->latency[(size_t)((double)(l->n_latency - 1) * share)] : 0;
}

static void report(struct load *l, const struct herd_run *run)
{
	double seconds = (double)(herd_now_us() - l->started_us) / 1e6;

	qsort(l->latency, l->n_latency, sizeof *l->latency, by_value);
	printf("{\"good\": %zu, \"bad\": %zu, \"last_bad_status\": %u, \"seconds\": %.3f, \"per_second\": "
	       "%.0f, "
	       "\"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"connect_max_us\": %lld}\n",
		l->good, l->bad, l->last_bad_status, seconds, (double)l->good / seconds, at_share(l, 0.5),
		at_share(l, 0.99), at_share(l, 1.0), (long long)run->connect_us);
}

static bool load_devices(struct load *l, const char *path)
{
	FILE *f = fopen(path, "rb");
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < (long)sizeof(struct device)) {
		fprintf(stderr, "herd: '%s' holds no devices\n", path);
		if (f)
			(void)fclose(f);
		return false;
	}
	rewind(f);
	l->n = (size_t)size / sizeof(struct device);
	l->devices = calloc(l->n, sizeof *l->devices);
	bool is_good = l->devices && fread(l->devices, sizeof *l->devices, l->n, f) == l->n;

	(void)fclose(f);
	return is_good;
}

static bool save_devices(const struct load *l, const char *path)
{
	FILE *f = fopen(path, "wb");
	bool is_good = f && fwrite(l->devices, sizeof *l->devices, l->n, f) == l->n;

	if (f && fclose(f))
		is_good = false;
	if (!is_good)
		fprintf(stderr, "herd: cannot write '%s'\n", path);
	return is_good;
}

static int usage(void)
{
	fputs("usage: herd enroll PORT FILE --devices N --vendor HEX --class HEX --secret-id HEX --secret HEX"
	      " [--connections C]\n"
	      "       herd checkin PORT FILE [--connections C] [--seconds S] [--rate R] "
	      "[--new-connections]\n",
		stderr);
	return 2;
}

/* Hex with or without the dashes of a UUID. */
static bool take_hex(const char *text, uint8_t *out, size_t len)
{
	char plain[2 * SECRET_LEN + 1];
	size_t n = 0;

	for (; *text && n < sizeof plain - 1; text++) {
		if (*text != '-')
			plain[n++] = *text;
	}
	plain[n] = '\0';
	return !*text && n == 2 * len && hex_decode(plain, n, HEX_ANY, out, len) == OTA_OK;
}

static bool take_options(struct load *l, struct herd_run *run, int argc, char **argv)
{
	static const struct option options[] = {{"devices", 1, NULL, 'd'}, {"vendor", 1, NULL, 'v'},
		{"class", 1, NULL, 'c'}, {"secret-id", 1, NULL, 'i'}, {"secret", 1, NULL, 's'},
		{"connections", 1, NULL, 'n'}, {"seconds", 1, NULL, 't'}, {"rate", 1, NULL, 'r'},
		{"new-connections", 0, NULL, 'N'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		bool is_good = true;

		if (c == 'd')
			l->n = strtoul(optarg, NULL, 10);
		else if (c == 'v')
			is_good = take_hex(optarg, l->vendor_id, sizeof l->vendor_id);
		else if (c == 'c')
			is_good = take_hex(optarg, l->class_id, sizeof l->class_id);
		else if (c == 'i')
			is_good = take_hex(optarg, l->secret_id, sizeof l->secret_id);
		else if (c == 's')
			is_good = take_hex(optarg, l->secret, sizeof l->secret);
		else if (c == 'n')
			run->connections = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 't')
			run->seconds = strtod(optarg, NULL);
		else if (c == 'r')
			l->rate = strtod(optarg, NULL);
		else if (c == 'N')
			run->is_close = true;
		else
			is_good = false;
		if (!is_good)
			return false;
	}
	return run->connections > 0;
}

int main(int argc, char **argv)
{
	static const struct herd_ops ops = {request, answer};
	struct herd_run run = {.connections = 64};
	struct load l = {.crypto = crypto_openssl()};
	bool is_good;

	if (argc < 4)
		return usage();
	l.is_enroll = strcmp(argv[1], "enroll") == 0;
	if (!l.is_enroll && strcmp(argv[1], "checkin") != 0)
		return usage();
	run.port = (uint16_t)strtoul(argv[2], NULL, 10);
	run.seconds = l.is_enroll ? 0 : 3;
	if (!take_options(&l, &run, argc - 3, argv + 3))
		return usage();
	if (l.is_enroll) {
		l.devices = l.n ? calloc(l.n, sizeof *l.devices) : NULL;
		if (!l.devices)
			return usage();
	} else if (!load_devices(&l, argv[3])) {
		return 1;
	}
	l.of_slot = calloc(run.connections, sizeof *l.of_slot);
	l.nonce = calloc(run.connections, sizeof *l.nonce);
	l.is_out = calloc(l.n, sizeof *l.is_out);
	if (!l.of_slot || !l.nonce || !l.is_out)
		return 1;
	l.started_us = herd_now_us();
	is_good = herd_http(&run, &ops, &l);
	report(&l, &run);
	is_good = save_devices(&l, argv[3]) && is_good && l.bad == 0;
	ota_wipe(l.secret, sizeof l.secret);
	free(l.latency);
	free(l.is_out);
	free(l.of_slot);
	free(l.nonce);
	free(l.devices);
	return is_good ? 0 : 1;
}
