#include "device-agent/ports/posix/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AGAIN_MS = 1000 };

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

void hook_start(struct hook *h)
{
	hook_stop(h);
	h->health = OTA_HEALTH_UNKNOWN;
	h->next_ms = 0;
}

static void reap(struct hook *h, int64_t now_ms)
{
	int status;
	pid_t pid = waitpid(h->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	h->pid = 0;
	h->next_ms = now_ms + AGAIN_MS;
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
		h->pid = 0;
		h->next_ms = now_ms + AGAIN_MS;
	}
	return h->health;
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
