#include "server/actor.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MAX_LEN = 32 }; /* useradd(8) */

/* Written by actor_start alone. */
static struct {
	uid_t uid;
	char name[NAME_MAX_LEN + 1];
} own;

void actor_start(void)
{
	char buf[4096];
	struct passwd pw, *found = NULL;

	own.uid = geteuid();
	own.name[0] = '\0';
	if (!getpwuid_r(own.uid, &pw, buf, sizeof(buf), &found) && found &&
		strlen(found->pw_name) <= NAME_MAX_LEN)
		snprintf(own.name, sizeof(own.name), "%s", found->pw_name);
}

const char *actor_text(const char *actor, char out[static ACTOR_TEXT_LEN])
{
	static const char prefix[] = "socket:";
	char *end;
	unsigned long uid;

	if (!actor || strncmp(actor, prefix, sizeof(prefix) - 1) != 0)
		return actor;
	errno = 0;
	uid = strtoul(actor + sizeof(prefix) - 1, &end, 10);
	if (errno || end == actor + sizeof(prefix) - 1 || *end || uid > UINT32_MAX)
		return actor;
	if (uid == 0)
		snprintf(out, ACTOR_TEXT_LEN, "root (socket)");
	else if (uid == own.uid && own.name[0])
		snprintf(out, ACTOR_TEXT_LEN, "%s (socket)", own.name);
	else
		snprintf(out, ACTOR_TEXT_LEN, "uid %lu (socket)", uid);
	return out;
}

void actor_json(struct js_out *o, const char *key, const char *actor)
{
	char text[ACTOR_TEXT_LEN], text_key[32];

	snprintf(text_key, sizeof(text_key), "%s_text", key);
	js_text(o, key, actor);
	js_text(o, text_key, actor_text(actor, text));
}
