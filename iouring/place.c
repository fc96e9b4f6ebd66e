/* SPDX-License-Identifier: MIT */
/*
 * What is in place as a page source: shared memory in which the bytes are already. It has none to
 * give, and none to wait for: each of its pages is there to be mapped.
 */
#include "iouring/source.h"

#include <errno.h>
#include <stdlib.h>

static int lz_place_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	(void)s;
	(void)ring;
	(void)r;
	return -ENODATA; /* who has asked whether it is resident does not come here */
}

static bool lz_place_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	(void)s;
	(void)offset;
	(void)to;
	(void)len;
	return false;
}

static bool lz_place_resident(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return true;
}

static const void *lz_place_at(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return NULL;
}

static void lz_place_close(struct lz_source *s)
{
	free(s);
}

int lz_place_open(struct lz_source **out)
{
	static const struct lz_source_ops ops = {
		.begin = lz_place_begin,
		.read_now = lz_place_read_now,
		.resident = lz_place_resident,
		.at = lz_place_at,
		.close = lz_place_close,
	};
	struct lz_source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->ops = &ops;
	*out = s;
	return 0;
}
