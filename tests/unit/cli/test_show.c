/* What otactl prints of a device and of a push, from the JSON of a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/show.h"

static char printed[8192];

/* Standard output of `show` with `take`, in `printed`. */
static void capture(void (*show)(const json_t *), json_t *take)
{
	FILE *file = tmpfile();
	int was = dup(STDOUT_FILENO);

	assert_non_null(take);
	assert_non_null(file);
	(void)fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	show(take);
	(void)fflush(stdout);
	assert_true(dup2(was, STDOUT_FILENO) >= 0);
	(void)close(was);
	rewind(file);
	printed[fread(printed, 1, sizeof printed - 1, file)] = '\0';
	(void)fclose(file);
	json_decref(take);
}

static void devices(const json_t *list)
{
	show_devices(list, "none");
}

static json_t *on_trial(int64_t seconds)
{
	const int64_t now = time(NULL);

	return json_pack("[{s:s, s:s, s:s, s:s, s:I, s:{s:s, s:s, s:I}}]", "name", "kitchen", "id", "00",
		"board", "lamp", "state", "approved", "last_seen", (json_int_t)now, "assignment", "version",
		"1.1.0", "state", "trial", "since", (json_int_t)(now - seconds));
}

static void a_trial_that_does_not_end_has_an_age(void **state)
{
	(void)state;
	capture(devices, on_trial(3 * 3600 + 600));
	assert_non_null(strstr(printed, "1.1.0 trial for 3 h "));
	capture(devices, on_trial(600));
	assert_non_null(strstr(printed, "1.1.0 trial for 10 min "));
	capture(devices, on_trial(5));
	assert_non_null(strstr(printed, "1.1.0 trial "));
	assert_null(strstr(printed, " for "));
}

static json_t *waiting(int64_t by)
{
	json_t *row = json_pack("{s:{s:s, s:s}, s:s, s:s, s:I}", "device", "name", "kitchen", "id", "00",
		"state", "waiting", "version", "1.1.0", "last_seen", (json_int_t)time(NULL));

	(void)json_object_set_new(row, "next_poll_by", by ? json_integer(time(NULL) + by) : json_null());
	return json_pack("[o]", row);
}

/* A device may come sooner than it must. */
static void the_next_poll_is_a_latest_time(void **state)
{
	(void)state;
	capture(show_assignments, waiting(400));
	assert_non_null(strstr(printed, " within 6 min\n"));
	capture(show_assignments, waiting(-400));
	assert_non_null(strstr(printed, " due 6 min ago\n"));
	capture(show_assignments, waiting(0));
	assert_non_null(strstr(printed, " -\n"));
}

static json_t *reporting(const char *board, const char *name, const char *serial)
{
	return json_pack("[{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s, s:b, s:b}}]", "name", name, "id",
		"0123456789abcdef0123456789abcdef", "board", board, "state", "approved", "serial", serial,
		"running", "version", "1.0.0", "release", "lamp:1.0.0", "known", 1, "confirmed", 1);
}

/* Versions are a board's own, and one that nobody has named has its serial beside its id. */
static void rows_tell_devices_and_versions_apart(void **state)
{
	(void)state;
	capture(devices, reporting("lamp", "kitchen", "SN-1"));
	assert_non_null(strstr(printed, " 1.0.0 "));
	assert_null(strstr(printed, "lamp:1.0.0"));
	assert_null(strstr(printed, "SN-1"));
	capture(devices, reporting("la", "kitchen", "SN-1"));
	assert_non_null(strstr(printed, " lamp:1.0.0 "));
	capture(devices, reporting("lamp", "0123456789abcdef0123456789abcdef", "SN-1"));
	assert_non_null(strstr(printed, "0123456789ab (SN-1) "));
	capture(devices,
		reporting("lamp", "0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff"));
	assert_null(strstr(printed, "("));
}

/* What the server keeps is shown: no byte of it missing, no control byte on the terminal. */
static void notes_are_shown_whole(void **state)
{
	char notes[4097], want[4200];

	(void)state;
	memset(notes, 'x', sizeof notes - 1);
	notes[sizeof notes - 1] = '\0';
	capture(show_release, json_pack("{s:s}", "notes", notes));
	(void)snprintf(want, sizeof want, "\nnotes:         %s\nmade: ", notes);
	assert_non_null(strstr(printed, want));
	capture(show_release, json_pack("{s:s}", "notes", "first\n\n\tthird \033[2J\n"));
	assert_non_null(strstr(printed, "\nnotes:         first\n"
					"               \n"
					"                third ?[2J\n"
					"made: "));
	capture(show_release, json_pack("{s:s}", "notes", ""));
	assert_null(strstr(printed, "notes"));
}

static void all_tags_are_shown(void **state)
{
	json_t *d = json_pack("{s:[]}", "tags");
	char tag[64], *end = printed;
	size_t shown = 0;

	(void)state;
	for (int i = 0; i < 32; i++) {
		memset(tag, 'a', sizeof tag);
		tag[0] = 't';
		tag[1] = (char)('0' + i / 10);
		tag[2] = (char)('0' + i % 10);
		tag[3] = '-';
		tag[i < 30 ? 4 + i : 63] = '\0';
		(void)json_array_append_new(js_array(d, "tags"), json_string(tag));
	}
	capture(show_device, d);
	for (char *line = strtok_r(printed, "\n", &end); line; line = strtok_r(NULL, "\n", &end)) {
		assert_true(strlen(line) <= 80);
		for (char *at = line; (at = strstr(at, "t")); at++)
			shown += (size_t)(at[1] >= '0' && at[1] <= '3' && at[3] == '-');
	}
	assert_int_equal(shown, 32);
}

static void the_counts_tell_then_and_now(void **state)
{
	static const struct {
		int running, gone, waiting, queued;
		const char *text;
	} cases[] = {
		{3, 0, 0, 0, "3 running"},
		{3, 1, 0, 0, "3 ran it, 2 now"},
		{3, 3, 0, 0, "3 ran it, none now"},
		{0, 0, 2, 0, "2 waiting"},
		{1, 1, 2, 1, "1 ran it, none now, 2 waiting (1 behind another update)"},
		{0, 0, 0, 0, "no devices"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *r = json_pack("{s:{s:i, s:i}, s:i, s:i}", "counts", "running", cases[i].running,
			"waiting", cases[i].waiting, "gone", cases[i].gone, "queued", cases[i].queued);

		assert_string_equal(show_counts(r), cases[i].text);
		json_decref(r);
	}
}

/* A device "kitchen" that runs 1.2.0, and what it should do last: 1.0.0 in `state`. */
static json_t *outrun(const char *state, bool is_known, bool is_older, bool is_drifted)
{
	return json_pack("[{s:s, s:s, s:b, s:{s:s?, s:b, s:b}, s:{s:s, s:s, s:s, s:b, s:b}}]", "name",
		"kitchen", "id", "00", "drifted", is_drifted, "running", "version", is_known ? "1.2.0" : NULL,
		"known", is_known, "confirmed", 1, "assignment", "version", "1.0.0", "rollout", "abcdefgh",
		"state", state, "older", is_older, "drifted", is_drifted);
}

static void to_drifted(const json_t *list)
{
	show_drifted(list);
	show_to_retry(list);
}

/* What it would refuse again is not advised. */
static void a_retry_is_advised_where_it_helps(void **state)
{
	static const char retry[] = "otactl retry abcdefgh\n", push[] = "otactl push FILE --to kitchen";
	static const struct {
		const char *state;
		bool is_known, is_older, is_drifted;
		const char *line; /* NULL: none */
	} cases[] = {
		{"running", true, false, false, NULL},
		{"running", true, false, true, retry},
		{"running", true, true, true, push},
		{"running", false, true, true, push},
		{"failed", true, false, false, retry},
		{"failed", true, true, false, push},
		{"failed", false, true, false, push},
		{"reverted", true, false, false, retry},
		{"cancelled", true, true, false, NULL},
		{"cancelled", false, true, false, push},
		{"waiting", false, true, false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *line = cases[i].line;

		capture(to_drifted,
			outrun(cases[i].state, cases[i].is_known, cases[i].is_older, cases[i].is_drifted));
		assert_true(line ? strstr(printed, line) != NULL : printed[0] == '\0');
		assert_true(!strstr(printed, "retry") || line == retry);
	}
}

/* What failed and still runs is told, whether or not its push can be tried again. */
static void firmware_left_ill_is_told(void **state)
{
	static const char line[] = "! kitchen runs 1.2.0: it failed its trial, and there is nothing to go "
				   "back to; push a better one: "
				   "otactl push FILE --to kitchen\n";

	(void)state;
	for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
		for (int is_stuck = 0; is_stuck < 2; is_stuck++) {
			json_t *list = outrun("failed", true, false, false), *d = json_array_get(list, 0);

			(void)json_object_set_new(
				json_object_get(d, "running"), "stuck", json_boolean(is_stuck));
			(void)json_object_set_new(json_object_get(d, "assignment"), "rollout_cancelled",
				json_boolean(is_cancelled));
			capture(to_drifted, list);
			if (is_cancelled)
				assert_string_equal(printed, is_stuck ? line : "");
			else
				assert_non_null(strstr(printed, "1 failed; once that is mended"));
		}
	}
}

/* The part that matters, in a table of 80 columns. */
static void a_failure_fits_its_cell(void **state)
{
	static const struct {
		const char *state, *text, *cell;
		int detail;
	} cases[] = {
		{"failed",
			"new firmware was not well, still runs (reason 11, detail 126): there is "
			"nothing to "
			"go back to",
			"failed: ill, still runs", 126},
		{"reverted", "new firmware was not well (reason 11, detail 126)", "reverted: ill", 126},
		{"reverted", "new firmware used up its boot attempts (reason 11, detail 127)",
			"reverted: boots used up", 127},
		{"reverted", "new firmware could not reach the server (reason 11, detail 128)",
			"reverted: no contact", 128},
		{"failed", "sequence is below the floor (reason 10, detail 104)", "failed: below the floor",
			104},
		{"failed", "download failed (reason 11, detail 123) at byte 7", "failed: download failed",
			123},
	};
	char buf[300];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *a = json_pack("{s:s, s:s, s:i}", "state", cases[i].state, "text", cases[i].text,
			"detail", cases[i].detail);

		assert_string_equal(show_update(a, buf, sizeof buf), cases[i].cell);
		json_decref(a);
	}
}

/* The number of the attempt stands beside the update where the table has room for both. */
static void an_attempt_is_counted_where_it_fits(void **state)
{
	static const struct {
		const char *text;
		int attempt, detail;
		const char *number;
	} cases[] = {
		{"sequence is below the floor (reason 10, detail 104)", 1, 104, NULL},
		{"sequence is below the floor (reason 10, detail 104)", 2, 104,
			"below the floor (attempt 2) "},
		{"new firmware was not well, still runs (reason 11, detail 126)", 9, 126,
			"ill, still runs (attempt 9) "},
		{"sequence of the running release under another digest (reason 10, detail 105)", 2, 105,
			NULL},
		{"sequence is below the floor (reason 10, detail 104)", 1000, 104, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		capture(show_assignments,
			json_pack("[{s:{s:s, s:s}, s:s, s:s, s:i, s:i}]", "device", "name", "kitchen", "id",
				"00", "state", "failed", "text", cases[i].text, "detail", cases[i].detail,
				"attempt", cases[i].attempt));
		assert_non_null(strstr(printed, "failed: "));
		if (cases[i].number)
			assert_non_null(strstr(printed, cases[i].number));
		else
			assert_null(strstr(printed, "(attempt"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_tell_devices_and_versions_apart),
		cmocka_unit_test(notes_are_shown_whole),
		cmocka_unit_test(all_tags_are_shown),
		cmocka_unit_test(a_trial_that_does_not_end_has_an_age),
		cmocka_unit_test(the_next_poll_is_a_latest_time),
		cmocka_unit_test(the_counts_tell_then_and_now),
		cmocka_unit_test(a_retry_is_advised_where_it_helps),
		cmocka_unit_test(a_failure_fits_its_cell),
		cmocka_unit_test(firmware_left_ill_is_told),
		cmocka_unit_test(an_attempt_is_counted_where_it_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
