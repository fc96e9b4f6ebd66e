/* SPDX-License-Identifier: MIT */
/*
 * A userfaultfd read through the ring. A program of its own because it needs more than ring.c does:
 * the right to make a userfaultfd, and a ring that defers.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "tests/lib/suite.h"

enum { ENTRIES = 8, PAGE = 4096 };
static const struct lz_tag tag = { .kind = LZ_TAG_UFFD, .id = 1 };

static struct lz_ring ring;
static struct pollfd uffd = { .fd = -1, .events = POLLIN };
static void *page;
static pthread_t thread;
static struct uffd_msg msg[2], blank;

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

static void setup(void)
{
	struct uffdio_register reg = { .range.len = PAGE, .mode = UFFDIO_REGISTER_MODE_MISSING };

	ck_assert_int_eq(lz_ring_open(&ring, ENTRIES), 0);
	uffd.fd = uffd_open();
	ck_assert_int_ge(uffd.fd, 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	reg.range.start = (uintptr_t)page;
	ck_assert_int_eq(ioctl(uffd.fd, UFFDIO_REGISTER, &reg), 0);
	memset(&blank, 0xa5, sizeof(blank));
	memset(msg, 0xa5, sizeof(msg));
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

static void check_fault_was_read(void)
{
	struct lz_completion c;

	ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	ck_assert_int_eq(c.res, sizeof(msg[0]));
	ck_assert_uint_eq(c.tag.kind, LZ_TAG_UFFD);
	ck_assert_uint_eq(msg[0].event, UFFD_EVENT_PAGEFAULT);
	ck_assert_uint_eq(msg[0].arg.pagefault.address & ~(PAGE - 1ULL), (uintptr_t)page);
	ck_assert_mem_eq(&msg[1], &blank, sizeof(blank));
	ck_assert_int_eq(poll(&uffd, 1, 0), 0);
}

static void begin_read(void)
{
	ck_assert_int_eq(lz_ring_read(&ring, uffd.fd, msg, sizeof(msg), 0, -1, tag), 0);
}

/*
 * A message waits, the read of it is under way, and still its bytes do not come before the ring is
 * asked: between a decision and its ioctl nothing is consumed.
 */
START_TEST(is_read_in_reap)
{
	begin_read();
	ck_assert_int_eq(lz_ring_wait(&ring, 0), 0);
	ck_assert(!lz_ring_has_work(&ring));
	thread_faults();
	while (!lz_ring_has_work(&ring)) /* the waker comes to poll first, to the ring just after */
		sched_yield();
	ck_assert_uint_eq(io_uring_cq_ready(&ring.uring), 0);
	ck_assert_int_eq(poll(&uffd, 1, 0), 1);
	ck_assert_mem_eq(&msg[0], &blank, sizeof(blank));
	check_fault_was_read();
	thread_goes_on();
}
END_TEST

START_TEST(is_read_in_wait)
{
	begin_read();
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	thread_faults();
	ck_assert_mem_eq(&msg[0], &blank, sizeof(blank));
	ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
	ck_assert_uint_eq(io_uring_cq_ready(&ring.uring), 1);
	check_fault_was_read();
	thread_goes_on();
}
END_TEST

/* What waits already is read at the submit, not at the preparation, and has_work() says so. */
START_TEST(is_read_in_submit)
{
	thread_faults();
	begin_read();
	ck_assert_int_eq(poll(&uffd, 1, 0), 1);
	ck_assert(!lz_ring_has_work(&ring));
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	ck_assert(lz_ring_has_work(&ring));
	check_fault_was_read();
	thread_goes_on();
}
END_TEST

START_TEST(a_cancelled_read_takes_no_message)
{
	struct lz_completion c[2];
	unsigned n = 0;

	begin_read();
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	ck_assert_int_eq(lz_ring_cancel(&ring, tag), 0);
	while (n < 2) {
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		n += lz_ring_reap(&ring, c + n, 2 - n);
	}
	n = c[0].tag.kind == LZ_TAG_UFFD ? 0 : 1;
	ck_assert_uint_eq(c[n].tag.kind, LZ_TAG_UFFD);
	ck_assert_int_eq(c[n].res, -ECANCELED);
	thread_faults();
	ck_assert(!lz_ring_has_work(&ring));
	ck_assert_mem_eq(&msg[0], &blank, sizeof(blank));
	begin_read();
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	check_fault_was_read();
	thread_goes_on();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring_uffd");
	TCase *t = tcase_create("ring_uffd");
	int fd = uffd_open(), ret = lz_ring_open(&ring, ENTRIES);

	if (fd < 0 || ret || !ring.reads_uffd) {
		printf("skipped: userfaultfd: %s; io_uring: %s; it defers: %s\n",
		       fd < 0 ? strerror(-fd) : "yes", ret ? strerror(-ret) : "yes",
		       !ret && ring.deferred ? "yes" : "no");
		return 77;
	}
	close(fd);
	lz_ring_close(&ring);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, is_read_in_reap);
	tcase_add_test(t, is_read_in_wait);
	tcase_add_test(t, is_read_in_submit);
	tcase_add_test(t, a_cancelled_read_takes_no_message);
	suite_add_tcase(s, t);
	return run_suite(s);
}
