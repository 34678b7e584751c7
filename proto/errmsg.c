#include "proto/errmsg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(struct errmsg *e, int wanted)
{
	if (wanted >= (int)sizeof e->text)
		memcpy(e->text + sizeof e->text - 4, "...", 4);
}

__attribute__((format(printf, 2, 0))) static void set_v(struct errmsg *e, const char *fmt, va_list ap)
{
	if (!e)
		return;
	mark_cut(e, vsnprintf(e->text, sizeof e->text, fmt, ap));
}

void errmsg_set(struct errmsg *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_v(e, fmt, ap);
	va_end(ap);
}

void errmsg_prefix(struct errmsg *e, const char *fmt, ...)
{
	struct errmsg old;
	va_list ap;
	size_t used;

	if (!e)
		return;
	old = *e;
	va_start(ap, fmt);
	set_v(e, fmt, ap);
	va_end(ap);
	used = strlen(e->text);
	mark_cut(e, (int)used + snprintf(e->text + used, sizeof e->text - used, "%s", old.text));
}

enum ota_err errmsg_fail(struct errmsg *e, enum ota_err err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_v(e, fmt, ap);
	va_end(ap);
	return err;
}

enum ota_err errmsg_fail_errno(struct errmsg *e, int errnum, const char *fmt, ...)
{
	char reason[96];
	va_list ap;

	if (e) {
		size_t used;

		va_start(ap, fmt);
		set_v(e, fmt, ap);
		va_end(ap);
		used = strlen(e->text);
		mark_cut(e, (int)used + snprintf(e->text + used, sizeof e->text - used, ": %s",
						strerror_r(errnum, reason, sizeof reason)));
	}
	return errmsg_errno(errnum);
}

enum ota_err errmsg_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return OTA_NO_SPACE;
	case ENOENT:
		return OTA_NOT_FOUND;
	case EEXIST:
		return OTA_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return OTA_DENIED;
	case ENOMEM:
		return OTA_NO_MEMORY;
	case EMFILE:
	case ENFILE:
		return OTA_LIMIT;
	default:
		return OTA_IO;
	}
}
