/* SPDX-License-Identifier: MIT */
/* Sets of touched pages: each page once, in the order of its first touch,
 * whatever is added again. */
#include <check.h>
#include <errno.h>

#include "pagemap/touched.h"
#include "tests/lib/suite.h"

enum { TASK = 7 };

static struct lz_touched set;

static int add(uint64_t page, uint32_t nr, uint32_t task)
{
	return lz_touched_add(&set, &(struct lz_wset_run){ page * LZ_WSET_PAGE, nr, task });
}

static void is(size_t n, uint64_t page, uint32_t nr, uint32_t task)
{
	ck_assert_uint_lt(n, set.nr);
	ck_assert_uint_eq(set.run[n].address, page * LZ_WSET_PAGE);
	ck_assert_uint_eq(set.run[n].nr_pages, nr);
	ck_assert_uint_eq(set.run[n].task, task);
}

static void empty(void)
{
	lz_touched_fini(&set);
}

START_TEST(in_their_order)
{
	ck_assert_int_eq(add(9, 1, TASK), 0);
	ck_assert_int_eq(add(5, 2, TASK), 0);
	ck_assert_int_eq(add(7, 1, TASK), 0); /* goes on */
	ck_assert_int_eq(add(8, 1, TASK + 1), 0);
	ck_assert_int_eq(add(4, 1, TASK), 0);
	is(0, 9, 1, TASK);
	is(1, 5, 3, TASK);
	is(2, 8, 1, TASK + 1);
	is(3, 4, 1, TASK);
	ck_assert_uint_eq(set.nr, 4);
	ck_assert_uint_eq(set.nr_pages, 6);
}
END_TEST

START_TEST(each_page_once)
{
	ck_assert_int_eq(add(10, 1, TASK), 0);
	ck_assert_int_eq(add(13, 2, TASK), 0);
	ck_assert_int_eq(add(8, 8, TASK), 0);
	is(2, 8, 2, TASK);
	is(3, 11, 2, TASK);
	is(4, 15, 1, TASK);
	ck_assert_int_eq(add(8, 8, TASK), 0);
	ck_assert_uint_eq(set.nr, 5);
	ck_assert_uint_eq(set.nr_pages, 8);
}
END_TEST

START_TEST(over_the_edges_of_blocks)
{
	ck_assert_int_eq(add(511, 1, TASK), 0);
	ck_assert_int_eq(add(1024, 1, TASK), 0);
	ck_assert_int_eq(add(500, 1000, TASK), 0);
	is(2, 500, 11, TASK);
	is(3, 512, 512, TASK);
	is(4, 1025, 475, TASK);
	ck_assert_uint_eq(set.nr_pages, 1000);
}
END_TEST

START_TEST(many_blocks)
{
	for (uint64_t n = 0; n < 3000; n++)
		ck_assert_int_eq(add(n * 100003, 1, (uint32_t)(n % 3)), 0);
	for (uint64_t n = 0; n < 3000; n++)
		ck_assert_int_eq(add(n * 100003, 1, (uint32_t)(n % 3)), 0);
	ck_assert_uint_eq(set.nr, 3000);
	for (uint64_t n = 0; n < 3000; n++)
		is(n, n * 100003, 1, (uint32_t)(n % 3));
}
END_TEST

START_TEST(as_many_runs_as_there_may_be)
{
	for (uint64_t n = 0; n < LZ_WSET_RUNS_MAX; n++)
		ck_assert_int_eq(add(2 * n, 1, TASK), 0);
	ck_assert_int_eq(add(2 * LZ_WSET_RUNS_MAX, 1, TASK), -ENOSPC);
	ck_assert_int_eq(add(2, 1, TASK), 0);
	/* It is not in, and has not become so. */
	ck_assert_int_eq(add(2 * LZ_WSET_RUNS_MAX, 1, TASK), -ENOSPC);
	ck_assert_uint_eq(set.nr, LZ_WSET_RUNS_MAX);
	/* What goes on is no run of its own. */
	ck_assert_int_eq(add(2 * LZ_WSET_RUNS_MAX - 1, 1, TASK), 0);
	is(LZ_WSET_RUNS_MAX - 1, 2 * LZ_WSET_RUNS_MAX - 2, 2, TASK);
}
END_TEST

START_TEST(as_many_pages_as_there_may_be)
{
	ck_assert_int_eq(add(0, LZ_WSET_PAGES_MAX, TASK), 0);
	ck_assert_uint_eq(set.nr, 1);
	ck_assert_int_eq(add(LZ_WSET_PAGES_MAX, 1, TASK), -ENOSPC);
	ck_assert_int_eq(add(1, 1, TASK), 0);
	ck_assert_uint_eq(set.nr_pages, LZ_WSET_PAGES_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("touched");
	TCase *t = tcase_create("set");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, NULL, empty);
	tcase_add_test(t, in_their_order);
	tcase_add_test(t, each_page_once);
	tcase_add_test(t, over_the_edges_of_blocks);
	tcase_add_test(t, many_blocks);
	tcase_add_test(t, as_many_runs_as_there_may_be);
	tcase_add_test(t, as_many_pages_as_there_may_be);
	suite_add_tcase(s, t);
	return run_suite(s);
}
