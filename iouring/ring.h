/* SPDX-License-Identifier: MIT */
/*
 * The ring: set-up with what this kernel has, one enter that submits and waits, completions drained
 * into an array. It tells of a userfaultfd's messages and does not read them: when they are read is
 * the loop's to say. The ring carries out what this file submits and refuses all else
 * (IORING_REGISTER_RESTRICTIONS), whoever asks.
 */
#ifndef LZ_RING_H
#define LZ_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iouring/tag.h"

struct lz_ring {
	struct io_uring uring;
};

struct lz_completion {
	struct lz_tag tag;
	int32_t res;
	bool more; /* a watch goes on: more completions will come of it */
};

uint64_t lz_ring_now(void); /* CLOCK_MONOTONIC */

/*
 * @entries: the submission queue; completions have four times the room. Only the calling thread may
 * use the ring afterwards. -EPERM where a sysctl or seccomp forbids io_uring, -EOPNOTSUPP where it
 * is too old (before 5.11, or without READ, POLL_ADD or ASYNC_CANCEL), else -errno.
 */
int lz_ring_open(struct lz_ring *r, unsigned entries);
void lz_ring_close(struct lz_ring *r);
/* From now on @eventfd is written to whenever there is a completion, or deferred work, to reap. */
int lz_ring_notify(struct lz_ring *r, int eventfd);
/*
 * Preparing: nothing reaches the kernel before wait() or submit(). A full queue is submitted;
 * -EBUSY if it is full still, until something is reaped. What can be read at once is read at the
 * submit. Reads of more than 1 GiB come back short. A cancel completes twice: what it cancelled
 * with -ECANCELED (or as if nothing had been), and itself with LZ_TAG_NONE.
 */
int lz_ring_read(struct lz_ring *r, int fd, void *to, size_t len, uint64_t offset,
		 struct lz_tag tag);
/*
 * Has what is mapped at [@at, @at + @len) read into memory and into the page tables:
 * MADV_POPULATE_READ,
 * -EINVAL as the result before Linux 5.14.
 */
int lz_ring_populate(struct lz_ring *r, void *at, size_t len, struct lz_tag tag);
int lz_ring_poll(struct lz_ring *r, int fd, struct lz_tag tag);     /* readable, once */
int lz_ring_poll_out(struct lz_ring *r, int fd, struct lz_tag tag); /* writable, once */
/*
 * Whenever @fd becomes readable, until a completion says that there will be no more: it was
 * cancelled, or the queue was full. Who does not read all there is then is told no second time.
 * -EINVAL as the result: too old a kernel (before 5.13); poll() it is.
 */
int lz_ring_watch(struct lz_ring *r, int fd, struct lz_tag tag);
int lz_ring_cancel(struct lz_ring *r, struct lz_tag tag);
int lz_ring_nop(struct lz_ring *r, struct lz_tag tag); /* completes at once */

int lz_ring_submit(struct lz_ring *r);
/*
 * Submits, and waits for a completion until @timeout_ns have passed (negative: no end, 0: not at
 * all). 0 also after a timeout or a signal: the caller's clock says which.
 */
int lz_ring_wait(struct lz_ring *r, int64_t timeout_ns);
/*
 * Submits, and looks for something to reap for so long, without waiting for it: who completes has
 * no sleeper to wake. Whoever else is to run on this CPU does so first. True if there is something.
 */
bool lz_ring_look(struct lz_ring *r, uint64_t for_ns);
/* True if reap() should be called; touches no kernel. */
bool lz_ring_has_work(const struct lz_ring *r);
/*
 * Moves up to @max completions out, oldest first, running what the kernel deferred if there is
 * such; returns their number. It may be 0 after has_work(): a poll that woke for nothing.
 */
unsigned lz_ring_reap(struct lz_ring *r, struct lz_completion *out, unsigned max);

#endif
