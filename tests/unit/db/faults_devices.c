/* Calls to fail: devices, enrollment, identities and reports. */
#include "tests/unit/db/faults.h"

#include <string.h>

#include "db/alarm.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/event.h"
#include "db/fleet.h"
#include "db/identity.h"
#include "db/report.h"
#include "db/secret.h"
#include "proto/checkin.h"

static const struct db_page all = {0};

OP(o_device_insert)
{
	static const char *const tags[] = {"b", "a"};
	struct device_row row = {
		.name = "", .board = fault_world.board, .created_at = NOW, .tags = tags, .n_tags = 2};
	int64_t id;

	memset(row.uid, 'e', 32);
	return device_insert(f->db, &row, 100, &id, &f->e);
}
OP(o_device_load)
{
	struct device_row row;

	return device_load(f->db, fault_world.device, &f->mem, &row, &f->e);
}
OP(o_device_find)
{
	int64_t id;

	return device_find(f->db, "aaaa", &id, &f->e);
}
OP(o_device_find_mac)
{
	int64_t id;

	return device_find(f->db, "A0:B1:C2:D3:E4:F5", &id, &f->e);
}
OP(o_device_list)
{
	struct selector s;
	struct device_filter filter = {.selector = &s, .state = -1};
	struct device_list list;
	enum ota_err err = selector_parse("tag=kitchen,attr.rssi=-60", &s, &f->e);

	return err ? err : device_list(f->db, &filter, &all, &f->mem, &list, &f->e);
}
OP(o_device_count)
{
	struct selector s;
	struct device_filter filter = {.selector = &s, .state = -1};
	uint64_t n;
	enum ota_err err = selector_parse("board=lamp", &s, &f->e);

	return err ? err : device_count(f->db, &filter, &n, &f->e);
}
OP(o_fleet_count)
{
	struct fleet_counts counts;

	return fleet_count(f->db, NOW, &f->mem, &counts, &f->e);
}
OP(o_device_update)
{
	static const char *const add[] = {"new"}, *const drop[] = {"kitchen"};
	struct device_change c = {.name = "other",
		.state = -1,
		.hold = 1,
		.tags_add = add,
		.n_tags_add = 1,
		.tags_remove = drop,
		.n_tags_remove = 1};

	return device_update(f->db, fault_world.device, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_rehome)
{
	struct device_change c = {.board = fault_world.spare_board, .state = -1, .hold = -1};

	return device_update(f->db, fault_world.spare, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_revoke)
{
	struct device_change c = {.state = DEVICE_REVOKED, .hold = -1};

	return device_update(f->db, fault_world.device, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_replace)
{
	return device_replace(f->db, fault_world.device, fault_world.spare, NOW, &f->e);
}
OP(o_device_delete)
{
	return device_delete(f->db, fault_world.device, 0, NOW, &f->e);
}
OP(o_attributes)
{
	struct attribute rows[] = {{"a", "1"}, {"b", "2"}};

	return attribute_set_all(f->db, fault_world.device, rows, 2, &f->e);
}
OP(o_attribute_list)
{
	struct attribute *rows;
	size_t n;

	return attribute_list(f->db, fault_world.device, &f->mem, &rows, &n, &f->e);
}
OP(o_secret_insert)
{
	struct secret_row row = fault_a_secret(6);
	int64_t id;

	return secret_insert(f->db, &row, &id, &f->e);
}
OP(o_secret_load)
{
	struct secret_row key = fault_a_secret(5), row;

	return secret_load(f->db, key.secret_id, &f->mem, &row, &f->e);
}
OP(o_secret_revoke)
{
	struct secret_row key = fault_a_secret(5);

	return secret_revoke(f->db, key.secret_id, NOW, &f->e);
}
OP(o_secret_list)
{
	struct secret_list list;

	return secret_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_secret_list_unused)
{
	struct secret_row key = fault_a_secret(5);
	struct secret_list list;

	return secret_list_unused(f->db, key.name, &all, &f->mem, &list, &f->e);
}
OP(o_enroll_new)
{
	struct enroll_in in = fault_request(9, 9);
	struct enroll_out out;

	in.devices_max = 100;
	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_repeated)
{
	struct enroll_in in = fault_request(1, 1);
	struct enroll_out out;

	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_waiting)
{
	struct enroll_in in = fault_request(1, 3);
	struct enroll_out out;

	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_restore)
{
	struct enroll_in in = fault_request(8, 8);
	struct enroll_out out;

	in.serial = NULL;
	return enroll_restore(f->db, &in, &out, &f->e);
}
OP(o_enroll_accept)
{
	return enroll_accept(f->db, fault_world.waiting, NOW, &f->e);
}
OP(o_alarm_raise)
{
	enum alarm_news news;

	return alarm_raise(f->db, fault_world.waiting, 7, NOW, &news, &f->e);
}
OP(o_alarm_clear)
{
	return alarm_clear(f->db, fault_world.waiting, &f->e);
}
OP(o_enroll_refuse)
{
	return enroll_refuse(f->db, fault_world.waiting, NOW, &f->e);
}
OP(o_event_add)
{
	return event_add(f->db,
		&(struct event_row){.device = fault_world.device, .at = NOW, .kind = "k", .text = "t"},
		&f->e);
}
OP(o_event_list)
{
	struct event_list list;

	return event_list(f->db, fault_world.device, &all, &f->mem, &list, &f->e);
}
OP(o_identity_insert)
{
	struct identity_row row = {
		.device = fault_world.device, .kind = IDENTITY_TOKEN, .value = "v", .created_at = NOW};
	int64_t id;

	row.link_id[0] = 99;
	return identity_insert(f->db, &row, &id, &f->e);
}
OP(o_identity_load)
{
	struct identity_row row;

	return identity_load(f->db, IDENTITY_MAC, "a0b1c2d3e4f5", &f->mem, &row, &f->e);
}
OP(o_identity_credential)
{
	return identity_set_credential(f->db, fault_world.identity, (const uint8_t *)"hash", 4, &f->e);
}
OP(o_identity_revoke)
{
	return identity_revoke(f->db, fault_world.identity, NOW, &f->e);
}
OP(o_identity_list)
{
	struct identity_list list;

	return identity_list(f->db, fault_world.device, &all, &f->mem, &list, &f->e);
}
OP(o_report)
{
	struct device_said said = {
		.seen_at = NOW, .counter = 9, .has_running = true, .agent_state = CHECKIN_IDLE};

	manifest_digest(200, said.running_digest);
	return report_store(f->db, fault_world.device, &said, &f->e);
}
OP(o_report_touch)
{
	struct report_touch rows[] = {{.device = fault_world.device, .seen_at = NOW, .counter = 10},
		{.device = fault_world.spare, .seen_at = NOW, .counter = 1}};

	return report_touch_many(f->db, rows, 2, &f->e);
}
OP(o_report_seen)
{
	return report_seen(f->db, fault_world.device, NOW + 100, "127.0.0.1", &f->e);
}

const struct fault_op fault_ops_devices[] = {
	ROW(o_device_insert),
	ROW(o_device_load),
	ROW(o_device_find),
	ROW(o_device_find_mac),
	ROW(o_device_list),
	ROW(o_device_count),
	ROW(o_fleet_count),
	ROW(o_device_update),
	ROW(o_device_rehome),
	ROW(o_device_revoke),
	ROW(o_device_replace),
	ROW(o_device_delete),
	ROW(o_attributes),
	ROW(o_attribute_list),
	ROW(o_secret_insert),
	ROW(o_secret_load),
	ROW(o_secret_revoke),
	ROW(o_secret_list),
	ROW(o_secret_list_unused),
	ROW(o_enroll_new),
	ROW(o_enroll_repeated),
	ROW(o_enroll_waiting),
	ROW(o_enroll_restore),
	ROW(o_enroll_accept),
	ROW(o_enroll_refuse),
	ROW(o_alarm_raise),
	ROW(o_alarm_clear),
	ROW(o_event_add),
	ROW(o_event_list),
	ROW(o_identity_insert),
	ROW(o_identity_load),
	ROW(o_identity_credential),
	ROW(o_identity_revoke),
	ROW(o_identity_list),
	ROW(o_report),
	ROW(o_report_touch),
	ROW(o_report_seen),
};
const size_t n_fault_ops_devices = sizeof fault_ops_devices / sizeof fault_ops_devices[0];
