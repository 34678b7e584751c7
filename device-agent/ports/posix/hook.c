#include "device-agent/ports/posix/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AGAIN_MS = 1000, WORD_MAX = 200 };

static void set_number(const char *name, uint64_t v)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	(void)setenv(name, text, 1);
}

static void run(const char *command, const struct hook_env *env)
{
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0);
	set_number("OTA_SLOT", env->slot);
	set_number("OTA_SLOT_OFFSET", env->slot_offset);
	set_number("OTA_IMAGE_SIZE", env->image_size);
	set_number("OTA_SEQUENCE", env->sequence);
	(void)setenv("OTA_SLOT_FILE", env->slot_file, 1);
	if (env->image)
		(void)setenv("OTA_IMAGE", env->image, 1);
	(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(126);
}

/* Does the shell know `name`: a program in PATH, a built-in, a keyword? True also where it cannot be asked.
 */
static bool is_command(const char *name)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl(
			"/bin/sh", "sh", "-c", "command -v \"$1\" >/dev/null 2>&1", "sh", name, (char *)NULL);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

enum ota_err hook_check(const char *command, struct errmsg *e)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-,:@%";
	static const char blank[] = " \t\n";
	char word[WORD_MAX];
	struct stat st;
	size_t len;

	if (!command)
		return OTA_OK;
	command += strspn(command, blank);
	len = strcspn(command, " \t\n;&|");
	if (*command == '\0')
		return errmsg_fail(e, OTA_INVALID, "the hook is empty: --exec needs a command");
	if (len == 0 || len >= sizeof word || *command == '-' || strspn(command, plain) < len)
		return OTA_OK;
	memcpy(word, command, len);
	word[len] = '\0';
	if (!strchr(word, '/'))
		return is_command(word) ? OTA_OK
					: errmsg_fail(e, OTA_NOT_FOUND,
						  "cannot run the hook: there is no command '%s'", word);
	if (access(word, X_OK) != 0 || stat(word, &st) != 0)
		return errmsg_fail_errno(e, errno, "cannot run the hook '%s'", word);
	if (!S_ISREG(st.st_mode))
		return errmsg_fail(e, OTA_IO, "cannot run the hook '%s': it is not a file", word);
	return OTA_OK;
}

void hook_start(struct hook *h)
{
	hook_stop(h);
	h->health = OTA_HEALTH_UNKNOWN;
	h->next_ms = 0;
	h->has_ended = false;
	h->is_news = false;
}

static void note_end(struct hook *h, int ended)
{
	h->is_news = h->is_news || !h->has_ended || h->ended != ended;
	h->has_ended = true;
	h->ended = ended;
}

static void reap(struct hook *h, int64_t now_ms)
{
	int status;
	pid_t pid = waitpid(h->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	h->pid = 0;
	h->next_ms = now_ms + AGAIN_MS;
	if (pid > 0)
		note_end(h, status);
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		h->health = OTA_HEALTH_WELL;
	else if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1)
		h->health = OTA_HEALTH_ILL;
}

enum ota_health hook_ask(struct hook *h, const struct hook_env *env, int64_t now_ms)
{
	if (!h->command)
		return OTA_HEALTH_WELL;
	if (h->pid != 0)
		reap(h, now_ms);
	if (h->health != OTA_HEALTH_UNKNOWN || h->pid != 0 || now_ms < h->next_ms)
		return h->health;
	h->pid = fork();
	if (h->pid == 0)
		run(h->command, env);
	if (h->pid < 0) {
		note_end(h, -errno);
		h->pid = 0;
		h->next_ms = now_ms + AGAIN_MS;
	}
	return h->health;
}

bool hook_news(struct hook *h, struct errmsg *words)
{
	static const char waits[] = "the new firmware is not confirmed yet";
	const char *signal_text;

	if (!h->is_news)
		return false;
	h->is_news = false;
	signal_text = h->ended < 0 ? NULL : sigdescr_np(WTERMSIG(h->ended));
	if (h->ended < 0)
		errmsg_set(words, "the hook cannot be started: %s: %s", strerrordesc_np(-h->ended), waits);
	else if (WIFSIGNALED(h->ended))
		errmsg_set(words, "the hook was ended by signal %d (%s): %s", WTERMSIG(h->ended),
			signal_text ? signal_text : "no name", waits);
	else if (WEXITSTATUS(h->ended) == 0)
		errmsg_set(words, "the hook ended 0: the new firmware is well");
	else if (WEXITSTATUS(h->ended) == 1)
		errmsg_set(words, "the hook ended 1: the new firmware is ill");
	else if (WEXITSTATUS(h->ended) == 126 || WEXITSTATUS(h->ended) == 127)
		errmsg_set(words, "the hook ended %d, as a shell says of what it cannot run: %s",
			WEXITSTATUS(h->ended), waits);
	else
		errmsg_set(words, "the hook ended %d: %s", WEXITSTATUS(h->ended), waits);
	return true;
}

void hook_stop(struct hook *h)
{
	int status;

	if (h->pid == 0)
		return;
	(void)kill(-h->pid, SIGKILL);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
}
