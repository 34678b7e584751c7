/* Holds the place of the backup until its file is here: says that it is not there. */
#include "db/backup.h"
__attribute__((weak)) enum ota_err backup_write(const char *dir, const struct backup_options *options, int fd,
	struct backup_stats *stats, struct errmsg *e)
{
	(void)dir;
	(void)options;
	(void)fd;
	(void)stats;
	(void)e;
	return OTA_UNSUPPORTED;
}
__attribute__((weak)) enum ota_err backup_write_file(const char *dir, const struct backup_options *options,
	const char *path, struct backup_stats *stats, struct errmsg *e)
{
	(void)dir;
	(void)options;
	(void)path;
	(void)stats;
	(void)e;
	return OTA_UNSUPPORTED;
}
__attribute__((weak)) enum ota_err backup_restore(const char *dir, const struct backup_options *options,
	int fd, struct backup_stats *stats, struct errmsg *e)
{
	(void)dir;
	(void)options;
	(void)fd;
	(void)stats;
	(void)e;
	return OTA_UNSUPPORTED;
}
__attribute__((weak)) enum ota_err backup_recover(const char *dir, struct errmsg *e)
{
	(void)dir;
	(void)e;
	return OTA_OK;
}
__attribute__((weak)) enum ota_err backup_check(const char *dir, const struct ota_crypto *crypto,
	void (*say)(void *ctx, const char *line), void *ctx, struct check_report *report, struct errmsg *e)
{
	(void)dir;
	(void)crypto;
	(void)say;
	(void)ctx;
	(void)report;
	(void)e;
	return OTA_UNSUPPORTED;
}
