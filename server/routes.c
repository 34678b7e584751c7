#include "server/routes.h"

#include "server/blobserve.h"
#include "server/h_device.h"
#include "server/health.h"
#include "server/nouns.h"

enum {
	BODY_SMALL = 16 * 1024,
	BODY_CBOR = 1024,
};

/* clang-format off */
const struct route routes[] = {
	/* method, path, role, largest body, handler, flags, query parameters */
	{HTTP_GET,    "/healthz",                        ROLE_PUBLIC,   0,          health_live,             0,                NULL},
	{HTTP_GET,    "/readyz",                         ROLE_PUBLIC,   0,          health_ready,            0,                NULL},

	/* devices */
	{HTTP_POST,   "/d/v1/enroll",                    ROLE_DEVICE,   BODY_CBOR,  h_device_enroll,         ROUTE_NEEDS_ROOT, NULL},
	{HTTP_POST,   "/d/v1/checkin",                   ROLE_DEVICE,   BODY_CBOR,  h_device_checkin,        ROUTE_NEEDS_ROOT, NULL},
	{HTTP_GET,    "/d/v1/envelope/:digest",          ROLE_FETCH,    0,          h_device_envelope,       0,                NULL},
	{HTTP_GET,    "/d/v1/root/:n",                   ROLE_FETCH,    0,          h_device_root,           0,                NULL},
	{HTTP_GET,    "/i/:sha256",                      ROLE_FETCH,    0,          blobserve_get,           0,                NULL},

	/* the server */
	{HTTP_GET,    "/v1/openapi.json",                ROLE_VIEWER,   0,          h_openapi_get,           0,                ""},
	{HTTP_GET,    "/v1/server",                      ROLE_VIEWER,   0,          h_server_get,            0,                ""},
	{HTTP_GET,    "/v1/status",                      ROLE_VIEWER,   0,          h_status_get,            0,                ""},
	{HTTP_GET,    "/v1/whoami",                      ROLE_VIEWER,   0,          h_whoami,                0,                ""},
	{HTTP_GET,    "/v1/changes",                     ROLE_VIEWER,   0,          h_change_list,           0,                "after wait"},
	{HTTP_GET,    "/v1/audit",                       ROLE_ADMIN,    0,          h_audit_list,            0,                "limit after who action target"},
	{HTTP_POST,   "/v1/keys/release",                ROLE_ADMIN,    0,          h_key_release_create,    0,                ""},
	{HTTP_GET,    "/v1/roots/:n",                    ROLE_VIEWER,   0,          h_root_get,              0,                ""},
	{HTTP_PUT,    "/v1/roots/:n",                    ROLE_ADMIN,    BODY_CBOR,  h_root_put,              0,                ""},
	{HTTP_GET,    "/v1/tokens",                      ROLE_ADMIN,    0,          h_token_list,            0,                "limit after"},
	{HTTP_POST,   "/v1/tokens",                      ROLE_ADMIN,    BODY_SMALL, h_token_create,          0,                ""},
	{HTTP_DELETE, "/v1/tokens/:id",                  ROLE_ADMIN,    0,          h_token_revoke,          0,                ""},

	/* what there is to install */
	{HTTP_GET,    "/v1/boards",                      ROLE_VIEWER,   0,          h_board_list,            0,                "limit after chip"},
	{HTTP_POST,   "/v1/boards",                      ROLE_OPERATOR, BODY_SMALL, h_board_create,          0,                ""},
	{HTTP_GET,    "/v1/boards/:name",                ROLE_VIEWER,   0,          h_board_get,             0,                ""},
	{HTTP_PATCH,  "/v1/boards/:name",                ROLE_OPERATOR, BODY_SMALL, h_board_update,          0,                ""},
	{HTTP_DELETE, "/v1/boards/:name",                ROLE_OPERATOR, 0,          h_board_delete,          0,                ""},
	{HTTP_GET,    "/v1/boards/:name/card",           ROLE_VIEWER,   0,          h_board_card,            0,                ""},
	{HTTP_GET,    "/v1/images",                      ROLE_VIEWER,   0,          h_image_list,            0,                "limit after"},
	/* Before its GET row, which would answer HEAD too. */
	{HTTP_HEAD,   "/v1/images/:sha256",              ROLE_VIEWER,   0,          h_image_head,            0,                ""},
	{HTTP_GET,    "/v1/images/:sha256",              ROLE_VIEWER,   0,          h_image_get,             0,                ""},
	{HTTP_PUT,    "/v1/images/:sha256",              ROLE_UPLOADER, 0,          h_image_put,             ROUTE_UPLOAD,     ""},
	{HTTP_DELETE, "/v1/images/:sha256",              ROLE_OPERATOR, 0,          h_image_delete,          0,                ""},
	{HTTP_GET,    "/v1/releases",                    ROLE_VIEWER,   0,          h_release_list,          0,                "limit after board"},
	{HTTP_POST,   "/v1/releases",                    ROLE_UPLOADER, BODY_SMALL, h_release_create,        ROUTE_NEEDS_ROOT, ""},
	{HTTP_GET,    "/v1/releases/:id",                ROLE_VIEWER,   0,          h_release_get,           0,                ""},
	{HTTP_DELETE, "/v1/releases/:id",                ROLE_OPERATOR, 0,          h_release_delete,        0,                ""},
	{HTTP_POST,   "/v1/releases/:id/retire",         ROLE_OPERATOR, 0,          h_release_retire,        ROUTE_BRAKE,      ""},
	{HTTP_GET,    "/v1/releases/:id/envelope",       ROLE_VIEWER,   0,          h_release_envelope_get,  0,                ""},
	{HTTP_PUT,    "/v1/releases/:id/envelope",       ROLE_UPLOADER, BODY_CBOR,  h_release_envelope_put,  ROUTE_NEEDS_ROOT, ""},

	/* the fleet */
	{HTTP_GET,    "/v1/devices",                     ROLE_VIEWER,   0,          h_device_list,           0,                "limit after state board selector hold"},
	{HTTP_GET,    "/v1/devices/:ref",                ROLE_VIEWER,   0,          h_device_get,            0,                ""},
	{HTTP_PATCH,  "/v1/devices/:ref",                ROLE_OPERATOR, BODY_SMALL, h_device_update,         ROUTE_BRAKE,      ""},
	{HTTP_DELETE, "/v1/devices/:ref",                ROLE_OPERATOR, 0,          h_device_remove,         0,                ""},
	{HTTP_POST,   "/v1/devices/:ref/approve",        ROLE_OPERATOR, 0,          h_device_approve,        0,                ""},
	{HTTP_POST,   "/v1/devices/:ref/reject",         ROLE_OPERATOR, 0,          h_device_reject,         ROUTE_BRAKE,      ""},
	{HTTP_POST,   "/v1/devices/:ref/replace",        ROLE_OPERATOR, BODY_SMALL, h_device_replace,        0,                ""},
	{HTTP_POST,   "/v1/devices/:ref/ack",            ROLE_OPERATOR, 0,          h_device_ack,            ROUTE_BRAKE,      ""},
	{HTTP_POST,   "/v1/devices/:ref/cancel",         ROLE_OPERATOR, 0,          h_device_cancel,         ROUTE_BRAKE,      ""},
	{HTTP_GET,    "/v1/devices/:ref/log",            ROLE_VIEWER,   0,          h_device_log,            0,                "limit after"},
	{HTTP_GET,    "/v1/enroll-secrets",              ROLE_OPERATOR, 0,          h_secret_list,           0,                "limit after"},
	{HTTP_POST,   "/v1/enroll-secrets",              ROLE_OPERATOR, BODY_SMALL, h_secret_create,         0,                ""},
	{HTTP_DELETE, "/v1/enroll-secrets/:id",          ROLE_OPERATOR, 0,          h_secret_revoke,         0,                ""},
	{HTTP_POST,   "/v1/provisions",                  ROLE_OPERATOR, BODY_SMALL, h_provision_create,      ROUTE_NEEDS_ROOT, ""},
	{HTTP_GET,    "/v1/selection",                   ROLE_VIEWER,   0,          h_selection_get,         0,                "selector board release"},
	{HTTP_GET,    "/v1/rollouts",                    ROLE_VIEWER,   0,          h_rollout_list,          0,                "limit after state"},
	{HTTP_PUT,    "/v1/rollouts/:id",                ROLE_OPERATOR, BODY_SMALL, h_rollout_put,           ROUTE_NEEDS_ROOT, ""},
	{HTTP_GET,    "/v1/rollouts/:id",                ROLE_VIEWER,   0,          h_rollout_get,           0,                ""},
	{HTTP_GET,    "/v1/rollouts/:id/assignments",    ROLE_VIEWER,   0,          h_rollout_assignments,   0,                "limit after"},
	{HTTP_POST,   "/v1/rollouts/:id/cancel",         ROLE_OPERATOR, 0,          h_rollout_cancel,        ROUTE_BRAKE,      ""},
	{HTTP_POST,   "/v1/rollouts/:id/retry",          ROLE_OPERATOR, 0,          h_rollout_retry,         0,                ""},
	{HTTP_POST,   "/v1/rollouts/:id/release-hold",   ROLE_OPERATOR, 0,          h_rollout_unhold,        0,                ""},
	{HTTP_GET,    "/v1/assignments",                 ROLE_VIEWER,   0,          h_assignment_list,       0,                "limit after device state"},
};
/* clang-format on */

const size_t n_routes = sizeof(routes) / sizeof(routes[0]);
