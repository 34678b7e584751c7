#include "server/maintain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/backup.h"
#include "proto/ask.h"
#include "proto/crypto_openssl.h"
#include "server/datadir.h"

enum { ARGS_MAX = 64, PASSPHRASE_MAX = 1024 };

struct arguments {
	const char *file;
	const char *passphrase_file;
	bool with_keys;
	char *rest[ARGS_MAX]; /* for config_load */
	int n_rest;
};

bool maintain_is_command(const char *word)
{
	return strcmp(word, "backup") == 0 || strcmp(word, "restore") == 0 || strcmp(word, "check") == 0;
}

static bool takes_word(const char *word)
{
	return strcmp(word, "--passphrase-file") == 0 || config_takes_word(word);
}

int maintain_find_command(int argc, char *const *argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			return i;
		i += takes_word(argv[i]);
	}
	return 0;
}

static enum ota_err read_arguments(int argc, char *const *argv, struct arguments *a, struct errmsg *e)
{
	a->rest[a->n_rest++] = argv[0];
	for (int i = 1; i < argc; i++) {
		if (a->n_rest + 2 >= ARGS_MAX)
			return errmsg_fail(e, OTA_INVALID, "too many arguments");
		if (strcmp(argv[i], "--with-keys") == 0) {
			a->with_keys = true;
		} else if (strcmp(argv[i], "--passphrase-file") == 0 && i + 1 < argc) {
			a->passphrase_file = argv[++i];
		} else if (strncmp(argv[i], "--", 2) == 0) {
			a->rest[a->n_rest++] = argv[i];
			if (takes_word(argv[i]) && i + 1 < argc)
				a->rest[a->n_rest++] = argv[++i];
		} else if (!a->file) {
			a->file = argv[i];
		} else {
			return errmsg_fail(e, OTA_INVALID, "unexpected argument '%.60s'", argv[i]);
		}
	}
	return OTA_OK;
}

static enum ota_err read_passphrase(const char *path, char out[static PASSPHRASE_MAX], struct errmsg *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	if (!fgets(out, PASSPHRASE_MAX, f))
		out[0] = '\0';
	fclose(f);
	out[strcspn(out, "\r\n")] = '\0';
	if (strlen(out) < 8)
		return errmsg_fail(e, OTA_INVALID, "the passphrase in '%s' is shorter than 8 bytes", path);
	return OTA_OK;
}

/* Asked for on the terminal; twice where it makes a box that nobody can open without it. */
static enum ota_err ask_passphrase(bool is_new, char out[static PASSPHRASE_MAX], struct errmsg *e)
{
	char again[PASSPHRASE_MAX];

	if (!ask_hidden("passphrase for the keys in the backup", out, PASSPHRASE_MAX))
		return errmsg_fail(e, OTA_INVALID,
			"--with-keys needs a passphrase, and there is no terminal to ask for it: "
			"--passphrase-file FILE");
	if (!is_new)
		return OTA_OK;
	if (strlen(out) < 8)
		return errmsg_fail(e, OTA_INVALID, "a passphrase needs at least 8 bytes; nothing was done");
	bool same = ask_hidden("once more", again, sizeof again) && strcmp(out, again) == 0;

	explicit_bzero(again, sizeof again);
	return same ? OTA_OK : errmsg_fail(e, OTA_INVALID, "the two passphrases differ; nothing was done");
}

static enum ota_err open_archive(const char *file, int *fd, struct errmsg *e)
{
	struct stat st;

	*fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", file);
	if (fstat(*fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(*fd);
		return errmsg_fail(e, OTA_INVALID, "'%s' is a folder, no backup", file);
	}
	return OTA_OK;
}

/* What a passphrase would be typed for in vain. */
static enum ota_err check_before_asking(
	const char *dir, const struct arguments *a, bool is_backup, struct errmsg *e)
{
	const bool is_pipe = strcmp(a->file, "-") == 0;
	enum ota_err err = is_backup ? backup_can_write(dir, is_pipe ? NULL : a->file, e)
				     : backup_can_restore(dir, e);
	struct stat st;
	int fd = -1;

	if (err || is_backup || is_pipe)
		return err;
	/* A pipe is opened once: its writer takes a second opening for somebody else. */
	if (stat(a->file, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return OTA_OK;
	err = open_archive(a->file, &fd, e);
	if (!err)
		close(fd);
	return err;
}

static enum ota_err run_backup(
	const char *dir, const struct backup_options *options, const char *file, struct errmsg *e)
{
	struct backup_stats stats;
	enum ota_err err;

	if (strcmp(file, "-") == 0) {
		if (isatty(STDOUT_FILENO))
			return errmsg_fail(e, OTA_INVALID, "not writing an archive to a terminal");
		err = backup_write(dir, options, STDOUT_FILENO, &stats, e);
	} else {
		err = backup_write_file(dir, options, file, &stats, e);
	}
	if (!err)
		fprintf(stderr, "backup: %llu images, %llu keys, %llu bytes\n",
			(unsigned long long)stats.n_blobs, (unsigned long long)stats.n_keys,
			(unsigned long long)stats.bytes);
	if (!err && !options->passphrase)
		fprintf(stderr,
			"without the server's keys, and a fleet cannot be restored without them: keep a copy "
			"of "
			"'%s/keys' too, or back up with --with-keys\n",
			dir);
	return err;
}

static enum ota_err run_restore(
	const char *dir, const struct backup_options *options, const char *file, struct errmsg *e)
{
	struct backup_stats stats;
	int fd = -1;
	enum ota_err err = open_archive(file, &fd, e);

	if (err)
		return err;
	err = backup_restore(dir, options, fd, &stats, e);
	if (fd != STDIN_FILENO)
		close(fd);
	if (!err)
		fprintf(stderr, "restored: %llu images, %llu keys\n", (unsigned long long)stats.n_blobs,
			(unsigned long long)stats.n_keys);
	if (!err && stats.n_keys == 0)
		fprintf(stderr,
			"otad needs the keys too: put the folder keys of the old data directory into '%s'\n",
			dir);
	return err;
}

static void say(void *ctx, const char *line)
{
	(void)ctx;
	/* One finding is one line; SQLite breaks some in two. */
	for (; *line; line++)
		putchar(*line == '\n' ? ' ' : *line);
	putchar('\n');
}

/* What is damaged, and what can be done about it. */
static enum ota_err damaged(const char *dir, const struct check_report *r, struct errmsg *e)
{
	if (r->n_damaged && !r->n_database)
		return errmsg_fail(e, OTA_CORRUPT,
			"%llu image%s damaged (above): upload the same file%s again",
			(unsigned long long)r->n_damaged, r->n_damaged == 1 ? " is" : "s are",
			r->n_damaged == 1 ? "" : "s");
	if (r->n_database)
		errmsg_set(e, "%llu findings above", (unsigned long long)r->n_database);
	return datadir_damaged(dir, e);
}

static enum ota_err run_check(const char *dir, struct errmsg *e)
{
	struct check_report r = {0};
	enum ota_err err = backup_check(dir, crypto_openssl(), say, NULL, &r, e);

	if (err && err != OTA_CORRUPT)
		return err;
	/* Not even opened: there is nothing to count. */
	if (err && !r.n_damaged && !r.n_database)
		return damaged(dir, &r, e);
	printf("%llu images, %llu blobs: %llu damaged, %llu findings in the database; %llu blobs without an "
	       "image, "
	       "%llu unfinished uploads\n",
		(unsigned long long)r.n_images, (unsigned long long)r.n_blobs,
		(unsigned long long)r.n_damaged, (unsigned long long)r.n_database,
		(unsigned long long)r.n_orphans, (unsigned long long)r.n_partial);
	if (fflush(stdout) != 0)
		return errmsg_fail_errno(e, errno, "cannot write to standard output");
	return err ? damaged(dir, &r, e) : OTA_OK;
}

enum ota_err maintain_run(struct config *cfg, int argc, char *const *argv, char *const *env, struct errmsg *e)
{
	struct arguments a = {.file = NULL};
	char passphrase[PASSPHRASE_MAX];
	struct backup_options options = {.crypto = crypto_openssl(), .now = time(NULL)};
	enum ota_err err = read_arguments(argc, argv, &a, e);

	if (!err)
		err = config_load(cfg, a.n_rest, a.rest, env, e);
	if (err)
		return err;
	if (strcmp(argv[0], "check") == 0) {
		if (a.file || a.with_keys || a.passphrase_file)
			return errmsg_fail(e, OTA_INVALID, "check takes no argument of its own");
		return run_check(cfg->data, e);
	}
	if (!a.file)
		return errmsg_fail(e, OTA_INVALID, "%s needs a FILE, or - for a pipe", argv[0]);
	const bool is_backup = strcmp(argv[0], "backup") == 0;

	if (is_backup && a.passphrase_file && !a.with_keys)
		return errmsg_fail(e, OTA_INVALID, "--passphrase-file is for a backup --with-keys");
	if (a.passphrase_file || a.with_keys) {
		if (!a.passphrase_file)
			err = check_before_asking(cfg->data, &a, is_backup, e);
		if (!err)
			err = a.passphrase_file ? read_passphrase(a.passphrase_file, passphrase, e)
						: ask_passphrase(is_backup, passphrase, e);
		if (err) {
			explicit_bzero(passphrase, sizeof passphrase);
			return err;
		}
		options.passphrase = passphrase;
	}
	if (is_backup)
		err = run_backup(cfg->data, &options, a.file, e);
	else
		err = run_restore(cfg->data, &options, a.file, e);
	explicit_bzero(passphrase, sizeof passphrase);
	return err;
}
