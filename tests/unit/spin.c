/* SPDX-License-Identifier: MIT */
/* When to look and when to sleep, as streams of waits tell. */
#include <check.h>

#include "iouring/spin.h"
#include "tests/lib/suite.h"

enum { MAX_NS = 30000 };

/* Sleeps that have ended soon, with a hit: begins to look after so many. */
static unsigned sleeps_before_looking(struct lz_spin *s)
{
	unsigned n = 0;

	while (!lz_spin_ns(s)) {
		lz_spin_note(s, MAX_NS, true);
		ck_assert_uint_lt(++n, 100000);
	}
	return n;
}

/* Looks that find nothing: stops after so many. */
static unsigned looks_in_vain(struct lz_spin *s)
{
	unsigned n = 0;

	while (lz_spin_ns(s)) {
		lz_spin_note(s, 1000 * MAX_NS, true);
		ck_assert_uint_lt(++n, 100);
	}
	return n;
}

START_TEST(never_unless_told)
{
	struct lz_spin s;

	lz_spin_init(&s, 0);
	for (int i = 0; i < 10000; i++) {
		ck_assert_uint_eq(lz_spin_ns(&s), 0);
		lz_spin_note(&s, 0, true);
	}
}
END_TEST

START_TEST(sleeps_where_nothing_faults)
{
	struct lz_spin s;

	lz_spin_init(&s, MAX_NS);
	for (int i = 0; i < 10000; i++) {
		lz_spin_note(&s, 0, false);
		ck_assert_uint_eq(lz_spin_ns(&s), 0);
	}
}
END_TEST

START_TEST(sleeps_where_faults_are_rare)
{
	struct lz_spin s;

	lz_spin_init(&s, MAX_NS);
	for (int i = 0; i < 10000; i++) {
		lz_spin_note(&s, 10 * MAX_NS, true);
		ck_assert_uint_eq(lz_spin_ns(&s), 0);
	}
}
END_TEST

START_TEST(looks_while_it_finds)
{
	struct lz_spin s;

	lz_spin_init(&s, MAX_NS);
	(void)sleeps_before_looking(&s);
	for (int i = 0; i < 10000; i++) {
		ck_assert_uint_eq(lz_spin_ns(&s), MAX_NS);
		lz_spin_note(&s, MAX_NS, true);
	}
	/* Now and then one is late: that is no reason to stop. */
	for (int i = 0; i < 10000; i++) {
		lz_spin_note(&s, i % 3 ? 1 : 2 * MAX_NS, true);
		ck_assert_uint_eq(lz_spin_ns(&s), MAX_NS);
	}
	/* The stream is over. */
	ck_assert_uint_le(looks_in_vain(&s), 8);
	/* It had found something, so the next stream is believed as soon as the first. */
	ck_assert_uint_le(sleeps_before_looking(&s), 8);
}
END_TEST

/* Where looking keeps it from coming: sleeps end soon, looks find nothing. */
START_TEST(stops_where_looking_keeps_them_from_coming)
{
	struct lz_spin s;
	unsigned looks = 0, last = 0;

	lz_spin_init(&s, MAX_NS);
	for (int i = 0; i < 12; i++) {
		unsigned sleeps = sleeps_before_looking(&s);

		ck_assert_uint_ge(sleeps, last);
		last = sleeps;
		looks += looks_in_vain(&s);
	}
	ck_assert_uint_eq(looks, 12);
	/* In the long run one wait in a thousand, and not fewer: it may come to pay. */
	ck_assert_uint_ge(last, 1000);
	ck_assert_uint_le(last, 5000);
}
END_TEST

/* Other things that end a sleep soon are no reason to look for faults. */
START_TEST(in_a_row)
{
	struct lz_spin s;

	lz_spin_init(&s, MAX_NS);
	for (int i = 0; i < 10000; i++) {
		lz_spin_note(&s, 1, i % 4 != 0);
		ck_assert_uint_eq(lz_spin_ns(&s), 0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spin");
	TCase *t = tcase_create("core");

	tcase_add_test(t, never_unless_told);
	tcase_add_test(t, sleeps_where_nothing_faults);
	tcase_add_test(t, sleeps_where_faults_are_rare);
	tcase_add_test(t, looks_while_it_finds);
	tcase_add_test(t, stops_where_looking_keeps_them_from_coming);
	tcase_add_test(t, in_a_row);
	suite_add_tcase(s, t);
	return run_suite(s);
}
