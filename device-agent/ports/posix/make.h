/* Making a device's flash from its provisioning file, and writing an image out of it. */
#ifndef PORT_MAKE_H
#define PORT_MAKE_H

#include "device-agent/ports/posix/device.h"
#include "device-agent/src/journal.h"

/* Open o->flash_path, or make it from o->provision_path when there is none. A flash that exists has to belong
 * to the same vendor, board and serial as the provisioning file, where one is given; that this is another one
 * than it was made from, and therefore not used, is said in `unused` (empty: nothing to say). */
OTA_MUST_USE enum ota_err device_flash(
	struct flash_file *f, const struct device_options *o, struct errmsg *unused, struct errmsg *e);

/* Copy component 0 of slot `k` to `path`, by a temporary file and rename. */
OTA_MUST_USE enum ota_err image_write(
	struct flash_file *f, const struct journal_slot *rec, unsigned k, const char *path, struct errmsg *e);

#endif
