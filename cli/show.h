/* How devices, pushes and images look, shared by the commands that show them. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "cli/out.h"

/* What to call a device in a table: its name, of one that has none the start of its id, which any command
 * takes as well. Static storage of eight turns. */
const char *show_label(const json_t *device);

/* The cells of every table that shows what a device runs, and how far its update is: the one of an object
 * that has "running" (a device, an assignment row), the other of an assignment. Into `buf`, or a constant. */
const char *show_running(const json_t *d, char *buf, size_t cap);
const char *show_update(const json_t *a, char *buf, size_t cap);

/* Table of device objects; `none` when there is none. */
void show_devices(const json_t *devices, const char *none);

/* "valid", "revoked" or "expired"; of an enrollment secret "used", too. */
const char *show_token_state(const json_t *token);
const char *show_secret_state(const json_t *secret);
/* Where there is no device: whom otad waits for, by its enrollment secrets, and what to do next. */
void show_awaited(const json_t *secrets);

/* A line with the remedy for each device that does not run what it should, or refuses it as older than what
 * it runs; of many, for the first. */
void show_drifted(const json_t *devices);

/* A line for each push that some devices' latest update failed or went back in: what tries it again. */
void show_to_retry(const json_t *devices);

/* A line for each device whose identity two devices seem to use. */
void show_alarms(const json_t *devices);
/* A line: that it waits for the owner, or its new key does; which one it is, and the command. */
void show_waiting(const json_t *device);
/* One device, all of it. */
void show_device(const json_t *d);
/* Table of assignment rows of a push. */
void show_assignments(const json_t *rows);
/* One push: what, to whom, how far. */
void show_rollout(const json_t *r);
void show_rollouts(const json_t *list, const char *none);
/* One line of counts: "3 running, 1 failed". Static storage. */
const char *show_counts(const json_t *rollout);
/* One stored image. */
void show_image(const json_t *i);
void show_release(const json_t *r);

#endif
