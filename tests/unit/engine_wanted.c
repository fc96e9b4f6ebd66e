/* SPDX-License-Identifier: MIT */
/*
 * Working sets: what is wanted comes before the sweep and behind the faults, in its order; what is
 * touched first is noted; and without a sweep nothing else comes. The language is that of
 * tests/lib/transcript.h.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

START_TEST(wanted_before_the_sweep_in_its_order)
{
	transcript_play("image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"want 30+2, want 7+1, want 8+1\n"
			"start	| s0 read r0 30+2; s0 read r1 7+1; s0 read r2 8+1;"
			" s0 read r3 0+7; s0 read r4 9+16; s0 read r5 25+5; s0 read r6 32+8\n"
			"got r1 1, got r0 2, got r2 1"
			"	| s0 copy r0 30..32; s0 copy r1 7..8; s0 copy r2 8..9\n"
			"count pages_replay 4, count pages_sweep 0\n");
}
END_TEST

START_TEST(not_before_the_start)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"want 3+2, wait 1000\n"
		"fault s0 4		| s0 read r0 4+1\n"
		"wait 6000, start	| s0 read r1 3+1; s0 read r2 0+3; s0 read r3 5+3\n");
}
END_TEST

START_TEST(what_the_image_does_not_hold)
{
	transcript_play("image 4+2 at f0:0, image 8+2 at f0:10, area 0..12 from 0, attach s0\n"
			"want 0+4, want 6+2, want 900+100, want 0+1000\n"
			"start			| s0 read r0 0+2; s0 read r1 10+2\n"
			"got r0 2, got r1 2	| s0 copy r0 4..6; s0 copy r1 8..10; s0 close\n"
			"is done, count pages_replay 4\n");
}
END_TEST

START_TEST(what_has_gone_meanwhile)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"want 2+3, want 6+1\n"
			"remove s0 3..4, remap s0 6..7 to 50 | s0 wake 6..7; s0 wake 3..4\n"
			"start	| s0 read r0 2+1; s0 read r1 4+1; s0 read r2 6+1;"
			" s0 read r3 0+2; s0 read r4 5+1; s0 read r5 7+1\n"
			"got r2 1		| s0 copy r2 50..51\n");
}
END_TEST

/* As many bytes on their way as a sweep has, and the sweep waits until all have been asked for. */
START_TEST(a_bound_on_what_is_on_its_way)
{
	transcript_play(
		"image 0+1000 at f0:0, area 0..1000 from 0, attach s0\n"
		"want 500+250, want 10+1, want 12+1\n"
		"start	| s0 read r0 500+16; s0 read r1 516+16; s0 read r2 532+16;"
		" s0 read r3 548+16; s0 read r4 564+16; s0 read r5 580+16; s0 read r6 596+16;"
		" s0 read r7 612+16; s0 read r8 628+16; s0 read r9 644+16; s0 read r10 660+16;"
		" s0 read r11 676+16; s0 read r12 692+16; s0 read r13 708+16;"
		" s0 read r14 724+16; s0 read r15 740+10; s0 read r16 10+1; s0 read r17 12+1;"
		" s0 fetch b0 0+512 = none; s0 fetch b1 512+488 = none\n"
		"fetched b0	| s0 read r18 0+10; s0 read r19 11+1; s0 read r20 13+16;"
		" s0 read r21 29+16; s0 read r22 45+16; s0 read r23 61+16; s0 read r24 77+16;"
		" s0 read r25 93+16; s0 read r26 109+16; s0 read r27 125+16; s0 read r28 141+16;"
		" s0 read r29 157+16; s0 read r30 173+16; s0 read r31 189+16\n");
	transcript_play("image 0+1000 at f0:0, area 0..1000 from 0, attach s0\n"
			"want 500+256, want 10+1, want 12+1\n"
			"start	| s0 read r0 500+16; s0 read r1 516+16; s0 read r2 532+16;"
			" s0 read r3 548+16; s0 read r4 564+16; s0 read r5 580+16;"
			" s0 read r6 596+16; s0 read r7 612+16; s0 read r8 628+16;"
			" s0 read r9 644+16; s0 read r10 660+16; s0 read r11 676+16;"
			" s0 read r12 692+16; s0 read r13 708+16; s0 read r14 724+16;"
			" s0 read r15 740+16\n"
			"got r3 16	| s0 copy r3 548..564; s0 read r3 10+1; s0 read r16 12+1;"
			" s0 fetch b0 0+512 = none; s0 fetch b1 512+488 = none\n");
}
END_TEST

/* What is in memory by then is the sweep's, and waits as well. */
START_TEST(the_sweep_of_a_block_waits_too)
{
	transcript_play(
		"image 0+1000 at f0:0, area 0..1000 from 0, attach s0\n"
		"start	| s0 fetch b0 0+512 = none; s0 fetch b1 512+488 = none\n"
		"want 600+272 | s0 read r0 600+16; s0 read r1 616+16; s0 read r2 632+16;"
		" s0 read r3 648+16; s0 read r4 664+16; s0 read r5 680+16; s0 read r6 696+16;"
		" s0 read r7 712+16; s0 read r8 728+16; s0 read r9 744+16; s0 read r10 760+16;"
		" s0 read r11 776+16; s0 read r12 792+16; s0 read r13 808+16;"
		" s0 read r14 824+16; s0 read r15 840+16\n"
		"fetched b0\n");
}
END_TEST

/* Three quarters of what may run ahead: 24. Those behind it in the order wait, as they are. */
START_TEST(one_source_has_its_share)
{
	char text[2048] = "no sweep, image 0+64 at f0:0, image 100+16 at f1:0\n"
			  "area 0..200 from 0, attach s0\n";
	size_t n = strlen(text);

	for (int i = 0; i < 25; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "want %d+1\n", 2 * i);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "want 100+1\nstart | ");
	for (int i = 0; i < 24; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "s0 read r%d %d+1%s", i, 2 * i,
				      i < 23 ? "; " : "\n");
	(void)snprintf(text + n, sizeof(text) - n,
		       "got r5 1	| s0 copy r5 10..11; s0 read r5 48+1;"
		       " s0 read r24 f1:0+1\n");
	transcript_play(text);
}
END_TEST

START_TEST(a_fault_comes_first)
{
	transcript_play("no sweep, image 0+100 at f0:0, area 0..100 from 0, attach s0\n"
			"want 20+2, want 60+1\n"
			"start			| s0 read r0 20+2; s0 read r1 60+1\n"
			"got r0 2, got r1 1, fault s0 60, fault s0 80"
			"	| s0 read r2 80+1; s0 copy r1 60..61; s0 copy r0 20..22\n");
}
END_TEST

START_TEST(a_fault_on_what_is_wanted_has_it_demanded)
{
	transcript_play("no sweep, image 0+100 at f0:0, area 0..100 from 0, attach s0\n"
			"want 20+4, want 60+4\n"
			"start			| s0 read r0 20+4; s0 read r1 60+4\n"
			"fault s0 61\n"
			"got r0 4, got r1 4	| s0 copy r1 60..64; s0 copy r0 20..24\n"
			"count pages_replay 8, count pages_demand 0\n");
}
END_TEST

/* Asked for while there is more to be placed: the disk is not to wait for that. */
START_TEST(the_next_is_asked_for_before_what_has_come_is_placed)
{
	transcript_play(
		"no sweep, image 0+1000 at f0:0, area 0..1000 from 0, attach s0\n"
		"want 0+240, want 300+32\n"
		"start	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"
		" s0 read r3 48+16; s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16;"
		" s0 read r7 112+16; s0 read r8 128+16; s0 read r9 144+16;"
		" s0 read r10 160+16; s0 read r11 176+16; s0 read r12 192+16;"
		" s0 read r13 208+16; s0 read r14 224+16; s0 read r15 300+16\n"
		"got r0 16, got r1 16, got r2 16	| s0 copy r0 0..16; s0 copy r1 16..32;"
		" s0 read r0 316+16; s0 copy r2 32..48\n");
}
END_TEST

/* ---- many spaces of one memory ---- */

START_TEST(they_take_turns)
{
	transcript_play(
		"no sweep, stays, image 0+40 at f0:0, area 0..40 from 0\n"
		"attach s0, attach s1, attach s2\n"
		"want 30+2, want 7+1\n"
		"start	| s0 read r0 30+2; s1 read r1 30+2; s2 read r2 30+2; s0 read r3 7+1;"
		" s1 read r4 7+1; s2 read r5 7+1\n"
		"got r1 2, got r4 1	| s1 copy r1 30..32; s1 copy r4 7..8\n"
		"count pages_replay 3, owed s0 40, owed s1 37\n");
}
END_TEST

START_TEST(who_comes_later_has_it_from_the_beginning)
{
	transcript_play("no sweep, stays, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"want 30+2, want 7+1\n"
			"start			| s0 read r0 30+2; s0 read r1 7+1\n"
			"attach s1		| s1 read r2 30+2; s1 read r3 7+1\n"
			"want 3+1		| s0 read r4 3+1; s1 read r5 3+1\n"
			"exit s0, got r0 2, got r1 1, got r4 1 | s0 close\n"
			"attach s0		| s0 read r0 30+2; s0 read r1 7+1; s0 read r4 3+1\n"
			"finish, is not done\n");
}
END_TEST

START_TEST(a_child_does_not_get_it)
{
	transcript_play("no sweep, stays, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"want 30+2\n"
			"fork s0 s1, start	| s0 read r0 30+2\n");
}
END_TEST

/* One large page is as many bytes as may be on their way:
 * the others wait for it, and the sweep too. */
START_TEST(they_share_a_bound_and_the_sweep_waits)
{
	transcript_play(
		"stays, image 0+1024 at f0:0 2M, area 0..1024 from 0 2M\n"
		"attach s0, attach s1\n"
		"want 100+1\n"
		"start			| s0 read r0 0+512\n"
		"fault s1 600		| s1 read r1 512+512\n"
		"got r0 512	| s0 copy r0 0..512; s1 read r0 0+512; s0 read r2 512+512\n");
}
END_TEST

START_TEST(one_that_is_stalled_keeps_nobody)
{
	transcript_play(
		"no sweep, stays, image 0+40 at f0:0, area 0..40 from 0\n"
		"attach s0, attach s1\n"
		"start\n"
		"fault s0 20		| s0 read r0 20+1\n"
		"got r0 1		| s0 copy r0 20..21 = eagain\n"
		"want 30+2, want 7+1	| s1 read r1 30+2; s1 read r2 7+1\n"
		"wait 50		| s0 copy r0 20..21; s0 read r3 30+2; s0 read r4 7+1\n");
}
END_TEST

/* So many that faults are to be looked for in between. The sweep waits for what is behind them. */
START_TEST(passing_has_rests)
{
	enum { PASSED = 4096 };
	static char text[(PASSED + 2) * 16 + 1024];
	size_t n = 0;

	n += (size_t)snprintf(text + n, sizeof(text) - n,
			      "stays, image 0+40 at f0:0, area 0..40 from 0, attach s0\n");
	for (unsigned i = 0; i < PASSED + 2; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "want %u+1\n", i % 2);
	(void)snprintf(text + n, sizeof(text) - n,
		       "want 30+1\n"
		       "start		| s0 read r0 0+1; s0 read r1 1+1\n"
		       "retry 0\n"
		       "fault s0 9	| s0 read r2 9+1\n"
		       "wait 0		| s0 read r3 30+1; s0 read r4 2+7\n"
		       "retry never\n");
	transcript_play(text);
}
END_TEST

/* ---- without a sweep ---- */

START_TEST(only_what_is_touched)
{
	transcript_play("no sweep, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"start\n"
			"fault s0 5		| s0 read r0 5+1\n"
			"fault s0 6		| s0 read r1 6+1\n"
			"fault s0 7		| s0 read r2 7+1\n"
			"got r0 1, got r1 1, got r2 1"
			"	| s0 copy r0 5..6; s0 copy r1 6..7; s0 copy r2 7..8\n"
			"wait 1000000\n"
			"is not done, owed s0 37\n"
			"exit s0		| s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(until_it_is_told_to_sweep)
{
	transcript_play("no sweep, image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start\n"
			"sweep			| s0 read r0 0+8\n"
			"got r0 8		| s0 copy r0 0..8; s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(all_that_was_touched_is_all_there_is)
{
	transcript_play("no sweep, image 0+1 at f0:0, area 0..8 from 0, attach s0\n"
			"start\n"
			"fault s0 0		| s0 read r0 0+1\n"
			"got r0 1		| s0 copy r0 0..1; s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(given_up_without_a_sweep)
{
	transcript_play("no sweep, image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start\n"
			"abandon		| s0 poison r0 0..8; s0 close\n");
}
END_TEST

/* ---- the record ---- */

START_TEST(first_touches_in_their_order)
{
	transcript_play("no sweep, record 0, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"start, recorded nothing\n"
			"fault s0 5		| s0 read r0 5+1\n"
			"fault s0 6		| s0 read r1 6+1\n"
			"fault s0 2		| s0 read r2 2+1\n"
			"fault s0 7, fault s0 2	| s0 read r3 7+1\n"
			"recorded 5+2 2+1 7+1\n"
			"got r0 1, got r1 1	| s0 copy r0 5..6; s0 copy r1 6..7\n"
			/* A page that is there, and one that the image does not hold. */
			"fault s0 5		| s0 zero 5..6 = eexist; s0 wake 5..6\n"
			"recorded 5+2 2+1 7+1, record is not over\n");
}
END_TEST

START_TEST(a_touch_of_what_is_on_its_way)
{
	transcript_play("record 0, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"start	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+8\n"
			"fault s0 20, fault s0 3, recorded nothing\n"
			"recorded 20+1 3+1\n");
}
END_TEST

START_TEST(by_identity_wherever_it_is)
{
	transcript_play("no sweep, record 0, image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start\n"
			"remap s0 4..6 to 30	| s0 wake 4..6\n"
			"fork s0 s1\n"
			"fault s0 31		| s0 read r0 5+1\n"
			"fault s1 30		| s1 read r1 4+1\n"
			"recorded 5+1 4+1\n");
}
END_TEST

/* Of many spaces of one memory the one that is the first. */
START_TEST(each_page_once)
{
	transcript_play("no sweep, stays, record 0, image 0+40 at f0:0, area 0..40 from 0\n"
			"attach s0, attach s1, start\n"
			"fault s0 5		| s0 read r0 5+1\n"
			"fault s1 9		| s1 read r1 9+1\n"
			"fault s1 5		| s1 read r2 5+1\n"
			"fault s0 9		| s0 read r3 9+1\n"
			"fault s0 10		| s0 read r4 10+1\n"
			"recorded 5+1 9+2\n");
}
END_TEST

START_TEST(for_so_long_from_the_first)
{
	transcript_play("no sweep, record 1000, image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
			"start, wait 50000\n"
			"fault s0 5		| s0 read r0 5+1\n"
			"wait 1000, fault s0 9	| s0 read r1 9+1\n"
			"record is not over\n"
			"wait 1, fault s0 11	| s0 read r2 11+1\n"
			"record is over, recorded 5+1 9+1\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_wanted");
	TCase *t = tcase_create("wanted");

	tcase_add_test(t, wanted_before_the_sweep_in_its_order);
	tcase_add_test(t, not_before_the_start);
	tcase_add_test(t, what_the_image_does_not_hold);
	tcase_add_test(t, what_has_gone_meanwhile);
	tcase_add_test(t, a_bound_on_what_is_on_its_way);
	tcase_add_test(t, the_sweep_of_a_block_waits_too);
	tcase_add_test(t, one_source_has_its_share);
	tcase_add_test(t, a_fault_comes_first);
	tcase_add_test(t, a_fault_on_what_is_wanted_has_it_demanded);
	tcase_add_test(t, the_next_is_asked_for_before_what_has_come_is_placed);
	suite_add_tcase(s, t);
	t = tcase_create("many spaces");
	tcase_add_test(t, they_take_turns);
	tcase_add_test(t, who_comes_later_has_it_from_the_beginning);
	tcase_add_test(t, a_child_does_not_get_it);
	tcase_add_test(t, they_share_a_bound_and_the_sweep_waits);
	tcase_add_test(t, one_that_is_stalled_keeps_nobody);
	tcase_add_test(t, passing_has_rests);
	suite_add_tcase(s, t);
	t = tcase_create("no sweep");
	tcase_add_test(t, only_what_is_touched);
	tcase_add_test(t, until_it_is_told_to_sweep);
	tcase_add_test(t, all_that_was_touched_is_all_there_is);
	tcase_add_test(t, given_up_without_a_sweep);
	suite_add_tcase(s, t);
	t = tcase_create("record");
	tcase_add_test(t, first_touches_in_their_order);
	tcase_add_test(t, a_touch_of_what_is_on_its_way);
	tcase_add_test(t, by_identity_wherever_it_is);
	tcase_add_test(t, each_page_once);
	tcase_add_test(t, for_so_long_from_the_first);
	suite_add_tcase(s, t);
	return run_suite(s);
}
