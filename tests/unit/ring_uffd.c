/* SPDX-License-Identifier: MIT */
/*
 * A userfaultfd watched through the ring. A program of its own because it needs more than ring.c
 * does: the right to make a userfaultfd, and a kernel whose polls go on (5.13).
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "tests/lib/fds.h"
#include "tests/lib/suite.h"

enum { ENTRIES = 8, PAGE = 4096 };
static const struct lz_tag tag = { .kind = LZ_TAG_UFFD, .id = 1 };

static struct lz_ring ring;
static struct pollfd uffd = { .fd = -1, .events = POLLIN };
static void *page;
static pthread_t thread;
static struct uffd_msg msg[2];

static void setup(void)
{
	struct uffdio_register reg = { .range.len = PAGE, .mode = UFFDIO_REGISTER_MODE_MISSING };

	ck_assert_int_eq(lz_ring_open(&ring, ENTRIES), 0);
	uffd.fd = fds_uffd(0);
	ck_assert_int_ge(uffd.fd, 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	reg.range.start = (uintptr_t)page;
	ck_assert_int_eq(ioctl(uffd.fd, UFFDIO_REGISTER, &reg), 0);
}

static void teardown(void)
{
	lz_ring_close(&ring);
	close(uffd.fd);
	munmap(page, PAGE);
}

static void *touch(void *at)
{
	(void)*(volatile uint8_t *)at;
	return NULL;
}

static void thread_faults(void)
{
	ck_assert_int_eq(pthread_create(&thread, NULL, touch, page), 0);
	ck_assert_int_eq(poll(&uffd, 1, -1), 1);
}

static void thread_goes_on(void)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, PAGE } };

	ck_assert_int_eq(ioctl(uffd.fd, UFFDIO_ZEROPAGE, &zero), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void begin_watch(void)
{
	ck_assert_int_eq(lz_ring_watch(&ring, uffd.fd, tag), 0);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
}

static void wait_for_work(void)
{
	while (!lz_ring_has_work(&ring)) /* the waker comes to poll first, to the ring just after */
		sched_yield();
}

static void check_is_told(void)
{
	struct lz_completion c;

	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	ck_assert(c.res & POLLIN);
	ck_assert(c.more);
	ck_assert_uint_eq(c.tag.kind, LZ_TAG_UFFD);
	ck_assert(!lz_ring_has_work(&ring));
}

static void read_fault(void)
{
	ck_assert_int_eq(read(uffd.fd, msg, sizeof(msg)), sizeof(msg[0]));
	ck_assert_uint_eq(msg[0].event, UFFD_EVENT_PAGEFAULT);
	ck_assert_uint_eq(msg[0].arg.pagefault.address & ~(PAGE - 1ULL), (uintptr_t)page);
}

static void drop_page(void)
{
	ck_assert_int_eq(madvise(page, PAGE, MADV_DONTNEED), 0);
}

/* It is told of and left where it is: when it is read, who watches says. */
START_TEST(is_told_and_not_read)
{
	begin_watch();
	ck_assert(!lz_ring_has_work(&ring));
	thread_faults();
	wait_for_work();
	check_is_told();
	ck_assert_int_eq(poll(&uffd, 1, 0), 1);
	/* No second time, of the same. */
	ck_assert_int_eq(lz_ring_wait(&ring, 1000000), 0);
	ck_assert(!lz_ring_has_work(&ring));
	read_fault();
	thread_goes_on();
}
END_TEST

START_TEST(is_told_of_the_next_without_being_asked)
{
	begin_watch();
	for (int i = 0; i < 3; i++) {
		thread_faults();
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		check_is_told();
		read_fault();
		thread_goes_on();
		drop_page();
	}
}
END_TEST

START_TEST(is_told_of_what_waits_already)
{
	thread_faults();
	begin_watch();
	ck_assert(lz_ring_has_work(&ring));
	check_is_told();
	read_fault();
	thread_goes_on();
}
END_TEST

/* What was read before the ring got to it may be told of in vain, and keeps nothing back. */
START_TEST(what_has_been_read_may_be_told)
{
	struct lz_completion c;

	begin_watch();
	thread_faults();
	wait_for_work();
	read_fault();
	(void)lz_ring_reap(&ring, &c, 1);
	ck_assert(!lz_ring_has_work(&ring));
	thread_goes_on();
	drop_page();
	thread_faults();
	ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
	check_is_told();
	read_fault();
	thread_goes_on();
}
END_TEST

START_TEST(ends_when_cancelled)
{
	struct lz_completion c[2];
	unsigned n = 0;

	begin_watch();
	ck_assert_int_eq(lz_ring_cancel(&ring, tag), 0);
	while (n < 2) {
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		n += lz_ring_reap(&ring, c + n, 2 - n);
	}
	n = c[0].tag.kind == LZ_TAG_UFFD ? 0 : 1;
	ck_assert_uint_eq(c[n].tag.kind, LZ_TAG_UFFD);
	ck_assert_int_eq(c[n].res, -ECANCELED);
	ck_assert(!c[n].more);
	thread_faults();
	ck_assert(!lz_ring_has_work(&ring));
	read_fault();
	thread_goes_on();
}
END_TEST

/* Too old a kernel says so, or tells. */
static bool watches(void)
{
	struct lz_completion c;
	int pair[2];
	bool does;

	if (pipe(pair))
		return false;
	does = write(pair[1], "x", 1) == 1 && !lz_ring_watch(&ring, pair[0], tag) &&
	       !lz_ring_wait(&ring, -1) && lz_ring_reap(&ring, &c, 1) == 1 && c.more;
	close(pair[0]);
	close(pair[1]);
	return does;
}

int main(void)
{
	Suite *s = suite_create("ring_uffd");
	TCase *t = tcase_create("ring_uffd");
	int fd = fds_uffd(0), ret = lz_ring_open(&ring, ENTRIES);

	if (fd < 0 || ret || !watches()) {
		printf("skipped: userfaultfd: %s; io_uring: %s\n", fd < 0 ? strerror(-fd) : "yes",
		       ret ? strerror(-ret) : "without a watch");
		return 77;
	}
	close(fd);
	lz_ring_close(&ring);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, is_told_and_not_read);
	tcase_add_test(t, is_told_of_the_next_without_being_asked);
	tcase_add_test(t, is_told_of_what_waits_already);
	tcase_add_test(t, what_has_been_read_may_be_told);
	tcase_add_test(t, ends_when_cancelled);
	suite_add_tcase(s, t);
	return run_suite(s);
}
