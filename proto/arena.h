/* Arena: memory that is given back all at once, under a hard cap. Host programs only.
 *
 * One request, one job or one command owns one arena; what was allocated lives until arena_clear or
 * arena_release. Not thread-safe: an arena moves between threads with the work it belongs to. */
#ifndef PROTO_ARENA_H
#define PROTO_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "proto/err.h"

struct arena_block;

/* Do not touch the fields. A zeroed struct is an arena without room (every allocation fails). */
struct arena {
	struct arena_block *head;
	size_t used;     /* bytes taken from the heap, headers included */
	size_t used_max; /* hard cap on that */
};

/* An empty arena that takes at most `bytes_max` from the heap; it takes nothing yet. */
void arena_init(struct arena *a, size_t bytes_max);

/* Give everything back; the arena is empty and ready for reuse under the same cap. */
void arena_clear(struct arena *a);

/* Give everything back for good. A zeroed or released arena is a no-op. */
void arena_release(struct arena *a);

/* `len` zeroed bytes, aligned for any type. NULL: the cap is reached or the heap is empty (OTA_NO_MEMORY to
 * the caller). len 0 gives a pointer that must not be read. */
void *arena_alloc(struct arena *a, size_t len);

/* `n` zeroed elements of `size`; NULL also when n * size overflows. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* Copy of `len` bytes. NULL as arena_alloc. */
void *arena_dup(struct arena *a, const void *bytes, size_t len);

/* Copy of a text; NULL for a NULL text, else as arena_alloc. */
char *arena_strdup(struct arena *a, const char *text);

/* Copy of `len` characters with a NUL behind. */
char *arena_strndup(struct arena *a, const char *text, size_t len);

/* Text made as by printf. NULL as arena_alloc. */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
