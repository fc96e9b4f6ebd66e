/* SPDX-License-Identifier: MIT */
/*
 * A task's mm and up to four pagemaps. The input is their images, one behind the other, each after
 * its length in two bytes, the lower first; the last takes what is left. Whatever they say, the
 * pieces ascend, lie in lazy areas, make a plan, and are no more than there are records and areas.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/chain.h"
#include "pagemap/plan.h"
#include "pagemap/vmas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SPANS = 5 };

struct span {
	uint8_t *bytes;
	size_t len;
};

/* Into buffers of their own, so that a sanitizer sees the first byte read too far. */
static size_t split(const uint8_t *data, size_t size, struct span span[SPANS])
{
	size_t nr = 0;

	while (size >= 2 && nr < SPANS) {
		size_t len = (size_t)(data[0] | data[1] << 8);

		data += 2;
		size -= 2;
		if (len > size || nr + 1 == SPANS)
			len = size;
		span[nr].bytes = malloc(len);
		span[nr].len = len;
		if (len)
			memcpy(span[nr].bytes, data, len);
		data += len;
		size -= len;
		nr++;
	}
	return nr;
}

static void check_piece(const struct lz_chain *c, const struct lz_chain_piece *piece, uint64_t from)
{
	uint64_t end = piece->start + piece->len;
	bool inside = false;

	assert(piece->len && !((piece->start | piece->len) & 0xfff));
	assert(piece->start >= from && end > piece->start);
	for (size_t n = 0; n < c->nr_segs; n++)
		inside |= piece->start >= c->seg[n].start && end <= c->seg[n].end;
	assert(inside);
	if (!piece->absent) {
		const struct lz_chain_level *level = &c->level[piece->level];

		assert(piece->level < c->nr_levels && !(piece->offset & 0xfff));
		assert(piece->offset + piece->len <= level->end && level->end <= INT64_MAX);
	}
}

static void go_through(struct lz_chain *c)
{
	uint64_t from = 0, most = c->nr_segs, nr = 0;
	struct lz_chain_piece piece;
	struct lz_plan *plan;
	int more;

	if (lz_plan_new(&plan))
		abort();
	while ((more = lz_chain_next(c, &piece)) > 0) {
		struct lz_piece p = { .identity = piece.start,
				      .len = piece.len,
				      .offset = piece.offset,
				      .source = (uint32_t)piece.level,
				      .page_shift = 12 };

		check_piece(c, &piece, from);
		from = piece.start + piece.len;
		nr++;
		assert(piece.absent || !lz_plan_add(plan, &p));
	}
	assert(!more || ((more == -EBADMSG || more == -EPROTONOSUPPORT) &&
			 c->level[c->failed].image.what[0]));
	for (size_t n = 0; n < c->nr_levels; n++)
		most += c->level[n].image.record;
	assert(nr <= most);
	lz_plan_seal(plan);
	lz_plan_put(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lz_chain_level level[SPANS - 1] = { { .flags = 0 } };
	struct span span[SPANS];
	struct lz_chain chain;
	struct lz_seg *seg = NULL;
	struct lz_image mm;
	size_t nr = split(data, size, span), nr_segs, n;

	if (nr >= 2 && !lz_image_init(&mm, span[0].bytes, span[0].len, LZ_IMAGE_MM) &&
	    !lz_vmas_read(&mm, &seg, &nr_segs)) {
		for (n = 1; n < nr; n++)
			if (lz_image_init(&level[n - 1].image, span[n].bytes, span[n].len,
					  LZ_IMAGE_PAGEMAP))
				break;
		if (n > 1 && !lz_chain_init(&chain, level, n - 1, seg, nr_segs))
			go_through(&chain);
	}
	free(seg);
	for (n = 0; n < nr; n++)
		free(span[n].bytes);
	return 0;
}
