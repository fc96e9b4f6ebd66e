/* SPDX-License-Identifier: MIT */
/*
 * Single images. The first byte of the input says of which kind, the others are the file: it is
 * taken apart into records, and those into messages, with nothing read beyond its end.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/range.h"
#include "pagemap/vmas.h"
#include "proto/criu/core.pb-c.h"
#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/pagemap.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "proto/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	enum lz_image_magic magic;
	const ProtobufCMessageDescriptor *message;
} kind[] = {
	{ LZ_IMAGE_INVENTORY, &lz__criu__inventory_entry__descriptor },
	{ LZ_IMAGE_PSTREE, &lz__criu__pstree_entry__descriptor },
	{ LZ_IMAGE_CORE, &lz__criu__core_entry__descriptor },
	{ LZ_IMAGE_PAGEMAP, &lz__criu__pagemap_entry__descriptor },
	{ LZ_IMAGE_MM, NULL },
};

static void read_areas(struct lz_image *image)
{
	struct lz_seg *seg;
	size_t nr;
	int err = lz_vmas_read(image, &seg, &nr);

	if (err) {
		assert(err == -EBADMSG && image->what[0]);
		return;
	}
	assert(!seg == !nr);
	for (size_t n = 0; n < nr; n++)
		assert(seg[n].start < seg[n].end && (!n || seg[n - 1].end <= seg[n].start));
	free(seg);
}

static void read_records(struct lz_image *image, const ProtobufCMessageDescriptor *descriptor)
{
	const uint8_t *payload, *end = image->bytes + image->at;
	size_t len;
	int more;

	while ((more = lz_image_next(image, &payload, &len)) > 0) {
		ProtobufCMessage *message;

		assert(payload == end + 4 && len <= image->len - (size_t)(payload - image->bytes));
		end = payload + len;
		message = protobuf_c_message_unpack(descriptor, NULL, len, payload);
		if (message)
			protobuf_c_message_free_unpacked(message, NULL);
	}
	assert(more ? more == -EBADMSG && image->what[0] : end == image->bytes + image->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lz_image image;
	uint8_t *bytes;
	size_t n;

	if (!size)
		return 0;
	n = data[0] % (sizeof(kind) / sizeof(kind[0]));
	size--;
	bytes = malloc(size);
	if (size)
		memcpy(bytes, data + 1, size);
	if (!lz_image_init(&image, bytes, size, kind[n].magic)) {
		if (kind[n].message)
			read_records(&image, kind[n].message);
		else
			read_areas(&image);
	} else {
		assert(image.what[0]);
	}
	free(bytes);
	return 0;
}
