/* Blobs that nobody needs any more are removed: their names on the store thread, their bytes on a slow one;
 * who asks for one that is gone gets none that was still open.
 *
 * Only the store thread knows that no row has come meanwhile, but freeing the bytes of a large file takes as
 * long as that is large, and devices wait for the store. A crash in between frees them, too. */
#ifndef SERVER_TRASH_H
#define SERVER_TRASH_H

#include "db/gc.h"

struct app;

/* After the commit that took their rows away, or for blobs that had none; those that a row names (again) are
 * kept. Whatever keeps one from being removed now (a backup, no memory): the collector finds it later. Loop
 * thread; the list is copied. */
void trash_blobs(struct app *app, const struct gc_list *list);

#endif
