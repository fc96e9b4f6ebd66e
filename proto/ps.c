/* SPDX-License-Identifier: MIT */
/*
 * The headers of the page-server protocol, field by field. What a header asks for and whether it
 * makes sense is giver.c's and asker.c's.
 */
#include "proto/ps.h"

#include <assert.h>

static size_t put(uint8_t *out, uint64_t number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(number >> 8 * i);
	return len;
}

static uint64_t get(const uint8_t *in, size_t len)
{
	uint64_t number = 0;

	for (size_t i = 0; i < len; i++)
		number |= (uint64_t)in[i] << 8 * i;
	return number;
}

size_t lz_ps_put(enum lz_ps_layout layout, const struct lz_ps_header *h, uint8_t *out)
{
	bool is_short = layout == LZ_PS_24;

	assert(is_short || layout == LZ_PS_32);
	assert(!is_short || h->nr_pages <= UINT32_MAX);
	out += put(out, h->cmd | h->flags << 16, 4);
	out += put(out, is_short ? h->nr_pages : 0, 4);
	out += is_short ? 0 : put(out, h->nr_pages, 8);
	out += put(out, h->vaddr, 8);
	put(out, h->dst_id, 8);
	return layout;
}

void lz_ps_get(enum lz_ps_layout layout, const uint8_t *in, struct lz_ps_header *h)
{
	bool is_short = layout == LZ_PS_24;
	uint32_t cmd = (uint32_t)get(in, 4);

	assert(is_short || layout == LZ_PS_32);
	*h = (struct lz_ps_header){
		.cmd = cmd & 0xffff,
		.flags = cmd >> 16,
		.nr_pages = is_short ? get(in + 4, 4) : get(in + 8, 8),
		.vaddr = get(in + layout - 16, 8),
		.dst_id = get(in + layout - 8, 8),
	};
}

size_t lz_ps_put_range(const struct lz_ps_range *r, uint8_t *out)
{
	put(out, r->vaddr, 8);
	put(out + 8, r->nr_pages, 8);
	return LZ_PS_RANGE_BYTES;
}

void lz_ps_get_range(const uint8_t *in, struct lz_ps_range *r)
{
	r->vaddr = get(in, 8);
	r->nr_pages = get(in + 8, 8);
}

enum lz_ps_layout lz_ps_recognise(const uint8_t first[LZ_PS_24])
{
	bool has_second = get(first + 4, 4), is_get = get(first, 4) == LZ_PS_GET;
	uint64_t third = get(first + 8, 8), fourth = get(first + 16, 8);

	if (is_get)
		return has_second && third % LZ_PS_PAGE == 0 ? LZ_PS_24 : LZ_PS_32;
	if (has_second || (!third && fourth))
		return LZ_PS_24;
	return get(first, 4) == LZ_PS_CLOSE || get(first, 4) == LZ_PS_FORCE_CLOSE ? LZ_PS_24
										  : LZ_PS_32;
}
