/* SPDX-License-Identifier: MIT */
/*
 * Clients that nobody has written: the input is what one sends. It is heard twice, in one piece and
 * byte by byte, and must be understood the same; requests that come of it keep every limit, and
 * after what no client may send nothing is understood any more.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/giver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The identity is 32 zeros, so that one hello in a corpus is as good as another. */
static const struct lz_giver_options options = { .max_request_pages = 1000 };

static void mix(uint64_t *sum, uint64_t number)
{
	*sum = (*sum ^ number) * UINT64_C(0x100000001b3);
}

static void mix_bytes(uint64_t *sum, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t n = 0; n < len; n++)
		mix(sum, b[n]);
}

static void check_get(const struct lz_giver *g, uint64_t *sum)
{
	const struct lz_giver_get *get = &g->get;
	uint64_t nr_pages = 0, max = g->lazyd ? options.max_request_pages : LZ_GIVER_PLAIN_PAGES;
	uint8_t out[LZ_PS_HEADER_MAX];

	assert(get->nr_ranges && get->nr_ranges <= LZ_PS_RANGES_MAX);
	assert(g->lazyd || get->nr_ranges == 1);
	for (size_t n = 0; n < get->nr_ranges; n++) {
		struct lz_ps_range r = get->range[n];

		assert(r.nr_pages && r.vaddr % LZ_PS_PAGE == 0);
		assert(r.vaddr + r.nr_pages * LZ_PS_PAGE > r.vaddr);
		nr_pages += r.nr_pages;
		mix(sum, r.vaddr);
		mix(sum, r.nr_pages);
	}
	assert(nr_pages == get->nr_pages && nr_pages <= max);
	assert(get->pid == (uint32_t)get->dst_id && (g->lazyd || get->dst_id == get->pid));
	mix(sum, get->dst_id);
	assert(lz_giver_reply(g, get->dst_id, LZ_PS_PRESENT, get->range[0].vaddr, 0, nr_pages,
			      out) == (size_t)g->layout);
}

static void check(const struct lz_giver *g, enum lz_giver_event_type ev, bool closed, uint64_t *sum)
{
	bool says = ev == LZ_GIVER_SAY || ev == LZ_GIVER_HELLO || ev == LZ_GIVER_CLOSE;

	assert(says == (g->nr_say > 0) && g->nr_say <= sizeof(g->say));
	assert(!closed || ev == LZ_GIVER_MORE);
	assert(!g->lazyd || (g->layout == LZ_PS_32 && !g->greeting));
	if (ev == LZ_GIVER_MORE)
		return;
	assert(!g->have && g->layout && lz_giver_is_waiting(g) == g->greeting);
	mix(sum, ev);
	mix_bytes(sum, g->say, g->nr_say);
	if (ev == LZ_GIVER_GET)
		check_get(g, sum);
	if (ev == LZ_GIVER_HELLO)
		assert(g->lazyd && !memcmp(g->hello.identity, options.identity, LZ_IDENTITY_LEN));
}

/* What is understood of @data in pieces of @cut bytes, as a number. */
static uint64_t hear(const uint8_t *data, size_t size, size_t cut)
{
	static struct lz_giver g;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	enum lz_giver_event_type ev;
	size_t at = 0, n = 0;
	bool closed = false;

	lz_giver_init(&g, &options);
	while (at < size) {
		int64_t taken;

		if (!n)
			n = cut < size - at ? cut : size - at;
		taken = lz_giver_take(&g, data + at, n, &ev);
		if (taken < 0) {
			assert(taken == -EBADMSG && g.why[0]);
			mix_bytes(&sum, g.why, strlen(g.why));
			mix_bytes(&sum, g.say, g.nr_say);
			assert(lz_giver_take(&g, data, 1, &ev) == -EBADMSG);
			return sum;
		}
		assert((size_t)taken <= n && (ev != LZ_GIVER_MORE || (size_t)taken == n));
		check(&g, ev, closed, &sum);
		closed = closed || ev == LZ_GIVER_CLOSE;
		at += (size_t)taken;
		n -= (size_t)taken;
	}
	assert(lz_giver_is_waiting(&g) == (g.have || g.greeting));
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Without a spare byte, for whatever looks beyond its end. */
	uint8_t *bytes = malloc(size ? size : 1);

	assert(bytes);
	if (size)
		memcpy(bytes, data, size);
	assert(hear(bytes, size, size) == hear(bytes, size, 1));
	assert(hear(bytes, size, size) == hear(bytes, size, 37));
	free(bytes);
	return 0;
}
