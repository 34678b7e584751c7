#include "proto/suggest.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { TEXT_MAX = 63 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned suggest_distance(const char *a, const char *b)
{
	/* Three rows of the usual table (optimal string alignment). */
	unsigned row[3][TEXT_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > TEXT_MAX || lb > TEXT_MAX)
		return TEXT_MAX + 1;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = row[i % 3], *up = row[(i + 2) % 3], *upup = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);

			now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
				cb == tolower((unsigned char)a[i - 2]) && upup[j - 2] + 1 < now[j])
				now[j] = upup[j - 2] + 1;
		}
	}
	return row[la % 3][lb];
}

void suggest_offer(struct suggest *s, const char *wanted, const char *name)
{
	size_t len = strlen(wanted);
	unsigned distance = suggest_distance(wanted, name);
	unsigned near = (unsigned)(strlen(name) + 2) / 3;

	if (distance > near) {
		if (len < 2 || strncasecmp(wanted, name, len) != 0)
			return;
		distance = near + 1;
	}
	if (!s->best || distance < s->distance) {
		s->best = name;
		s->distance = distance;
	}
}
