#include "proto/image_internal.h"

/* The layout both families share: the vendor's firmware image format documentation (esptool, "Firmware Image
 * Format") and image_format.h of the ESP-IDF bootloader. The checksum's seed is ESP_CHECKSUM_MAGIC there. */
enum { ESP_CHECKSUM_SEED = 0xEF, ESP_CHECKSUM_ALIGN = 16, ESP_SEGMENT_HEADER_LEN = 8 };

enum ota_err esp_walk(
	struct image_work *w, uint64_t at, size_t header_len, uint64_t limit, struct esp_image *out)
{
	uint8_t head[ESP32_HEADER_LEN];
	uint8_t seg[ESP_SEGMENT_HEADER_LEN];
	uint64_t pos = at + header_len;
	enum ota_err err;

	if (limit > w->src->size)
		limit = w->src->size;
	if (pos > limit)
		return image_refuse(w, OTA_TRUNCATED, "the image header is cut off");
	err = image_read(w, at, head, header_len);
	if (err)
		return err;
	if (head[0] != ESP_MAGIC)
		return image_refuse(w, OTA_CHECKSUM, "the image's first byte is damaged");
	if (head[1] == 0 || head[1] > ESP_SEGMENTS_MAX)
		return image_refuse(w, OTA_INVALID, "impossible number of segments");
	out->count = head[1];
	out->entry = image_le32(head + 4);
	for (unsigned i = 0; i < out->count; i++) {
		if (limit - pos < sizeof seg)
			return image_refuse(w, OTA_TRUNCATED, "a segment header lies behind the image's end");
		err = image_read(w, pos, seg, sizeof seg);
		if (err)
			return err;
		pos += sizeof seg;
		out->seg[i] = (struct esp_segment){
			.addr = image_le32(seg), .len = image_le32(seg + 4), .data = pos};
		if (out->seg[i].len > limit - pos)
			return image_refuse(w, OTA_TRUNCATED, "a segment reaches behind the image's end");
		pos += out->seg[i].len;
	}
	out->data_end = pos;
	/* The checksum is the last byte of a block, so a full block is added where data ends on a boundary.
	 */
	out->end = (pos | (ESP_CHECKSUM_ALIGN - 1)) + 1;
	if (out->end > limit)
		return image_refuse(w, OTA_TRUNCATED, "the image ends before its checksum");
	return OTA_OK;
}

enum ota_err esp_xor(struct image_work *w, const struct esp_image *img, unsigned feed)
{
	w->xor = ESP_CHECKSUM_SEED;
	for (unsigned i = 0; i < img->count; i++) {
		enum ota_err err = image_stream(
			w, img->seg[i].data, img->seg[i].data + img->seg[i].len, feed | IMAGE_FEED_XOR);

		if (err)
			return err;
	}
	return OTA_OK;
}

enum ota_err esp_xor_holds(struct image_work *w, const struct esp_image *img)
{
	uint8_t pad[ESP_CHECKSUM_ALIGN];
	size_t len = (size_t)(img->end - img->data_end);
	enum ota_err err = image_read(w, img->data_end, pad, len);

	if (err)
		return err;
	for (size_t i = 0; i + 1 < len; i++) {
		if (pad[i] != 0)
			return image_refuse(w, OTA_CHECKSUM, "the padding before the checksum is damaged");
	}
	if (pad[len - 1] != w->xor)
		return image_refuse(w, OTA_CHECKSUM, "the image's checksum does not match");
	return OTA_OK;
}

enum ota_err esp_entry_holds(struct image_work *w, const struct esp_image *img)
{
	for (unsigned i = 0; i < img->count; i++) {
		if (img->entry >= img->seg[i].addr && img->entry - img->seg[i].addr < img->seg[i].len)
			return OTA_OK;
	}
	return image_refuse(w, OTA_INVALID, "the entry point lies outside every segment");
}
