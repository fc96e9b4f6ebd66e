/* SPDX-License-Identifier: MIT */
/*
 * Copiers: threads that carry out COPYs while the loop goes on. It gives them one after the other,
 * and takes each back when it has ended; or before anybody has begun it. Nothing is known here of
 * pages and promises: that a COPY is not overtaken by what moves its pages is for the loop to see
 * to, who reads no event while one is under way.
 *
 * A copier that has nothing to do looks for work for some microseconds, since the sweep's next
 * slice is that far away, and then sleeps. The loop waits for no sleeper: it wakes it and goes on.
 */
#ifndef LZ_COPIERS_H
#define LZ_COPIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "pagemap/range.h"
#include "uffd/limits.h"

struct lz_copier;
struct lz_copy_slot;

struct lz_copiers {
	unsigned nr;
	unsigned nr_given; /* and not taken back yet */
	unsigned declined; /* short ones, since it was last asked for the last of all */
	unsigned nr_slots, next;
	struct lz_copy_slot *slot;
	struct lz_copier *copier;
};

struct lz_copy {
	int fd;
	struct lz_range dst;
	const void *src;
	uint32_t space, req; /* the giver's */
	int64_t res;         /* of one that was taken back: as of lz_uffd_copy() */
};

/* What is taken back: one that has ended;
 * one at any rate, which is waited for, or done here, or not begun. */
enum lz_copiers_how { LZ_COPIERS_ENDED, LZ_COPIERS_WAIT, LZ_COPIERS_CANCEL };
/* The result of one that was not begun. */
#define LZ_COPY_CANCELLED INT64_MIN

/* Starts @nr threads, LZ_COPIERS_MAX at most. -errno: fewer, perhaps none; those that run stay. */
int lz_copiers_open(struct lz_copiers *c, unsigned nr);
/* Ends them, and waits for it. All that was given has been taken back. */
void lz_copiers_close(struct lz_copiers *c);
/* False: there is no room, or it is not worth waking anybody. */
bool lz_copiers_give(struct lz_copiers *c, const struct lz_copy *copy);
/* False: there is none, or none that has ended. */
bool lz_copiers_take(struct lz_copiers *c, enum lz_copiers_how how, struct lz_copy *copy);

#endif
