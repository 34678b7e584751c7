#include "proto/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCK_MIN = 4096 - 64, /* room of a usual block: with malloc's own header it stays inside one page */
};

struct arena_block {
	struct arena_block *next;
	size_t room; /* bytes of data[] */
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
	*a = (struct arena){.used_max = bytes_max};
}

void arena_clear(struct arena *a)
{
	while (a->head) {
		struct arena_block *next = a->head->next;

		free(a->head);
		a->head = next;
	}
	a->used = 0;
}

void arena_release(struct arena *a)
{
	arena_clear(a);
	a->used_max = 0;
}

static struct arena_block *block_add(struct arena *a, size_t len)
{
	size_t left = a->used_max - a->used;
	size_t room = len > BLOCK_MIN ? len : BLOCK_MIN;
	struct arena_block *b;

	if (left < sizeof *b || len > left - sizeof *b)
		return NULL;
	if (room > left - sizeof *b)
		room = len;
	b = malloc(sizeof *b + room);
	if (!b)
		return NULL;
	b->room = room;
	b->used = 0;
	a->used += sizeof *b + room;
	/* a block made for one large piece goes behind the head, so that the head's room is not lost */
	if (a->head && len > BLOCK_MIN / 4) {
		b->next = a->head->next;
		a->head->next = b;
	} else {
		b->next = a->head;
		a->head = b;
	}
	return b;
}

void *arena_alloc(struct arena *a, size_t len)
{
	struct arena_block *b = a->head;
	size_t rounded;
	void *p;

	if (__builtin_add_overflow(len, alignof(max_align_t) - 1, &rounded))
		return NULL;
	rounded &= ~(alignof(max_align_t) - 1);
	if (!b || b->room - b->used < rounded) {
		b = block_add(a, rounded);
		if (!b)
			return NULL;
	}
	p = b->data + b->used;
	b->used += rounded;
	return memset(p, 0, len);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len))
		return NULL;
	return arena_alloc(a, len);
}

void *arena_dup(struct arena *a, const void *bytes, size_t len)
{
	void *p = arena_alloc(a, len);

	if (p && len)
		memcpy(p, bytes, len);
	return p;
}

char *arena_strdup(struct arena *a, const char *text)
{
	return text ? arena_dup(a, text, strlen(text) + 1) : NULL;
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
	char *p = len < SIZE_MAX ? arena_alloc(a, len + 1) : NULL;

	if (p)
		memcpy(p, text, len);
	return p;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;
	char *p = NULL;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len >= 0)
		p = arena_alloc(a, (size_t)len + 1);
	if (p)
		vsnprintf(p, (size_t)len + 1, fmt, ap);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}
