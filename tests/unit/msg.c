/* SPDX-License-Identifier: MIT */
/* Messages of a userfaultfd: one of each kind, and those that cannot be. */
#include <check.h>
#include <errno.h>

#include "tests/lib/suite.h"
#include "uffd/msg.h"

static struct uffd_msg layout(uint8_t event, uint64_t a, uint64_t b, uint64_t c)
{
	struct uffd_msg m = { .event = event };

	if (event == UFFD_EVENT_REMAP) {
		m.arg.remap.from = a;
		m.arg.remap.to = b;
		m.arg.remap.len = c;
	} else {
		m.arg.remove.start = a;
		m.arg.remove.end = b;
	}
	return m;
}

START_TEST(pagefault)
{
	struct uffd_msg m = { .event = UFFD_EVENT_PAGEFAULT };
	struct lz_event ev = { 0 };
	int ufd = 7;

	/* Most flags and the thread are of no interest, and the address need not be a page's. */
	m.arg.pagefault.flags = UFFD_PAGEFAULT_FLAG_WRITE;
	m.arg.pagefault.address = 0x7f0000001234;
	m.arg.pagefault.feat.ptid = 99;
	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_int_eq(ev.type, LZ_EV_FAULT);
	ck_assert_uint_eq(ev.range.start, 0x7f0000001234);
	ck_assert(!ev.minor);
	ck_assert_int_eq(ufd, -1);
	m.arg.pagefault.flags |= UFFD_PAGEFAULT_FLAG_MINOR;
	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert(ev.minor);
}
END_TEST

START_TEST(fork_)
{
	struct uffd_msg m = { .event = UFFD_EVENT_FORK };
	struct lz_event ev = { 0 };
	int ufd = -1;

	m.arg.fork.ufd = 42;
	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_int_eq(ev.type, LZ_EV_FORK);
	ck_assert_int_eq(ufd, 42);
	m.arg.fork.ufd = (uint32_t)-9;
	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), -EBADMSG);
}
END_TEST

START_TEST(remap)
{
	struct uffd_msg m = layout(UFFD_EVENT_REMAP, 0x10000, 0x90000, 0x3000);
	struct lz_event ev = { 0 };
	int ufd = 7;

	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_int_eq(ev.type, LZ_EV_REMAP);
	ck_assert_uint_eq(ev.range.start, 0x10000);
	ck_assert_uint_eq(ev.range.end, 0x13000);
	ck_assert_uint_eq(ev.to, 0x90000);
	ck_assert_int_eq(ufd, -1);
}
END_TEST

START_TEST(remove_and_unmap)
{
	struct uffd_msg m = layout(UFFD_EVENT_REMOVE, 0x10000, 0x13000, 0);
	struct lz_event ev = { 0 };
	int ufd = 7;

	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_int_eq(ev.type, LZ_EV_REMOVE);
	ck_assert_uint_eq(ev.range.start, 0x10000);
	ck_assert_uint_eq(ev.range.end, 0x13000);
	ck_assert_int_eq(ufd, -1);
	m.event = UFFD_EVENT_UNMAP;
	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_int_eq(ev.type, LZ_EV_UNMAP);
	ck_assert_uint_eq(ev.range.end, 0x13000);
}
END_TEST

/* What the kernel does not say of its own: the caller's fields stay the caller's. */
START_TEST(the_rest_is_left_alone)
{
	struct uffd_msg m = layout(UFFD_EVENT_REMOVE, 0x10000, 0x13000, 0);
	struct lz_event ev = { .space = 3, .child = 4, .now_ns = 5 };
	int ufd;

	ck_assert_int_eq(lz_msg_decode(&m, &ev, &ufd), 0);
	ck_assert_uint_eq(ev.space, 3);
	ck_assert_uint_eq(ev.child, 4);
	ck_assert_uint_eq(ev.now_ns, 5);
}
END_TEST

START_TEST(refuses)
{
	const struct uffd_msg bad[] = {
		{ .event = 0 },
		{ .event = 0x11 },
		{ .event = 0x17 },
		{ .event = 0xff },
		layout(UFFD_EVENT_REMOVE, 0x10000, 0x10000, 0),
		layout(UFFD_EVENT_REMOVE, 0x13000, 0x10000, 0),
		layout(UFFD_EVENT_UNMAP, 0, 0, 0),
		layout(UFFD_EVENT_UNMAP, 0x13000, 0x10000, 0),
		layout(UFFD_EVENT_REMAP, 0x10000, 0x90000, 0),
		layout(UFFD_EVENT_REMAP, -UINT64_C(0x2000), 0x90000, 0x3000),
		layout(UFFD_EVENT_REMAP, 0x10000, -UINT64_C(0x2000), 0x3000),
		/* Pages are moved and dropped whole. */
		layout(UFFD_EVENT_REMOVE, 0x10001, 0x13000, 0),
		layout(UFFD_EVENT_UNMAP, 0x10000, 0x13800, 0),
		layout(UFFD_EVENT_REMAP, 0x10800, 0x90000, 0x3000),
		layout(UFFD_EVENT_REMAP, 0x10000, 0x90800, 0x3000),
		layout(UFFD_EVENT_REMAP, 0x10000, 0x90000, 0x3001),
	};
	struct lz_event ev = { 0 };
	int ufd;

	ck_assert_uint_eq(sizeof(bad) / sizeof(bad[0]), 16);
	ck_assert_int_eq(lz_msg_decode(&bad[_i], &ev, &ufd), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("msg");
	TCase *t = tcase_create("msg");

	tcase_add_test(t, pagefault);
	tcase_add_test(t, fork_);
	tcase_add_test(t, remap);
	tcase_add_test(t, remove_and_unmap);
	tcase_add_test(t, the_rest_is_left_alone);
	tcase_add_loop_test(t, refuses, 0, 16);
	suite_add_tcase(s, t);
	return run_suite(s);
}
