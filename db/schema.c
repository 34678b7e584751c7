#include "db/schema.h"

#include <stddef.h>

/* Times are Unix seconds or NULL. Enumerations are the numbers of the headers. An identity column `id` is
 * never used again after a row is gone (AUTOINCREMENT) where other files or the change log may still hold it.
 */
static const char *const schema_1[] = {
	"CREATE TABLE schema_log ("
	" version INTEGER PRIMARY KEY,"
	" program TEXT NOT NULL,"
	" at INTEGER NOT NULL) STRICT;"

	"CREATE TABLE change ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" kind INTEGER NOT NULL,"
	" id INTEGER NOT NULL) STRICT;"

	"CREATE TABLE lease ("
	" name TEXT PRIMARY KEY,"
	" holder TEXT NOT NULL,"
	" until INTEGER NOT NULL) STRICT;"

	"CREATE TABLE setting ("
	" name TEXT PRIMARY KEY,"
	" value TEXT NOT NULL,"
	" updated_at INTEGER NOT NULL) STRICT;"

	"CREATE TABLE audit ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" at INTEGER NOT NULL,"
	" who TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" target TEXT NOT NULL,"
	" peer TEXT NOT NULL,"
	" before_json TEXT,"
	" after_json TEXT) STRICT;"
	"CREATE INDEX audit_target ON audit (target);"

	"CREATE TABLE token ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" uid TEXT NOT NULL UNIQUE,"
	" name TEXT NOT NULL,"
	" role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 3),"
	" sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL,"
	" expires_at INTEGER,"
	" used_at INTEGER,"
	" revoked_at INTEGER) STRICT;"
	"CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;"

	"CREATE TABLE root_document ("
	" version INTEGER PRIMARY KEY CHECK (version > 0),"
	" document BLOB NOT NULL CHECK (length(document) BETWEEN 1 AND 1024),"
	" sha256 BLOB NOT NULL CHECK (length(sha256) = 32),"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL) STRICT;",

	"CREATE TABLE board ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" revision INTEGER NOT NULL,"
	" name TEXT NOT NULL UNIQUE,"
	" vendor_id BLOB NOT NULL CHECK (length(vendor_id) = 16),"
	" class_id BLOB NOT NULL UNIQUE CHECK (length(class_id) = 16),"
	" chip TEXT NOT NULL,"
	" client INTEGER NOT NULL,"
	" algorithms INTEGER NOT NULL,"
	" envelope_max INTEGER NOT NULL,"
	" poll_s INTEGER NOT NULL,"
	" sequence INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL) STRICT;"

	"CREATE TABLE board_component ("
	" board INTEGER NOT NULL REFERENCES board (id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL CHECK (position BETWEEN 0 AND 3),"
	" component_id BLOB NOT NULL CHECK (length(component_id) BETWEEN 1 AND 8),"
	" name TEXT NOT NULL,"
	" size_max INTEGER NOT NULL,"
	" format TEXT NOT NULL,"
	" PRIMARY KEY (board, position),"
	" UNIQUE (board, component_id),"
	" UNIQUE (board, name)) STRICT;"

	"CREATE TABLE image ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),"
	" size INTEGER NOT NULL CHECK (size >= 0),"
	" image_size INTEGER NOT NULL,"
	" format INTEGER NOT NULL,"
	" trailer INTEGER NOT NULL,"
	" checks INTEGER NOT NULL,"
	" chip TEXT NOT NULL,"
	" version TEXT NOT NULL,"
	" project TEXT NOT NULL,"
	" built TEXT NOT NULL,"
	" sdk TEXT NOT NULL,"
	" variant INTEGER NOT NULL,"
	" elf_sha256 BLOB,"
	" security_counter INTEGER,"
	" vendor_id BLOB,"
	" class_id BLOB,"
	" sha1 BLOB NOT NULL,"
	" md5 BLOB NOT NULL,"
	" md5_variants BLOB,"
	" is_damaged INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL) STRICT;"

	/* every foreign name of an image in one place, so that a lookup is one search */
	"CREATE TABLE image_alias ("
	" digest BLOB NOT NULL,"
	" image INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,"
	" PRIMARY KEY (digest, image)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX image_alias_image ON image_alias (image);",

	"CREATE TABLE release ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" board INTEGER NOT NULL REFERENCES board (id),"
	" version TEXT NOT NULL,"
	" notes TEXT NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL,"
	" retired_at INTEGER,"
	" UNIQUE (board, version)) STRICT;"

	/* sha256 stays when the image is collected: what a release was is never forgotten */
	"CREATE TABLE release_item ("
	" release INTEGER NOT NULL REFERENCES release (id) ON DELETE CASCADE,"
	" component INTEGER NOT NULL CHECK (component BETWEEN 0 AND 3),"
	" variant TEXT NOT NULL,"
	" sha256 BLOB NOT NULL CHECK (length(sha256) = 32),"
	" image INTEGER REFERENCES image (id),"
	" PRIMARY KEY (release, component, variant)) STRICT;"
	"CREATE INDEX release_item_image ON release_item (image);"
	"CREATE INDEX release_item_sha256 ON release_item (sha256);"

	"CREATE TABLE manifest ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" release INTEGER NOT NULL REFERENCES release (id) ON DELETE CASCADE,"
	" board INTEGER NOT NULL REFERENCES board (id),"
	" kind INTEGER NOT NULL CHECK (kind IN (0, 1)),"
	" after_release INTEGER REFERENCES release (id),"
	" sequence INTEGER NOT NULL CHECK (sequence BETWEEN 1 AND 4294967295),"
	" digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),"
	" bytes BLOB NOT NULL,"
	" description BLOB,"
	" created_at INTEGER NOT NULL,"
	" UNIQUE (board, sequence),"
	" CHECK ((kind = 0) = (after_release IS NULL))) STRICT;"
	"CREATE INDEX manifest_release ON manifest (release);"
	"CREATE INDEX manifest_after ON manifest (after_release);"

	"CREATE TABLE envelope ("
	" manifest INTEGER PRIMARY KEY REFERENCES manifest (id) ON DELETE CASCADE,"
	" bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 1024),"
	" n_signatures INTEGER NOT NULL,"
	" is_complete INTEGER NOT NULL CHECK (is_complete IN (0, 1)),"
	" root_version INTEGER NOT NULL,"
	" signed_at INTEGER NOT NULL) STRICT;",

	"CREATE TABLE device ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" revision INTEGER NOT NULL,"
	" uid TEXT NOT NULL UNIQUE,"
	" name TEXT NOT NULL UNIQUE,"
	" board INTEGER REFERENCES board (id),"
	" state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
	" is_held INTEGER NOT NULL CHECK (is_held IN (0, 1)),"
	" serial BLOB,"
	" created_at INTEGER NOT NULL,"
	" approved_at INTEGER) STRICT;"
	"CREATE INDEX device_board ON device (board);"

	/* one row per device, apart from the operator's: the hot path writes here only */
	"CREATE TABLE device_said ("
	" device INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,"
	" seen_at INTEGER,"
	" peer TEXT NOT NULL DEFAULT '',"
	" counter INTEGER NOT NULL DEFAULT 0,"
	" counter_digest BLOB,"
	" root_version INTEGER NOT NULL DEFAULT 0,"
	" running_sequence INTEGER NOT NULL DEFAULT 0,"
	" running_digest BLOB,"
	" running_text TEXT NOT NULL DEFAULT '',"
	" agent_state INTEGER NOT NULL DEFAULT 0,"
	" target_digest BLOB,"
	" target_attempt INTEGER NOT NULL DEFAULT 0,"
	" target_bytes INTEGER NOT NULL DEFAULT 0,"
	" result_digest BLOB,"
	" result_attempt INTEGER NOT NULL DEFAULT 0,"
	" result_reason INTEGER NOT NULL DEFAULT 0,"
	" result_detail INTEGER NOT NULL DEFAULT 0,"
	" result_offset INTEGER NOT NULL DEFAULT 0,"
	" result_at INTEGER,"
	" uptime_s INTEGER NOT NULL DEFAULT 0,"
	" flags INTEGER NOT NULL DEFAULT 0,"
	" confirmed_digest BLOB,"
	" confirmed_at INTEGER,"
	" previous_digest BLOB) STRICT;"
	"CREATE INDEX device_said_running ON device_said (running_digest);"
	"CREATE INDEX device_said_previous ON device_said (previous_digest);"

	"CREATE TABLE device_tag ("
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" tag TEXT NOT NULL,"
	" PRIMARY KEY (device, tag)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE device_attribute ("
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" name TEXT NOT NULL,"
	" value TEXT NOT NULL,"
	" PRIMARY KEY (device, name)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE identity ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" kind INTEGER NOT NULL,"
	" value TEXT NOT NULL,"
	" credential BLOB,"
	" link_id BLOB NOT NULL UNIQUE CHECK (length(link_id) = 16),"
	" created_at INTEGER NOT NULL,"
	" revoked_at INTEGER,"
	" UNIQUE (kind, value)) STRICT;"
	"CREATE INDEX identity_device ON identity (device);",

	"CREATE TABLE enroll_secret ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" secret_id BLOB NOT NULL UNIQUE CHECK (length(secret_id) = 8),"
	" board INTEGER NOT NULL REFERENCES board (id),"
	" note TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" serial BLOB,"
	" uses_max INTEGER NOT NULL CHECK (uses_max > 0),"
	" uses INTEGER NOT NULL CHECK (uses BETWEEN 0 AND uses_max),"
	" is_approving INTEGER NOT NULL CHECK (is_approving IN (0, 1)),"
	" created_at INTEGER NOT NULL,"
	" created_by TEXT NOT NULL,"
	" expires_at INTEGER,"
	" revoked_at INTEGER) STRICT;"

	/* state: 0 the device's key comes from it, 1 waits for the operator, 2 was replaced. secret_id refers
	 * to no row: a receipt may name a secret that a restored database does not know */
	"CREATE TABLE enrolment ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" secret_id BLOB NOT NULL CHECK (length(secret_id) = 8),"
	" nonce_d BLOB NOT NULL CHECK (length(nonce_d) = 16),"
	" nonce_s BLOB NOT NULL CHECK (length(nonce_s) = 16),"
	" state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
	" at INTEGER NOT NULL,"
	" UNIQUE (device, secret_id, nonce_d)) STRICT;"
	"CREATE UNIQUE INDEX enrolment_active ON enrolment (device) WHERE state = 0;"
	"CREATE UNIQUE INDEX enrolment_waiting ON enrolment (device) WHERE state = 1;",

	"CREATE TABLE rollout ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" revision INTEGER NOT NULL,"
	" uid TEXT NOT NULL UNIQUE,"
	" release INTEGER NOT NULL REFERENCES release (id),"
	" selector TEXT NOT NULL,"
	" is_held INTEGER NOT NULL CHECK (is_held IN (0, 1)),"
	" was_held INTEGER NOT NULL CHECK (was_held IN (0, 1)),"
	" accepts_served INTEGER NOT NULL CHECK (accepts_served IN (0, 1)),"
	" timeout_s INTEGER NOT NULL,"
	" state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
	" created_by TEXT NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" ended_at INTEGER) STRICT;"
	"CREATE INDEX rollout_release ON rollout (release);"

	"CREATE TABLE assignment ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" rollout INTEGER NOT NULL REFERENCES rollout (id),"
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" manifest INTEGER NOT NULL REFERENCES manifest (id),"
	" attempt INTEGER NOT NULL CHECK (attempt BETWEEN 1 AND 255),"
	" state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 11),"
	" created_at INTEGER NOT NULL,"
	" state_at INTEGER NOT NULL,"
	" offered_at INTEGER,"
	" ended_at INTEGER,"
	" reason INTEGER NOT NULL DEFAULT 0,"
	" detail INTEGER NOT NULL DEFAULT 0,"
	" fault_offset INTEGER NOT NULL DEFAULT 0,"
	" superseded_by INTEGER REFERENCES rollout (id),"
	/* states 0 to 4 are the open ones */
	" CHECK ((state < 5) = (ended_at IS NULL))) STRICT;"
	"CREATE UNIQUE INDEX assignment_open ON assignment (device) WHERE ended_at IS NULL;"
	"CREATE INDEX assignment_due ON assignment (created_at) WHERE ended_at IS NULL;"
	"CREATE INDEX assignment_device ON assignment (device, manifest);"
	"CREATE INDEX assignment_rollout ON assignment (rollout, ended_at);"
	"CREATE INDEX assignment_manifest ON assignment (manifest);"

	"CREATE TABLE event ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
	" at INTEGER NOT NULL,"
	" kind TEXT NOT NULL,"
	" line TEXT NOT NULL,"
	" assignment INTEGER) STRICT;"
	"CREATE INDEX event_device ON event (device, id);",

	NULL,
};

static const char *const schema_2[] = {
	/* a device whose counter went back: how often it rose in between, from the first to the last time */
	"CREATE TABLE alarm ("
	" device INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,"
	" times INTEGER NOT NULL CHECK (times > 0),"
	" first_at INTEGER NOT NULL,"
	" last_at INTEGER NOT NULL,"
	" counter INTEGER NOT NULL) STRICT;",

	/* an assignment that waits until the device's open one, which nothing can take back, has ended */
	"ALTER TABLE assignment ADD COLUMN is_queued INTEGER NOT NULL DEFAULT 0"
	" CHECK (is_queued IN (0, 1) AND (is_queued = 0 OR state = 0));"
	/* the operator took it back while a ticket might still let the device install it */
	"ALTER TABLE assignment ADD COLUMN withdrawn_at INTEGER;"
	"DROP INDEX assignment_open;"
	"CREATE UNIQUE INDEX assignment_open ON assignment (device) WHERE ended_at IS NULL AND is_queued = 0;"
	"CREATE UNIQUE INDEX assignment_queued ON assignment (device) WHERE is_queued = 1;"

	/* since when the device is on hold */
	"ALTER TABLE device ADD COLUMN held_at INTEGER;"

	/* while its devices are still being assigned: the device it is at */
	"ALTER TABLE rollout ADD COLUMN cursor INTEGER;"
	"CREATE INDEX rollout_growing ON rollout (id) WHERE cursor IS NOT NULL;",

	NULL,
};

static const char *const schema_3[] = {
	/* a device's latest is looked up with every report */
	"CREATE INDEX assignment_latest ON assignment (device, id);"
	/* what a device in trial goes back to is kept */
	"CREATE INDEX device_said_confirmed ON device_said (confirmed_digest);"
	/* boards of one vendor share their serials */
	"CREATE INDEX device_serial ON device (serial);"
	"CREATE INDEX enroll_secret_serial ON enroll_secret (serial) WHERE serial IS NOT NULL;"
	/* a name is free, or a lost file's: of all the secrets ever made */
	"CREATE INDEX enroll_secret_name ON enroll_secret (name) WHERE revoked_at IS NULL;"
	/* few of many, asked for with every look at the fleet */
	"CREATE INDEX device_pending ON device (id) WHERE state = 0;"
	"CREATE INDEX image_damaged ON image (id) WHERE is_damaged = 1;",

	/* what a push has come to, counted without its rows */
	"CREATE INDEX assignment_counted ON assignment (rollout, device, id, state, is_queued, manifest);",

	/* it was taken back while it only waited behind another: the device never had to do it */
	"ALTER TABLE assignment ADD COLUMN is_void INTEGER NOT NULL DEFAULT 0 CHECK (is_void IN (0, 1));",

	/* a cancel (1) or retry (2) of all its assignments that is not through yet: which one it is at, the
	   last one it means, and who asked for it */
	"ALTER TABLE rollout ADD COLUMN doing INTEGER NOT NULL DEFAULT 0 CHECK (doing BETWEEN 0 AND 2);"
	"ALTER TABLE rollout ADD COLUMN doing_cursor INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE rollout ADD COLUMN doing_last INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE rollout ADD COLUMN doing_by TEXT NOT NULL DEFAULT '';"
	"CREATE INDEX rollout_doing ON rollout (id) WHERE doing <> 0;"
	"UPDATE rollout SET doing = 1 WHERE state = 2 AND EXISTS (SELECT 1 FROM assignment a"
	" WHERE a.rollout = rollout.id AND a.ended_at IS NULL AND a.withdrawn_at IS NULL);",

	/* an enrolment that went with its device, or never became its key: its receipt brings nobody back.
	   nonce_s is the server's own random, so it names one enrolment */
	"CREATE TABLE enrolment_ended (nonce_s BLOB PRIMARY KEY CHECK (length(nonce_s) = 16)) STRICT, "
	"WITHOUT ROWID;"
	"CREATE TRIGGER enrolment_ends AFTER DELETE ON enrolment BEGIN"
	" INSERT INTO enrolment_ended (nonce_s) VALUES (OLD.nonce_s) ON CONFLICT (nonce_s) DO NOTHING; END;",

	NULL,
};

const struct migration schema_migrations[] = {
	{.sql = schema_1},
	{.sql = schema_2},
	{.sql = schema_3},
};

const int n_schema_migrations = sizeof schema_migrations / sizeof schema_migrations[0];
