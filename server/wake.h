/* Waking devices: notices by MQTT. A hint only; without a broker devices poll. Loop thread. */
#ifndef SERVER_WAKE_H
#define SERVER_WAKE_H

#include "server/domain.h"

void wake_list_release(struct wake_list *w);
/* Out of memory: the device is left to its polls. */
void wake_add(struct wake_list *w, uint32_t at);

/* Publish what plan_wake says for each board, and empty the list. */
void wake_send(struct domain *d, struct wake_list *w);

/* Something for all devices of all boards (a new root). */
void wake_boards(struct domain *d);

#endif
