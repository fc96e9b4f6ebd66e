/* SPDX-License-Identifier: MIT */
/* Working sets by the public functions:
 * into a file and out of it, and what a file may be instead. */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

static uint8_t identity[LAZYD_IDENTITY_LEN] = { 1, 2, 3 };
static int fd;

static void setup(void)
{
	fd = memfd_create("workingset", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	ck_assert_int_eq(close(fd), 0);
}

static struct lazyd_workingset *new (void)
{
	struct lazyd_workingset *w = NULL;

	ck_assert_int_eq(lazyd_workingset_new(&w, identity), 0);
	return w;
}

static int add(struct lazyd_workingset *w, uint64_t start, uint64_t len)
{
	struct lazyd_touch t = { .start = start, .len = len, .owner = 1000 };

	return lazyd_workingset_add(w, &t);
}

START_TEST(into_a_file_and_out_of_it)
{
	struct lazyd_workingset *w = new (), *back = NULL;
	struct lazyd_why why = { "before" };
	struct lazyd_touch t;

	ck_assert_int_eq(add(w, 0x5000, 0x2000), 0);
	ck_assert_int_eq(add(w, 0x4000, 0x2000), 0);
	lazyd_workingset_mark(w, LAZYD_WORKINGSET_SWEPT);
	ck_assert_int_eq(lazyd_workingset_write(w, fd), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	ck_assert_int_eq(lazyd_workingset_read(&back, fd, &why), 0);
	ck_assert_str_eq(why.text, "");
	ck_assert_mem_eq(lazyd_workingset_identity(back), identity, sizeof(identity));
	ck_assert_uint_eq(lazyd_workingset_flags(back), LAZYD_WORKINGSET_SWEPT);
	ck_assert_int_eq(lazyd_workingset_touch(back, 0, &t), 0);
	ck_assert(t.start == 0x5000 && t.len == 0x2000 && t.owner == 1000);
	ck_assert_int_eq(lazyd_workingset_touch(back, 1, &t), 0);
	ck_assert(t.start == 0x4000 && t.len == 0x1000 && t.owner == 1000);
	ck_assert_int_eq(lazyd_workingset_touch(back, 2, &t), -ENOENT);
	lazyd_workingset_free(w);
	lazyd_workingset_free(back);
}
END_TEST

START_TEST(what_is_no_touch)
{
	struct lazyd_workingset *w = new ();

	ck_assert_int_eq(add(w, 0x5000, 0), -EINVAL);
	ck_assert_int_eq(add(w, 0x5001, 0x1000), -EINVAL);
	ck_assert_int_eq(add(w, 0x5000, 0x1001), -EINVAL);
	ck_assert_int_eq(add(w, UINT64_MAX - 0xfff, 0x1000), -EINVAL);
	ck_assert_uint_eq(lazyd_workingset_flags(w), 0);
	ck_assert_int_eq(add(w, 0, UINT64_C(1) << 62), -ENOSPC);
	ck_assert_uint_eq(lazyd_workingset_flags(w), LAZYD_WORKINGSET_CUT);
	lazyd_workingset_free(w);
}
END_TEST

START_TEST(what_is_no_file)
{
	struct lazyd_workingset *w = NULL;
	struct lazyd_why why;

	ck_assert_int_eq(lazyd_workingset_read(&w, fd, &why), -EBADMSG);
	ck_assert_str_eq(why.text, "is no working set");
	ck_assert_int_eq(lazyd_workingset_read(&w, fd, NULL), -EBADMSG);
	ck_assert_int_eq(lazyd_workingset_read(&w, -1, &why), -EBADF);
	ck_assert_str_eq(why.text, "cannot be read: Bad file descriptor");
	ck_assert_ptr_null(w);
}
END_TEST

/* However long it is, no more is read than a working set has. */
START_TEST(what_has_no_end)
{
	struct lazyd_workingset *w = NULL;
	struct lazyd_why why;

	ck_assert_int_eq(ftruncate(fd, INT64_C(1) << 40), 0);
	ck_assert_int_eq(lazyd_workingset_read(&w, fd, &why), -EBADMSG);
	ck_assert_int_lt(lseek(fd, 0, SEEK_CUR), 5 << 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("workingset");
	TCase *t = tcase_create("workingset");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, into_a_file_and_out_of_it);
	tcase_add_test(t, what_is_no_touch);
	tcase_add_test(t, what_is_no_file);
	tcase_add_test(t, what_has_no_end);
	suite_add_tcase(s, t);
	return run_suite(s);
}
