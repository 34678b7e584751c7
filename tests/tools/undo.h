/* What a power cut takes back: changes of files and names that nobody has synced yet.
 *
 * Each change is noted with what was there before; fsync of a file forgets its data changes, fsync of a
 * directory those of its names (POSIX promises no more). undo_all puts the rest back, the newest first. Calls
 * come in pairs around the change itself, so that no thread sees half of one. Nothing happens before
 * undo_enable. */
#ifndef TESTS_TOOLS_UNDO_H
#define TESTS_TOOLS_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { UNDO_DATA = 1, UNDO_NAMES = 2 };

void undo_enable(void);

/* Lock; every undo_enter has its undo_leave. */
void undo_enter(void);
void undo_leave(void);

/* Between the two, before the change. `at` -1: at the descriptor's position. */
void undo_note_write(int fd, off_t at, size_t len);
void undo_note_truncate(int fd, off_t size);

/* Between the two, after the change came about. */
void undo_note_made(int dir, const char *path, bool is_dir);
void undo_note_renamed(int from_dir, const char *from, int to_dir, const char *to);
void undo_note_synced(int fd);

/* Whether a name is there: a file that is opened with O_CREAT may be new. */
bool undo_is_there(int dir, const char *path);

/* Put back what is not synced: `what` of UNDO_DATA and UNDO_NAMES. Keeps the lock: the process ends now. */
void undo_all(unsigned what);

#endif
