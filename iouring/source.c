/* SPDX-License-Identifier: MIT */
/* What is the same for every page source: when a read goes on and when it has ended. */
#include "iouring/source.h"

#include <assert.h>
#include <errno.h>

/* In a row and without a byte in between. */
enum { RETRIES_MAX = 16 };

bool lz_source_completed(struct lz_source_read *r, struct lz_ring *ring, int32_t res,
			 int64_t *result)
{
	bool again = false;

	if (res > 0) {
		assert((size_t)res <= r->len - r->have);
		r->have += (size_t)res;
		r->retries = 0;
		again = r->have < r->len;
	} else if (res == -EINTR || res == -EAGAIN) {
		again = r->retries++ < RETRIES_MAX;
	}
	if (again) {
		res = r->source->ops->begin(r->source, ring, r);
		if (res == 0)
			return false;
	}
	/* Some of it may be from before the change, but nobody can tell what. */
	if (r->have && r->source->ops->has_changed && r->source->ops->has_changed(r->source)) {
		r->have = 0;
		res = -ESTALE;
	}
	*result = res < 0 ? res : (int64_t)r->have;
	return true;
}
