#include "cli/show.h"

#include <string.h>
#include <time.h>

#include "proto/err.h"
#include "proto/state.h"

const char *show_running(const json_t *d, char *buf, size_t cap)
{
	const json_t *r = js_get(d, "running");

	if (!r)
		return js_bool(d, "drifted", false) ? "nothing of ours" : "unknown";
	/* Versions are a board's own: of another's firmware the board is said too. */
	const char *release = js_text(r, "release", ""), *board = js_text(d, "board", "");
	const size_t len = strlen(board);
	const bool is_foreign = release[0] && len &&
				(strncmp(release, board, len) != 0 || release[len] != ':');

	(void)snprintf(buf, cap, "%s%s", is_foreign ? release : js_text(r, "version", "unknown release"),
		js_bool(r, "stuck", false)      ? " (failed)"
		: js_bool(r, "confirmed", true) ? ""
						: " (trial)");
	return buf;
}

/* Why what runs was wanted no more. */
static const char *late_text(const json_t *a)
{
	return strcmp(js_text(a, "state", ""), "cancelled") == 0 ? "it was cancelled too late"
								 : "its time was over";
}

enum { TRIAL_SHORT_S = 60 }; /* most trials have ended by then */

static const char *assignment_text(const json_t *a, char *buf, size_t cap)
{
	int64_t size = js_int(a, "size", 0), done = js_int(a, "bytes", 0);
	const char *state = js_text(a, "state", "-"), *why = js_text(a, "text", NULL);
	int64_t since = js_int(a, "since", 0), age = since > 0 ? (int64_t)time(NULL) - since : 0;

	if (js_bool(a, "drifted", false) && js_bool(a, "older", false))
		(void)snprintf(buf, cap, "drifted: runs something newer");
	else if (js_bool(a, "drifted", false))
		(void)snprintf(buf, cap, "drifted: should run %s", js_text(a, "version", "?"));
	else if (js_bool(a, "late", false))
		(void)snprintf(buf, cap, "%s, but runs it", state);
	else if (strcmp(state, "fetching") == 0 && size > 0)
		(void)snprintf(buf, cap, "%s %lld %%", state, (long long)(done * 100 / size));
	else if (strcmp(state, "trial") == 0 && age >= TRIAL_SHORT_S)
		(void)snprintf(buf, cap, "%s for %s", state, out_span(age));
	else
		(void)snprintf(buf, cap, "%s%s%s", state, why && why[0] ? ": " : "", why ? why : "");
	return buf;
}

/* What a device tells most often, in as few words as a table has room for; NULL: as the server says it. */
static const char *short_why(int64_t detail)
{
	if (detail == ota_err_detail(OTA_HEALTH))
		return "ill";
	if (detail == ota_err_detail(OTA_BOOTS))
		return "boots used up";
	if (detail == ota_err_detail(OTA_CONTACT))
		return "no contact";
	if (detail == ota_err_detail(OTA_ROLLBACK))
		return "below the floor";
	return NULL;
}

const char *show_update(const json_t *a, char *buf, size_t cap)
{
	const char *text = assignment_text(a, buf, cap), *state = js_text(a, "state", "-"),
		   *why = short_why(js_int(a, "detail", 0));
	char *numbers = strstr(buf, " (reason ");

	if (why && strcmp(state, "failed") == 0)
		(void)snprintf(buf, cap, "failed: %s%s", why,
			strstr(js_text(a, "text", ""), ", still runs") ? ", still runs" : "");
	else if (why && strcmp(state, "reverted") == 0)
		(void)snprintf(buf, cap, "reverted: %s", why);
	else if (numbers)
		*numbers = '\0';
	return text;
}

static bool is_shared(const json_t *device)
{
	return strcmp(js_text(js_get(device, "alarm"), "kind", ""), "shared-identity") == 0;
}

const char *show_token_state(const json_t *token)
{
	if (js_get(token, "revoked"))
		return "revoked";
	return js_get(token, "expires") && js_int(token, "expires", 0) <= time(NULL) ? "expired" : "valid";
}

const char *show_secret_state(const json_t *secret)
{
	if (!js_get(secret, "revoked") && js_int(secret, "uses_left", 0) == 0)
		return "used";
	return show_token_state(secret);
}

void show_awaited(const json_t *secrets)
{
	long long uses = 0;
	const json_t *one = NULL;
	json_t *s;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)secrets, i, s)
	{
		if (strcmp(show_secret_state(s), "valid") != 0)
			continue;
		uses += (long long)js_int(s, "uses_left", 0);
		one = s;
	}
	const char *name = uses == 1 ? js_text(one, "name", "") : "";

	if (!uses) {
		puts("no devices; provision one: otactl provision --board BOARD --name NAME");
		return;
	}
	if (name[0])
		printf("no devices yet: otad waits for %s, which was provisioned\n", out_safe(name));
	else
		printf("no devices yet: otad waits for the first of %lld that may enroll\n", uses);
	puts("next: start the device with its provisioning file; which there are:\n      otactl enroll list");
}

const char *show_label(const json_t *device)
{
	const char *id = js_text(device, "id", "?"), *name = js_text(device, "name", id);
	char head[13];

	if (strcmp(name, id) != 0)
		return out_safe(name);
	(void)snprintf(head, sizeof head, "%s", id);
	return out_safe(head);
}

/* For a table: one that nobody has named is known to people by its serial. */
static const char *label_with_serial(const json_t *d, char *buf, size_t cap)
{
	const char *serial = js_text(d, "serial", "");
	const bool is_named = strcmp(js_text(d, "name", ""), js_text(d, "id", "")) != 0;

	/* One that a provisioning file made up says nothing. */
	if (is_named || !serial[0] || (strlen(serial) == 32 && strspn(serial, "0123456789abcdef") == 32))
		return show_label(d);
	(void)snprintf(buf, cap, "%s (%s)", show_label(d), out_safe(serial));
	return buf;
}

void show_devices(const json_t *devices, const char *none)
{
	static const char *const head[] = {"DEVICE", "BOARD", "RUNNING", "UPDATE", "STATE", "SEEN", NULL};
	struct out_table t;
	json_t *d;
	size_t i;

	out_table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)devices, i, d)
	{
		const json_t *a = js_get(d, "assignment"), *next = js_get(d, "next");
		char running[120], update[300], state[64], label[80];

		(void)snprintf(state, sizeof state, "%s%s%s%s", js_text(d, "state", "?"),
			js_bool(d, "rekey", false) ? ", new key waits" : "",
			js_bool(d, "hold", false) ? ", on hold" : "", is_shared(d) ? ", shared?" : "");
		if (a)
			(void)show_update(a, running, sizeof running);
		/* The version once: what runs as it should stands beside it. */
		const char *version = a ? js_text(a, "version", "") : "";
		bool is_done = a && strcmp(js_text(a, "state", ""), "running") == 0;

		(void)snprintf(update, sizeof update, "%s%s%s%s%s", is_done ? "" : version,
			a && !is_done ? " " : "", a ? running : "", next ? ", then " : "",
			next ? js_text(next, "version", "?") : "");
		out_table_row(&t, (const char *const[]){label_with_serial(d, label, sizeof label),
					  js_text(d, "board", ""), show_running(d, running, sizeof running),
					  update, state, out_ago(js_int(d, "last_seen", 0))});
	}
	out_table_end(&t, none);
}

/* What brings the device back to what it should run: a cancelled push is not tried again. */
static const char *mend_text(const json_t *d, const json_t *a, char *buf, size_t cap)
{
	if (js_bool(a, "rollout_cancelled", false))
		(void)snprintf(buf, cap, "its push was cancelled; push it again: otactl push FILE --to %s",
			show_label(d));
	else
		(void)snprintf(buf, cap, "offer it again: otactl retry %.8s", js_text(a, "rollout", "?"));
	return buf;
}

static bool has_ended(const json_t *assignment)
{
	enum assign_state state;

	return assign_state_parse(js_text(assignment, "state", ""), &state) == OTA_OK &&
	       !assign_state_is_open(state);
}

static bool is_known(const json_t *d)
{
	return js_bool(js_get(d, "running"), "known", false);
}

/* What it should run it refuses, for it runs something newer: after an older backup was restored, or because
 * an older release was pushed. To offer it again changes nothing. */
static bool is_outrun(const json_t *d)
{
	const json_t *a = js_get(d, "assignment");

	return js_bool(a, "older", false) &&
	       (js_bool(a, "drifted", false) || strcmp(js_text(a, "state", ""), "failed") == 0 ||
		       (!is_known(d) && has_ended(a)));
}

/* Of such a device: what to do. */
static const char *outrun_text(const json_t *d, char *buf, size_t cap)
{
	const char *version = js_text(js_get(d, "assignment"), "version", "?");

	if (is_known(d))
		(void)snprintf(buf, cap,
			"refuses %s, which is older; to go back: otactl push FILE --to %s --version NEW",
			out_safe(version), show_label(d));
	else
		(void)snprintf(buf, cap,
			"refuses %s, which is older; push what it should run again: otactl push FILE --to %s "
			"--version NEW",
			out_safe(version), show_label(d));
	return buf;
}

/* It runs what this otad does not know, or nothing of ours any more where it once did, and nothing is on its
 * way to it. */
static bool is_left_alone(const json_t *d)
{
	const json_t *a = js_get(d, "assignment");
	const bool is_empty = !js_get(d, "running") && js_get(d, "ran");

	return (is_empty || (js_get(d, "running") && !is_known(d))) && !is_outrun(d) &&
	       !js_bool(d, "drifted", false) && !js_get(d, "next") && (!a || has_ended(a)) &&
	       strcmp(js_text(d, "state", ""), "approved") == 0;
}

/* It runs what failed its trial there, and no retry of that push mends it: it was cancelled. */
static bool is_left_ill(const json_t *d)
{
	const json_t *a = js_get(d, "assignment");

	return js_bool(js_get(d, "running"), "stuck", false) && js_bool(a, "rollout_cancelled", false) &&
	       has_ended(a) && !js_get(d, "next");
}

/* Its flash was lost, and the push that was its last one does not bring it back: it was cancelled. */
static bool is_left_empty(const json_t *d)
{
	return !js_get(d, "running") && is_left_alone(d);
}

static void show_one_drifted(const json_t *d)
{
	const json_t *a = js_get(d, "assignment");
	const char *version = out_safe(js_text(a, "version", "?"));
	char running[120], mend[400];

	if (js_bool(d, "late", false))
		printf("! %s runs %s all the same: %s; push what it should run\n", show_label(d), version,
			late_text(a));
	else if (is_outrun(d))
		printf("! %s runs %s and %s\n", show_label(d),
			is_known(d) ? out_safe(show_running(d, running, sizeof running))
				    : "a newer release, which this otad does not know,",
			outrun_text(d, mend, sizeof mend));
	else if (is_left_empty(d))
		printf("! %s reports nothing of ours and ran %s; push what it should run: otactl push FILE "
		       "--to %s\n",
			show_label(d), out_safe(js_text(d, "ran", "?")), show_label(d));
	else if (is_left_ill(d))
		printf("! %s runs %s: it failed its trial, and there is nothing to go back to; push a better "
		       "one: otactl push FILE --to %s\n",
			show_label(d), out_safe(js_text(js_get(d, "running"), "version", "?")),
			show_label(d));
	else
		printf("! %s should run %s and reports %s; %s\n", show_label(d), version,
			show_running(d, running, sizeof running), mend_text(d, a, mend, sizeof mend));
}

enum { DRIFTED_MAX = 5 };

void show_drifted(const json_t *devices)
{
	size_t i, n = 0;
	json_t *d;

	json_array_foreach((json_t *)(uintptr_t)devices, i, d)
	{
		if ((js_bool(d, "late", false) || js_bool(d, "drifted", false) || is_outrun(d) ||
			    is_left_ill(d) || is_left_empty(d)) &&
			++n <= DRIFTED_MAX)
			show_one_drifted(d);
	}
	if (n > DRIFTED_MAX)
		printf("! %zu more do not run what they should; see: otactl device list\n", n - DRIFTED_MAX);
}

/* {push: {failed: n, reverted: n}} of the devices that had nothing newer since. */
static json_t *ended_badly(const json_t *devices)
{
	json_t *pushes = json_object(), *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)devices, i, d)
	{
		const json_t *a = js_get(d, "assignment");
		const char *push = js_text(a, "rollout", NULL), *state = js_text(a, "state", "");
		bool is_bad = strcmp(state, "failed") == 0 || strcmp(state, "reverted") == 0;

		if (!push || !is_bad || is_outrun(d) || js_get(d, "next") ||
			js_bool(a, "rollout_cancelled", false))
			continue;
		json_t *counts = json_object_get(pushes, push);

		if (!counts && json_object_set_new(pushes, push, json_object()) == 0)
			counts = json_object_get(pushes, push);
		(void)json_object_set_new(counts, state, json_integer(js_int(counts, state, 0) + 1));
	}
	return pushes;
}

void show_to_retry(const json_t *devices)
{
	json_t *pushes = ended_badly(devices), *counts;
	const char *push;
	size_t n = 0;

	json_object_foreach(pushes, push, counts)
	{
		long long failed = (long long)js_int(counts, "failed", 0),
			  reverted = (long long)js_int(counts, "reverted", 0);
		char ends[60];

		if (++n > DRIFTED_MAX)
			continue;
		if (failed && reverted)
			(void)snprintf(ends, sizeof ends, "%lld failed, %lld reverted", failed, reverted);
		else
			(void)snprintf(ends, sizeof ends, "%lld %s", failed + reverted,
				failed ? "failed" : "reverted");
		printf("! push %.8s: %s; once that is mended: otactl retry %.8s\n", out_safe(push), ends,
			out_safe(push));
	}
	if (n > DRIFTED_MAX)
		printf("! %zu more pushes failed on devices; see: otactl rollout list\n", n - DRIFTED_MAX);
	json_decref(pushes);
}

void show_waiting(const json_t *d)
{
	const char *serial = js_text(d, "serial", js_text(d, "serial_hex", "")),
		   *address = js_text(d, "address", "");

	bool is_pending = strcmp(js_text(d, "state", ""), "pending") == 0;

	printf("%s: otactl device approve %s%s%s%s%s%s\n",
		is_pending ? "waits for approval" : "a new key waits", show_label(d),
		serial[0] || address[0] ? "   # " : "", serial[0] ? "serial " : "", out_safe(serial),
		address[0] ? serial[0] ? ", from " : "from " : "", out_safe(address));
	if (!is_pending)
		printf("             or: otactl device reject %s\n", show_label(d));
}

void show_alarms(const json_t *devices)
{
	json_t *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)devices, i, d)
	{
		if (is_shared(d))
			printf("! %s: two devices seem to use this identity; see: otactl device show %s\n",
				show_label(d), show_label(d));
	}
}

/* What is known, and what to do: the server judges, this explains. */
static void show_alarm(const json_t *d, const json_t *alarm)
{
	const char *name = js_text(d, "name", "DEVICE");

	if (!is_shared(d)) {
		out_field("alarm", "%s (last %s; nothing to do unless it repeats)",
			js_text(alarm, "text", "?"), out_time(js_int(alarm, "last", 0)));
		return;
	}
	out_field("alarm", "%s (%lld times since %s, last %s)", js_text(alarm, "text", "?"),
		(long long)js_int(alarm, "times", 0), out_time(js_int(alarm, "first", 0)),
		out_time(js_int(alarm, "last", 0)));
	out_field("", "what is shown here may be of either of them, and both get its updates");
	out_field("", "a copy you made: provision and enroll it anew, as a device of its own");
	out_field("", "no copy of yours: somebody holds its key: otactl device remove %s, then", name);
	out_field("", "provision the device anew");
	out_field("", "afterwards: otactl device ack %s", name);
}

/* All of them, on as many lines as they need. */
static void show_tags(const json_t *d)
{
	enum { WIDTH = 62 };
	const char *head = "tags";
	char line[200] = "";
	json_t *tag;
	size_t i;

	json_array_foreach(js_array(d, "tags"), i, tag)
	{
		const char *name = json_string_value(tag);
		size_t used = strlen(line);

		if (used && name && used + strlen(name) > WIDTH) {
			out_field(head, "%s,", line);
			head = "";
			used = 0;
		}
		(void)snprintf(line + used, sizeof line - used, "%s%s", used ? ", " : "", name ? name : "?");
	}
	if (line[0])
		out_field(head, "%s", line);
}

void show_device(const json_t *d)
{
	const json_t *a = js_get(d, "assignment"), *next = js_get(d, "next"), *r = js_get(d, "running"),
		     *alarm = js_get(d, "alarm");
	char text[300], mend[400];
	json_t *item;
	size_t i;

	out_field("name", "%s", js_text(d, "name", "-"));
	out_field("id", "%s", js_text(d, "id", "?"));
	out_field("board", "%s", js_text(d, "board", "?"));
	if (js_get(d, "serial"))
		out_field("serial", "%s", js_text(d, "serial", "?"));
	else if (js_text(d, "serial_hex", "")[0])
		out_field("serial", "%s (in hex)", js_text(d, "serial_hex", "?"));
	out_field("state", "%s%s", js_text(d, "state", "?"), js_bool(d, "hold", false) ? ", on hold" : "");
	if (strcmp(js_text(d, "state", ""), "revoked") == 0)
		out_field("",
			"it was replaced or revoked, and its key is over; forget it: otactl device remove %s",
			show_label(d));
	if (js_bool(d, "rekey", false)) {
		out_field("", "it enrolled again and its new key waits: otactl device approve %s",
			show_label(d));
		out_field("", "or, to keep the key it has: otactl device reject %s", show_label(d));
	}
	if (alarm)
		show_alarm(d, alarm);
	show_tags(d);
	json_array_foreach(js_array(d, "identities"), i, item)
		out_field("identity", "%s %s", js_text(item, "kind", "?"), js_text(item, "value", "?"));
	if (js_text(d, "address", "")[0])
		out_field("address", "%s", js_text(d, "address", "?"));
	out_field("seen", "%s%s", out_ago(js_int(d, "last_seen", 0)),
		js_get(d, "online") ? js_bool(d, "online", false) ? ", connected" : ", not connected" : "");
	out_field("running", "%s", show_running(d, text, sizeof text));
	if (is_outrun(d))
		out_field("", "it %s", outrun_text(d, mend, sizeof mend));
	else if (js_bool(d, "drifted", false))
		out_field("", "it should run %s; %s", js_text(a, "version", "?"),
			mend_text(d, a, mend, sizeof mend));
	if (is_left_alone(d)) {
		out_field("",
			r ? "this otad does not know it; push what the device should run:"
			  : "it ran %s; push what it should run:",
			js_text(d, "ran", "?"));
		out_field("", "otactl push FILE --to %s", show_label(d));
	}
	if (js_bool(d, "late", false))
		out_field("", "%s; push what it should run", late_text(a));
	if (r) {
		out_field("digest", "%s", js_text(r, "digest", "?"));
		out_field("sequence", "%lld", (long long)js_int(r, "sequence", 0));
	}
	if (a) {
		out_field("update", "%s %s (attempt %lld, push %.8s)", js_text(a, "version", "?"),
			assignment_text(a, text, sizeof text), (long long)js_int(a, "attempt", 1),
			js_text(a, "rollout", "?"));
		out_field("since", "%s", out_time(js_int(a, "since", 0)));
	}
	if (next)
		out_field("then", "%s %s (push %.8s)", js_text(next, "version", "?"),
			assignment_text(next, text, sizeof text), js_text(next, "rollout", "?"));
	out_field("root", "version %lld", (long long)js_int(d, "root_version", 0));
}

void show_image(const json_t *i)
{
	out_field("sha256", "%s", js_text(i, "sha256", "?"));
	out_field("size", "%s (%lld bytes)", out_size(js_int(i, "size", 0)), (long long)js_int(i, "size", 0));
	out_field("is", "%s", js_text(i, "describe", js_text(i, "format", "?")));
	if (js_text(i, "version", "")[0])
		out_field("version", "%s", js_text(i, "version", ""));
	if (js_text(i, "project", "")[0])
		out_field("project", "%s", js_text(i, "project", ""));
	if (js_text(i, "sdk", "")[0])
		out_field("sdk", "%s", js_text(i, "sdk", ""));
	if (js_text(i, "built", "")[0])
		out_field("built", "%s", js_text(i, "built", ""));
	if (js_get(i, "created"))
		out_field("uploaded", "%s", out_time(js_int(i, "created", 0)));
	if (js_bool(i, "damaged", false))
		out_field("damaged", "a read of the stored bytes failed: it is not offered; upload it again");
}

void show_release(const json_t *r)
{
	json_t *image;
	size_t i;

	out_field("release", "%s %s", js_text(r, "board", "?"), js_text(r, "version", "?"));
	out_field("state", "%s, %d signature%s", js_text(r, "state", "?"),
		(int)json_array_size(js_array(r, "signatures")),
		json_array_size(js_array(r, "signatures")) == 1 ? "" : "s");
	out_field("sequence", "%lld", (long long)js_int(r, "sequence", 0));
	out_field("digest", "%s", js_text(r, "digest", "?"));
	json_array_foreach(js_array(r, "images"), i, image)
	{
		const char *variant = js_text(image, "variant", "");

		out_field("image", "%s%s%s, %s, %.12s", js_text(image, "component", "?"),
			variant[0] ? "." : "", variant, out_size(js_int(image, "size", 0)),
			js_text(image, "sha256", "?"));
	}
	if (js_text(r, "notes", "")[0])
		out_prose("notes", js_text(r, "notes", ""));
	out_field("made", "%s by %s", out_time(js_int(r, "created", 0)),
		js_text(r, "by_text", js_text(r, "by", "?")));
	if (js_get(r, "retired"))
		out_field("retired", "%s", out_time(js_int(r, "retired", 0)));
}
