/* SPDX-License-Identifier: MIT */
/*
 * What a VM says of its memory. The first byte says how long the memory file is, the rest is the
 * text. What is taken must be regions that can be served; a text is judged the same whatever is
 * behind its end; and what is not whole yet stays so for each of its beginnings.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tool/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct lz_regions *all, uint64_t size)
{
	uint64_t mask = all->page_size - 1, end = 0;

	assert(all->page_size == 4096 || all->page_size == 2 << 20);
	assert(all->nr && all->nr <= LZ_REGIONS_MAX);
	for (uint32_t i = 0; i < all->nr; i++) {
		const struct lazyd_place *p = &all->place[i];

		assert(p->len && !((p->at | p->len | p->start) & mask));
		assert(p->at && p->at + p->len > p->at && p->start + p->len > p->start);
		assert(!size || p->start + p->len <= size);
		end = p->start + p->len > end ? p->start + p->len : end;
		for (uint32_t k = 0; k < i; k++) {
			const struct lazyd_place *q = &all->place[k];

			assert(p->at >= q->at + q->len || q->at >= p->at + p->len);
			assert(p->start >= q->start + q->len || q->start >= p->start + p->len);
		}
	}
	assert(all->end == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t file = size ? (uint64_t)data[0] << 20 : 0;
	size_t len = size ? size - 1 : 0;
	struct lazyd_why why = { { 0 } };
	struct lz_regions regions;
	char *text;
	int r;

	if (len > LZ_HANDSHAKE_MAX)
		len = LZ_HANDSHAKE_MAX;
	/* Of that length, so that a read behind its end is seen. */
	text = malloc(len + !len);
	assert(text);
	if (len)
		memcpy(text, data + 1, len);
	r = lz_handshake_read(&regions, text, len, file, &why);
	assert(r == 0 || r == -EAGAIN || r == -EPROTO);
	assert((r == -EPROTO) == (*why.text != '\0'));
	assert(strlen(why.text) < sizeof(why.text) && !strchr(why.text, '\n'));
	if (!r)
		check(&regions, file);
	if (r == -EAGAIN && len)
		assert(lz_handshake_read(&regions, text, len - 1, file, &why) != 0);
	free(text);
	return 0;
}
