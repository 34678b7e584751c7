#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

const char *js_text(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : otherwise;
}

int64_t js_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

bool js_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(object, key);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

json_t *js_get(const json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_null(v) ? NULL : v;
}

json_t *js_array(const json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_array(v) ? v : NULL;
}

json_t *js_string(const char *text)
{
	json_t *value = json_string(text); /* NULL for what is no UTF-8 */
	char *copy = value ? NULL : strdup(text);

	for (char *p = copy; p && *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	if (copy)
		value = json_string(copy);
	free(copy);
	return value;
}

bool js_is_text(const char *text)
{
	json_t *value = json_string(text);

	json_decref(value);
	return value != NULL;
}
