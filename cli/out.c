#include "cli/out.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/cleanup.h"

static void sanitise(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		/* C1 controls arrive as 0xC2 0x80..0x9F */
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

static int width(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void out_table_init(struct out_table *t, const char *const *head)
{
	*t = (struct out_table){0};
	while (head[t->n_columns] && t->n_columns < OUT_COLUMNS_MAX) {
		t->head[t->n_columns] = head[t->n_columns];
		t->n_columns++;
	}
}

void out_table_row(struct out_table *t, const char *const *cells)
{
	if (t->n_rows == t->cap) {
		int cap = t->cap ? 2 * t->cap : 32;
		char **grown = realloc(t->cell, sizeof *grown * (size_t)cap * (size_t)t->n_columns);

		if (!grown)
			return;
		t->cell = grown;
		t->cap = cap;
	}
	for (int i = 0; i < t->n_columns; i++) {
		char *copy = strdup(cells[i] && cells[i][0] ? cells[i] : "-");

		if (copy)
			sanitise(copy);
		t->cell[t->n_rows * t->n_columns + i] = copy;
	}
	t->n_rows++;
}

static void print_row(
	const struct out_table *t, const int *widths, char *const *cells, const char *const *head)
{
	for (int i = 0; i < t->n_columns; i++) {
		const char *text = head ? head[i] : cells[i] ? cells[i] : "-";
		int pad = i + 1 < t->n_columns ? widths[i] - width(text) + 2 : 0;

		printf("%s%*s", text, pad, "");
	}
	putchar('\n');
}

void out_table_end(struct out_table *t, const char *none)
{
	int widths[OUT_COLUMNS_MAX] = {0};

	if (t->n_rows == 0 && none) {
		puts(none);
	} else if (t->n_rows > 0) {
		for (int i = 0; i < t->n_columns; i++) {
			widths[i] = width(t->head[i]);
			for (int r = 0; r < t->n_rows; r++) {
				const char *text = t->cell[r * t->n_columns + i];
				int w = text ? width(text) : 1;

				if (w > widths[i])
					widths[i] = w;
			}
		}
		print_row(t, widths, NULL, t->head);
		for (int r = 0; r < t->n_rows; r++)
			print_row(t, widths, &t->cell[r * t->n_columns], NULL);
	}
	for (int i = 0; i < t->n_rows * t->n_columns; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct out_table){0};
}

/* `text` becomes printable. */
static void print_field(const char *name, char *text)
{
	sanitise(text);
	printf("%s%s%*s%s\n", name, name[0] ? ":" : " ", width(name) < 14 ? 14 - width(name) : 1, "", text);
}

void out_field(const char *name, const char *fmt, ...)
{
	AUTO(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		text = NULL;
	else
		print_field(name, text);
}

void out_prose(const char *name, const char *text)
{
	AUTO(free) char *copy = strdup(text);

	for (char *line = copy; line && *line;) {
		char *end = strchr(line, '\n');

		if (end)
			*end = '\0';
		for (char *tab = line; (tab = strchr(tab, '\t')); tab++)
			*tab = ' ';
		print_field(name, line);
		name = "";
		line = end ? end + 1 : NULL;
	}
}

static char *turn(void)
{
	static char store[8][320];
	static unsigned at;

	return store[at++ % 8];
}

const char *out_time(int64_t unix_s)
{
	char *text = turn();
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (unix_s <= 0 || !localtime_r(&t, &tm))
		return "never";
	(void)strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}

const char *out_span(int64_t s)
{
	char *text = turn();
	const char *unit = s < 120 ? "s" : s < 7200 ? "min" : s < 172800 ? "h" : "days";
	int64_t n = s < 120 ? s : s < 7200 ? s / 60 : s < 172800 ? s / 3600 : s / 86400;

	(void)snprintf(text, 48, "%" PRId64 " %s", n, unit);
	return text;
}

/* `before` a span that is still to come, `after` one that has passed. */
static const char *relative(int64_t unix_s, const char *before, const char *after)
{
	int64_t d = (int64_t)time(NULL) - unix_s;
	char *text = turn();

	(void)snprintf(
		text, 96, "%s%s%s", d < 0 ? before : after, out_span(d < 0 ? -d : d), d < 0 ? "" : " ago");
	return text;
}

const char *out_ago(int64_t unix_s)
{
	return unix_s > 0 ? relative(unix_s, "in ", "") : "never";
}

const char *out_by(int64_t unix_s)
{
	return relative(unix_s, "within ", "due ");
}

const char *out_size(int64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	char *text = turn();
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	(void)snprintf(text, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return text;
}

const char *out_safe(const char *text)
{
	char *copy = turn();

	(void)snprintf(copy, 301, "%s", text);
	sanitise(copy);
	return copy;
}

static bool has_json;

bool out_has_json(void)
{
	return has_json;
}

void out_json(const json_t *value)
{
	has_json = true;
	(void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

void out_json_flag(const char *done, bool is_done)
{
	json_t *o = json_pack("{s:b}", done, is_done);

	out_json(o);
	json_decref(o);
}

void out_done(bool json, const char *done, const char *what, const char *more)
{
	if (json) {
		json_t *o = json_pack("{s:o}", done, js_string(what));

		out_json(o);
		json_decref(o);
	} else {
		printf("%s%s%s%s\n", done, what[0] ? " " : "", out_safe(what), more);
	}
}

void out_file(bool json, const char *path)
{
	if (!json || !path || strcmp(path, "-") == 0)
		return;
	json_t *o = json_pack("{s:o}", "file", js_string(path));

	out_json(o);
	json_decref(o);
}

void out_bar_set(struct out_bar *bar, uint64_t done, uint64_t total)
{
	enum { CELLS = 30 };
	int permille = total ? (int)(done * 1000 / total) : 1000;
	char cells[CELLS + 1];

	if (!bar->is_tty || permille == bar->last_permille)
		return;
	bar->last_permille = permille;
	for (int i = 0; i < CELLS; i++)
		cells[i] = i * 1000 < permille * CELLS ? '#' : '.';
	cells[CELLS] = '\0';
	fprintf(stderr, "\r%s [%s] %3d %% of %s ", bar->what, cells, permille / 10, out_size((int64_t)total));
	(void)fflush(stderr);
}

void out_bar_end(struct out_bar *bar, uint64_t total)
{
	if (bar->is_tty)
		fprintf(stderr, "\r\033[K");
	fprintf(stderr, "%s: %s\n", bar->what, out_size((int64_t)total));
}

void out_hide(void)
{
	const mode_t others = S_IRWXG | S_IRWXO;
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & others) &&
		fchmod(STDOUT_FILENO, st.st_mode & 07777 & ~others) != 0)
		fputs("warning: others can read the file that this secret goes to\n", stderr);
}

bool out_finish(void)
{
	bool was_bad = ferror(stdout) != 0;

	return fflush(stdout) == 0 && !was_bad;
}

bool out_is_read(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	return poll(&out, 1, 0) < 0 || !(out.revents & POLLERR);
}
