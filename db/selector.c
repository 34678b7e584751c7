#include "db/selector.h"

#include <string.h>

#include "db/device.h"
#include "proto/suggest.h"
#include "proto/version.h"

static const struct {
	const char *name;
	enum selector_key key;
} keys[] = {
	{"tag", SELECTOR_TAG},
	{"board", SELECTOR_BOARD},
	{"version", SELECTOR_VERSION},
	{"name", SELECTOR_NAME},
	{"id", SELECTOR_ID},
	{"state", SELECTOR_STATE},
};

enum { N_KEYS = sizeof keys / sizeof keys[0] };

static enum ota_err key_unknown(const char *word, struct errmsg *e)
{
	struct suggest near = {0};

	for (size_t i = 0; i < N_KEYS; i++)
		suggest_offer(&near, word, keys[i].name);
	if (near.best)
		return errmsg_fail(
			e, OTA_INVALID, "unknown selector key '%s': did you mean %s?", word, near.best);
	return errmsg_fail(e, OTA_INVALID,
		"unknown selector key '%s': use tag, board, version, name, id, state or attr.NAME", word);
}

static enum ota_err key_parse(char *word, struct selector_term *term, struct errmsg *e)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(word, keys[i].name) == 0) {
			term->key = keys[i].key;
			return OTA_OK;
		}
	}
	if (strncmp(word, "attr.", 5) == 0 && limit_name_is_valid(word + 5)) {
		term->key = SELECTOR_ATTRIBUTE;
		term->attribute = word + 5;
		return OTA_OK;
	}
	return key_unknown(word, e);
}

/* The operator at `p`; `*len` 0 when there is none. */
static enum selector_op op_at(const char *p, size_t *len)
{
	*len = 1;
	switch (p[0]) {
	case '=':
		return SELECTOR_EQ;
	case '!':
		*len = p[1] == '=' ? 2 : 0;
		return SELECTOR_NE;
	case '<':
		*len = p[1] == '=' ? 2 : 1;
		return p[1] == '=' ? SELECTOR_LE : SELECTOR_LT;
	case '>':
		*len = p[1] == '=' ? 2 : 1;
		return p[1] == '=' ? SELECTOR_GE : SELECTOR_GT;
	default:
		*len = 0;
		return SELECTOR_EQ;
	}
}

static enum ota_err value_check(const struct selector_term *term, struct errmsg *e)
{
	bool is_valid;

	switch (term->key) {
	case SELECTOR_VERSION:
		is_valid = limit_version_is_valid(term->value);
		break;
	case SELECTOR_STATE:
		is_valid = false;
		for (int i = 0; i <= DEVICE_STATE_MAX; i++)
			is_valid |= strcmp(term->value, device_state_name((enum device_state)i)) == 0;
		break;
	case SELECTOR_ATTRIBUTE:
		is_valid = term->value[0] != '\0';
		break;
	case SELECTOR_TAG:
	case SELECTOR_BOARD:
	case SELECTOR_NAME:
	case SELECTOR_ID:
	default:
		is_valid = limit_name_is_valid(term->value);
		break;
	}
	if (!is_valid && term->key == SELECTOR_STATE)
		return errmsg_fail(
			e, OTA_INVALID, "state must be pending, approved or revoked, not '%s'", term->value);
	if (!is_valid)
		return errmsg_fail(e, OTA_INVALID,
			"bad value '%s' in a selector: terms are joined by ',' without blanks", term->value);
	return OTA_OK;
}

/* Parse one term in place: `word` is cut at its operator. */
static enum ota_err term_parse(char *word, struct selector_term *term, struct errmsg *e)
{
	size_t at = strcspn(word, "=!<>"), op_len;
	enum ota_err err;

	*term = (struct selector_term){.op = op_at(word + at, &op_len)};
	if (op_len == 0 || at == 0)
		return errmsg_fail(
			e, OTA_INVALID, "bad selector term '%s': write key=value, or 'all' alone", word);
	term->value = word + at + op_len;
	word[at] = '\0';
	err = key_parse(word, term, e);
	if (err != OTA_OK)
		return err;
	if (term->op >= SELECTOR_LT && term->key != SELECTOR_VERSION)
		return errmsg_fail(e, OTA_INVALID, "'%s' knows only = and !=", word);
	return value_check(term, e);
}

enum ota_err selector_parse(const char *text, struct selector *out, struct errmsg *e)
{
	size_t len = strlen(text);
	char *next = out->text;
	enum ota_err err;

	out->n = 0;
	if (len == 0)
		return errmsg_fail(e, OTA_INVALID, "the selector is empty: say 'all' for all devices");
	if (len > SELECTOR_TEXT_MAX)
		return errmsg_fail(
			e, OTA_TOO_LARGE, "the selector is longer than %d characters", SELECTOR_TEXT_MAX);
	memcpy(out->text, text, len + 1);
	if (strcmp(text, "all") == 0 || strcmp(text, "*") == 0)
		return OTA_OK;
	while (next) {
		char *word = next;
		char *comma = strchr(word, ',');

		if (out->n == SELECTOR_TERMS_MAX) {
			out->n = 0;
			return errmsg_fail(
				e, OTA_TOO_LARGE, "the selector has more than %d terms", SELECTOR_TERMS_MAX);
		}
		if (comma)
			*comma = '\0';
		next = comma ? comma + 1 : NULL;
		err = term_parse(word, &out->term[out->n], e);
		if (err != OTA_OK) {
			out->n = 0;
			return err;
		}
		out->n++;
	}
	return OTA_OK;
}

static bool text_is(const char *text, const char *value)
{
	return strcmp(text ? text : "", value) == 0;
}

static bool has_tag(const struct selector_facts *f, const char *tag)
{
	for (size_t i = 0; i < f->n_tags; i++) {
		if (strcmp(f->tags[i], tag) == 0)
			return true;
	}
	return false;
}

static bool version_holds(enum selector_op op, const char *version, const char *value)
{
	int order;

	if (!version || !version[0])
		return op == SELECTOR_NE;
	/* equality is of the text: two builds of one precedence are two versions */
	if (op == SELECTOR_EQ || op == SELECTOR_NE)
		return text_is(version, value) == (op == SELECTOR_EQ);
	order = version_compare(version, value);
	switch (op) {
	case SELECTOR_LT:
		return order < 0;
	case SELECTOR_LE:
		return order <= 0;
	case SELECTOR_GT:
		return order > 0;
	case SELECTOR_GE:
		return order >= 0;
	case SELECTOR_EQ:
	case SELECTOR_NE:
	default:
		return false;
	}
}

static bool term_is_equal(const struct selector_term *t, const struct selector_facts *f)
{
	switch (t->key) {
	case SELECTOR_TAG:
		return has_tag(f, t->value);
	case SELECTOR_BOARD:
		return text_is(f->board, t->value);
	case SELECTOR_NAME:
		return text_is(f->name, t->value);
	case SELECTOR_ID:
		return text_is(f->uid, t->value);
	case SELECTOR_STATE:
		return text_is(f->state, t->value);
	case SELECTOR_ATTRIBUTE:
		return f->attribute && text_is(f->attribute(f->ctx, t->attribute), t->value);
	case SELECTOR_VERSION:
	default:
		return false;
	}
}

bool selector_matches(const struct selector *s, const struct selector_facts *facts)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct selector_term *t = &s->term[i];
		bool holds = t->key == SELECTOR_VERSION ? version_holds(t->op, facts->version, t->value)
							: term_is_equal(t, facts) == (t->op == SELECTOR_EQ);

		if (!holds)
			return false;
	}
	return true;
}

bool selector_uses(const struct selector *s, enum selector_key key)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->term[i].key == key)
			return true;
	}
	return false;
}
