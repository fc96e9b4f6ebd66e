/* SPDX-License-Identifier: MIT */
/*
 * Files that are to stay as they are, and change: nothing is given of one that was written to, and
 * of one that got holes what is not in them.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_world.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum { BYTES = 768 * PAGE };

static void setup(void)
{
	world_open_memory(BYTES);
}

static struct lz_file_look look(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (struct lz_file_look){ st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
				      (uint64_t)st.st_blocks };
}

/* From here on the file is to stay as it is. */
static void watch(void)
{
	struct lz_file_look as = look();

	source->ops->close(source);
	ck_assert_int_eq(lz_file_open(&source, fd, BYTES, &as), 0);
}

/* Until the change shows: stamps of some kernels are no finer than the clock's tick. */
static void change(int (*how)(void))
{
	int64_t was = look().mtime_ns, before;

	do
		ck_assert_int_eq(how(), 0);
	while (look().mtime_ns == was);
	before = tick();
	while (tick() == before)
		continue;
}

static int write_a_byte(void)
{
	return pwrite(fd, "x", 1, 9 * PAGE) == 1 ? 0 : -1;
}

static int copy_over(void)
{
	return ftruncate(fd, 0) || pwrite(fd, bytes, BYTES, 0) != BYTES;
}

static int punch(void)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 300 * PAGE, PAGE);
}

static int begin(uint64_t offset, size_t len)
{
	struct lz_source_read r = { .source = source, .offset = offset, .to = to, .len = len };

	return source->ops->begin(source, &ring, &r);
}

static void nothing_is_given(void)
{
	ck_assert_int_eq(begin(0, PAGE), -ESTALE);
	ck_assert(!source->ops->read_now(source, 0, to, PAGE));
	ck_assert(!resident(0, PAGE));
	ck_assert_ptr_null(at(0, PAGE));
	ck_assert(source->ops->has_changed(source));
}

START_TEST(stays_as_it_is)
{
	watch();
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	ck_assert(resident(0, BYTES));
	ck_assert_ptr_nonnull(at(0, PAGE));
	ck_assert(!source->ops->has_changed(source));
}
END_TEST

START_TEST(is_written_to)
{
	watch();
	change(write_a_byte);
	nothing_is_given();
}
END_TEST

/* As long as before again, with the same bytes even, but nobody can know that. */
START_TEST(is_copied_over)
{
	watch();
	change(copy_over);
	nothing_is_given();
}
END_TEST

/* Noticed while nobody asks: when all has been had. */
START_TEST(is_written_to_at_last)
{
	watch();
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	change(write_a_byte);
	ck_assert(source->ops->has_changed(source));
}
END_TEST

/* Begun before and ended after: some of the bytes may be new. */
START_TEST(is_written_to_while_it_is_read)
{
	struct lz_source_read r = { .source = source, .to = to, .len = 2 * PAGE, .request = 3 };
	struct lz_completion c;
	int64_t result;

	watch();
	r.source = source;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), 0);
	change(write_a_byte);
	do
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
	while (!lz_ring_reap(&ring, &c, 1));
	ck_assert(lz_source_completed(&r, &ring, c.res, &result));
	ck_assert_int_eq(result, -ESTALE);
	ck_assert_uint_eq(r.have, 0);
}
END_TEST

/* As CRIU's --auto-dedup does: what is not in the hole is still good. */
START_TEST(gets_holes)
{
	watch();
	change(punch);
	ck_assert_int_eq(read_all(0, 300 * PAGE), 300 * PAGE);
	ck_assert_mem_eq(to, bytes, 300 * PAGE);
	ck_assert_int_eq(begin(299 * PAGE, 2 * PAGE), -ENODATA);
	ck_assert_int_eq(begin(300 * PAGE, PAGE), -ENODATA);
	ck_assert_int_eq(read_all(301 * PAGE, PAGE), PAGE);
	ck_assert_int_eq(read_all(BYTES - PAGE, 2 * PAGE), PAGE);
	ck_assert(!source->ops->read_now(source, 0, to, PAGE));
	ck_assert(!resident(0, PAGE));
	ck_assert_ptr_null(at(0, PAGE));
	ck_assert(!source->ops->has_changed(source));
	change(write_a_byte);
	nothing_is_given();
}
END_TEST

/* Where there were holes before nobody can tell which are new. */
START_TEST(gets_more_holes)
{
	change(punch);
	watch();
	change(punch);
	nothing_is_given();
}
END_TEST

/* Its owner has said that it may. */
START_TEST(may_change)
{
	change(write_a_byte);
	ck_assert_int_eq(read_all(9 * PAGE, PAGE), PAGE);
	ck_assert_uint_eq(to[0], 'x');
	ck_assert(!source->ops->has_changed(source));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("file_changed");
	TCase *f = tcase_create("changed");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(f, setup, teardown);
	tcase_add_test(f, stays_as_it_is);
	tcase_add_test(f, is_written_to);
	tcase_add_test(f, is_copied_over);
	tcase_add_test(f, is_written_to_at_last);
	tcase_add_test(f, is_written_to_while_it_is_read);
	tcase_add_test(f, gets_holes);
	tcase_add_test(f, gets_more_holes);
	tcase_add_test(f, may_change);
	suite_add_tcase(s, f);
	return run_suite(s);
}
