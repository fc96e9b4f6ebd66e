/* SPDX-License-Identifier: MIT */
/*
 * The giving end: what a client may say, one header or frame at a time. What its pages are, how
 * many requests it may have under way and how long it may take are the caller's business.
 */
#include "proto/giver.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int refused(struct lz_giver *g, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void lz_giver_init(struct lz_giver *g, const struct lz_giver_options *o)
{
	assert(o->max_request_pages >= LZ_HELLO_PAGES_MIN);
	memset(g, 0, sizeof(*g));
	g->options = o;
}

bool lz_giver_is_waiting(const struct lz_giver *g)
{
	return g->have || g->greeting;
}

size_t lz_giver_reply(const struct lz_giver *g, uint64_t dst_id, uint32_t flags, uint64_t vaddr,
		      uint64_t first, uint64_t nr, uint8_t out[LZ_PS_HEADER_MAX])
{
	struct lz_ps_header h = {
		.cmd = LZ_PS_ADD_F,
		.flags = flags,
		.nr_pages = nr,
		.vaddr = g->lazyd ? first : vaddr,
		.dst_id = dst_id,
	};

	assert(g->lazyd || flags == LZ_PS_PRESENT);
	return lz_ps_put(g->layout, &h, out);
}

static int refused(struct lz_giver *g, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(g->why, sizeof(g->why), format, args);
	va_end(args);
	g->failed = true;
	return -EBADMSG;
}

static void say(struct lz_giver *g, const void *bytes, size_t len)
{
	memcpy(g->say, bytes, len);
	g->nr_say = len;
}

/* ---- hello ---- */

static void welcome(struct lz_giver *g, const char *refusal)
{
	struct lz_welcome w = {
		.version = LZ_HELLO_VERSION,
		.page_size = LZ_PS_PAGE,
		.max_request_pages = g->options->max_request_pages,
	};

	snprintf(w.refusal, sizeof(w.refusal), "%s", refusal);
	snprintf(w.software, sizeof(w.software), "%s", g->options->software);
	g->nr_say = lz_hello_put_welcome(&w, g->say);
}

static int check_hello(struct lz_giver *g)
{
	const struct lz_hello *h = &g->hello;
	const uint8_t *here = g->options->identity, *there = h->identity;

	if (h->version != LZ_HELLO_VERSION)
		return refused(g,
			       "the server speaks version %d of the protocol, the client %" PRIu32,
			       LZ_HELLO_VERSION, h->version);
	if (h->page_size != LZ_PS_PAGE)
		return refused(g, "the server has pages of %d bytes, the client of %" PRIu32,
			       LZ_PS_PAGE, h->page_size);
	if (memcmp(here, there, LZ_IDENTITY_LEN))
		return refused(g,
			       "the server has the dump %02x%02x%02x%02x, the client restores "
			       "%02x%02x%02x%02x: the images of one are not a copy of the other's",
			       here[0], here[1], here[2], here[3], there[0], there[1], there[2],
			       there[3]);
	return 0;
}

static int greeted(struct lz_giver *g, enum lz_giver_event_type *ev)
{
	int err = lz_hello_get(g->part + LZ_HELLO_LENGTH, g->have - LZ_HELLO_LENGTH, &g->hello);

	/* That is not said to it: a client that is refused does not come again. */
	if (err == -ENOMEM)
		return refused(g, "there is no memory for the client's hello");
	err = err ? refused(g, "the client's hello is none that this server understands")
		  : check_hello(g);
	welcome(g, err ? g->why : "");
	if (err)
		return err;
	g->greeting = false;
	g->lazyd = true;
	g->layout = LZ_PS_32;
	*ev = LZ_GIVER_HELLO;
	return 0;
}

/* ---- requests ---- */

static int check_range(struct lz_giver *g, const struct lz_ps_range *r)
{
	if (r->vaddr % LZ_PS_PAGE)
		return refused(g, "the client asks for %#" PRIx64 ", where no page begins",
			       r->vaddr);
	if (!r->nr_pages)
		return refused(g, "the client asks for no pages at %#" PRIx64, r->vaddr);
	if (r->nr_pages > (UINT64_MAX - r->vaddr) / LZ_PS_PAGE)
		return refused(g,
			       "the client asks for %" PRIu64 " pages at %#" PRIx64
			       ", beyond the end of all addresses",
			       r->nr_pages, r->vaddr);
	return 0;
}

static int check_get(struct lz_giver *g, const struct lz_ps_header *h)
{
	uint64_t max = g->lazyd ? g->options->max_request_pages : LZ_GIVER_PLAIN_PAGES;

	if (h->flags & ~(g->lazyd ? (uint32_t)LZ_PS_VECTOR : 0))
		return refused(g, "the client's request has flags %#" PRIx32, h->flags);
	if (!g->lazyd && h->dst_id > UINT32_MAX)
		return refused(g, "the client asks for pages of task %" PRIu64, h->dst_id);
	if (h->nr_pages > max)
		return refused(g,
			       "the client asks for %" PRIu64 " pages at once, at most %" PRIu64
			       " are given",
			       h->nr_pages, max);
	if (h->flags & LZ_PS_VECTOR && (!h->vaddr || h->vaddr > LZ_PS_RANGES_MAX))
		return refused(g, "the client's request has %" PRIu64 " ranges, not 1 to %d",
			       h->vaddr, LZ_PS_RANGES_MAX);
	return 0;
}

/* The ranges of a vector are behind its header in part[]. */
static int take_ranges(struct lz_giver *g, const struct lz_ps_header *h)
{
	uint64_t left = h->nr_pages;
	int err = 0;

	for (size_t n = 0; !err && n < g->get.nr_ranges; n++) {
		struct lz_ps_range *r = &g->range[n];

		lz_ps_get_range(g->part + LZ_PS_32 + n * LZ_PS_RANGE_BYTES, r);
		err = check_range(g, r);
		if (!err && r->nr_pages > left)
			err = refused(g,
				      "the client's ranges are more than the %" PRIu64
				      " pages it says",
				      h->nr_pages);
		left -= r->nr_pages;
	}
	if (!err && left)
		err = refused(g, "the client's ranges are %" PRIu64 " pages fewer than it says",
			      left);
	return err;
}

static int get(struct lz_giver *g, const struct lz_ps_header *h, enum lz_giver_event_type *ev)
{
	bool is_vector = h->flags & LZ_PS_VECTOR;
	int err;

	g->get = (struct lz_giver_get){
		.dst_id = h->dst_id,
		.pid = (uint32_t)h->dst_id,
		.nr_pages = h->nr_pages,
		.nr_ranges = is_vector ? (size_t)h->vaddr : 1,
		.range = g->range,
	};
	g->range[0] = (struct lz_ps_range){ h->vaddr, h->nr_pages };
	err = is_vector ? take_ranges(g, h) : check_range(g, &g->range[0]);
	*ev = LZ_GIVER_GET;
	return err;
}

/* ---- headers ---- */

static int parent(struct lz_giver *g, const struct lz_ps_header *h, enum lz_giver_event_type *ev)
{
	static const uint8_t no[4] = { 0 };
	bool is_probe = h->dst_id == LZ_PS_PROBE;

	if (g->lazyd || (is_probe && g->began))
		return refused(g, "the client asks who this is in the midst of its requests");
	g->greeting = is_probe;
	say(g, is_probe ? LZ_PS_ANSWER : no, sizeof(no));
	*ev = LZ_GIVER_SAY;
	return 0;
}

static int close_(struct lz_giver *g, const struct lz_ps_header *h, enum lz_giver_event_type *ev)
{
	static const uint8_t status[4] = { 0 };

	if (h->flags)
		return refused(g, "the client's end has flags %#" PRIx32, h->flags);
	/* Said first, it was taken for a short one, and the rest of a long one may follow. */
	g->padding = g->began ? 0 : LZ_PS_32 - LZ_PS_24;
	g->closed = true;
	say(g, status, sizeof(status));
	*ev = LZ_GIVER_CLOSE;
	return 0;
}

static int told(struct lz_giver *g, enum lz_giver_event_type *ev)
{
	struct lz_ps_header h;

	lz_ps_get(g->layout, g->part, &h);
	switch (h.cmd) {
	case LZ_PS_GET:
		return get(g, &h, ev);
	case LZ_PS_PARENT:
		return parent(g, &h, ev);
	case LZ_PS_CLOSE:
	case LZ_PS_FORCE_CLOSE:
		return close_(g, &h, ev);
	case LZ_PS_OPEN:
	case LZ_PS_OPEN2:
	case LZ_PS_ADD:
	case LZ_PS_ADD_F:
	case LZ_PS_HOLE:
		return refused(g, "the client wants to dump, and this server takes no dumps");
	default:
		return refused(g, "the client says command %#" PRIx32 ", which does not exist",
			       h.cmd);
	}
}

/* How many bytes part[] must have: more of them are known to be needed as they come. */
static int64_t wanted(struct lz_giver *g)
{
	struct lz_ps_header h;
	int64_t len;
	int err;

	if (g->greeting) {
		len = lz_hello_frame(g->part, g->have);
		if (len < 0)
			return refused(g, "the client's hello has no length that a hello may have");
		return len ? len : LZ_HELLO_LENGTH;
	}
	if (g->have < LZ_PS_24)
		return g->layout ? (int64_t)g->layout : LZ_PS_24;
	if (!g->layout)
		g->layout = lz_ps_recognise(g->part);
	if (g->have < (size_t)g->layout)
		return g->layout;
	lz_ps_get(g->layout, g->part, &h);
	if (h.cmd != LZ_PS_GET)
		return g->layout;
	err = check_get(g, &h);
	if (err)
		return err;
	return (int64_t)g->layout +
	       (h.flags & LZ_PS_VECTOR ? (int64_t)h.vaddr * LZ_PS_RANGE_BYTES : 0);
}

/* Behind CLOSE nothing may come but what makes a long header of a short one. */
static int64_t take_padding(struct lz_giver *g, const uint8_t *bytes, size_t len)
{
	for (size_t n = 0; n < len; n++)
		if (bytes[n] || !g->padding--)
			return refused(g, "the client says more after it has said its end");
	return (int64_t)len;
}

int64_t lz_giver_take(struct lz_giver *g, const uint8_t *bytes, size_t len,
		      enum lz_giver_event_type *ev)
{
	size_t taken = 0, n;
	int64_t whole;
	int err;

	*ev = LZ_GIVER_MORE;
	if (g->failed)
		return -EBADMSG;
	g->nr_say = 0;
	if (g->closed)
		return take_padding(g, bytes, len);
	while (*ev == LZ_GIVER_MORE) {
		whole = wanted(g);
		if (whole < 0)
			return whole;
		if (g->have == (size_t)whole) {
			err = g->greeting ? greeted(g, ev) : told(g, ev);
			if (err)
				return err;
			g->have = 0;
			g->began = true;
			continue;
		}
		if (taken == len)
			break;
		n = (size_t)whole - g->have;
		n = n < len - taken ? n : len - taken;
		memcpy(g->part + g->have, bytes + taken, n);
		g->have += n;
		taken += n;
	}
	return (int64_t)taken;
}
