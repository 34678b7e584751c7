#include "proto/state.h"

#define BIT(s) (1u << ASSIGN_##s)

/* Where a device can still be told "no". */
#define ENDS_BY_OPERATOR (BIT(SUPERSEDED) | BIT(CANCELLED))
/* What a device can tell us from any state that it may have left unheard. */
#define ENDS_BY_DEVICE (BIT(RUNNING) | BIT(FAILED) | BIT(REVERTED))

static const char *const names[ASSIGN_STATES] = {
#define ASSIGN_STATE_NAME(name, value, text, help) [value] = (text),
	ASSIGN_STATE_LIST(ASSIGN_STATE_NAME)
#undef ASSIGN_STATE_NAME
};

/* Bit t of row s: s -> t. A staged release is withdrawn only where the device is held, or has just said that
 * it has not begun; a trial never. */
static const unsigned moves[ASSIGN_STATES] = {
	[ASSIGN_WAITING] = BIT(OFFERED) | BIT(FETCHING) | BIT(STAGED) | BIT(TRIAL) | ENDS_BY_DEVICE |
			   ENDS_BY_OPERATOR | BIT(TIMED_OUT) | BIT(SERVED),
	[ASSIGN_OFFERED] = BIT(FETCHING) | BIT(STAGED) | BIT(TRIAL) | ENDS_BY_DEVICE | ENDS_BY_OPERATOR |
			   BIT(TIMED_OUT) | BIT(SERVED),
	[ASSIGN_FETCHING] = BIT(STAGED) | BIT(TRIAL) | ENDS_BY_DEVICE | ENDS_BY_OPERATOR | BIT(TIMED_OUT) |
			    BIT(SERVED),
	[ASSIGN_STAGED] = BIT(TRIAL) | ENDS_BY_DEVICE | ENDS_BY_OPERATOR | BIT(TIMED_OUT),
	[ASSIGN_TRIAL] = ENDS_BY_DEVICE | BIT(TIMED_OUT),
};

static bool is_state(enum assign_state s)
{
	return (unsigned)s < ASSIGN_STATES;
}

const char *assign_state_name(enum assign_state s)
{
	return is_state(s) ? names[s] : "unknown";
}

static bool text_is_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

enum ota_err assign_state_parse(const char *name, enum assign_state *out)
{
	for (unsigned i = 0; i < ASSIGN_STATES; i++) {
		if (text_is_equal(name, names[i])) {
			*out = (enum assign_state)i;
			return OTA_OK;
		}
	}
	return OTA_INVALID;
}

bool assign_state_is_open(enum assign_state s)
{
	return is_state(s) && moves[s] != 0;
}

bool assign_state_is_committed(enum assign_state s)
{
	return s == ASSIGN_STAGED || s == ASSIGN_TRIAL;
}

bool assign_move_is_legal(enum assign_state from, enum assign_state to)
{
	if (!is_state(from) || !is_state(to))
		return false;
	return from == to || (moves[from] & 1u << to) != 0;
}
