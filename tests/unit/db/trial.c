#include "tests/unit/db/trial.h"

const struct device_change nothing = {.state = -1, .hold = -1};

static int64_t manifest_of(struct fixture *f, uint32_t sequence)
{
	struct manifest_row row;
	uint8_t digest[32];

	manifest_digest(sequence, digest);
	ok(f, manifest_load_digest(f->db, digest, &f->mem, &row, &f->e));
	return row.id;
}

void advance(const struct world *w, int64_t id, enum assign_state to)
{
	const struct assignment_move move = {
		.to = to, .now = NOW + 50, .reason = to == ASSIGN_FAILED ? 11 : 0};

	ok(w->f, assignment_advance(w->f->db, id, &move, NULL, &w->f->e));
}

struct assignment_opened open_it(const struct world *w, int64_t rollout, int64_t manifest)
{
	struct assignment_opened out;

	ok(w->f, assignment_open(w->f->db, rollout, w->device, manifest, NOW + 10, &out, &w->f->e));
	return out;
}

struct assignment_row row_of(const struct world *w, int64_t id)
{
	struct assignment_row row;

	ok(w->f, assignment_load(w->f->db, id, &w->f->mem, &row, &w->f->e));
	return row;
}

enum rollout_state rollout_is(const struct world *w, int64_t id)
{
	struct rollout_row row;

	ok(w->f, rollout_load(w->f->db, id, &w->f->mem, &row, &w->f->e));
	return row.state;
}

struct world make_world(void **state)
{
	struct world w = {.f = *state};

	w.board = make_board(w.f, "lamp", 1);
	w.r1 = make_rollout(w.f, "r1", make_release(w.f, w.board, "1.0", "one", 100));
	w.r2 = make_rollout(w.f, "r2", make_release(w.f, w.board, "2.0", "two", 200));
	w.r3 = make_rollout(w.f, "r3", make_release(w.f, w.board, "3.0", "three", 300));
	w.m1 = manifest_of(w.f, 100);
	w.m2 = manifest_of(w.f, 200);
	w.m3 = manifest_of(w.f, 300);
	w.device = make_device(w.f, "d", w.board, 'd');
	w.trial = open_it(&w, w.r1, w.m1);
	advance(&w, w.trial.id, ASSIGN_OFFERED);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	return w;
}

void is_open(const struct world *w, int64_t id)
{
	struct assignment_row row;

	ok(w->f, assignment_load_open(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
	assert_int_equal(row.id, id);
	ok(w->f, assignment_load_latest(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
	assert_int_equal(row.id, id);
}
