#include "tests/sim/flash_sim.h"

#include <stdlib.h>
#include <string.h>

#include "device-agent/src/journal.h"

enum { UNIT_UNREADABLE = 2 };

static uint32_t round_up(uint32_t n, uint32_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint32_t size_of(const struct flash_sim_options *o, unsigned region)
{
	switch (region) {
	case OTA_REGION_IDENTITY_A:
	case OTA_REGION_IDENTITY_B:
		return round_up(OTA_IDENTITY_MIN, o->erase_unit);
	case OTA_REGION_ROOT_A:
	case OTA_REGION_ROOT_B:
		return round_up(OTA_ROOT_MIN, o->erase_unit);
	case OTA_REGION_JOURNAL:
		return 2 * round_up(JOURNAL_GROUP_MIN * JOURNAL_STRIDE, o->erase_unit);
	default:
		return (region - OTA_REGION_SLOT) / OTA_SLOTS < o->n_components ? o->slot_size : 0;
	}
}

uint32_t flash_sim_random(struct flash_sim *f)
{
	f->seed = f->seed * 1664525U + 1013904223U;
	return f->seed >> 8;
}

static void sim_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	const struct flash_sim *f = ctx;

	out->size = size_of(&f->o, region);
	out->erase_unit = f->o.erase_unit;
	out->prog_unit = f->o.prog_unit;
	out->erased = f->o.erased;
}

static bool is_inside(struct flash_sim *f, unsigned region, uint32_t off, uint32_t len, uint32_t unit)
{
	uint32_t size = region < OTA_REGIONS ? size_of(&f->o, region) : 0;

	if (off <= size && len <= size - off && off % unit == 0 && len % unit == 0)
		return true;
	f->violations++;
	return false;
}

static bool is_refusing(const struct flash_sim *f)
{
	return f->journal_ops > f->refuse_from && f->journal_ops <= f->refuse_to;
}

static enum ota_err sim_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	struct flash_sim *f = ctx;
	uint8_t *out = buf;

	if (f->is_off || !is_inside(f, region, off, len, 1))
		return OTA_FLASH;
	if (region >= OTA_REGION_SLOT && f->fail_reads > 0) {
		f->fail_reads--;
		return OTA_FLASH;
	}
	if (region == OTA_REGION_JOURNAL && f->refusal == REFUSE_READING && is_refusing(f))
		return OTA_FLASH;
	for (uint32_t u = off / f->o.prog_unit; len > 0 && u <= (off + len - 1) / f->o.prog_unit; u++) {
		if (f->touched[region][u] == UNIT_UNREADABLE)
			return OTA_FLASH;
	}
	for (uint32_t i = 0; i < len; i++) {
		uint8_t shaky = f->shaky[region][off + i];

		out[i] = f->bytes[region][off + i];
		if (shaky)
			out[i] ^= (uint8_t)(flash_sim_random(f) & shaky);
	}
	return OTA_OK;
}

/* True: this op is the one that is cut. */
static bool count_op(struct flash_sim *f, unsigned region)
{
	bool is_cut = f->ops == f->cut_at;

	f->ops++;
	if (region >= OTA_REGION_SLOT)
		f->slot_ops++;
	if (is_cut) {
		f->is_off = true;
		f->cut_region = region;
	}
	return is_cut;
}

/* True: this op is refused; `*mask` is what of each byte changes nevertheless. */
static bool refuse_op(struct flash_sim *f, unsigned region, uint8_t *mask)
{
	*mask = 0xFF;
	if (region != OTA_REGION_JOURNAL)
		return false;
	f->journal_ops++;
	if (!is_refusing(f) || f->refusal == REFUSE_READING)
		return false;
	*mask = f->refusal == REFUSE_DONE ? 0xFF : f->refusal == REFUSE_HALF ? 0x3C : 0;
	return true;
}

/* Bits of byte `i` of `len` that still change in a cut op. */
static uint8_t mask_of(struct flash_sim *f, uint32_t i, uint32_t len)
{
	uint64_t limit = (uint64_t)len * f->damage_num / f->damage_den;

	switch (f->damage) {
	case DAMAGE_NOTHING:
		return 0;
	case DAMAGE_PREFIX:
		return i < limit ? 0xFF : 0;
	case DAMAGE_BITS:
	case DAMAGE_UNSTABLE:
		return (uint8_t)flash_sim_random(f);
	default:
		return 0xFF;
	}
}

static void change(struct flash_sim *f, unsigned region, uint32_t off, uint8_t to, uint8_t mask)
{
	uint8_t *byte = &f->bytes[region][off];
	uint8_t wanted = *byte ^ to;

	*byte = (uint8_t)((*byte & ~mask) | (to & mask));
	f->shaky[region][off] = 0;
	if (f->is_off && f->damage == DAMAGE_UNSTABLE)
		f->shaky[region][off] = wanted & (uint8_t)flash_sim_random(f);
	if (f->is_off && f->damage == DAMAGE_MARGINAL && wanted != 0 && f->marginal_left > 0 &&
		flash_sim_random(f) % 64 == 0) {
		f->shaky[region][off] = wanted & (uint8_t)(wanted ^ (wanted - 1));
		f->marginal_left--;
	}
}

/* What a cut leaves where the flash checks what it reads. */
static void spoil(struct flash_sim *f, unsigned region, uint32_t off, uint32_t len)
{
	if (f->is_off && f->damage == DAMAGE_UNREADABLE)
		memset(f->touched[region] + off / f->o.prog_unit, UNIT_UNREADABLE, len / f->o.prog_unit);
}

static enum ota_err sim_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	struct flash_sim *f = ctx;
	const uint8_t *bytes = buf;
	bool is_cut, is_refused;
	uint8_t taken;

	if (f->is_off || !is_inside(f, region, off, len, f->o.prog_unit))
		return OTA_FLASH;
	is_cut = count_op(f, region);
	is_refused = refuse_op(f, region, &taken);
	if (is_cut && f->damage == DAMAGE_NOTHING)
		return OTA_FLASH;
	for (uint32_t i = 0; i < len; i++) {
		uint8_t old = f->bytes[region][off + i], mask = is_cut ? mask_of(f, i, len) : taken;
		uint8_t to = f->o.erased ? old & bytes[i] : old | bytes[i];

		/* Bits that are half done already may be told to be anything: they are junk. */
		if (to != bytes[i] && (uint8_t)((to ^ bytes[i]) & ~f->shaky[region][off + i]) != 0 &&
			!is_cut && !f->touched[region][(off + i) / f->o.prog_unit])
			f->violations++;
		change(f, region, off + i, to, mask);
	}
	for (uint32_t u = off / f->o.prog_unit; u < (off + len) / f->o.prog_unit; u++) {
		if (f->o.is_write_once && f->touched[region][u] && !is_cut && taken != 0)
			f->violations++;
		if (f->touched[region][u] == 0)
			f->touched[region][u] = taken != 0;
	}
	spoil(f, region, off, len);
	return is_cut || (is_refused && f->refusal != REFUSE_SILENT) ? OTA_FLASH : OTA_OK;
}

static enum ota_err sim_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	struct flash_sim *f = ctx;
	bool is_cut, is_refused;
	uint8_t taken;

	if (f->is_off || !is_inside(f, region, off, len, f->o.erase_unit))
		return OTA_FLASH;
	is_cut = count_op(f, region);
	is_refused = refuse_op(f, region, &taken);
	if (is_cut && f->damage == DAMAGE_NOTHING)
		return OTA_FLASH;
	for (uint32_t i = 0; i < len; i++)
		change(f, region, off + i, f->o.erased, is_cut ? mask_of(f, i, len) : taken);
	spoil(f, region, off, len);
	if (!is_cut && taken == 0xFF)
		memset(f->touched[region] + off / f->o.prog_unit, 0, len / f->o.prog_unit);
	return is_cut || is_refused ? OTA_FLASH : OTA_OK;
}

static void wire(struct flash_sim *f)
{
	f->flash.ctx = f;
	f->flash.read = sim_read;
	f->flash.prog = sim_prog;
	f->flash.erase = sim_erase;
	f->flash.geometry = sim_geometry;
}

void flash_sim_init(struct flash_sim *f, const struct flash_sim_options *o)
{
	memset(f, 0, sizeof *f);
	f->o = *o;
	f->cut_at = UINT64_MAX;
	f->damage_num = 1;
	f->damage_den = 2;
	f->seed = 1;
	wire(f);
	for (unsigned r = 0; r < OTA_REGIONS; r++) {
		uint32_t size = size_of(o, r);

		f->bytes[r] = malloc(size + 1U);
		f->shaky[r] = calloc(size + 1U, 1);
		f->touched[r] = calloc(size / o->prog_unit + 1U, 1);
		memset(f->bytes[r], o->erased, size + 1U);
	}
}

void flash_sim_release(struct flash_sim *f)
{
	for (unsigned r = 0; r < OTA_REGIONS; r++) {
		free(f->bytes[r]);
		free(f->shaky[r]);
		free(f->touched[r]);
	}
	memset(f, 0, sizeof *f);
}

void flash_sim_cut(struct flash_sim *f, uint64_t after, enum flash_damage damage, uint32_t num, uint32_t den)
{
	f->cut_at = f->ops + after;
	f->marginal_left = 1 + num % 2;
	f->damage = damage;
	f->damage_num = num;
	f->damage_den = den;
}

void flash_sim_refuse(struct flash_sim *f, uint64_t after, uint64_t n, enum flash_refusal how)
{
	f->refuse_from = f->journal_ops + after;
	f->refuse_to = f->refuse_from + n;
	f->refusal = how;
}

void flash_sim_mend(struct flash_sim *f)
{
	f->refuse_to = 0;
}

void flash_sim_power_on(struct flash_sim *f)
{
	f->is_off = false;
	f->cut_at = UINT64_MAX;
}

void flash_sim_copy(struct flash_sim *to, const struct flash_sim *from)
{
	flash_sim_release(to);
	flash_sim_init(to, &from->o);
	for (unsigned r = 0; r < OTA_REGIONS; r++) {
		uint32_t size = size_of(&from->o, r);

		memcpy(to->bytes[r], from->bytes[r], size);
		memcpy(to->shaky[r], from->shaky[r], size);
		memcpy(to->touched[r], from->touched[r], size / from->o.prog_unit);
	}
	to->seed = from->seed;
}
