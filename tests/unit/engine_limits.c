/* SPDX-License-Identifier: MIT */
/*
 * The engine at its limits: what is full wakes, waits or forgets, and loses nothing. The language
 * is that of tests/lib/transcript.h.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"
#include "uffd/engine.h"
#include "uffd/limits.h"

_Static_assert(LZ_REQS_LOCAL == 5 && LZ_FAULTS_MAX == 3 && LZ_WAKES_MAX == 1,
	       "to be built with -DLZ_LIMITS_SMALL");

/* Not woken at once: their next messages would go before the event that the first wait for. */
START_TEST(faults_past_the_queue_are_woken)
{
	transcript_play("image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
			"fault s0 0, fault s0 1, fault s0 2, fault s0 3+8, fault s0 4"
			" | s0 read r0 0+1; s0 read r1 1+1; s0 read r2 2+1; s0 wake all\n"
			"count faults 5, count waiting 3\n"
			"fault s0 3, fault s0 4	| s0 read r3 3+1; s0 read r4 4+1\n");
}
END_TEST

START_TEST(faults_past_the_requests_wait)
{
	transcript_play("image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
			"fault s0 0, fault s0 1, fault s0 2"
			"	| s0 read r0 0+1; s0 read r1 1+1; s0 read r2 2+1\n"
			"fault s0 3, fault s0 4, fault s0 5 | s0 read r3 3+1; s0 read r4 4+1\n"
			"fault s0 6, fault s0 7\n"
			"count waiting 8\n"
			"fault s0 8\n"
			"count faults 9\n"
			"got r1 1		| s0 copy r1 1..2; s0 read r1 5+1\n"
			"got r0 1		| s0 copy r0 0..1; s0 read r0 6+1\n"
			/* Who waits for a request does not keep zero pages waiting. */
			"fault s0 30		| s0 zero 30..31\n"
			"got r2 1, got r3 1 | s0 copy r2 2..3; s0 copy r3 3..4; s0 read r2 7+1;"
			" s0 wake all\n"
			"fault s0 8		| s0 read r3 8+1\n");
}
END_TEST

START_TEST(a_page_waited_for_may_go)
{
	transcript_play(
		"image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
		"fault s0 0, fault s0 1, fault s0 2"
		"	| s0 read r0 0+1; s0 read r1 1+1; s0 read r2 2+1\n"
		"fault s0 3, fault s0 4, fault s0 5 | s0 read r3 3+1; s0 read r4 4+1\n"
		"remove s0 5..6		| s0 wake 5..6; s0 zero 5..6 = eexist; s0 wake 5..6\n"
		"fault s0 7\n"
		"exit s0\n"
		"count waiting 5\n");
}
END_TEST

START_TEST(wakes_past_the_list_are_of_all)
{
	transcript_play("image 0+20 at f0:0, area 0..20 from 0, attach s0, attach s1\n"
			"remove s0 0..1, remove s0 1..2, remove s0 2..3, remove s1 3..4,"
			" remove s0 4..5, remove s0 5..6"
			" | s0 wake 0..1; s0 wake all; s1 wake all\n"
			"remove s0 7..8		| s0 wake 7..8\n"
			"owed s0 14, owed s1 19\n");
}
END_TEST

START_TEST(the_sweep_leaves_room_for_faults)
{
	transcript_play("image 0+100 at f0:0, area 0..100 from 0, attach s0\n"
			"start			| s0 fetch b0 0+8; s0 fetch b1 8+8;"
			" s0 read r0 0+4; s0 read r1 4+4\n"
			"fault s0 50		| s0 read r2 50+1\n"
			/* Three run ahead already; the rest of the window waits. */
			"fault s0 51		| s0 read r3 51+1; s0 read r4 52+2\n"
			"got r2 1		| s0 copy r2 50..51\n"
			"got r3 1		| s0 copy r3 51..52\n"
			"fault s0 80		| s0 read r2 80+1\n"
			"got r4 2		| s0 copy r4 52..54; s0 read r3 54+2\n"
			"got r3 2		| s0 copy r3 54..56; s0 read r3 81+2\n"
			/* Now that no fault has come for a while, a whole slice. */
			"got r0 4, wait 6000	| s0 copy r0 0..4; s0 fetch b0 72+8;"
			" s0 read r0 8+4\n");
}
END_TEST

/* A slice at a time of any one source; but who has faulted six times will go on. */
START_TEST(the_sweep_holds_back_until_there_is_a_storm)
{
	transcript_play("image 0+100 at f0:0, area 0..100 from 0, attach s0\n"
			"fault s0 50		| s0 read r0 50+1\n"
			"start			| s0 read r1 48+2\n"
			"got r1 2		| s0 copy r1 48..50; s0 read r1 51+2\n"
			"fault s0 50, fault s0 50\n"
			"fault s0 50, fault s0 50\n"
			"got r1 2		| s0 copy r1 51..53; s0 read r1 46+2\n"
			"fault s0 50		| s0 read r2 53+4\n"
			"got r1 2		| s0 copy r1 46..48; s0 read r1 42+4\n");
}
END_TEST

/* Source 0 never answers: it has its share of the five requests, and one is left for source 1. */
START_TEST(a_slow_source_delays_its_own_pages_only)
{
	transcript_play("image 0+20 at f0:0, image 50+20 at f1:0, area 0..100 from 0, attach s0\n"
			"fault s0 0		| s0 read r0 0+1\n"
			"fault s0 2		| s0 read r1 2+1\n"
			"fault s0 4		| s0 read r2 4+1\n"
			"fault s0 6		| s0 read r3 6+1\n"
			"fault s0 8\n"
			"fault s0 50		| s0 read r4 f1:0+1\n"
			"got r4 1		| s0 copy r4 50..51\n"
			"fault s0 52		| s0 read r4 f1:2+1\n"
			"got r4 1		| s0 copy r4 52..53\n"
			"got r0 1		| s0 copy r0 0..1; s0 read r0 8+1\n");
}
END_TEST

START_TEST(the_oldest_hint_is_forgotten)
{
	transcript_play(
		"image 0+500 at f0:0, area 0..500 from 0, attach s0\n"
		"start	| s0 fetch b0 0+8; s0 fetch b1 8+8; s0 read r0 0+4; s0 read r1 4+4\n"
		"fault s0 50		| s0 read r2 50+1\n"
		"fault s0 51		| s0 read r3 51+1; s0 read r4 52+2\n"
		"got r2 1, fault s0 56	| s0 copy r2 50..51; s0 read r2 56+1\n"
		/* Of windows at 54, 57 and 301 the first is one too many. */
		"got r3 1, fault s0 300	| s0 copy r3 51..52; s0 read r3 300+1\n"
		"got r4 2		| s0 copy r4 52..54; s0 read r4 57+2\n"
		"got r4 2		| s0 copy r4 57..59; s0 read r4 59+2\n");
}
END_TEST

/* Neither its faults are forgotten nor what is to be read behind them. */
START_TEST(what_waits_outlives_another_space)
{
	transcript_play("image 0+100 at f0:0, area 0..100 from 0, attach s0, attach s1\n"
			"start | s0 fetch b0 0+8; s1 fetch b1 0+8; s0 read r0 0+4; s0 read r1 4+4\n"
			"fault s0 50		| s0 read r2 50+1\n"
			"fault s0 51		| s0 read r3 51+1; s0 read r4 52+2\n"
			"fault s0 53, fault s0 90\n"
			"exit s1		| s1 close\n"
			"got r2 1		| s0 copy r2 50..51; s0 read r2 90+1\n"
			"got r4 2		| s0 copy r4 52..54; s0 read r4 54+2\n");
}
END_TEST

START_TEST(spaces_take_turns)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0, attach s1, attach s2\n"
		"start | s0 fetch b0 0+8; s1 fetch b1 0+8; s0 read r0 0+4; s0 read r1 4+4\n"
		"got r0 4		| s0 copy r0 0..4; s2 fetch b0 0+8; s1 read r0 0+4\n"
		"got r1 4		| s0 copy r1 4..8; s1 read r1 4+4; s0 close\n"
		"got r0 4		| s1 copy r0 0..4; s2 read r0 0+4\n"
		"got r1 4		| s1 copy r1 4..8; s2 read r1 4+4; s1 close\n"
		"got r0 4, got r1 4	| s2 copy r0 0..4; s2 copy r1 4..8; s2 close\n"
		"is done\n");
}
END_TEST

START_TEST(giving_up_takes_all_of_it)
{
	transcript_play("image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
			"abandon | s0 poison r0 0..4; s0 poison r1 4..8; s0 poison r0 8..12;"
			" s0 poison r1 12..16; s0 poison r0 16..20; s0 close\n"
			"is done, count pages_lost 20\n");
}
END_TEST

START_TEST(giving_up_with_all_requests_under_way)
{
	transcript_play("image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
			"fault s0 0, fault s0 1, fault s0 2"
			"	| s0 read r0 0+1; s0 read r1 1+1; s0 read r2 2+1\n"
			"fault s0 3, fault s0 4, fault s0 5 | s0 read r3 3+1; s0 read r4 4+1\n"
			"abandon, wait 6000\n"
			"got r3 ecanceled	| s0 poison r3 3..4; s0 poison r3 5..9;"
			" s0 poison r3 9..13; s0 poison r3 13..17; s0 poison r3 17..20\n"
			"got r0 ecanceled, got r1 ecanceled, got r2 ecanceled, got r4 ecanceled"
			" | s0 poison r0 0..1; s0 poison r1 1..2; s0 poison r2 2..3;"
			" s0 poison r4 4..5; s0 close\n"
			"is done, count pages_lost 20\n");
}
END_TEST

START_TEST(huge_pages_are_slices_of_their_own)
{
	transcript_play("image 0+1536 at f0:0 2M, area 0..1536 from 0 2M, attach s0\n"
			"start			| s0 read r0 0+512; s0 read r1 512+512\n"
			"got r1 512		| s0 copy r1 512..1024; s0 read r1 1024+512\n");
}
END_TEST

START_TEST(numbers_run_out)
{
	struct lz_stats stats = { 0 };
	struct lz_engine_options o = { .stats = &stats };
	struct lz_attach a = { 0 };
	struct lz_engine *e;
	struct lz_plan *plan;

	ck_assert_int_eq(lz_plan_new(&plan), 0);
	lz_plan_seal(plan);
	ck_assert_int_eq(lz_engine_new(&e, &o), 0);
	a.plan = plan;
	for (int i = 0; i < LZ_SPACES_MAX; i++) {
		ck_assert_int_eq(lz_engine_free_space(e), i);
		a.space = (uint32_t)i;
		ck_assert_int_eq(lz_engine_attach(e, &a), 0);
		lz_engine_check(e);
	}
	ck_assert_int_eq(lz_engine_free_space(e), -ENOSPC);
	lz_engine_feed(e, &(struct lz_event){ .type = LZ_EV_CLOSED, .space = 3 });
	ck_assert_int_eq(lz_engine_free_space(e), 3);
	lz_engine_free(e);
	lz_plan_put(plan);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_limits");
	TCase *t = tcase_create("limits");

	tcase_add_test(t, faults_past_the_queue_are_woken);
	tcase_add_test(t, faults_past_the_requests_wait);
	tcase_add_test(t, a_page_waited_for_may_go);
	tcase_add_test(t, wakes_past_the_list_are_of_all);
	tcase_add_test(t, the_sweep_leaves_room_for_faults);
	tcase_add_test(t, the_sweep_holds_back_until_there_is_a_storm);
	tcase_add_test(t, a_slow_source_delays_its_own_pages_only);
	tcase_add_test(t, the_oldest_hint_is_forgotten);
	tcase_add_test(t, what_waits_outlives_another_space);
	tcase_add_test(t, spaces_take_turns);
	tcase_add_test(t, giving_up_takes_all_of_it);
	tcase_add_test(t, giving_up_with_all_requests_under_way);
	tcase_add_test(t, huge_pages_are_slices_of_their_own);
	tcase_add_test(t, numbers_run_out);
	suite_add_tcase(s, t);
	return run_suite(s);
}
