/* SPDX-License-Identifier: MIT */
/* The histogram: percentiles against the sorted list of what was noted. */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/suite.h"
#include "uffd/latency.h"

enum { NR_MAX = 5000 };

static uint64_t seed;

static uint64_t pick(void)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return seed >> 20;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

START_TEST(nothing_noted)
{
	struct lz_latency l = { 0 };

	ck_assert_uint_eq(lz_latency_percentile(&l, 0.5), 0);
	ck_assert_uint_eq(lz_latency_percentile(&l, 1), 0);
}
END_TEST

START_TEST(one_noted)
{
	const uint64_t ns[] = { 0, 1, 7, 8, 9, 15, 16, 17, 1000, 123456789, UINT64_MAX };
	struct lz_latency l = { 0 };

	lz_latency_note(&l, ns[_i]);
	ck_assert_uint_eq(l.count, 1);
	ck_assert_uint_eq(l.max_ns, ns[_i]);
	/* Never more than the largest, so one is told exactly. */
	ck_assert_uint_eq(lz_latency_percentile(&l, 0), ns[_i]);
	ck_assert_uint_eq(lz_latency_percentile(&l, 0.5), ns[_i]);
	ck_assert_uint_eq(lz_latency_percentile(&l, 1), ns[_i]);
}
END_TEST

/* Every number belongs to one bucket, and the buckets ascend. */
START_TEST(seams_of_the_buckets)
{
	for (unsigned octave = 0; octave < 64; octave++)
		for (int64_t d = -2; d <= 2; d++) {
			uint64_t ns = (UINT64_C(1) << octave) + (uint64_t)d, p;
			struct lz_latency l = { 0 };

			lz_latency_note(&l, ns);
			lz_latency_note(&l, UINT64_MAX);
			lz_latency_note(&l, UINT64_MAX);
			p = lz_latency_percentile(&l, 0);
			if (p < ns || p - ns > ns / 8)
				ck_abort_msg("%llu is told as %llu", (unsigned long long)ns,
					     (unsigned long long)p);
		}
}
END_TEST

START_TEST(within_an_eighth)
{
	static const double share[] = { 0, 0.1, 0.5, 0.9, 0.99, 0.999, 1 };
	struct lz_latency l = { 0 };
	static uint64_t ns[NR_MAX];
	size_t nr = 0;

	seed = (uint64_t)_i;
	while (nr < (size_t)(_i + 1) * NR_MAX / 20) {
		/* From nanoseconds to minutes, as alike in number by octave. */
		ns[nr] = pick() >> (pick() % 44);
		lz_latency_note(&l, ns[nr++]);
	}
	qsort(ns, nr, sizeof(*ns), compare);
	ck_assert_uint_eq(l.count, nr);
	ck_assert_uint_eq(l.max_ns, ns[nr - 1]);
	for (size_t i = 0; i < sizeof(share) / sizeof(share[0]); i++) {
		size_t at = (size_t)((double)nr * share[i]);
		uint64_t true_ns = ns[at < nr ? at : nr - 1];
		uint64_t p = lz_latency_percentile(&l, share[i]);

		ck_assert_uint_ge(p, true_ns);
		ck_assert_uint_le(p - true_ns, true_ns / 8);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("latency");
	TCase *t = tcase_create("latency");

	tcase_add_test(t, nothing_noted);
	tcase_add_loop_test(t, one_noted, 0, 11);
	tcase_add_test(t, seams_of_the_buckets);
	tcase_add_loop_test(t, within_an_eighth, 0, 20);
	suite_add_tcase(s, t);
	return run_suite(s);
}
