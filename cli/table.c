#include "cli/cmds.h"

#define END                                                                                                  \
	{                                                                                                    \
		NULL, NULL, 0, NULL                                                                          \
	}

static const struct opt login_opts[] = {
	{"fingerprint", "PIN", 0, "the server's key, as its log shows it: accept it without asking"},
	END,
};
static const struct opt init_opts[] = {
	{"key", "FILE", 0,
		"where the root key goes (default: root.pem in OTACTL_ROOT_DIR, else ~/.otad-root)"},
	{"passphrase-file", "FILE", 0, "first line is the passphrase (OTACTL_PASSPHRASE)"},
	{"offline", NULL, 0,
		"make the release key here too; otad never holds it, and no command signs with it yet: "
		"releases stay drafts, nothing can be pushed"},
	END,
};
static const struct opt board_add_opts[] = {
	{"chip", "CHIP", 0, "esp32, esp32c3, esp8266, rp2040, ...: push finds the board by it"},
	{"domain", "DOMAIN", 0, "your domain: vendor-id is UUIDv5 of it"},
	{"model", "MODEL", 0, "model and hardware revision: class-id is UUIDv5 of it (default: the name)"},
	{"vendor-id", "UUID", 0, "instead of --domain"},
	{"class-id", "UUID", 0, "instead of --model"},
	{"component", "NAME[:SIZE]...", 0,
		"a component and its slot's size, such as 1920K; repeat for several (default: app)"},
	{"client", "KIND", 0, "which updater its devices run (default: agent)"},
	END,
};
static const struct opt enroll_opts[] = {
	{"board", "BOARD", 0, "for devices of this board"},
	{"uses", "N", 0, "how many devices may use it (default: 1)"},
	{"expires", "TIME", 0, "90m, 12h, 30d (default: never)"},
	{"approve", NULL, 0, "devices are approved at once"},
	{"output", "FILE", 'o', "write a batch file, 0600, for provision --batch"},
	END,
};
static const struct opt provision_opts[] = {
	{"board", "BOARD", 0, "what the device is"},
	{"name", "NAME", 0, "its name from the start"},
	{"replace", NULL, 0, "its unused file is lost: make another, the lost one ends"},
	{"device", "DEVICE", 0, "a device that is known and lost its flash: its board and serial"},
	{"batch", "FILE", 0, "one device of a batch file (enroll create -o); needs no server"},
	{"id", "ID", 0, "its serial, 1 to 32 bytes (default: random)"},
	{"region", "SIZE", 0, "write a flash region of this size, such as 4K, with two copies"},
	{"output", "FILE", 'o', "write here, 0600, instead of standard output"},
	END,
};
/* clang-format off */
#define WAIT_OPTS \
	{"wait", NULL, 0, "wait until every device is seen running it"}, \
	{"timeout", "TIME", 0, "with --wait: give up waiting after this long (the push goes on)"}, \
	{"accept-served", NULL, 0, "with --wait: 'served' is enough for devices that can tell no more"}
/* clang-format on */
static const struct opt push_opts[] = {
	{"version", "V", 0, "version of the release (default: what the image says, else the time)"},
	{"notes", "TEXT", 0, "notes of the release"},
	{"board", "BOARD", 0, "of the files that have no BOARD: before them"},
	{"to", "SELECTOR", 0,
		"which devices: one by its name, or terms that all hold: tag=kitchen,board=lamp,version<1.4. "
		"Several by name: give them a tag first (otactl device tag)"},
	{"all", NULL, 0, "all devices of the board"},
	{"hold", NULL, 0, "let them fetch and stage, but not install yet"},
	WAIT_OPTS,
	{"dry-run", NULL, 0, "say what would happen; change nothing"},
	END,
};
static const struct opt retry_opts[] = {
	WAIT_OPTS,
	END,
};
static const struct opt cancel_opts[] = {
	{"device", "DEVICE", 0, "the open assignment of one device"},
	END,
};
static const struct opt status_opts[] = {
	{"summary", NULL, 0, "counts in place of the devices"},
	END,
};
static const struct opt device_list_opts[] = {
	{"state", "STATE", 0, "pending, approved or revoked"},
	{"board", "BOARD", 0, "of this board"},
	{"to", "SELECTOR", 0, "tag=kitchen,version<1.4"},
	END,
};
static const struct opt release_list_opts[] = {
	{"board", "BOARD", 0, "of this board"},
	END,
};
static const struct opt release_inspect_opts[] = {
	{"key", "PEM", 0, "verify the signatures by this public key"},
	{"generic", NULL, 0, "any SUIT envelope of the draft, not only otad's profile"},
	END,
};
static const struct opt token_create_opts[] = {
	{"role", "ROLE", 0, "admin, operator, uploader or viewer (default: viewer)"},
	{"expires", "TIME", 0, "90m, 12h, 30d (default: never)"},
	END,
};
static const struct opt output_opts[] = {
	{"output", "FILE", 'o', "write here instead of standard output"},
	END,
};

/* clang-format off */
const struct cmd cmds[] = {
	/* noun      verb       args               help                                             min max need         opts                fn */
	{"login",     NULL,      "URL",             "store a server, its key and a token",            1, 1, NEED_NOTHING, login_opts,          cmd_login},
	{"logout",    NULL,      "",                "forget the stored login",                        0, 0, NEED_NOTHING, NULL,                cmd_logout},
	{"init",      NULL,      "",                "make the root key and sign root 1",              0, 0, NEED_SERVER,  init_opts,           cmd_init},
	{"board",     "add",     "NAME",            "describe a kind of hardware",                    1, 1, NEED_SERVER,  board_add_opts,      cmd_board_add},
	{"board",     "list",    "",                "list boards",                                    0, 0, NEED_SERVER,  NULL,                cmd_board_list},
	{"board",     "show",    "BOARD",           "show a board",                                   1, 1, NEED_SERVER,  NULL,                cmd_board_show},
	{"board",     "export",  "BOARD",           "write the board card for offline signing",       1, 1, NEED_SERVER,  output_opts,         cmd_board_export},
	{"board",     "remove",  "BOARD",           "remove a board that nothing uses",               1, 1, NEED_SERVER,  NULL,                cmd_board_remove},
	{"enroll",    "create",  "",                "make an enrollment secret for a batch",          0, 0, NEED_SERVER,  enroll_opts,         cmd_enroll_create},
	{"enroll",    "list",    "",                "list enrollment secrets",                        0, 0, NEED_SERVER,  NULL,                cmd_enroll_list},
	{"enroll",    "revoke",  "SECRET-ID|NAME",  "no further device may use it",                   1, 1, NEED_SERVER,  NULL,                cmd_enroll_revoke},
	{"provision", NULL,      "",                "write the provisioning file of one device",      0, 0, NEED_SERVER,  provision_opts,      cmd_provision},
	{"push",      NULL,      "[BOARD:][COMPONENT[.VARIANT]=]FILE|-...", "upload, release and assign firmware", 1, -1, NEED_SERVER, push_opts, cmd_push},
	{"cancel",    NULL,      "[PUSH]",          "withdraw a push, or one device's assignment",    0, 1, NEED_SERVER,  cancel_opts,         cmd_cancel},
	{"retry",     NULL,      "PUSH",            "offer it again where it failed or is gone",      1, 1, NEED_SERVER,  retry_opts,          cmd_retry},
	{"status",    NULL,      "[DEVICE|PUSH]",   "what runs where, as seen",                       0, 1, NEED_SERVER,  status_opts,         cmd_status},
	{"log",       NULL,      "DEVICE",          "history of a device",                            1, 1, NEED_SERVER,  NULL,                cmd_log},
	{"image",     "list",    "",                "list stored images",                             0, 0, NEED_SERVER,  NULL,                cmd_image_list},
	{"image",     "show",    "SHA256",          "show a stored image",                            1, 1, NEED_SERVER,  NULL,                cmd_image_show},
	{"image",     "remove",  "SHA256",          "remove an image that no release uses",           1, 1, NEED_SERVER,  NULL,                cmd_image_remove},
	{"image",     "inspect", "FILE",            "say what a file is (- is stdin); needs no server",            1, 1, NEED_NOTHING, NULL,                cmd_image_inspect},
	{"release",   "list",    "",                "list releases",                                  0, 0, NEED_SERVER,  release_list_opts,   cmd_release_list},
	{"release",   "show",    "[BOARD:]VERSION", "show a release",                                 1, 1, NEED_SERVER,  NULL,                cmd_release_show},
	{"release",   "remove",  "[BOARD:]VERSION", "remove a release that nothing needs",            1, 1, NEED_SERVER,  NULL,                cmd_release_remove},
	{"release",   "retire",  "[BOARD:]VERSION", "give up a release, so that its images may go",   1, 1, NEED_SERVER,  NULL,                cmd_release_retire},
	{"release",   "envelope", "[BOARD:]VERSION", "write the signed envelope",                     1, 1, NEED_SERVER,  output_opts,         cmd_release_envelope},
	{"release",   "inspect", "FILE",            "check an envelope; needs no server",             1, 1, NEED_NOTHING, release_inspect_opts, cmd_release_inspect},
	{"device",    "list",    "",                "list devices",                                   0, 0, NEED_SERVER,  device_list_opts,    cmd_device_list},
	{"device",    "show",    "DEVICE",          "show a device",                                  1, 1, NEED_SERVER,  NULL,                cmd_device_show},
	{"device",    "approve", "DEVICE...",       "let pending devices in",                         1, -1, NEED_SERVER, NULL,                cmd_device_approve},
	{"device",    "reject",  "DEVICE...",       "refuse the new key of enrolled devices",         1, -1, NEED_SERVER, NULL,                cmd_device_reject},
	{"device",    "ack",     "DEVICE...",       "the alarm of a device was looked at",            1, -1, NEED_SERVER, NULL,                cmd_device_ack},
	{"device",    "rename",  "DEVICE NAME",     "give a device another name",                     2, 2, NEED_SERVER,  NULL,                cmd_device_rename},
	{"device",    "tag",     "DEVICE TAG|-TAG...", "add and remove tags (-- before a -TAG)",      2, -1, NEED_SERVER, NULL,                cmd_device_tag},
	{"device",    "hold",    "DEVICE...",       "install nothing on these devices",               1, -1, NEED_SERVER, NULL,                cmd_device_hold},
	{"device",    "unhold",  "DEVICE...",       "let them update again",                          1, -1, NEED_SERVER, NULL,                cmd_device_unhold},
	{"device",    "replace", "OLD NEW",         "new hardware takes name, tags and history",      2, 2, NEED_SERVER,  NULL,                cmd_device_replace},
	{"device",    "remove",  "DEVICE...",       "revoke and remove devices",                      1, -1, NEED_SERVER, NULL,                cmd_device_remove},
	{"rollout",   "list",    "",                "list pushes",                                    0, 0, NEED_SERVER,  NULL,                cmd_rollout_list},
	{"rollout",   "show",    "PUSH",            "show a push and its devices",                    1, 1, NEED_SERVER,  NULL,                cmd_rollout_show},
	{"rollout",   "unhold",  "PUSH",            "let a push made with --hold install",            1, 1, NEED_SERVER,  NULL,                cmd_rollout_unhold},
	{"token",     "create",  "NAME",            "make an API token",                              1, 1, NEED_SERVER,  token_create_opts,   cmd_token_create},
	{"token",     "list",    "",                "list API tokens",                                0, 0, NEED_SERVER,  NULL,                cmd_token_list},
	{"token",     "revoke",  "TOKEN",           "end an API token",                               1, 1, NEED_SERVER,  NULL,                cmd_token_revoke},
	{"audit",     "list",    "",                "who did what",                                   0, 0, NEED_SERVER,  NULL,                cmd_audit_list},
};
/* clang-format on */

const size_t n_cmds = sizeof cmds / sizeof cmds[0];
