/* SPDX-License-Identifier: MIT */
/* The ring against the real kernel: what is asked completes, once, and when it may. */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum { ENTRIES = 8, BYTES = 3 * 65536 };
static const int64_t FOREVER = -1;

static struct lz_ring ring;
static int file = -1;
static uint8_t bytes[BYTES];

static struct lz_tag read_tag(uint32_t id)
{
	return (struct lz_tag){ .kind = LZ_TAG_READ, .id = id };
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Waits until @nr completions are there, and no more than these. */
static void collect(struct lz_completion *out, unsigned nr)
{
	unsigned n = 0;

	while (n < nr) {
		ck_assert_int_eq(lz_ring_wait(&ring, FOREVER), 0);
		n += lz_ring_reap(&ring, out + n, nr - n);
	}
	ck_assert(!lz_ring_has_work(&ring));
}

static void setup(void)
{
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 4096);
	file = memfd_create("ring", 0);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(write(file, bytes, BYTES), BYTES);
	ck_assert_int_eq(lz_ring_open(&ring, ENTRIES), 0);
}

static void teardown(void)
{
	lz_ring_close(&ring);
	close(file);
}

START_TEST(idle)
{
	struct lz_completion c;

	ck_assert(!lz_ring_has_work(&ring));
	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 0);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	ck_assert_int_eq(lz_ring_wait(&ring, 0), 0);
}
END_TEST

START_TEST(reads)
{
	struct lz_completion c;
	uint8_t to[4096];

	ck_assert_int_eq(lz_ring_read(&ring, file, to, sizeof(to), 8192, read_tag(7)), 0);
	ck_assert(!lz_ring_has_work(&ring));
	collect(&c, 1);
	ck_assert_int_eq(c.res, sizeof(to));
	ck_assert_uint_eq(c.tag.kind, LZ_TAG_READ);
	ck_assert_uint_eq(c.tag.id, 7);
	ck_assert_mem_eq(to, bytes + 8192, sizeof(to));
}
END_TEST

START_TEST(populates)
{
	struct lz_completion c;
	void *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, file, 0);

	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(lz_ring_populate(&ring, map, BYTES, read_tag(9)), 0);
	collect(&c, 1);
	ck_assert(c.res == 0 || c.res == -EINVAL); /* before Linux 5.14 */
	ck_assert_uint_eq(c.tag.id, 9);
	munmap(map, BYTES);
	ck_assert_int_eq(lz_ring_populate(&ring, map, BYTES, read_tag(9)), 0);
	collect(&c, 1);
	ck_assert_int_lt(c.res, 0);
}
END_TEST

START_TEST(read_errors_are_results)
{
	struct lz_completion c;
	uint8_t to[8];

	lz_ring_read(&ring, -1, to, sizeof(to), 0, read_tag(0));
	collect(&c, 1);
	ck_assert_int_eq(c.res, -EBADF);
	lz_ring_read(&ring, file, to, sizeof(to), BYTES, read_tag(0));
	collect(&c, 1);
	ck_assert_int_eq(c.res, 0);
	lz_ring_read(&ring, file, to, sizeof(to), BYTES - 3, read_tag(0));
	collect(&c, 1);
	ck_assert_int_eq(c.res, 3);
}
END_TEST

START_TEST(polls)
{
	struct lz_tag tag = { .kind = LZ_TAG_WATCH, .id = 9, .generation = 4 };
	struct lz_completion c;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(lz_ring_poll(&ring, p[0], tag), 0);
	ck_assert_int_eq(lz_ring_wait(&ring, 0), 0);
	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	collect(&c, 1);
	ck_assert(c.res & POLLIN);
	ck_assert_uint_eq(c.tag.kind, LZ_TAG_WATCH);
	ck_assert_uint_eq(c.tag.id, 9);
	ck_assert_uint_eq(c.tag.generation, 4);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(cancels)
{
	struct lz_tag old = { .kind = LZ_TAG_READ, .id = 5, .generation = 1 };
	struct lz_tag new = { .kind = LZ_TAG_READ, .id = 5, .generation = 2 };
	struct lz_completion c[2];
	uint8_t to[8];
	int p[2], o, n;

	ck_assert_int_eq(pipe(p), 0);
	lz_ring_read(&ring, p[0], to, sizeof(to), 0, old);
	lz_ring_poll(&ring, p[0], new);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	/* One slot, two uses: the cancel finds the one whose generation it names. */
	ck_assert_int_eq(lz_ring_cancel(&ring, old), 0);
	collect(c, 2);
	o = c[0].tag.kind == LZ_TAG_READ ? 0 : 1;
	n = !o;
	ck_assert_uint_eq(c[o].tag.generation, 1);
	ck_assert_int_eq(c[o].res, -ECANCELED);
	ck_assert_uint_eq(c[n].tag.kind, LZ_TAG_NONE);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	collect(c, 1);
	ck_assert_uint_eq(c[0].tag.generation, 2);
	lz_ring_cancel(&ring, old);
	collect(c, 1);
	ck_assert_uint_eq(c[0].tag.kind, LZ_TAG_NONE);
	ck_assert_int_eq(c[0].res, -ENOENT);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(times_out)
{
	int64_t begun = now_ns();

	ck_assert_int_eq(lz_ring_wait(&ring, 5000000), 0);
	ck_assert_int_ge(now_ns() - begun, 5000000);
	ck_assert(!lz_ring_has_work(&ring));
}
END_TEST

START_TEST(times_out_when_it_submits_as_well)
{
	struct lz_completion c;
	int64_t begun = now_ns();
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	lz_ring_poll(&ring, p[0], read_tag(1));
	ck_assert_int_eq(lz_ring_wait(&ring, 5000000), 0);
	ck_assert_int_ge(now_ns() - begun, 5000000);
	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 0);
	/* It was submitted, all the same. */
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	ck_assert_int_eq(lz_ring_wait(&ring, FOREVER), 0);
	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(looks)
{
	struct lz_completion c;
	int64_t begun = now_ns();
	int p[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(lz_ring_poll(&ring, p[0], read_tag(1)), 0);
	ck_assert(!lz_ring_look(&ring, 5000000));
	ck_assert_int_ge(now_ns() - begun, 5000000);
	/* What comes while it looks is seen, without the ring being entered. */
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		_exit(write(p[1], "x", 1) != 1);
	while (!lz_ring_look(&ring, 1000000000))
		continue;
	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	ck_assert(c.res & POLLIN);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(p[0]);
	close(p[1]);
}
END_TEST

static void on_alarm(int sig)
{
	(void)sig;
}

/* @_i: 1 with something to submit, 2 with a far end. */
START_TEST(a_signal_ends_a_wait)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value = { 0, 5000 }, .it_interval = { 0, 5000 } };
	struct itimerval never = { 0 };
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(sigaction(SIGALRM, &sa, NULL), 0);
	if (_i & 1)
		lz_ring_poll(&ring, p[0], read_tag(1));
	ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	ck_assert_int_eq(lz_ring_wait(&ring, _i & 2 ? 3600 * 1000000000LL : FOREVER), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	ck_assert(!lz_ring_has_work(&ring));
	close(p[0]);
	close(p[1]);
}
END_TEST

/*
 * More requests than the queue of submissions holds, more completions than theirs does. A poll of
 * what is readable already ends where it is submitted, so the order is known.
 */
START_TEST(nothing_is_lost_when_queues_are_full)
{
	enum { NR = ENTRIES * 4 * 3 };
	struct lz_completion c[NR];
	unsigned n = 0;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	for (uint32_t i = 0; i < NR; i++)
		ck_assert_int_eq(lz_ring_poll(&ring, p[0], read_tag(i)), 0);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	while (n < NR) {
		ck_assert(lz_ring_has_work(&ring));
		n += lz_ring_reap(&ring, c + n, NR - n < 5 ? NR - n : 5);
	}
	ck_assert(!lz_ring_has_work(&ring));
	for (uint32_t i = 0; i < NR; i++) {
		ck_assert(c[i].res & POLLIN);
		ck_assert_uint_eq(c[i].tag.id, i);
	}
	close(p[0]);
	close(p[1]);
}
END_TEST

/* Reads may end in any order, each exactly once. */
START_TEST(many_reads)
{
	enum { NR = ENTRIES * 4 * 3 };
	uint8_t to[NR];
	struct lz_completion c[NR];
	bool seen[NR] = { false };

	for (uint32_t i = 0; i < NR; i++)
		ck_assert_int_eq(lz_ring_read(&ring, file, to + i, 1, i, read_tag(i)), 0);
	collect(c, NR);
	ck_assert_mem_eq(to, bytes, NR);
	for (uint32_t i = 0; i < NR; i++) {
		ck_assert_int_eq(c[i].res, 1);
		ck_assert(!seen[c[i].tag.id]);
		seen[c[i].tag.id] = true;
	}
}
END_TEST

/* What a worker is: its own memory, the descriptors of another process. */
static int worker(void *arg)
{
	struct lz_completion c;
	struct lz_ring own;
	uint8_t to[16];

	(void)arg;
	if (lz_ring_open(&own, ENTRIES))
		return 1;
	lz_ring_read(&own, file, to, sizeof(to), 0, read_tag(1));
	if (lz_ring_wait(&own, FOREVER) || lz_ring_reap(&own, &c, 1) != 1)
		return 2;
	return c.res == sizeof(to) && memcmp(to, bytes, sizeof(to)) == 0 ? 0 : 3;
}

START_TEST(works_in_a_process_that_shares_descriptors)
{
	static char stack[256 * 1024] __attribute__((aligned(16)));
	pid_t pid = clone(worker, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	int status;

	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* What is asked of @uring that the product never asks for: the operation's result. */
static int ask_to_open(struct io_uring *uring)
{
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_openat(io_uring_get_sqe(uring), AT_FDCWD, "/dev/null", O_WRONLY, 0);
	ck_assert_int_eq(io_uring_submit(uring), 1);
	ck_assert_int_eq(io_uring_wait_cqe(uring, &cqe), 0);
	ret = cqe->res;
	io_uring_cqe_seen(uring, cqe);
	return ret;
}

START_TEST(refuses_what_is_never_asked_for)
{
	struct io_uring free;
	int fds[1] = { file }, opened;

	ck_assert_int_eq(ask_to_open(&ring.uring), -EACCES);
	ck_assert_int_eq(io_uring_register_files(&ring.uring, fds, 1), -EACCES);
	ck_assert_int_eq(io_uring_register((unsigned)ring.uring.ring_fd,
					   IORING_REGISTER_PERSONALITY, NULL, 0),
			 -EACCES);
	/* The same of a ring without restrictions. */
	ck_assert_int_eq(io_uring_queue_init(ENTRIES, &free, 0), 0);
	opened = ask_to_open(&free);
	ck_assert_int_ge(opened, 0);
	ck_assert_int_eq(io_uring_register_files(&free, fds, 1), 0);
	close(opened);
	io_uring_queue_exit(&free);
}
END_TEST

START_TEST(notifies)
{
	int event = eventfd(0, 0);
	struct lz_completion c;
	uint64_t n;
	uint8_t to[8];

	ck_assert_int_eq(lz_ring_notify(&ring, event), 0);
	lz_ring_read(&ring, file, to, sizeof(to), 0, read_tag(1));
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	ck_assert_int_eq(read(event, &n, sizeof(n)), sizeof(n));
	collect(&c, 1);
	close(event);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, idle);
	tcase_add_test(t, reads);
	tcase_add_test(t, populates);
	tcase_add_test(t, read_errors_are_results);
	tcase_add_test(t, polls);
	tcase_add_test(t, cancels);
	tcase_add_test(t, times_out);
	tcase_add_test(t, times_out_when_it_submits_as_well);
	tcase_add_test(t, looks);
	tcase_add_loop_test(t, a_signal_ends_a_wait, 0, 4);
	tcase_add_test(t, nothing_is_lost_when_queues_are_full);
	tcase_add_test(t, many_reads);
	tcase_add_test(t, works_in_a_process_that_shares_descriptors);
	tcase_add_test(t, refuses_what_is_never_asked_for);
	tcase_add_test(t, notifies);
	suite_add_tcase(s, t);
	return run_suite(s);
}
