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

/* The board of a device that may have been removed meanwhile: NULL then. */
static struct reg_board *board_of(const struct domain *d, uint32_t at)
{
	struct reg_live live;

	if (registry_next(d->reg, at) != at)
		return NULL;
	registry_live(d->reg, at, &live);
	return registry_board(d->reg, live.board);
}

/* Its revision; true where each of its targets is to have a hint, too. */
static bool wake_board(struct domain *d, struct reg_board *b)
{
	struct plan_wake plan;

	plan_wake(b->n_woken, b->n_devices, spread_setting(d), &plan);
	b->n_woken = 0;
	b->is_hinted = plan.hints;
	b->hint_spread_s = plan.hint_spread_s;
	/* One line of revisions for both kinds: a device may ignore what is not above what it saw. */
	b->revision = plan_revision_next(b->revision, app_now(d->app));
	if (plan.board)
		send_board(d, b, plan.board_spread_s);
	return plan.hints;
}

void wake_send(struct domain *d, struct wake_list *w)
{
	bool any_hints = false;

	/* A fleet of many boards: the targets are gone through once, not once a board. */
	for (size_t i = 0; i < w->n; i++) {
		struct reg_board *b = board_of(d, w->at[i]);

		if (b)
			b->n_woken++;
	}
	for (uint32_t i = 0; w->n && i < registry_boards(d->reg); i++) {
		struct reg_board *b = registry_board(d->reg, i);

		if (b && b->n_woken)
			any_hints = wake_board(d, b) || any_hints;
	}
	for (size_t i = 0; any_hints && i < w->n; i++) {
		const struct reg_board *b = board_of(d, w->at[i]);

		if (b && b->is_hinted)
			send_hint(d, w->at[i], b->revision, b->hint_spread_s);
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
