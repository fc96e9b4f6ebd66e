/* SPDX-License-Identifier: MIT */
/* When a worker counts as stuck, on a clock of the test's. */
#include <check.h>

#include "tests/lib/suite.h"
#include "tool/watch.h"

enum { LIMIT = 60, MUCH = 100000 };

static const uint64_t SECOND = UINT64_C(1000000000);
static struct lz_watch w;
static uint64_t now_ns;
static uint32_t turns;

static void begin(void)
{
	now_ns = 5 * SECOND;
	turns = 7;
	lz_watch_begin(&w, turns, now_ns);
}

static enum lz_watch_result look(uint32_t limit)
{
	now_ns += SECOND;
	return lz_watch_look(&w, turns, limit, now_ns);
}

/* Looks that find nothing new, until one says more than that all is fine. */
static unsigned looks_until(enum lz_watch_result what)
{
	enum lz_watch_result r;
	unsigned n = 0;

	do {
		r = look(LIMIT);
		ck_assert_uint_lt(++n, MUCH);
	} while (r == LZ_WATCH_FINE);
	ck_assert_int_eq(r, what);
	return n;
}

START_TEST(who_gets_on_is_left_alone)
{
	begin();
	for (unsigned i = 0; i < MUCH; i++) {
		turns += i % LIMIT == 0; /* at last */
		ck_assert_int_eq(look(LIMIT), LZ_WATCH_FINE);
	}
	ck_assert_uint_eq(w.nr_good, (MUCH + LIMIT - 1) / LIMIT);
}
END_TEST

START_TEST(stuck_once_then_undying)
{
	begin();
	turns++;
	ck_assert_int_eq(look(LIMIT), LZ_WATCH_FINE);
	ck_assert_uint_eq(looks_until(LZ_WATCH_STUCK), LIMIT + 1);
	ck_assert(w.is_stuck);
	ck_assert_uint_eq(w.nr_good, 1);
	turns++; /* between the look and the kill */
	ck_assert_uint_eq(looks_until(LZ_WATCH_UNDYING), LIMIT + 1);
}
END_TEST

START_TEST(never_without_a_limit)
{
	begin();
	for (unsigned i = 0; i < MUCH; i++)
		ck_assert_int_eq(look(0), LZ_WATCH_FINE);
}
END_TEST

/* The keeper was stopped for years, or looks all the time: neither makes the worker any older. */
START_TEST(looks_count_and_not_time)
{
	begin();
	now_ns += MUCH * SECOND;
	ck_assert_uint_eq(looks_until(LZ_WATCH_STUCK), LIMIT + 1);
	begin();
	for (unsigned i = 0; i < MUCH; i++) {
		now_ns += SECOND / (2 * MUCH);
		ck_assert_int_eq(lz_watch_look(&w, turns, 1, now_ns), LZ_WATCH_FINE);
	}
	ck_assert_uint_eq(w.nr_still, 0);
}
END_TEST

START_TEST(a_new_one_begins_anew)
{
	begin();
	(void)looks_until(LZ_WATCH_STUCK);
	lz_watch_begin(&w, turns, now_ns);
	ck_assert_uint_eq(looks_until(LZ_WATCH_STUCK), LIMIT + 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watch");
	TCase *t = tcase_create("core");

	tcase_add_test(t, who_gets_on_is_left_alone);
	tcase_add_test(t, stuck_once_then_undying);
	tcase_add_test(t, never_without_a_limit);
	tcase_add_test(t, looks_count_and_not_time);
	tcase_add_test(t, a_new_one_begins_anew);
	suite_add_tcase(s, t);
	return run_suite(s);
}
