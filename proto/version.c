#include "proto/version.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct part {
	const char *p;
	size_t len;
};

struct version {
	struct part core, pre;
	bool has_pre;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_v(const char *s)
{
	return (s[0] == 'v' || s[0] == 'V') && is_digit(s[1]) ? s + 1 : s;
}

static struct version split(const char *s)
{
	const char *start = skip_v(s);
	size_t max = VERSION_LEN_MAX - (size_t)(start - s);
	struct version v = {.core = {start, 0}};
	size_t n = 0;

	while (n < max && start[n] && start[n] != '+' && start[n] != '-')
		n++;
	v.core.len = n;
	if (n == max || start[n] != '-')
		return v;
	v.has_pre = true;
	v.pre.p = start + ++n;
	while (n < max && start[n] && start[n] != '+') {
		n++;
		v.pre.len++;
	}
	return v;
}

static size_t digits(struct part s)
{
	size_t n = 0;

	while (n < s.len && is_digit(s.p[n]))
		n++;
	return n;
}

/* Two runs of digits by value: without leading zeros the longer one is the larger. */
static int compare_numbers(struct part a, struct part b)
{
	while (a.len && *a.p == '0') {
		a.p++;
		a.len--;
	}
	while (b.len && *b.p == '0') {
		b.p++;
		b.len--;
	}
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	for (size_t i = 0; i < a.len; i++) {
		if (a.p[i] != b.p[i])
			return a.p[i] < b.p[i] ? -1 : 1;
	}
	return 0;
}

static int compare_bytes(struct part a, struct part b)
{
	for (size_t i = 0; i < a.len && i < b.len; i++) {
		if (a.p[i] != b.p[i])
			return (uint8_t)a.p[i] < (uint8_t)b.p[i] ? -1 : 1;
	}
	return (a.len > b.len) - (a.len < b.len);
}

static int compare_cores(struct part a, struct part b)
{
	while (a.len && b.len) {
		size_t da = digits(a), db = digits(b);
		int order;

		if (da && db) {
			order = compare_numbers((struct part){a.p, da}, (struct part){b.p, db});
		} else if (da || db) {
			return da ? -1 : 1;
		} else {
			da = db = 1;
			order = compare_bytes((struct part){a.p, 1}, (struct part){b.p, 1});
		}
		if (order)
			return order;
		a = (struct part){a.p + da, a.len - da};
		b = (struct part){b.p + db, b.len - db};
	}
	return (a.len > 0) - (b.len > 0);
}

/* Cut the next identifier off the front of `s`, its dot too. */
static struct part next_identifier(struct part *s)
{
	struct part id = {s->p, 0};
	size_t used;

	while (id.len < s->len && s->p[id.len] != '.')
		id.len++;
	used = id.len < s->len ? id.len + 1 : id.len;
	*s = (struct part){s->p + used, s->len - used};
	return id;
}

static int compare_identifiers(struct part a, struct part b)
{
	bool na = a.len && digits(a) == a.len, nb = b.len && digits(b) == b.len;

	if (na && nb)
		return compare_numbers(a, b);
	if (na || nb)
		return na ? -1 : 1;
	return compare_bytes(a, b);
}

static int compare_pre(struct part a, struct part b)
{
	while (a.len && b.len) {
		int order = compare_identifiers(next_identifier(&a), next_identifier(&b));

		if (order)
			return order;
	}
	return (a.len > 0) - (b.len > 0);
}

int version_compare(const char *a, const char *b)
{
	struct version va = split(a), vb = split(b);
	int order = compare_cores(va.core, vb.core);

	if (order)
		return order;
	if (va.has_pre != vb.has_pre)
		return va.has_pre ? -1 : 1;
	return compare_pre(va.pre, vb.pre);
}
