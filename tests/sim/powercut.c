/* Power cuts over a whole life: enroll, walk two roots, update, confirm, on simulated flash.
 *
 *     powercut [--geometry N|all] [--bytes] [--pairs N] [--each N] [--seed N]
 *              [--cut AT,DAMAGE,NUM/DEN,SEED]... [--copies N] [--refuse FROM,N,HOW]
 *
 * Without options: one small geometry, every operation, every damage; of a torn operation a few lengths
 * (--bytes: every byte). --cut and --refuse replay one life under its --seed and --geometry. --pairs N: N
 * random pairs of cuts more, the second while the first is being recovered from. --each N: only each Nth
 * operation. --copies N: so many cuts of each write of identity and root that leave it readable now and then.
 * --refuse: the journal takes nothing for a while. After each: an image that verifies boots, nothing that
 * only counts up went back, and the device ends on the new image, idle, with the truth told. Exit 1 at the
 * first breach, with what replays it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "proto/crypto_openssl.h"
#include "tests/sim/seeded.h"
#include "tests/unit/agent/kit.h"

/* The new image is `size` bytes; one above 64 KiB has marks to resume from. The other slot may hold an older
 * release, and a second component may be new or the running one, which is copied. */
static const struct {
	struct flash_sim_options o;
	uint32_t size;
	bool is_occupied, is_copied;
} geometries[] = {
	{{1024, 4, 0xFF, 8192, 1, true}, 4500, false, false},
	{{128, 1, 0xFF, 8192, 1, false}, 4500, false, false},
	{{256, 8, 0x00, 8192, 1, false}, 4500, false, false},
	{{512, 16, 0xFF, 8192, 1, false}, 7168, false, false},   /* up to the envelope */
	{{4096, 4, 0xFF, 16384, 1, false}, 13000, false, false}, /* shares its last unit with the envelope */
	{{4096, 32, 0x00, 16384, 1, false}, 4500, false, false},
	{{65536, 4, 0xFF, 65536, 1, false}, 4500, false, false},
	{{262144, 4, 0xFF, 262144, 1, false}, 4500, false, false},
	{{4096, 4, 0xFF, 163840, 1, false}, 150000, false, false},
	{{1024, 4, 0xFF, 8192, 2, true}, 4500, true, true},
	{{256, 8, 0x00, 8192, 2, false}, 4500, true, false},
	{{4096, 4, 0xFF, 16384, 2, false}, 4500, false, true},
	{{128, 1, 0xFF, 8192, 1, false}, 4500, true, false},
};

enum { N_GEOMETRIES = sizeof geometries / sizeof geometries[0], RECOVER_S = 30 * 3600, REFUSED_S = 2 * 3600 };

struct cut {
	uint64_t at;
	enum flash_damage damage;
	uint32_t num, den;
	uint32_t seed;
};

struct refusal {
	uint64_t from, n; /* of the journal's operations */
	enum flash_refusal how;
};

struct world {
	struct kit k;
	struct flash_sim start; /* the flash as the factory made it */
	unsigned geometry;
	uint32_t seed; /* of keys, signatures and nonces */
	uint32_t floor, boots, root;
	unsigned first_cut_region; /* of this life */
	uint64_t runs;
	uint32_t fingerprint; /* of what every life left in flash: the same in each run */
	bool is_loud;
	uint32_t each; /* operations: 1 all, N each Nth */
};

static struct world w;

static void world_init(unsigned geometry, uint32_t seed)
{
	w.geometry = geometry;
	w.seed = seed;
	seeded_start(seed);
	kit_init(&w.k, &geometries[geometry].o);
	kit_make(&w.k, 0, 1000, 3000, 1);
	kit_make(&w.k, 1, 2000, geometries[geometry].size, 2);
	kit_make(&w.k, 2, 500, 3500, 3);
	if (geometries[geometry].o.n_components == 2) {
		kit_add_component(&w.k, 0, "data", 2500, 4);
		kit_add_component(&w.k, 1, "data", geometries[geometry].is_copied ? 2500 : 2700,
			geometries[geometry].is_copied ? 4 : 5);
		kit_add_component(&w.k, 2, "data", 900, 6);
	}
	kit_factory(&w.k, 0, 0);
	if (geometries[geometry].is_occupied)
		kit_factory(&w.k, 2, 1);
	for (unsigned i = 0; i < 2; i++)
		kit_root_add(&w.k);
	w.k.ticket_is_signed = true;
	flash_sim_copy(&w.start, &w.k.flash);
}

static void world_end(void)
{
	flash_sim_release(&w.start);
	kit_end(&w.k);
}

/* `salt`: of this life's signatures, so that it is the same whatever was run before it. */
static void world_reset(uint32_t salt)
{
	seeded_start(w.seed * 2654435761U + salt + 1);
	flash_sim_copy(&w.k.flash, &w.start);
	kit_forget(&w.k);
	w.k.last_counter = 0;
	w.k.told_untrue = w.k.is_down = false;
	flash_sim_mend(&w.k.flash);
	w.k.now = 1000000;
	kit_assign(&w.k, 1, 1);
	w.floor = w.boots = w.root = 0;
	memset(&w.k.agent, 0, sizeof w.k.agent);
}

static void arm(const struct cut *c)
{
	w.k.flash.seed = c->seed;
	flash_sim_cut(&w.k.flash, c->at, c->damage, c->num, c->den);
}

static const char *breach_at_start(void)
{
	const struct journal_state *s = &w.k.agent.journal.s;

	if (w.is_loud)
		printf("start: record %u at %u/%u, phase %u, active %u, floor %u, boots %u, result %d, root "
		       "%u\n",
			w.k.agent.journal.number, w.k.agent.journal.group, w.k.agent.journal.index,
			(unsigned)s->phase, (unsigned)s->active, s->floor, s->boots, -(int)s->result.detail,
			w.k.agent.root.version);
	if (w.k.boot_err != OTA_OK)
		return "nothing boots";
	if (!kit_runs(&w.k, 0) && !kit_runs(&w.k, 1))
		return "what boots is not an image that verifies";
	if (s->floor < w.floor || s->boots < w.boots || w.k.agent.root.version < w.root)
		return "a counter went back";
	w.floor = s->floor;
	w.boots = s->boots;
	w.root = w.k.agent.root.version;
	return NULL;
}

static const char *breach_always(void)
{
	if (w.k.told_untrue)
		return "the server was told what is not on flash";
	if (w.k.flash.violations != 0)
		return "flash was used against its rules";
	return NULL;
}

static void take_fingerprint(void)
{
	for (unsigned r = 0; r < OTA_REGION_SLOT; r++) {
		struct ota_flash_geometry geo;

		w.k.flash.flash.geometry(&w.k.flash, r, &geo);
		for (uint32_t i = 0; i < geo.size; i++)
			w.fingerprint = (w.fingerprint ^ w.k.flash.bytes[r][i]) * 16777619U;
	}
}

static const char *breach_at_end(bool is_settled)
{
	const struct journal_state *s = &w.k.agent.journal.s;

	take_fingerprint();
	if (!is_settled || s->phase != JOURNAL_IDLE)
		return "it does not come to rest";
	if (!kit_runs(&w.k, 1))
		return "it does not end on the new image";
	if (s->floor != 2000 || w.k.agent.root.version != 3 || w.k.agent.identity.has_secret)
		return "floor, root or secret are not as they should be";
	if (w.k.counter_went_back)
		return "a check-in counter went back";
	if (!w.k.last.has_running || w.k.last.running_sequence != 2000 ||
		(w.k.last.state != CHECKIN_IDLE && w.k.last.state != CHECKIN_CONFIRMED))
		return "the last report is not the truth";
	if (w.k.told.has_result && memcmp(w.k.told.result_digest, w.k.release[1].digest, 32) == 0)
		return "it told of a failure that was none";
	return breach_always();
}

/* One life with these cuts, each counted from the start that follows the one before. */
static const char *live(const struct cut *cuts, unsigned n_cuts)
{
	const char *breach;
	bool is_settled = false;

	world_reset(cuts[0].seed);
	w.runs++;
	for (unsigned i = 0; i <= n_cuts; i++) {
		flash_sim_power_on(&w.k.flash);
		if (i < n_cuts)
			arm(&cuts[i]);
		if (kit_start(&w.k)) {
			breach = breach_at_start();
			if (breach && !w.k.flash.is_off)
				return breach;
			is_settled = kit_run(&w.k, RECOVER_S);
		} else if (!w.k.flash.is_off) {
			return "it does not start";
		}
		if (i == 0)
			w.first_cut_region = w.k.flash.cut_region;
		if (!w.k.flash.is_off)
			break; /* all done before this cut was reached */
	}
	return breach_at_end(is_settled);
}

static void tell(const char *breach, const struct cut *cuts, unsigned n_cuts)
{
	printf("BREACH: %s\n  --seed %u --geometry %u (erase %u, program %u, erased %02x)\n", breach, w.seed,
		w.geometry, geometries[w.geometry].o.erase_unit, (unsigned)geometries[w.geometry].o.prog_unit,
		(unsigned)geometries[w.geometry].o.erased);
	for (unsigned i = 0; i < n_cuts; i++)
		printf("  --cut %llu,%d,%u/%u,%u\n", (unsigned long long)cuts[i].at, (int)cuts[i].damage,
			cuts[i].num, cuts[i].den, cuts[i].seed);
	printf("  ends in phase %u, active %u, floor %u, settled after %u starts, %u check-ins\n",
		(unsigned)w.k.agent.journal.s.phase, (unsigned)w.k.agent.journal.s.active,
		w.k.agent.journal.s.floor, w.k.n_starts, w.k.n_checkins);
}

static bool try_cut(const struct cut *cuts, unsigned n_cuts)
{
	const char *breach = live(cuts, n_cuts);

	if (breach)
		tell(breach, cuts, n_cuts);
	return breach == NULL;
}

static uint64_t count_ops(void)
{
	uint64_t before;
	const char *breach;

	world_reset(0);
	before = w.k.flash.ops;
	breach = kit_start(&w.k) && kit_run(&w.k, RECOVER_S) ? breach_at_end(true)
							     : "it does not finish uncut";
	if (breach) {
		tell(breach, NULL, 0);
		exit(1);
	}
	return w.k.flash.ops - before;
}

static bool every_cut(uint64_t ops, bool is_every_byte)
{
	for (uint64_t at = 0; at < ops; at += w.each) {
		for (unsigned damage = 0; damage < DAMAGES; damage++) {
			uint32_t den = is_every_byte ? 384 : 4;
			bool is_torn = damage == DAMAGE_PREFIX;
			unsigned repeats = is_torn                                              ? den - 1
					   : damage >= DAMAGE_BITS && damage <= DAMAGE_MARGINAL ? 2
												: 1;

			for (unsigned i = 0; i < repeats; i++) {
				struct cut c = {at, (enum flash_damage)damage, i + 1, den,
					(uint32_t)at * 31 + i * 7 + damage + 1};

				if (!try_cut(&c, 1))
					return false;
			}
		}
	}
	return true;
}

/* A write that reads well or not as it pleases, and power that goes again at the next start's first
 * operations: what was found once must not be built on before it was written anew. */
static bool marginal_then_again(uint64_t ops, uint32_t on_copies)
{
	for (uint64_t at = 0; at < ops; at += w.each) {
		uint32_t n = 6;

		for (uint32_t i = 0; i < n; i++) {
			struct cut c[2] = {{at, DAMAGE_MARGINAL, i, 2, (uint32_t)at * 131 + i * 17 + 1},
				{i / 3, DAMAGE_NOTHING, 1, 2, i + 1}};

			if (i >= 6) { /* ... and torn again while it is being mended */
				c[1].at = i % 8;
				c[1].damage = DAMAGE_BITS;
			}
			if (!try_cut(c, 2))
				return false;
			/* Identity and root: whether a torn copy passes for a whole one is a matter of luck.
			 */
			if (i == 0 && w.first_cut_region < OTA_REGION_JOURNAL)
				n = on_copies;
		}
	}
	return true;
}

static bool random_pairs(uint64_t ops, unsigned n, uint32_t seed)
{
	uint32_t x = seed;

	for (unsigned i = 0; i < n; i++) {
		struct cut c[2];

		for (unsigned j = 0; j < 2; j++) {
			x = x * 1664525U + 1013904223U;
			c[j].at = (x >> 8) % (j == 0 ? ops : 24);
			x = x * 1664525U + 1013904223U;
			c[j].damage = (enum flash_damage)((x >> 8) % DAMAGES);
			c[j].num = 1 + (x >> 16) % 7;
			c[j].den = 8;
			c[j].seed = x;
		}
		if (!try_cut(c, 2))
			return false;
	}
	return true;
}

/* A journal that takes nothing for a while, and no power cut: afterwards the device is where it would have
 * been, or has told of a failure and takes the next attempt. Whatever it says meanwhile is on flash. */
static const char *live_refused(const struct refusal *r)
{
	world_reset(0);
	w.runs++;
	flash_sim_refuse(&w.k.flash, r->from, r->n, r->how);
	(void)kit_start(&w.k);
	kit_live(&w.k, REFUSED_S);
	flash_sim_mend(&w.k.flash);
	kit_live(&w.k, REFUSED_S); /* it may wait for an hour before it tries again */
	if (!kit_run(&w.k, RECOVER_S))
		return "it does not come to rest";
	if (breach_always())
		return breach_always();
	if (!kit_runs(&w.k, 1)) {
		if (!w.k.told.has_result || w.k.assigned >= 0)
			return "it gave up and did not tell";
		memset(&w.k.told, 0, sizeof w.k.told);
		kit_assign(&w.k, 1, 2);
		kit_live(&w.k, 3600);
	}
	return breach_at_end(kit_run(&w.k, RECOVER_S));
}

static bool try_refusal(const struct refusal *r)
{
	const char *breach = live_refused(r);

	if (breach) {
		tell(breach, NULL, 0);
		printf("  --refuse %llu,%llu,%d\n", (unsigned long long)r->from, (unsigned long long)r->n,
			(int)r->how);
	}
	return breach == NULL;
}

static bool every_refusal(uint64_t journal_ops)
{
	static const uint64_t lengths[] = {1, 5, UINT32_MAX};

	for (uint64_t from = 0; from < journal_ops; from += w.each) {
		for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			for (unsigned how = 0; how < REFUSALS; how++) {
				struct refusal r = {from, lengths[i], (enum flash_refusal)how};

				if (!try_refusal(&r))
					return false;
			}
		}
	}
	return true;
}

static bool geometry_run(unsigned g, bool is_every_byte, unsigned pairs, uint32_t on_copies, uint32_t seed)
{
	struct timespec a, b;
	uint64_t ops, journal_ops;
	bool is_good;

	world_init(g, seed);
	clock_gettime(CLOCK_MONOTONIC, &a);
	ops = count_ops();
	w.runs = 0;
	w.fingerprint = 2166136261U;
	journal_ops = w.k.flash.journal_ops;
	is_good = every_refusal(journal_ops) && every_cut(ops, is_every_byte) &&
		  marginal_then_again(ops, on_copies) && random_pairs(ops, pairs, seed);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("geometry %u (erase %u, program %u, erased %02x), seed %u: %llu operations, %llu lives, "
	       "fingerprint "
	       "%08x, %s, %.1f s\n",
		g, geometries[g].o.erase_unit, (unsigned)geometries[g].o.prog_unit,
		(unsigned)geometries[g].o.erased, seed, (unsigned long long)ops, (unsigned long long)w.runs,
		w.fingerprint, is_good ? "all survived" : "BREACHED",
		(double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	(void)fflush(stdout);
	world_end();
	return is_good;
}

int main(int argc, char **argv)
{
	unsigned first = 0, last = 0, pairs = 200, on_copies = 24;
	bool is_every_byte = false;
	uint32_t seed = 1;
	struct cut cuts[4];
	struct refusal refusal = {0};
	unsigned n_cuts = 0;

	w.each = 1;
	for (int i = 1; i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--bytes") == 0) {
			is_every_byte = true;
		} else if (strcmp(argv[i], "--geometry") == 0) {
			first = strcmp(next, "all") == 0 ? 0
							 : (unsigned)strtoul(next, NULL, 10) % N_GEOMETRIES;
			last = strcmp(next, "all") == 0 ? N_GEOMETRIES - 1U : first;
			i++;
		} else if (strcmp(argv[i], "--pairs") == 0) {
			pairs = (unsigned)strtoul(next, NULL, 10);
			i++;
		} else if (strcmp(argv[i], "--each") == 0) {
			w.each = (uint32_t)strtoul(next, NULL, 10);
			w.each = w.each ? w.each : 1;
			i++;
		} else if (strcmp(argv[i], "--copies") == 0) {
			on_copies = (unsigned)strtoul(next, NULL, 10);
			i++;
		} else if (strcmp(argv[i], "--cut") == 0 && n_cuts < 4) {
			unsigned long long at;
			unsigned damage;
			struct cut *c = &cuts[n_cuts++];

			if (sscanf(next, "%llu,%u,%u/%u,%u", &at, &damage, &c->num, &c->den, &c->seed) != 5 ||
				damage >= DAMAGES || c->den == 0)
				return 2;
			c->at = at;
			c->damage = (enum flash_damage)damage;
			i++;
		} else if (strcmp(argv[i], "--refuse") == 0) {
			unsigned long long from, n;
			unsigned how;

			if (sscanf(next, "%llu,%llu,%u", &from, &n, &how) != 3 || how >= REFUSALS)
				return 2;
			refusal = (struct refusal){from, n, (enum flash_refusal)how};
			i++;
		} else if (strcmp(argv[i], "--seed") == 0) {
			seed = (uint32_t)strtoul(next, NULL, 10);
			i++;
		} else {
			(void)fprintf(stderr, "usage: powercut [--geometry N|all] [--bytes] [--pairs N] "
					      "[--each N] [--seed N]\n");
			return 2;
		}
	}
	if (n_cuts > 0 || refusal.n > 0) {
		bool is_good;

		w.is_loud = true;
		world_init(first, seed);
		is_good = refusal.n > 0 ? try_refusal(&refusal) : try_cut(cuts, n_cuts);
		world_end();
		return is_good ? 0 : 1;
	}
	for (unsigned g = first; g <= last; g++) {
		if (!geometry_run(g, is_every_byte, pairs, on_copies, seed))
			return 1;
	}
	return 0;
}
