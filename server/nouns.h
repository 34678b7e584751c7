/* The operators' handlers, one file per noun; routes.c says who may call them. */
#ifndef SERVER_NOUNS_H
#define SERVER_NOUNS_H

#include "db/db.h"
#include "server/auth.h"
#include "server/handler.h"

/* h_server.c */
enum h_result h_server_get(struct req *req, struct res *res);
enum h_result h_status_get(struct req *req, struct res *res);
enum h_result h_openapi_get(struct req *req, struct res *res);
enum h_result h_key_release_create(struct req *req, struct res *res);

/* h_root_admin.c */
enum h_result h_root_get(struct req *req, struct res *res);
enum h_result h_root_put(struct req *req, struct res *res);

/* h_board.c */
enum h_result h_board_list(struct req *req, struct res *res);
enum h_result h_board_create(struct req *req, struct res *res);
enum h_result h_board_get(struct req *req, struct res *res);
enum h_result h_board_update(struct req *req, struct res *res);
enum h_result h_board_delete(struct req *req, struct res *res);
enum h_result h_board_card(struct req *req, struct res *res);

/* h_image.c */
enum h_result h_image_list(struct req *req, struct res *res);
enum h_result h_image_get(struct req *req, struct res *res);
enum h_result h_image_head(struct req *req, struct res *res);
enum h_result h_image_put(struct req *req, struct res *res);
enum h_result h_image_delete(struct req *req, struct res *res);

/* h_release.c */
enum h_result h_release_list(struct req *req, struct res *res);
enum h_result h_release_create(struct req *req, struct res *res);
enum h_result h_release_get(struct req *req, struct res *res);
enum h_result h_release_delete(struct req *req, struct res *res);
enum h_result h_release_retire(struct req *req, struct res *res);
enum h_result h_release_envelope_get(struct req *req, struct res *res);
enum h_result h_release_envelope_put(struct req *req, struct res *res);

/* h_device_admin.c */
enum h_result h_device_list(struct req *req, struct res *res);
enum h_result h_device_get(struct req *req, struct res *res);
enum h_result h_device_update(struct req *req, struct res *res);
enum h_result h_device_remove(struct req *req, struct res *res);
enum h_result h_device_approve(struct req *req, struct res *res);
enum h_result h_device_reject(struct req *req, struct res *res);
enum h_result h_device_replace(struct req *req, struct res *res);
enum h_result h_device_ack(struct req *req, struct res *res);
enum h_result h_device_cancel(struct req *req, struct res *res);
enum h_result h_device_log(struct req *req, struct res *res);

/* h_enroll_admin.c */
enum h_result h_secret_list(struct req *req, struct res *res);
enum h_result h_secret_create(struct req *req, struct res *res);
enum h_result h_secret_revoke(struct req *req, struct res *res);
enum h_result h_provision_create(struct req *req, struct res *res);

/* h_selection.c */
enum h_result h_selection_get(struct req *req, struct res *res);

/* h_rollout.c */
enum h_result h_rollout_list(struct req *req, struct res *res);
enum h_result h_rollout_put(struct req *req, struct res *res);
enum h_result h_rollout_get(struct req *req, struct res *res);

/* h_rollout_change.c */
enum h_result h_rollout_cancel(struct req *req, struct res *res);
enum h_result h_rollout_retry(struct req *req, struct res *res);
enum h_result h_rollout_unhold(struct req *req, struct res *res);

/* h_assignment.c */
enum h_result h_rollout_assignments(struct req *req, struct res *res);
enum h_result h_assignment_list(struct req *req, struct res *res);

/* h_change.c */
enum h_result h_change_list(struct req *req, struct res *res);

/* h_token.c */
enum h_result h_token_list(struct req *req, struct res *res);
enum h_result h_token_create(struct req *req, struct res *res);
enum h_result h_token_revoke(struct req *req, struct res *res);
enum h_result h_whoami(struct req *req, struct res *res);

/* The tokens that are valid at `now`, as the loop judges by them; in `mem`. */
struct token_table {
	struct auth_token *rows;
	size_t n;      /* at most AUTH_TOKENS_MAX, the oldest */
	bool has_more; /* than these */
};
OTA_MUST_USE enum ota_err token_table(
	struct db *db, int64_t now, struct arena *mem, struct token_table *out, struct errmsg *e);

/* h_audit.c */
enum h_result h_audit_list(struct req *req, struct res *res);

#endif
