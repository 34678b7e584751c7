/* Files and paths of otactl. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "proto/errmsg.h"

/* "prefix" + percent-encoded `part` + "tail". False when it does not fit or `part` is empty. */
bool path_join(char *out, size_t cap, const char *prefix, const char *part, const char *tail);

/* Write all of it: to standard output when `path` is NULL or "-", else to a new file by a temporary beside it
 * and a rename, synced. */
OTA_MUST_USE enum ota_err file_write(
	const char *path, mode_t mode, const void *data, size_t len, struct errmsg *e);

/* As file_write for a secret: refuses to replace an existing file (OTA_EXISTS). */
OTA_MUST_USE enum ota_err file_write_new(
	const char *path, mode_t mode, const void *data, size_t len, struct errmsg *e);

/* Could file_write_new make it? Asked before a server makes what only this file will hold. OTA_EXISTS, or an
 * error of its folder. */
OTA_MUST_USE enum ota_err file_check_new(const char *path, struct errmsg *e);

/* The whole file, at most `max` bytes, malloc'ed. OTA_TOO_LARGE. */
OTA_MUST_USE enum ota_err file_read(
	const char *path, size_t max, uint8_t **out, size_t *len, struct errmsg *e);

/* Open for reading; "-" copies standard input into an unnamed temporary file first. */
OTA_MUST_USE enum ota_err file_open_input(const char *path, FILE **out, uint64_t *size, struct errmsg *e);

#endif
