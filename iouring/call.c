/* SPDX-License-Identifier: MIT */
/*
 * A callback as a page source. What it gives at once is the end of the read, told by a completion
 * that has nothing to do; what it gives later is told by who was asked.
 */
#include "iouring/source.h"

#include <errno.h>
#include <stdlib.h>

#include "iouring/ring.h"

struct lz_call {
	struct lz_source source;
	struct lz_call_options o;
};

static int64_t lz_call_ask(struct lz_call *c, const struct lz_source_read *r)
{
	struct lz_ask ask = { .token = (uint64_t)r->generation << 32 | r->request,
			      .start = r->offset + r->have,
			      .len = r->len - r->have,
			      .to = c->o.in_place ? NULL : r->to + r->have,
			      .urgent = r->urgent };
	int64_t got = c->o.ask(c->o.arg, &ask);

	return got > (int64_t)ask.len ? -EIO : got;
}

static int lz_call_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	struct lz_call *c = (struct lz_call *)s;
	struct lz_tag tag = { .kind = LZ_TAG_READ, .id = r->request, .generation = r->generation };
	int64_t got = lz_call_ask(c, r);
	int ret;

	if (got == -EINPROGRESS)
		return c->o.may_wait ? 0 : -EIO;
	if (got < 0)
		return (int)got;
	ret = lz_ring_nop(ring, tag);
	if (!ret)
		r->have += (size_t)got;
	return ret;
}

static bool lz_call_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	(void)s;
	(void)offset;
	(void)to;
	(void)len;
	return false;
}

static bool lz_call_resident(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return false;
}

static const void *lz_call_at(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return NULL;
}

static void lz_call_close(struct lz_source *s)
{
	free(s);
}

int lz_call_open(struct lz_source **out, const struct lz_call_options *o)
{
	static const struct lz_source_ops ops = {
		.begin = lz_call_begin,
		.read_now = lz_call_read_now,
		.resident = lz_call_resident,
		.at = lz_call_at,
		.close = lz_call_close,
	};
	struct lz_call *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->source.ops = &ops;
	c->o = *o;
	*out = &c->source;
	return 0;
}
