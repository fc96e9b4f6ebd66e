/* SPDX-License-Identifier: MIT */
/*
 * Copiers: threads that place parts of a long COPY while the loop places its own. One COPY is cut, handed
 * out, carried out and put together again before the loop does anything else: fork and join. So nothing
 * is placed while an event is read, and the engine knows nothing of it.
 *
 * A copier that has nothing to do looks for work for some microseconds, since the sweep's next slice is
 * that far away, and then sleeps. The loop waits for no sleeper: it wakes it and goes on alone, and a part
 * that nobody has begun when its own is done it does as well.
 */
#ifndef LZ_COPIERS_H
#define LZ_COPIERS_H

#include <stdint.h>

#include "pagemap/range.h"
#include "uffd/limits.h"

struct lz_copier;

struct lz_copiers {
	unsigned nr;
	struct lz_copier *copier;
};

/* What has come of one part: as of lz_uffd_copy(). */
struct lz_copied {
	struct lz_range dst;
	int64_t res;
};

/* Starts @nr threads, LZ_COPIERS_MAX at most. -errno: fewer, perhaps none; those that run stay. */
int lz_copiers_open(struct lz_copiers *c, unsigned nr);
/* Ends them, and waits for it. */
void lz_copiers_close(struct lz_copiers *c);
/*
 * lz_uffd_copy() in parts that are whole pages of @page bytes. Returns how many there are, in ascending
 * order; each has ended, as far as its own result says.
 */
unsigned lz_copiers_copy(struct lz_copiers *c, int fd, struct lz_range dst, const void *src,
			 uint64_t page, struct lz_copied out[LZ_COPIERS_MAX + 1]);

#endif
