/* SPDX-License-Identifier: MIT */
/* Who goes through a file, as questions tell. Pages stand for bytes. */
#include <check.h>

#include "iouring/asked.h"
#include "tests/lib/suite.h"

enum { NEAR = 16 };

static struct lz_asked asked;

static void begin(void)
{
	lz_asked_init(&asked, NEAR);
}

/* The questions in a row that @offset goes on with; negative: backward. */
static int streak(uint64_t offset, uint64_t nr)
{
	const struct lz_asked_row *r = lz_asked_by(&asked, offset, offset + nr);

	ck_assert_uint_eq(r->start, offset);
	ck_assert_uint_eq(r->end, offset + nr);
	return r->backward ? -(int)r->streak : (int)r->streak;
}

START_TEST(both_ways_by_turns)
{
	ck_assert_int_eq(streak(2000, 20), 0);
	ck_assert_int_eq(streak(2020, 20), 1);
	ck_assert_int_eq(streak(1980, 20), 0); /* 2000 is no longer the last question */
	for (int i = 2; i < 50; i++) {
		ck_assert_int_eq(streak(2000 + 20 * (uint64_t)i, 20), i);
		ck_assert_int_eq(streak(2000 - 20 * (uint64_t)i, 20), 1 - i);
	}
}
END_TEST

/* Of two sweeps far apart neither is the other's end. */
START_TEST(far_apart)
{
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(streak(5000 + 10 * (uint64_t)i, 10), i);
		ck_assert_int_eq(streak(4000 - 10 * (uint64_t)i, 10), -i);
	}
}
END_TEST

START_TEST(what_was_placed_between_ends_no_row)
{
	ck_assert_int_eq(streak(1000, 10), 0);
	ck_assert_int_eq(streak(1010 + NEAR, 10), 1);
	ck_assert_int_eq(streak(1020 + 2 * NEAR + 1, 10), 0);
	ck_assert_int_eq(streak(1010 - 10, 10), -2);
	ck_assert_int_eq(streak(1000 - NEAR - 10, 10), -3);
	ck_assert_int_eq(streak(990 - NEAR - 10 - NEAR - 1, 10), 0);
}
END_TEST

/* Single questions all over the place, one a step, leave the two rows alone. */
START_TEST(beside_others)
{
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(streak(5000 + 10 * (uint64_t)i, 10), i);
		ck_assert_int_eq(streak(4000 - 10 * (uint64_t)i, 10), -i);
		ck_assert_int_eq(streak(10000 + 1000 * (uint64_t)i, 1), 0);
	}
}
END_TEST

START_TEST(one_that_rests_makes_room)
{
	ck_assert_int_eq(streak(0, 10), 0);
	for (uint64_t i = 1; i <= LZ_ASKED_ROWS; i++)
		ck_assert_int_eq(streak(1000 * i, 10), 0);
	ck_assert_int_eq(streak(10, 10), 0);
	ck_assert_int_eq(streak(1000 * LZ_ASKED_ROWS + 10, 10), 1);
}
END_TEST

START_TEST(nobody_goes_on_from_a_no)
{
	struct lz_asked_row *r = lz_asked_by(&asked, 100, 110);

	ck_assert(lz_asked_up_to(&asked, 110));
	ck_assert(!lz_asked_up_to(&asked, 109) && !lz_asked_up_to(&asked, 111));
	lz_asked_in_vain(r);
	ck_assert(!lz_asked_up_to(&asked, 110));
	ck_assert_int_eq(streak(110, 10), 0);
	lz_asked_init(&asked, NEAR);
	lz_asked_in_vain(lz_asked_by(&asked, 100, 110));
	ck_assert_int_eq(streak(90, 10), 0);
}
END_TEST

START_TEST(at_the_end_of_what_there_is)
{
	const uint64_t last = INT64_MAX - 10;

	ck_assert_int_eq(streak(last - 10, 10), 0);
	ck_assert_int_eq(streak(last, 9), 1);
	ck_assert_int_eq(streak(0, 1), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("asked");
	TCase *t = tcase_create("asked");

	tcase_add_checked_fixture(t, begin, NULL);
	tcase_add_test(t, both_ways_by_turns);
	tcase_add_test(t, far_apart);
	tcase_add_test(t, what_was_placed_between_ends_no_row);
	tcase_add_test(t, beside_others);
	tcase_add_test(t, one_that_rests_makes_room);
	tcase_add_test(t, nobody_goes_on_from_a_no);
	tcase_add_test(t, at_the_end_of_what_there_is);
	suite_add_tcase(s, t);
	return run_suite(s);
}
