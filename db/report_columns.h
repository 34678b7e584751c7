/* device_said as columns of a larger SELECT, for device.c. */
#ifndef DB_REPORT_COLUMNS_H
#define DB_REPORT_COLUMNS_H

#include "db/report.h"
#include "db/stmt.h"

/* Every column of device_said but `device`, of the table alias s. */
#define REPORT_COLUMNS                                                                                       \
	"s.seen_at AS seen_at, s.peer AS peer, s.counter AS counter, s.counter_digest AS counter_digest,"    \
	" s.root_version AS root_version, s.running_sequence AS running_sequence, s.running_digest AS "      \
	"running_digest,"                                                                                    \
	" s.running_text AS running_text, s.agent_state AS agent_state, s.target_digest AS target_digest,"   \
	" s.target_attempt AS target_attempt, s.target_bytes AS target_bytes, s.result_digest AS "           \
	"result_digest,"                                                                                     \
	" s.result_attempt AS result_attempt, s.result_reason AS result_reason, s.result_detail AS "         \
	"result_detail,"                                                                                     \
	" s.result_offset AS result_offset, s.result_at AS result_at, s.uptime_s AS uptime_s, s.flags AS "   \
	"flags,"                                                                                             \
	" s.confirmed_digest AS confirmed_digest, s.confirmed_at AS confirmed_at, s.previous_digest AS "     \
	"previous_digest"

/* Read them; errors are sticky in the statement. */
void report_fill(struct stmt *st, struct device_said *out);

#endif
