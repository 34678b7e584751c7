/* JSON for otactl: the one place that includes jansson. Readers that never fail: a missing or wrong-typed
 * member is the default, because what a newer server adds or leaves out must not stop an older client from
 * printing the rest. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

const char *js_text(const json_t *object, const char *key, const char *otherwise);
int64_t js_int(const json_t *object, const char *key, int64_t otherwise);
bool js_bool(const json_t *object, const char *key, bool otherwise);
/* Borrowed; NULL when absent or null. */
json_t *js_get(const json_t *object, const char *key);
/* Borrowed; an array, or NULL. */
json_t *js_array(const json_t *object, const char *key);

/* `text` as a value whatever its bytes are: where they are no UTF-8, '?' stands for those that are not ASCII.
 * For what a person typed and for paths, so that no member is missing because of them. */
json_t *js_string(const char *text);
bool js_is_text(const char *text);

static inline void auto_json(json_t **j)
{
	json_decref(*j);
}

#endif
