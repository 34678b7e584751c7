#include "proto/arena.h"
#include "tests/unit/fault.h"

void *__real_arena_alloc(struct arena *a, size_t len);
void *__wrap_arena_alloc(struct arena *a, size_t len);
void *__real_arena_array(struct arena *a, size_t n, size_t size);
void *__wrap_arena_array(struct arena *a, size_t n, size_t size);

void *__wrap_arena_alloc(struct arena *a, size_t len)
{
	return fault_fires(FAULT_MEMORY) ? NULL : __real_arena_alloc(a, len);
}

void *__wrap_arena_array(struct arena *a, size_t n, size_t size)
{
	return fault_fires(FAULT_MEMORY) ? NULL : __real_arena_array(a, n, size);
}
