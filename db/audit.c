#include "db/audit.h"

#include <string.h>

#include "db/list.h"
#include "db/stmt.h"

enum ota_err audit_add(struct db *db, const struct audit_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO audit (at, who, action, target, peer, before_json, after_json)"
		" VALUES ($at, $who, $action, $target, $peer, $before, $after) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);
	enum ota_err err;
	int64_t got;

	bind_i64(st, "at", row->at);
	bind_text(st, "who", row->who);
	bind_text(st, "action", row->action);
	bind_text(st, "target", row->target ? row->target : "");
	bind_text(st, "peer", row->from ? row->from : "");
	bind_text(st, "before", row->before);
	bind_text(st, "after", row->after);
	err = stmt_id(st, &got, e);
	if (err == OTA_OK && id)
		*id = got;
	return err;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct audit_row row = {
		.id = col_i64(st, "id"),
		.at = col_i64(st, "at"),
		.who = col_text(st, "who", mem),
		.action = col_text(st, "action", mem),
		.target = col_text(st, "target", mem),
		.from = col_text(st, "peer", mem),
		.before = col_text_or(st, "before_json", mem, NULL),
		.after = col_text_or(st, "after_json", mem, NULL),
	};
	enum ota_err err = stmt_status(st, e);

	if (err == OTA_OK)
		*(struct audit_row *)out = row;
	return err;
}

static const char *text_or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

enum ota_err audit_list(struct db *db, const struct audit_filter *filter, const struct db_page *page,
	struct arena *mem, struct audit_list *out, struct errmsg *e)
{
	static const char q_list[] =
		"SELECT id, at, who, action, target, peer, before_json, after_json FROM audit"
		" WHERE ($cursor = 0 OR id < $cursor)"
		" AND ($who IS NULL OR who = $who)"
		" AND ($action IS NULL OR action = $action"
		"  OR (substr($action, -1) = '.' AND substr(action, 1, length($action)) = $action))"
		" AND ($target IS NULL OR target = $target)"
		" AND at >= $since"
		" ORDER BY id DESC LIMIT $limit";
	static const struct audit_filter all = {0};
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	if (!filter)
		filter = &all;
	list_bind(st, page);
	bind_text(st, "who", text_or_null(filter->who));
	bind_text(st, "action", text_or_null(filter->action));
	bind_text(st, "target", text_or_null(filter->target));
	bind_i64(st, "since", filter->since);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}
