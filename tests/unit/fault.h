/* One call fails: the linker puts what fails before the real ones, named by --wrap in CMakeLists.txt.
 * fault.c has the engine's step, fault_memory.c the arenas' room; a test has what only it wraps.
 *
 *	fault_arm(FAULT_MEMORY, 2);
 *	err = release_insert(...);
 *	if (!fault_over())
 *		... there are not three such calls in it */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>

enum fault {
	FAULT_NONE,
	FAULT_STATEMENT,
	FAULT_MEMORY,
	FAULT_REGISTRY,
	FAULT_RANDOM,
	FAULT_KEY,
	FAULTS,
	FAULT_ANY, /* whichever of the wrapped calls comes at that place */
};

/* From now on: the call `at` (from 0) of that kind fails, and only it. */
void fault_arm(enum fault kind, unsigned at);

/* No more from now on. Did one fail? */
bool fault_over(void);

/* For the wrapped calls: is it this one? errno is EIO then. */
bool fault_fires(enum fault kind);

#endif
