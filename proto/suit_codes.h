/* Numbers of draft-ietf-suit-manifest-37 (sections 8.4 to 8.7 and its IANA considerations), for the encoder
 * and both decoders. */
#ifndef PROTO_SUIT_CODES_H
#define PROTO_SUIT_CODES_H

enum { SUIT_TAG_ENVELOPE = 107 };

/* Envelope */
enum { SUIT_AUTHENTICATION = 2, SUIT_MANIFEST = 3 };

/* Manifest; 15, 16, 20 and 23 may be severed, 14 is of an extension. */
enum {
	SUIT_VERSION = 1,
	SUIT_SEQUENCE = 2,
	SUIT_COMMON = 3,
	SUIT_REFERENCE_URI = 4,
	SUIT_COMPONENT_ID = 5,
	SUIT_VALIDATE = 7,
	SUIT_LOAD = 8,
	SUIT_INVOKE = 9,
	SUIT_COSWID = 14,
	SUIT_DEPENDENCY_RESOLUTION = 15,
	SUIT_PAYLOAD_FETCH = 16,
	SUIT_CANDIDATE_VERIFICATION = 18,
	SUIT_INSTALL = 20,
	SUIT_TEXT = 23,
	SUIT_UNINSTALL = 24,
};

/* Common */
enum { SUIT_DEPENDENCIES = 1, SUIT_COMPONENTS = 2, SUIT_SHARED = 4 };

enum {
	SUIT_COND_VENDOR = 1,
	SUIT_COND_CLASS = 2,
	SUIT_COND_IMAGE = 3,
	SUIT_COND_SLOT = 5,
	SUIT_DIR_SET_INDEX = 12,
	SUIT_DIR_TRY_EACH = 15,
	SUIT_DIR_OVERRIDE = 20,
	SUIT_DIR_FETCH = 21,
	SUIT_DIR_INVOKE = 23,
	SUIT_COND_DEVICE = 24,
};

enum {
	SUIT_PARAM_VENDOR = 1,
	SUIT_PARAM_CLASS = 2,
	SUIT_PARAM_DIGEST = 3,
	SUIT_PARAM_SLOT = 5,
	SUIT_PARAM_SIZE = 14,
	SUIT_PARAM_URI = 21,
	SUIT_PARAM_DEVICE = 24,
};

/* Reporting policy: four bits. */
enum { SUIT_POLICY = 15 };

#endif
