/* SPDX-License-Identifier: MIT */
/*
 * The engine with a source behind a wire: what is urgent, what the window leaves for the
 * background, what comes first, and when the source is released. The language is that of
 * tests/lib/transcript.h. At first the window is of five pages, asked for one by one.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"
#include "uffd/engine.h"
#include "uffd/limits.h"

#define REMOTE "requests 256, remote f1\n"
#define FIRST(n) "s0 read r" #n " f1:" #n "+1"
#define FIVE FIRST(0) "; " FIRST(1) "; " FIRST(2) "; " FIRST(3) "; " FIRST(4)

/* ---- what is urgent, and how much is not ---- */

START_TEST(faults_are_urgent)
{
	transcript_play(REMOTE "image 0+40 at f1:0, area 0..40 from 0, attach s0\n"
			       "fault s0 7, fault s0 9"
			       "	| s0 read r0 f1:7+1 urgent; s0 read r1 f1:9+1 urgent\n"
			       "got r0 1	| s0 copy r0 7..8\n"
			       "got r1 eio	| s0 poison r1 9..10\n");
}
END_TEST

START_TEST(at_first_a_few_pages)
{
	transcript_play(REMOTE "image 0+200 at f1:0, area 0..200 from 0, attach s0\n"
			       "count remote_window 20480\n"
			       "start		| " FIVE "\n"
			       "wait 20000, got r0 1 | s0 copy r0 0..1; s0 read r0 f1:5+1;"
			       " s0 read r5 f1:6+1\n");
}
END_TEST

/* Of a CRIU, which goes through all that is in its pipe for each. */
START_TEST(few_large_requests)
{
	transcript_play(REMOTE "image 0+200 at f1:0, area 0..200 from 0, attach s0\n"
			       "costly, start	| s0 read r0 f1:0+16\n"
			       "wait 20000, got r0 16 | s0 copy r0 0..16; s0 read r0 f1:16+16\n");
}
END_TEST

/* Fast and near: slices grow. Who waits within one that has come short waits for the rest. */
START_TEST(the_rest_of_a_demanded_read_is_urgent)
{
	transcript_play(REMOTE "image 0+200 at f1:0, area 0..200 from 0, attach s0\n"
			       "start		| " FIVE "\n"
			       "wait 30, got r0 1, got r1 1, got r2 1, got r3 1, got r4 1"
			       "	| s0 copy r0 0..1; s0 copy r1 1..2; s0 copy r2 2..3;"
			       " s0 copy r3 3..4; s0 copy r4 4..5;"
			       " s0 read r0 f1:5+5; s0 read r1 f1:10+5\n"
			       "fault s0 6\n"
			       "count waiting 1\n"
			       "got r0 1	| s0 copy r0 5..6; s0 read r0@1 f1:6+1 urgent;"
			       " s0 read r2 f1:15+3\n"
			       "count waiting 1\n"
			       "got r0 1	| s0 copy r0@1 6..7; s0 read r0@2 f1:7+1;"
			       " s0 read r3 f1:18+3\n"
			       "count waiting 0\n");
}
END_TEST

/* Who waits for what is on its way loses nothing by what comes behind that; who has to ask does. */
START_TEST(faults_on_what_comes_leave_the_window_wide)
{
	transcript_play(REMOTE
			"no sweep, image 0+400 at f1:0, area 0..400 from 0, attach s0\n"
			"want 0+300\n"
			"start		| " FIVE "\n"
			"wait 100, got r0 1, got r1 1, got r2 1, got r3 1, got r4 1"
			"	| s0 read r5 f1:5+2; s0 read r6 f1:7+2; s0 read r7 f1:9+2;"
			" s0 read r8 f1:11+2; s0 read r9 f1:13+2; s0 copy r0 0..1;"
			" s0 copy r1 1..2; s0 copy r2 2..3; s0 copy r3 3..4; s0 copy r4 4..5\n"
			"fault s0 14\n"
			"count remote_window 40960\n"
			"fault s0 350	| s0 read r0 f1:350+1 urgent\n"
			"count remote_window 32768\n");
}
END_TEST

/* A window of 250 KB: of 437 MB/s, for so long as a link is kept busy while no faults come. */
#define WIDE                                                                                  \
	"costly, start		| s0 read r0 f1:0+16\n"                                               \
	"wait 150, got r0 16	| s0 copy r0 0..16; s0 read r0 f1:16+16\n"                       \
	"wait 150, got r0 16	| s0 copy r0 16..32; s0 read r0 f1:32+16; s0 read r1 f1:48+16\n" \
	"wait 150, got r0 16	| s0 copy r0 32..48; s0 read r0 f1:64+16; s0 read r2 f1:80+16\n" \
	"wait 150, got r0 16	| s0 copy r0 64..80; s0 read r0 f1:96+16\n"                      \
	"count remote_window 256681\n"

#define FIVE_FAULTS "fault s0 7000, fault s0 7000, fault s0 7000, fault s0 7000, fault s0 7000"

/* For so long as a fault that had to be asked for is no more than 5 ms ago. A storm of them is over
 * sooner with more on its way; it begins with the sixteenth, counted from when it was calm. */
START_TEST(a_fault_narrows_the_window_and_a_storm_does_less)
{
	transcript_play(REMOTE "image 0+8000 at f1:0, area 0..8000 from 0, attach s0\n" WIDE
			       "fault s0 7000	| s0 read r3 f1:7000+1 urgent\n"
			       "count remote_window 147455\n" FIVE_FAULTS ", " FIVE_FAULTS "\n"
			       "fault s0 7000, fault s0 7000, fault s0 7000, fault s0 7000\n"
			       "count remote_window 147455\n"
			       "fault s0 7000\n"
			       "count remote_window 191145\n"
			       "wait 5000\n"
			       "count remote_window 191145\n"
			       "wait 1\n"
			       "count remote_window 256681\n"
			       "fault s0 7500	| s0 read r4 f1:7500+1 urgent\n"
			       "count remote_window 147455\n");
}
END_TEST

/* It will be demanded itself. */
START_TEST(the_window_is_widest_for_what_is_wanted)
{
	transcript_play(REMOTE "no sweep, image 0+8000 at f1:0, area 0..8000 from 0, attach s0\n"
			       "want 0+7000\n"
			       "costly, start		| s0 read r0 f1:0+16\n"
			       "wait 150, got r0 16 | s0 read r1 f1:16+16; s0 copy r0 0..16\n"
			       "wait 150, got r1 16 | s0 read r0 f1:32+16; s0 read r2 f1:48+16;"
			       " s0 copy r1 16..32\n"
			       "wait 150, got r0 16 | s0 read r1 f1:64+16; s0 read r3 f1:80+16;"
			       " s0 copy r0 32..48\n"
			       "wait 150, got r2 16 | s0 read r0 f1:96+16; s0 read r4 f1:112+16;"
			       " s0 copy r2 48..64\n"
			       "wait 150, got r1 16 | s0 read r2 f1:128+16; s0 read r5 f1:144+16;"
			       " s0 copy r1 64..80\n"
			       "wait 150, got r0 16 | s0 read r1 f1:160+16; s0 read r6 f1:176+16;"
			       " s0 copy r0 96..112\n"
			       "wait 150, got r3 16 | s0 read r0 f1:192+16; s0 copy r3 80..96\n"
			       "count remote_window 431444\n");
}
END_TEST

/* What is demanded is on the same link: it is not held back, but counts. */
START_TEST(faults_take_the_window_from_the_sweep)
{
	transcript_play(REMOTE "image 0+40 at f1:0, area 0..40 from 0, attach s0\n"
			       "fault s0 20	| s0 read r0 f1:20+1 urgent\n"
			       "fault s0 22	| s0 read r1 f1:22+1 urgent\n"
			       "fault s0 24	| s0 read r2 f1:24+1 urgent\n"
			       "start		| s0 read r3 f1:23+1; s0 read r4 f1:25+1\n"
			       "fault s0 26	| s0 read r5 f1:26+1 urgent\n");
}
END_TEST

/* The neighbours too are background, and whose turn it is finds none of the
 * other kind before it. */
START_TEST(neighbours_wait_for_the_window)
{
	transcript_play(REMOTE "image 0+100 at f1:0, image 200+16 at f0:0, area 0..300 from 0\n"
			       "attach s0\n"
			       "start			| " FIVE "; s0 read r5 0+16\n"
			       "got r5 16		| s0 copy r5 200..216\n"
			       "fault s0 50		| s0 read r5 f1:50+1 urgent\n"
			       "fault s0 51		| s0 read r6 f1:51+1 urgent\n"
			       "wait 500, got r0 1	| s0 copy r0 0..1\n"
			       "got r1 1		| s0 copy r1 1..2; s0 read r0 f1:52+1;"
			       " s0 read r1 f1:53+1\n");
}
END_TEST

START_TEST(a_neighbour_that_waits_keeps_none_behind)
{
	transcript_play(REMOTE "image 0+100 at f1:0, image 200+500 at f0:0, area 0..700 from 0\n"
			       "attach s0\n"
			       "start | " FIVE "; s0 fetch b0 0+500 = none\n"
			       "fault s0 50		| s0 read r5 f1:50+1 urgent\n"
			       "fault s0 51		| s0 read r6 f1:51+1 urgent\n"
			       "fault s0 600		| s0 read r7 400+1; s0 read r8 401+2\n");
}
END_TEST

/* ---- what comes first ---- */

START_TEST(remote_pages_before_local_ones)
{
	transcript_play(REMOTE
			"image 0+3 at f0:0, image 3+2 at f1:3, image 5+30 at f0:3\n"
			"area 0..35 from 0, attach s0\n"
			"start		| s0 read r0 f1:3+1; s0 read r1 f1:4+1; s0 read r2 0+3;"
			" s0 read r3 3+16; s0 read r4 19+14\n"
			/* A wire that is silent keeps nothing local. */
			"got r2 3, got r3 16 | s0 copy r2 0..3; s0 copy r3 5..21\n"
			"got r1 1, got r0 1 | s0 copy r0 3..4; s0 copy r1 4..5; release\n"
			"got r4 14		| s0 copy r4 21..35; s0 close\n");
}
END_TEST

START_TEST(both_sweeps_go_outward)
{
	transcript_play(REMOTE
			"image 0+10 at f0:0, image 10+10 at f1:10, image 20+10 at f0:20\n"
			"image 30+10 at f1:30, area 0..40 from 0, attach s0\n"
			"fault s0 25			| s0 read r0 25+1\n"
			"fault s0 15, wait 6000		| s0 read r1 f1:15+1 urgent\n"
			"start | s0 read r2 f1:14+1; s0 read r3 f1:16+1; s0 read r4 f1:13+1;"
			" s0 read r5 f1:17+1; s0 read r6 20+5; s0 read r7 26+4; s0 read r8 0+10\n");
}
END_TEST

/* In every space, whatever is in the first. */
START_TEST(of_all_spaces)
{
	transcript_play(REMOTE
			"image 0+3 at f1:0, image 10+40 at f0:0, area 0..50 from 0\n"
			"attach s0, attach s1\n"
			"start | s0 read r0 f1:0+1; s1 read r1 f1:0+1; s0 read r2 f1:1+1;"
			" s1 read r3 f1:1+1; s0 read r4 f1:2+1; s0 read r5 0+16; s1 read r6 0+16;"
			" s0 read r7 16+16; s1 read r8 16+16; s0 read r9 32+8; s1 read r10 32+8\n"
			"wait 300, got r0 1 | s0 copy r0 0..1; s1 read r0 f1:2+1\n");
}
END_TEST

/* ---- the release ---- */

START_TEST(released_once_before_the_close)
{
	transcript_play(REMOTE "image 0+2 at f1:0, area 0..2 from 0, attach s0\n"
			       "start		| " FIRST(0) "; " FIRST(
				       1) "\n"
					  "got r0 1	| s0 copy r0 0..1\n"
					  "got r1 1	| s0 copy r1 1..2; release; s0 close\n"
					  "is done, wait 1000\n");
}
END_TEST

START_TEST(not_before_the_start)
{
	transcript_play(REMOTE "image 0+1 at f1:0, area 0..1 from 0, attach s0\n"
			       "fault s0 0	| s0 read r0 f1:0+1 urgent\n"
			       "got r0 1	| s0 copy r0 0..1\n"
			       "start		| release; s0 close\n");
}
END_TEST

START_TEST(not_of_a_local_source)
{
	transcript_play("image 0+2 at f1:0, area 0..2 from 0, attach s0\n"
			"start			| s0 read r0 f1:0+2\n"
			"got r0 2		| s0 copy r0 0..2; s0 close\n");
}
END_TEST

/* What has been removed is not waited for, but a read under way is. */
START_TEST(not_while_a_read_is_under_way)
{
	transcript_play(REMOTE "image 0+2 at f1:0, area 0..2 from 0, attach s0\n"
			       "start		| " FIRST(0) "; " FIRST(
				       1) "\n"
					  "remove s0 0..2	| s0 wake 0..2\n"
					  "got r0 1\n"
					  "got r1 1	| release; s0 close\n");
}
END_TEST

START_TEST(a_child_is_owed_too)
{
	transcript_play(REMOTE "image 0+3 at f1:0, area 0..3 from 0, attach s0\n"
			       "start		| " FIRST(0) "; " FIRST(1) "; " FIRST(
				       2) "\n"
					  "got r0 1, got r1 1 | s0 copy r0 0..1; s0 copy r1 1..2\n"
					  "fork s0 s1	| s1 read r0 f1:2+1\n"
					  "got r2 1	| s0 copy r2 2..3; s0 close\n"
					  "got r0 1	| s1 copy r0 2..3; release; s1 close\n");
}
END_TEST

/* A child with a number that the look for owed pages has passed. */
START_TEST(a_child_behind_the_look)
{
	transcript_play(REMOTE "image 0+1 at f1:0, area 0..1 from 0\n"
			       "attach s0, attach s1, attach s2\n"
			       "start		| s0 read r0 f1:0+1; s1 read r1 f1:0+1;"
			       " s2 read r2 f1:0+1\n"
			       "got r0 1	| s0 copy r0 0..1; s0 close\n"
			       "got r1 1	| s1 copy r1 0..1; s1 close\n"
			       "got r2 1	| s2 copy r2 0..1 = enoent; s2 wake 0..1; release;"
			       " s2 close\n");
}
END_TEST

START_TEST(lost_pages_are_not_waited_for)
{
	transcript_play(REMOTE
			"image 0+3 at f1:0, area 0..3 from 0, attach s0\n"
			"start		| " FIRST(0) "; " FIRST(1) "; " FIRST(
				2) "\n"
				   "got r0 1, got r1 eio, got r2 etimedout | s0 copy r0 0..1;"
				   " s0 poison r1 1..2; s0 poison r2 2..3; release; s0 close\n");
}
END_TEST

START_TEST(not_when_all_is_given_up)
{
	transcript_play(REMOTE
			"image 0+3 at f1:0, area 0..3 from 0, attach s0\n"
			"start		| " FIRST(0) "; " FIRST(1) "; " FIRST(
				2) "\n"
				   "abandon\n"
				   "got r0 ecanceled, got r1 ecanceled, got r2 ecanceled"
				   "	| s0 poison r0 0..1; s0 poison r1 1..2; s0 poison r2 2..3;"
				   " s0 close\n"
				   "is done\n");
}
END_TEST

START_TEST(nobody_comes_after_the_release)
{
	struct lz_stats stats = { 0 };
	struct lz_engine_options o = { .stats = &stats, .has_remote = true };
	struct lz_piece piece = { .identity = 0x1000, .len = 0x1000, .page_shift = 12 };
	struct lz_attach a = { 0 };
	struct lz_action act;
	struct lz_engine *e;
	struct lz_plan *plan;

	/* A predecessor has closed the space that had pages there. */
	ck_assert_int_eq(lz_engine_new(&e, &o), 0);
	ck_assert(!lz_engine_next(e, &act));
	lz_engine_feed(e, &(struct lz_event){ .type = LZ_EV_START });
	ck_assert(lz_engine_next(e, &act) && act.type == LZ_ACT_RELEASE);
	ck_assert(!lz_engine_next(e, &act));
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	ck_assert_int_eq(lz_plan_add(plan, &piece), 0);
	lz_plan_set_remote(plan, 0);
	lz_plan_seal(plan);
	a.plan = plan;
	ck_assert_int_eq(lz_engine_attach(e, &a), -ESHUTDOWN);
	lz_engine_check(e);
	lz_engine_free(e);
	lz_plan_put(plan);
}
END_TEST

/* Where more may come nothing is over, whatever has been had,
 * until it is said that no more will. */
START_TEST(not_while_more_may_come)
{
	struct lz_stats stats = { 0 };
	struct lz_engine_options o = { .stats = &stats, .has_remote = true, .stays = true };
	struct lz_action act;
	struct lz_engine *e;

	for (int given_up = 0; given_up < 2; given_up++) {
		ck_assert_int_eq(lz_engine_new(&e, &o), 0);
		lz_engine_feed(e, &(struct lz_event){ .type = LZ_EV_START });
		ck_assert(!lz_engine_next(e, &act));
		ck_assert(!lz_engine_is_done(e));
		lz_engine_feed(
			e, &(struct lz_event){ .type = given_up ? LZ_EV_ABANDON : LZ_EV_FINISH });
		if (!given_up)
			ck_assert(lz_engine_next(e, &act) && act.type == LZ_ACT_RELEASE);
		ck_assert(!lz_engine_next(e, &act));
		ck_assert(lz_engine_is_done(e));
		lz_engine_check(e);
		lz_engine_free(e);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_remote");
	TCase *t = tcase_create("window");

	tcase_add_test(t, faults_are_urgent);
	tcase_add_test(t, at_first_a_few_pages);
	tcase_add_test(t, few_large_requests);
	tcase_add_test(t, the_rest_of_a_demanded_read_is_urgent);
	tcase_add_test(t, faults_on_what_comes_leave_the_window_wide);
	tcase_add_test(t, a_fault_narrows_the_window_and_a_storm_does_less);
	tcase_add_test(t, the_window_is_widest_for_what_is_wanted);
	tcase_add_test(t, faults_take_the_window_from_the_sweep);
	tcase_add_test(t, neighbours_wait_for_the_window);
	tcase_add_test(t, a_neighbour_that_waits_keeps_none_behind);
	suite_add_tcase(s, t);
	t = tcase_create("order");
	tcase_add_test(t, remote_pages_before_local_ones);
	tcase_add_test(t, both_sweeps_go_outward);
	tcase_add_test(t, of_all_spaces);
	suite_add_tcase(s, t);
	t = tcase_create("release");
	tcase_add_test(t, released_once_before_the_close);
	tcase_add_test(t, not_before_the_start);
	tcase_add_test(t, not_of_a_local_source);
	tcase_add_test(t, not_while_a_read_is_under_way);
	tcase_add_test(t, a_child_is_owed_too);
	tcase_add_test(t, a_child_behind_the_look);
	tcase_add_test(t, lost_pages_are_not_waited_for);
	tcase_add_test(t, not_when_all_is_given_up);
	tcase_add_test(t, nobody_comes_after_the_release);
	tcase_add_test(t, not_while_more_may_come);
	suite_add_tcase(s, t);
	return run_suite(s);
}
