/* Errors: one list for C, the wire, HTTP and exit codes.
 *
 * A row is {name, detail, reason, text}. In C an error is the negative detail (OTA_OK is 0). On the
 * wire it is the pair reason (draft-ietf-suit-manifest-37, SUIT_Report reasons 0..12) and detail
 * (uint16, this project's own numbers, append-only: a number is never given another meaning).
 * A new row is added only where a caller acts on it. */
#ifndef PROTO_ERR_H
#define PROTO_ERR_H

#include <stdint.h>

#define OTA_MUST_USE __attribute__((warn_unused_result))

/* clang-format off */
#define OTA_ERR_LIST(X)                                                                            \
	X(OK,               0,  0, "ok")                                                           \
	X(ALREADY,          1,  0, "this release is already running")                              \
	/* reason 1: the bytes are not the format */                                               \
	X(CBOR,            10,  1, "not well-formed deterministic CBOR of this format")            \
	X(FORMAT,          11,  1, "unknown format number")                                        \
	X(TOO_LARGE,       12,  1, "larger than allowed")                                          \
	/* reason 2: COSE outside the profile */                                                   \
	X(COSE,            20,  2, "COSE structure outside the profile")                           \
	/* reason 3 */                                                                             \
	X(ALG,             30,  3, "unsupported algorithm")                                        \
	/* reason 4: not authorised */                                                             \
	X(SIG,             40,  4, "signature or MAC does not verify")                             \
	X(THRESHOLD,       41,  4, "too few valid signatures")                                     \
	X(UNASSIGNED,      42,  4, "no ticket names this release")                                 \
	/* reasons 5..9: manifest outside the profile */                                           \
	X(COMMAND,         50,  5, "command outside the profile")                                  \
	X(COMPONENT,       60,  6, "component unknown to this board")                              \
	X(COMPONENT_AUTH,  70,  7, "component not open to updates")                                \
	X(PARAM,           80,  8, "parameter outside the profile")                                \
	X(SLOT_SIZE,       81,  8, "larger than the device's slot")                                \
	X(SEVER,           90,  9, "severed or integrated member")                                 \
	/* reason 10: a condition failed */                                                        \
	X(CONDITION,      100, 10, "condition failed")                                             \
	X(VENDOR,         101, 10, "release is for another vendor")                                \
	X(CLASS,          102, 10, "release is for another board")                                 \
	X(MANIFEST_VERSION, 103, 10, "manifest version is not 1")                                  \
	X(ROLLBACK,       104, 10, "sequence is below the floor")                                  \
	X(SEQ_REUSE,      105, 10, "sequence of the running release under another digest")         \
	X(NONCE,          106, 10, "nonce is not the one that was sent")                           \
	X(DEVICE,         107, 10, "meant for another device")                                     \
	X(ROOT_GAP,       108, 10, "root document is not the next version")                        \
	X(ATTEMPT,        109, 10, "this release failed here before")                              \
	X(IMAGE_FORMAT,   110, 10, "image format does not fit the board")                          \
	X(WITHDRAWN,      111, 10, "assignment was withdrawn")                                     \
	X(EPOCH,          112, 10, "release-key epoch out of order")                               \
	X(HELD,           113, 10, "held by the operator")                                         \
	/* reason 11: an operation failed */                                                       \
	X(IO,             120, 11, "input/output error")                                           \
	X(DIGEST,         121, 11, "digest does not match")                                        \
	X(SIZE,           122, 11, "size does not match")                                          \
	X(FETCH,          123, 11, "download failed")                                              \
	X(FLASH,          124, 11, "flash did not take the data")                                  \
	X(TIMEOUT,        125, 11, "timed out")                                                    \
	X(HEALTH,         126, 11, "new firmware was not well")                                    \
	X(BOOTS,          127, 11, "new firmware used up its boot attempts")                       \
	X(CONTACT,        128, 11, "new firmware could not reach the server")                      \
	X(NO_SPACE,       129, 11, "no space left")                                                \
	X(NOT_FOUND,      130, 11, "not found")                                                    \
	X(EXISTS,         131, 11, "exists already")                                               \
	X(CONFLICT,       132, 11, "changed meanwhile")                                            \
	X(DENIED,         133, 11, "not allowed")                                                  \
	X(INVALID,        134, 11, "invalid value")                                                \
	X(NO_MEMORY,      135, 11, "out of memory")                                                \
	X(BUSY,           136, 11, "busy")                                                         \
	X(SCHEMA,         137, 11, "database is newer than this program")                          \
	X(STATE,          138, 11, "not possible in this state")                                   \
	X(CORRUPT,        139, 11, "stored data is damaged")                                       \
	X(LIMIT,          140, 11, "limit reached")                                                \
	X(UNAVAILABLE,    141, 11, "not available now")                                            \
	X(NO_ROOT,        142, 11, "no root yet")                                                  \
	X(CHECKSUM,       143, 11, "checksum inside the image does not match")                     \
	X(TRUNCATED,      144, 11, "ends too early")                                               \
	X(UNSUPPORTED,    145, 11, "not supported")                                                \
	/* reason 12 */                                                                            \
	X(PENDING,        160, 12, "armed, waiting for the reset")
/* clang-format on */

enum ota_err {
#define OTA_ERR_ENUM(name, detail, reason, text) OTA_##name = -(detail),
	OTA_ERR_LIST(OTA_ERR_ENUM)
#undef OTA_ERR_ENUM
};

/* Wire reason (0..12) of `err`; 11 for a value that is no row. */
uint8_t ota_err_reason(enum ota_err err);

/* Wire detail of `err`: its negated value. */
uint16_t ota_err_detail(enum ota_err err);

/* The row with this wire detail; OTA_IO when it is none of ours (a newer peer). */
enum ota_err ota_err_from_detail(uint16_t detail);

/* Constant text, lower case, no full stop; "unknown error" for a value that is no row. */
const char *ota_err_text(enum ota_err err);

/* Constant name as written in the list ("ROLLBACK"); "UNKNOWN" for a value that is no row. */
const char *ota_err_name(enum ota_err err);

#endif
