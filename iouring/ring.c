/* SPDX-License-Identifier: MIT */
/*
 * The ring of ring.h on liburing. What the kernel offers is found out once, at the set-up; after
 * that there is one way through every function. Knows nothing of what is read or why.
 */
#include "iouring/ring.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IORING_SQ_TASKRUN
#define IORING_SQ_TASKRUN (1U << 2)
#endif

enum { COMPLETIONS_PER_ENTRY = 4 };
/* A longer read comes back short, like any other, and is gone on with by who asked. */
enum { READ_MAX = 1 << 30 };
/* More than any kernel has. */
enum { OPERATIONS = 256 };

static int lz_ring_setup(struct io_uring *uring, unsigned entries);
static int lz_ring_probe(struct io_uring *uring);
static int lz_ring_restrict(struct io_uring *uring);
static struct io_uring_sqe *lz_ring_sqe(struct lz_ring *r, int *err);
static int lz_ring_poll_for(struct lz_ring *r, int fd, unsigned events, struct lz_tag tag);
static int lz_ring_entered(int ret);
static bool lz_ring_deferred_work(const struct lz_ring *r);

uint64_t lz_ring_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int lz_ring_open(struct lz_ring *r, unsigned entries)
{
	int ret;

	memset(r, 0, sizeof(*r));
	ret = lz_ring_setup(&r->uring, entries);
	if (ret)
		return ret;
	ret = lz_ring_probe(&r->uring);
	if (!ret)
		ret = lz_ring_restrict(&r->uring);
	if (ret)
		io_uring_queue_exit(&r->uring);
	return ret;
}

void lz_ring_close(struct lz_ring *r)
{
	io_uring_queue_exit(&r->uring);
	memset(r, 0, sizeof(*r));
}

int lz_ring_notify(struct lz_ring *r, int eventfd)
{
	return io_uring_register_eventfd(&r->uring, eventfd);
}

int lz_ring_read(struct lz_ring *r, int fd, void *to, size_t len, uint64_t offset,
		 struct lz_tag tag)
{
	unsigned nbytes = len < READ_MAX ? (unsigned)len : READ_MAX;
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_read(sqe, fd, to, nbytes, offset);
	sqe->user_data = lz_tag_pack(tag);
	return 0;
}

int lz_ring_populate(struct lz_ring *r, void *at, size_t len, struct lz_tag tag)
{
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_madvise(sqe, at, (off_t)len, MADV_POPULATE_READ);
	sqe->user_data = lz_tag_pack(tag);
	return 0;
}

int lz_ring_poll(struct lz_ring *r, int fd, struct lz_tag tag)
{
	return lz_ring_poll_for(r, fd, POLLIN, tag);
}

int lz_ring_poll_out(struct lz_ring *r, int fd, struct lz_tag tag)
{
	return lz_ring_poll_for(r, fd, POLLOUT, tag);
}

int lz_ring_watch(struct lz_ring *r, int fd, struct lz_tag tag)
{
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	sqe->user_data = lz_tag_pack(tag);
	return 0;
}

int lz_ring_nop(struct lz_ring *r, struct lz_tag tag)
{
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_nop(sqe);
	sqe->user_data = lz_tag_pack(tag);
	return 0;
}

int lz_ring_cancel(struct lz_ring *r, struct lz_tag tag)
{
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_cancel64(sqe, lz_tag_pack(tag), 0);
	sqe->user_data = lz_tag_pack((struct lz_tag){ .kind = LZ_TAG_NONE });
	return 0;
}

int lz_ring_submit(struct lz_ring *r)
{
	return lz_ring_entered(io_uring_submit(&r->uring));
}

int lz_ring_wait(struct lz_ring *r, int64_t timeout_ns)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts;

	if (timeout_ns == 0)
		return lz_ring_submit(r);
	if (timeout_ns < 0)
		return lz_ring_entered(io_uring_submit_and_wait(&r->uring, 1));
	ts.tv_sec = timeout_ns / 1000000000;
	ts.tv_nsec = timeout_ns % 1000000000;
	return lz_ring_entered(io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, &ts, NULL));
}

bool lz_ring_look(struct lz_ring *r, uint64_t for_ns)
{
	uint64_t until = lz_ring_now() + for_ns;

	(void)lz_ring_submit(r);
	/*
	 * The thread that is looked for may be woken on this CPU, and would wait for the end of our
	 * slice there, which is longer than any look.
	 */
	while (!lz_ring_has_work(r) && lz_ring_now() < until)
		sched_yield();
	return lz_ring_has_work(r);
}

bool lz_ring_has_work(const struct lz_ring *r)
{
	return io_uring_cq_ready(&r->uring) || lz_ring_deferred_work(r);
}

unsigned lz_ring_reap(struct lz_ring *r, struct lz_completion *out, unsigned max)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	/* What fails here fails again in wait(), which has a way to say so. */
	if (lz_ring_deferred_work(r))
		io_uring_get_events(&r->uring);
	io_uring_for_each_cqe(&r->uring, head, cqe)
	{
		if (n == max)
			break;
		out[n++] = (struct lz_completion){ lz_tag_unpack(cqe->user_data), cqe->res,
						   cqe->flags & IORING_CQE_F_MORE };
	}
	io_uring_cq_advance(&r->uring, n);
	return n;
}

/*
 * From the most wanted set of flags to the least: a kernel says EINVAL to what it does not know.
 * The ring takes no work yet.
 */
static int lz_ring_setup(struct io_uring *uring, unsigned entries)
{
	static const unsigned sets[] = {
		IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
			IORING_SETUP_CQSIZE,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
		IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
	};
	int ret = -EINVAL;

	for (size_t i = 0; ret == -EINVAL && i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct io_uring_params p = { .flags = sets[i] | IORING_SETUP_R_DISABLED,
					     .cq_entries = entries * COMPLETIONS_PER_ENTRY };

		ret = io_uring_queue_init_params(entries, uring, &p);
	}
	return ret;
}

/*
 * EXT_ARG (5.11) is what lets one enter submit and wait with a timeout; NODROP keeps completions
 * that find the queue full.
 */
static int lz_ring_probe(struct io_uring *uring)
{
	const unsigned features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
	/* Not io_uring_get_probe_ring(): that does not tell whether memory or
	 * the kernel is at fault. */
	union {
		struct io_uring_probe probe;
		uint8_t room[sizeof(struct io_uring_probe) +
			     OPERATIONS * sizeof(struct io_uring_probe_op)];
	} can = { .room = { 0 } };
	int ret;

	if ((uring->features & features) != features)
		return -EOPNOTSUPP;
	ret = io_uring_register_probe(uring, &can.probe, OPERATIONS);
	if (ret)
		return ret == -ENOMEM ? ret : -EOPNOTSUPP;
	if (!io_uring_opcode_supported(&can.probe, IORING_OP_READ) ||
	    !io_uring_opcode_supported(&can.probe, IORING_OP_POLL_ADD) ||
	    !io_uring_opcode_supported(&can.probe, IORING_OP_ASYNC_CANCEL))
		return -EOPNOTSUPP;
	return 0;
}

/*
 * What this file never asks for is refused to whoever else gets hold of the ring: a filter of
 * system calls does not see what is asked through one. Then the ring takes work. Linux 5.10, so
 * every kernel that passes the probe.
 */
static int lz_ring_restrict(struct io_uring *uring)
{
	struct io_uring_restriction may[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_MADVISE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_POLL_ADD },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_ASYNC_CANCEL },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_EVENTFD },
	};
	/* liburing 2.3 has functions for both, and its shared library does not export them. */
	const unsigned fd = (unsigned)uring->ring_fd, nr = sizeof(may) / sizeof(may[0]);
	int ret = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, may, nr);

	return ret ? ret : io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static struct io_uring_sqe *lz_ring_sqe(struct lz_ring *r, int *err)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (!sqe) {
		*err = lz_ring_submit(r);
		if (*err)
			return NULL;
		sqe = io_uring_get_sqe(&r->uring);
		*err = -EBUSY;
	}
	return sqe;
}

static int lz_ring_poll_for(struct lz_ring *r, int fd, unsigned events, struct lz_tag tag)
{
	int ret;
	struct io_uring_sqe *sqe = lz_ring_sqe(r, &ret);

	if (!sqe)
		return ret;
	io_uring_prep_poll_add(sqe, fd, events);
	sqe->user_data = lz_tag_pack(tag);
	return 0;
}

/*
 * A signal and a timeout are ordinary ends of a wait. EBUSY: an older kernel takes no more before
 * what overflowed is reaped, and has_work() says that there is such.
 */
static int lz_ring_entered(int ret)
{
	if (ret >= 0 || ret == -EINTR || ret == -ETIME || ret == -EBUSY)
		return 0;
	return ret;
}

/* Completions that only an enter can put into the queue. */
static bool lz_ring_deferred_work(const struct lz_ring *r)
{
	return IO_URING_READ_ONCE(*r->uring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}
