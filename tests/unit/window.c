/* SPDX-License-Identifier: MIT */
/* The window, at work on links that stay as they are and on links that change. */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/suite.h"
#include "window_link.h"

/* ---- links that stay as they are ---- */

/* 100 Mbit/s, next door: a page at a time, two on the wire. */
START_TEST(a_slow_short_link)
{
	struct link *l = link_new(100, 200000);

	l->demand_ns = 10 * MS;
	run(l, SECOND / 10);
	ck_assert_uint_ge(used(l), 95);
	reset(l);
	run(l, 30 * SECOND);
	ck_assert_uint_ge(used(l), 98);
	ck_assert_uint_eq(l->slice, PAGE);
	ck_assert_uint_le(l->max_in_flight, 3 * PAGE); /* with the demanded one */
	ck_assert_uint_le(mean_queue_ns(l), pages_ns(l, 3) / 2);
	ck_assert_uint_le(l->max_queue_ns, pages_ns(l, 5) / 2);
	free(l);
}
END_TEST

START_TEST(a_slow_long_link)
{
	struct link *l = link_new(100, 20 * MS);

	l->demand_ns = 10 * MS;
	run(l, SECOND / 2);
	reset(l);
	run(l, 30 * SECOND);
	ck_assert_uint_ge(used(l), 97);
	ck_assert_uint_eq(l->slice, PAGE);
	ck_assert_uint_le(mean_queue_ns(l), 1500000);
	free(l);
}
END_TEST

START_TEST(a_fast_long_link)
{
	struct link *l = link_new(1000, 20 * MS);

	l->demand_ns = 10 * MS;
	run(l, SECOND / 2);
	reset(l);
	run(l, 30 * SECOND);
	ck_assert_uint_ge(used(l), 97);
	ck_assert_uint_le(mean_queue_ns(l), 1500000);
	free(l);
}
END_TEST

/* As many requests as there are would not do, were each a page. */
START_TEST(slices_grow_with_the_way)
{
	struct link *l = link_new(100, 200 * MS);

	run(l, 10 * SECOND);
	reset(l);
	run(l, 10 * SECOND);
	ck_assert_uint_ge(used(l), 95);
	ck_assert_uint_gt(l->slice, 4 * PAGE);
	ck_assert_uint_lt(l->max_reads, READS);
	l->halves = true;
	reset(l);
	run(l, 10 * SECOND);
	ck_assert_uint_ge(used(l), 90);
	free(l);
}
END_TEST

/* Where requests cost the source a lot. */
START_TEST(slices_of_full_size)
{
	struct link *l = link_new(100, 20 * MS);

	run(l, SECOND);
	ck_assert_uint_lt(l->slice, SLICE);
	lz_window_coarsen(&l->w);
	run(l, SECOND);
	reset(l);
	run(l, 10 * SECOND);
	ck_assert_uint_eq(lz_window_slice(&l->w), SLICE);
	ck_assert_uint_ge(used(l), 85);
	free(l);
}
END_TEST

START_TEST(loopback)
{
	struct link *l = link_new(16000, 60000);

	l->demand_ns = MS;
	run(l, SECOND / 10);
	reset(l);
	run(l, 2 * SECOND);
	ck_assert_uint_ge(used(l), 98);
	ck_assert_uint_eq(l->slice, SLICE);
	ck_assert_uint_le(l->max_in_flight, (1 << 20) + PAGE);
	ck_assert_uint_le(l->max_queue_ns, 500000);
	free(l);
}
END_TEST

START_TEST(a_fast_short_link)
{
	struct link *l = link_new(1000, 100000);

	l->demand_ns = 5 * MS;
	l->halves = true;
	run(l, SECOND / 10);
	reset(l);
	run(l, 5 * SECOND);
	ck_assert_uint_ge(used(l), 98);
	ck_assert_uint_le(l->max_queue_ns, 500000);
	free(l);
}
END_TEST

/* By what it is for, so much and hardly more stands before a demanded page; the link is busy all
 * the same. */
START_TEST(paces)
{
	static const uint64_t allowed_ns[] = { [LZ_WINDOW_CALM] = 400000,
					       [LZ_WINDOW_PRESSED] = 200000, /* a slice */
					       [LZ_WINDOW_STORM] = 200000,
					       [LZ_WINDOW_WANTED] = 800000 };
	struct link *l = link_new(1000, 200000);

	l->halves = _i == LZ_WINDOW_PRESSED || _i == LZ_WINDOW_STORM;
	lz_window_set_pace(&l->w, (enum lz_window_pace)_i);
	l->demand_ns = 10 * MS;
	run(l, SECOND);
	reset(l);
	run(l, 9 * SECOND);
	ck_assert_uint_ge(used(l), 97);
	ck_assert_uint_ge(mean_queue_ns(l), allowed_ns[_i] / 2);
	ck_assert_uint_le(l->max_queue_ns, allowed_ns[_i] + pages_ns(l, 1));
	free(l);
}
END_TEST

/* One that has a slice of full size here in no time is to have more to do than others. */
START_TEST(a_storm_on_a_fast_link)
{
	static const uint64_t mbit[] = { 1000, 8000 };

	for (size_t i = 0; i < sizeof(mbit) / sizeof(mbit[0]); i++) {
		struct link *l = link_new(mbit[i], 200000);
		uint64_t bytes[LZ_WINDOW_WANTED + 1];

		run(l, SECOND / 10);
		for (unsigned pace = LZ_WINDOW_CALM; pace <= LZ_WINDOW_WANTED; pace++) {
			lz_window_set_pace(&l->w, (enum lz_window_pace)pace);
			bytes[pace] = lz_window_bytes(&l->w);
		}
		ck_assert_uint_lt(bytes[LZ_WINDOW_STORM], bytes[LZ_WINDOW_CALM]);
		if (mbit[i] < 2000)
			ck_assert_uint_eq(bytes[LZ_WINDOW_STORM], bytes[LZ_WINDOW_PRESSED]);
		else
			ck_assert_uint_gt(bytes[LZ_WINDOW_STORM], bytes[LZ_WINDOW_PRESSED]);
		free(l);
	}
}
END_TEST

START_TEST(jitter)
{
	static const struct {
		uint64_t mbit, delay_ns, jitter_ns, used;
	} links[] = {
		{ 100, 20000000, 1000000, 95 },  { 100, 20000000, 4000000, 85 },
		{ 1000, 20000000, 2000000, 80 }, { 1000, 200000, 500000, 85 },
		{ 100, 200000, 300000, 93 },     { 50, 100000000, 20000000, 80 },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct link *l = link_new(links[i].mbit, links[i].delay_ns);

		l->jitter_ns = links[i].jitter_ns;
		l->demand_ns = 10 * MS;
		run(l, 3 * SECOND);
		reset(l);
		run(l, 30 * SECOND);
		if (used(l) < links[i].used)
			ck_abort_msg("link %zu: %lu%% used", i, (unsigned long)used(l));
		/* No more than the jitter itself and as much again. */
		ck_assert_uint_le(mean_queue_ns(l), MS + links[i].jitter_ns);
		free(l);
	}
}
END_TEST

/* ---- links that change ---- */

START_TEST(ten_times_the_rate)
{
	static const uint64_t delays[] = { 200000, 20000000 };

	for (int i = 0; i < 2; i++) {
		struct link *l = link_new(100, delays[i]);

		run(l, 2 * SECOND);
		l->rate *= 10;
		run(l, SECOND);
		reset(l);
		run(l, 5 * SECOND);
		ck_assert_uint_ge(used(l), 97);
		free(l);
	}
}
END_TEST

START_TEST(a_tenth_of_the_rate)
{
	static const uint64_t delays[] = { 200000, 20000000 };

	for (int i = 0; i < 2; i++) {
		struct link *l = link_new(1000, delays[i]);

		l->demand_ns = 10 * MS;
		run(l, 3 * SECOND);
		l->rate /= 10;
		run(l, 2 * SECOND + SECOND / 2);
		reset(l);
		run(l, 5 * SECOND);
		ck_assert_uint_ge(used(l), 95);
		ck_assert_uint_le(mean_queue_ns(l), 1500000);
		ck_assert_uint_le(l->max_queue_ns, 10 * MS);
		free(l);
	}
}
END_TEST

/* Every round trip is as a queue would be, until it is looked at without one. */
START_TEST(a_longer_way)
{
	struct link *l = link_new(1000, 20 * MS);

	l->demand_ns = 10 * MS;
	run(l, 3 * SECOND);
	l->delay_ns = 60 * MS;
	run(l, 12 * SECOND);
	reset(l);
	run(l, 12 * SECOND);
	ck_assert_uint_ge(used(l), 90);
	l->delay_ns = 20 * MS;
	run(l, 12 * SECOND);
	reset(l);
	run(l, 12 * SECOND);
	ck_assert_uint_ge(used(l), 95);
	ck_assert_uint_le(mean_queue_ns(l), 1500000);
	free(l);
}
END_TEST

START_TEST(a_source_that_was_away)
{
	struct link *l = link_new(1000, 20 * MS);

	run(l, 3 * SECOND);
	l->free_ns = l->now_ns + 10 * SECOND; /* all that is asked for comes then */
	l->rate /= 10;
	run(l, 11 * SECOND);
	reset(l);
	l->demand_ns = 10 * MS;
	run(l, 5 * SECOND);
	ck_assert_uint_ge(used(l), 95);
	ck_assert_uint_le(mean_queue_ns(l), 5 * MS);
	free(l);
}
END_TEST

/* Nothing to ask for is no slow link. */
START_TEST(idle_times_tell_nothing)
{
	struct link *l = link_new(1000, 20 * MS);
	uint64_t rate;

	run(l, 3 * SECOND);
	rate = l->w.rate;
	for (int i = 0; i < 200; i++) {
		l->left = 4 * SLICE;
		run(l, 100 * MS);
	}
	ck_assert_uint_eq(l->w.rate, rate);
	l->left = UINT64_MAX;
	reset(l);
	run(l, SECOND);
	ck_assert_uint_ge(used(l), 90);
	free(l);
}
END_TEST

/* ---- the rules ---- */

START_TEST(one_read_always_may)
{
	struct lz_window_mark mark, demanded;
	struct lz_window w;

	lz_window_init(&w, SLICE, READS);
	ck_assert_uint_eq(lz_window_slice(&w), PAGE);
	for (int i = 0; i < 100; i++)
		lz_window_sent(&w, PAGE, false, 1, &demanded);
	ck_assert(lz_window_allows(&w, SLICE));
	lz_window_sent(&w, SLICE, true, 1, &mark);
	ck_assert(!lz_window_allows(&w, PAGE));
	lz_window_got(&w, 0, 2, &mark);
	ck_assert(lz_window_allows(&w, SLICE));
}
END_TEST

/* A read that fails has been nowhere: it is no short round trip. */
START_TEST(failed_reads_tell_nothing)
{
	struct link *l = link_new(100, 20 * MS);
	struct lz_window_mark mark;
	uint64_t bytes;

	run(l, 2 * SECOND);
	bytes = l->w.rtt_ns;
	for (int i = 0; i < 100; i++) {
		lz_window_sent(&l->w, PAGE, true, l->now_ns, &mark);
		lz_window_got(&l->w, 0, l->now_ns, &mark);
	}
	ck_assert_uint_eq(l->w.rtt_ns, bytes);
	free(l);
}
END_TEST

START_TEST(a_clock_that_stands_still)
{
	struct lz_window_mark mark[4];
	struct lz_window w;

	lz_window_init(&w, SLICE, READS);
	for (int i = 0; i < 1000; i++) {
		for (int k = 0; k < 4; k++)
			lz_window_sent(&w, SLICE, true, 7, &mark[k]);
		for (int k = 0; k < 4; k++)
			lz_window_got(&w, SLICE, 7, &mark[k]);
		ck_assert(!lz_window_allows(&w, PAGE) || !w.background ||
			  lz_window_bytes(&w) >= PAGE);
	}
	ck_assert_uint_le(lz_window_bytes(&w), READS * SLICE);
	ck_assert_uint_eq(lz_window_slice(&w), SLICE);
	ck_assert_uint_eq(w.in_flight, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("window");
	TCase *t = tcase_create("links");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_slow_short_link);
	tcase_add_test(t, a_slow_long_link);
	tcase_add_test(t, a_fast_long_link);
	tcase_add_test(t, slices_grow_with_the_way);
	tcase_add_test(t, slices_of_full_size);
	tcase_add_test(t, loopback);
	tcase_add_test(t, a_fast_short_link);
	tcase_add_loop_test(t, paces, LZ_WINDOW_CALM, LZ_WINDOW_WANTED + 1);
	tcase_add_test(t, a_storm_on_a_fast_link);
	tcase_add_test(t, jitter);
	tcase_add_test(t, ten_times_the_rate);
	tcase_add_test(t, a_tenth_of_the_rate);
	tcase_add_test(t, a_longer_way);
	tcase_add_test(t, a_source_that_was_away);
	tcase_add_test(t, idle_times_tell_nothing);
	suite_add_tcase(s, t);
	t = tcase_create("rules");
	tcase_add_test(t, one_read_always_may);
	tcase_add_test(t, failed_reads_tell_nothing);
	tcase_add_test(t, a_clock_that_stands_still);
	suite_add_tcase(s, t);
	return run_suite(s);
}
