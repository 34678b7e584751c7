#include "db/backup_form.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/hex.h"

const char *const backup_key_dirs[2] = {"keys", "tls"};

size_t backup_manifest_print(const struct backup_manifest *m, char out[static BACKUP_MANIFEST_MAX])
{
	char database[65], keys[65];
	int len;

	hex_encode(m->database_sha256, 32, database);
	hex_encode(m->keys_sha256, 32, keys);
	len = snprintf(out, BACKUP_MANIFEST_MAX,
		"otad-backup 1\nprogram %s\nschema %d\ncreated %" PRId64 "\ndatabase %" PRIu64
		" %s\nblobs %" PRIu64 "\n",
		OTAD_VERSION, m->schema, m->created_at, m->database_size, database, m->n_blobs);
	if (m->has_keys)
		len += snprintf(out + len, BACKUP_MANIFEST_MAX - (size_t)len, "keys %" PRIu64 " %s\n",
			m->keys_size, keys);
	else
		len += snprintf(out + len, BACKUP_MANIFEST_MAX - (size_t)len, "keys none\n");
	return (size_t)len;
}

enum ota_err backup_manifest_parse(
	const char *text, size_t len, struct backup_manifest *out, struct errmsg *e)
{
	char copy[BACKUP_MANIFEST_MAX + 1], again[BACKUP_MANIFEST_MAX];
	char program[64] = "", database[65] = "", keys_size[24] = "", keys[65] = "";
	struct backup_manifest m = {0};
	int end = 0;

	if (len > BACKUP_MANIFEST_MAX)
		return errmsg_fail(e, OTA_FORMAT, "this is no backup");
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy,
		    "otad-backup 1\nprogram %63s\nschema %9d\ncreated %" SCNd64 "\ndatabase %" SCNu64
		    " %64s\nblobs %" SCNu64 "\n%n",
		    program, &m.schema, &m.created_at, &m.database_size, database, &m.n_blobs, &end) != 6 ||
		end == 0 ||
		hex_decode(database, strlen(database), HEX_LOWER, m.database_sha256,
			sizeof m.database_sha256) != OTA_OK)
		return errmsg_fail(e, OTA_FORMAT, "this is no backup of otad, or of a newer form");
	if (strcmp(copy + end, "keys none\n") != 0) {
		if (sscanf(copy + end, "keys %23s %64s\n", keys_size, keys) != 2 ||
			sscanf(keys_size, "%" SCNu64, &m.keys_size) != 1 ||
			hex_decode(keys, strlen(keys), HEX_LOWER, m.keys_sha256, sizeof m.keys_sha256) !=
				OTA_OK)
			return errmsg_fail(e, OTA_FORMAT, "this is no backup of otad, or of a newer form");
		m.has_keys = true;
	}
	/* one spelling only: what was read prints as what was written, but for the program's version */
	{
		const char *mine, *theirs;

		(void)backup_manifest_print(&m, again);
		mine = strstr(again, "\nschema");
		theirs = strstr(copy, "\nschema");
		if (!mine || !theirs || strcmp(mine, theirs) != 0)
			return errmsg_fail(e, OTA_FORMAT, "this is no backup of otad, or of a newer form");
	}
	*out = m;
	return OTA_OK;
}

enum ota_err backup_hash_fd(
	const struct ota_crypto *crypto, int fd, uint64_t *size, uint8_t sha256[32], struct errmsg *e)
{
	uint8_t buf[16 * 1024];
	struct ota_sha256 h;
	uint64_t at = 0;

	crypto->sha256_init(&h);
	for (;;) {
		ssize_t n = pread(fd, buf, sizeof buf, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errmsg_fail_errno(e, errno, "cannot read");
		if (n == 0)
			break;
		crypto->sha256_update(&h, buf, (size_t)n);
		at += (uint64_t)n;
	}
	crypto->sha256_final(&h, sha256);
	*size = at;
	return OTA_OK;
}

enum ota_err backup_sync_dir(const char *dir, struct errmsg *e)
{
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return errmsg_fail_errno(e, errno, "cannot sync '%s'", dir);
	return OTA_OK;
}

enum ota_err backup_parent_of(const char *path, char parent[static PATH_MAX], struct errmsg *e)
{
	char *slash;

	if (snprintf(parent, PATH_MAX, "%s", path) >= PATH_MAX)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", path);
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = '\0';
	else
		memcpy(parent, ".", 2);
	return OTA_OK;
}
