#include "server/range.h"

#include <string.h>
#include <strings.h>

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Decimal digits at `*p`; saturates, so that 10^30 is simply past every end. False: no digit. */
static bool read_number(const char **p, uint64_t *out)
{
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			v = UINT64_MAX;
		else
			v = v * 10 + digit;
	}
	*out = v;
	return true;
}

/* One range-spec at `*p`. False: malformed. `*first` and `*end` (exclusive) are cut at `size`; a range that
 * begins past the end, or is backwards, has end <= first. */
static bool read_spec(const char **p, uint64_t size, uint64_t *first, uint64_t *end)
{
	uint64_t number;

	*p = skip_space(*p);
	if (**p == '-') {
		(*p)++;
		*p = skip_space(*p);
		if (!read_number(p, &number))
			return false;
		*first = number < size ? size - number : 0;
		*end = size;
	} else {
		if (!read_number(p, first))
			return false;
		*p = skip_space(*p);
		if (*(*p)++ != '-')
			return false;
		*p = skip_space(*p);
		*end = size;
		if (read_number(p, &number) && number < size)
			*end = number + 1;
	}
	*p = skip_space(*p);
	return **p == ',' || **p == '\0';
}

/* Merge what touches, keeping the place of the first. Merging two may make a third one touch, so it repeats.
 */
static unsigned coalesce(struct range_span *spans, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = i + 1; j < n;) {
			uint64_t i_end = spans[i].first + spans[i].len;
			uint64_t j_end = spans[j].first + spans[j].len;

			if (spans[j].first > i_end || spans[i].first > j_end) {
				j++;
				continue;
			}
			if (spans[j].first < spans[i].first)
				spans[i].first = spans[j].first;
			spans[i].len = (i_end > j_end ? i_end : j_end) - spans[i].first;
			memmove(&spans[j], &spans[j + 1], (n - j - 1) * sizeof spans[0]);
			n--;
			j = i + 1;
		}
	}
	return n;
}

enum range_result range_parse(
	const char *value, uint64_t size, struct range_span spans[static RANGE_MAX], unsigned *n)
{
	uint64_t total = 0;
	unsigned count = 0;
	const char *p;

	if (!value || strncasecmp(value, "bytes=", 6) != 0 || value[6] == '\0')
		return RANGE_WHOLE;
	p = value + 6;
	for (;;) {
		uint64_t first, end;

		if (!read_spec(&p, size, &first, &end))
			return RANGE_UNSATISFIABLE;
		if (first < end) {
			if (count == RANGE_MAX)
				return RANGE_WHOLE;
			spans[count].first = first;
			spans[count].len = end - first;
			count++;
			/* At most RANGE_MAX parts of at most `size`: UINT64_MAX / RANGE_MAX is far above any
			 * file, and a total past `size` ends it anyway. */
			total += end - first;
			if (total > size)
				return RANGE_WHOLE;
		} else if (size == 0 && first == 0) {
			return RANGE_WHOLE;
		}
		if (*p == '\0')
			break;
		p++;
	}
	if (count == 0)
		return RANGE_UNSATISFIABLE;
	*n = coalesce(spans, count);
	return RANGE_PART;
}

/* One entity-tag at `*p` (RFC 9110 8.8.3): W/"..." or "...". False: malformed. */
static bool read_etag(const char **p, const char **tag, size_t *len, bool *is_weak)
{
	const char *q = *p;

	*is_weak = q[0] == 'W' && q[1] == '/';
	if (*is_weak)
		q += 2;
	if (*q != '"')
		return false;
	*tag = q++;
	while (*q == 0x21 || (*q >= 0x23 && *q <= 0x7e) || (unsigned char)*q >= 0x80)
		q++;
	if (*q != '"')
		return false;
	q++;
	*len = (size_t)(q - *tag);
	*p = q;
	return true;
}

bool range_etag_listed(const char *list, const char *etag, bool is_weak_ok)
{
	const char *p = skip_space(list);
	bool found = false;

	if (*p == '*')
		return *skip_space(p + 1) == '\0';
	for (;;) {
		const char *tag;
		size_t len;
		bool is_weak;

		/* RFC 9110 5.6.1: empty list elements are allowed. */
		while (*p == ',')
			p = skip_space(p + 1);
		if (*p == '\0')
			return found;
		if (!read_etag(&p, &tag, &len, &is_weak))
			return false;
		if ((!is_weak || is_weak_ok) && len == strlen(etag) && memcmp(tag, etag, len) == 0)
			found = true;
		p = skip_space(p);
		if (*p != ',' && *p != '\0')
			return false;
	}
}

enum range_condition range_conditions(const char *if_match, const char *if_none_match, const char *etag)
{
	if (if_match && !range_etag_listed(if_match, etag, false))
		return RANGE_FAILED;
	if (if_none_match && range_etag_listed(if_none_match, etag, true))
		return RANGE_NOT_MODIFIED;
	return RANGE_GO;
}

bool range_if_range(const char *if_range, const char *etag)
{
	return !if_range || strcmp(if_range, etag) == 0;
}
