/* SPDX-License-Identifier: MIT */
/*
 * The framing of a CRIU image file. Numbers are read a byte at a time, least significant first:
 * images are made on little-endian machines, and records are not aligned.
 */
#include "proto/image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static uint32_t u32_at(const uint8_t *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

void lz_image_put_size(uint8_t to[4], uint32_t size)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(size >> 8 * i);
}

size_t lz_image_head(uint8_t head[8], enum lz_image_magic magic)
{
	if (magic == LZ_IMAGE_INVENTORY) {
		lz_image_put_size(head, magic);
		return 4;
	}
	lz_image_put_size(head, LZ_IMAGE_COMMON);
	lz_image_put_size(head + 4, magic);
	return 8;
}

int lz_image_init(struct lz_image *i, const void *bytes, size_t len, enum lz_image_magic magic)
{
	uint8_t head[8];
	size_t head_len = lz_image_head(head, magic);

	*i = (struct lz_image){ .bytes = bytes, .len = len };
	if (len < head_len)
		return lz_image_refuse(i, -EBADMSG, "is too short for an image: %zu bytes", len);
	for (; i->at < head_len; i->at += 4) {
		uint32_t is = u32_at(i->bytes + i->at), wanted = u32_at(head + i->at);

		i->byte = i->at;
		if (is != wanted)
			return lz_image_refuse(i, -EBADMSG,
					       "has magic number 0x%08x where 0x%08x is expected",
					       is, wanted);
	}
	return 0;
}

int lz_image_next(struct lz_image *i, const uint8_t **payload, size_t *len)
{
	size_t left = i->len - i->at;
	uint32_t size;

	if (!left)
		return 0;
	i->record++;
	i->byte = i->at;
	if (left < 4)
		return lz_image_refuse(i, -EBADMSG, "is cut off: %zu of the 4 bytes of its size",
				       left);
	size = u32_at(i->bytes + i->at);
	if (size > LZ_IMAGE_RECORD_MAX)
		return lz_image_refuse(i, -EBADMSG, "claims %u bytes, which no record has", size);
	if (size > left - 4)
		return lz_image_refuse(i, -EBADMSG, "is cut off: %zu of its %u bytes", left - 4,
				       size);
	*payload = i->bytes + i->at + 4;
	*len = size;
	i->at += 4 + (size_t)size;
	return 1;
}

int lz_image_refuse(struct lz_image *i, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(i->what, sizeof(i->what), format, args);
	va_end(args);
	return err;
}
