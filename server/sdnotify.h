/* Telling systemd (sd_notify(3)): a datagram to $NOTIFY_SOCKET. Without one, nothing. */
#ifndef SERVER_SDNOTIFY_H
#define SERVER_SDNOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=...", "STATUS=..." */
void sdnotify(const char *state);

#endif
