#include "server/wake.h"

#include <stdlib.h>

#include "proto/notice.h"
#include "server/mqtt.h"

void wake_list_release(struct wake_list *w)
{
	free(w->at);
	*w = (struct wake_list){0};
}

void wake_add(struct wake_list *w, uint32_t at)
{
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 64;
		uint32_t *grown = realloc(w->at, cap * sizeof(*grown));

		if (!grown)
			return;
		w->at = grown;
		w->cap = cap;
	}
	w->at[w->n++] = at;
}

static void send_board(struct domain *d, const struct reg_board *b, uint32_t spread_s)
{
	struct notice n = {.revision = b->revision, .spread_s = spread_s};
	uint8_t payload[NOTICE_MAX];
	size_t len;

	if (notice_encode(&n, payload, sizeof(payload), &len) == OTA_OK)
		mqtt_board_notice(d->app->mqtt, b->class_id, payload, len);
}

static void send_hint(struct domain *d, uint32_t at, uint32_t revision, uint32_t spread_s)
{
	struct notice n = {.revision = revision, .spread_s = spread_s};
	uint8_t payload[NOTICE_MAX], id[DEVICE_ID_LEN];
	size_t len;

	registry_id(d->reg, at, id);
	if (notice_encode(&n, payload, sizeof(payload), &len) == OTA_OK)
		mqtt_device_hint(d->app->mqtt, id, payload, len);
}

static uint32_t spread_setting(const struct domain *d)
{
	return (uint32_t)d->app->cfg->notice_spread;
}

/* A device of this board, still there? */
static bool is_of_board(const struct domain *d, uint32_t at, uint32_t board)
{
	struct reg_live live;

	if (registry_next(d->reg, at) != at)
		return false;
	registry_live(d->reg, at, &live);
	return live.board == board;
}

static void wake_board(struct domain *d, struct reg_board *b, uint32_t board, const struct wake_list *w)
{
	struct plan_wake plan;
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += is_of_board(d, w->at[i], board);
	plan_wake(n, b->n_devices, spread_setting(d), &plan);
	if (!plan.board && !plan.hints)
		return;
	/* One line of revisions for both kinds: a device may ignore what is not above what it saw. */
	b->revision = plan_revision_next(b->revision, app_now(d->app));
	if (plan.board)
		send_board(d, b, plan.board_spread_s);
	for (size_t i = 0; plan.hints && i < w->n; i++) {
		if (is_of_board(d, w->at[i], board))
			send_hint(d, w->at[i], b->revision, plan.hint_spread_s);
	}
}

void wake_send(struct domain *d, struct wake_list *w)
{
	struct reg_board *b;

	if (!w->n)
		return;
	for (uint32_t i = 0; i < registry_boards(d->reg); i++) {
		b = registry_board(d->reg, i);
		if (b)
			wake_board(d, b, i, w);
	}
	w->n = 0;
}

void wake_boards(struct domain *d)
{
	struct plan_wake plan;

	for (uint32_t i = 0; i < registry_boards(d->reg); i++) {
		struct reg_board *b = registry_board(d->reg, i);

		if (!b || !b->n_devices)
			continue;
		plan_wake(b->n_devices, b->n_devices, spread_setting(d), &plan);
		b->revision = plan_revision_next(b->revision, app_now(d->app));
		send_board(d, b, plan.board_spread_s);
	}
}
