/* SPDX-License-Identifier: MIT */
/*
 * The engine's policy when all goes well: faults first and alone, zero pages, what a request may
 * hold, and the end of a space. What comes behind faults is in engine_ahead.c. The language is that
 * of tests/lib/transcript.h.
 */
#include <check.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

START_TEST(a_fault_is_read_alone)
{
	transcript_play("image 0+8 at f0:20, area 0..8 from 0, attach s0\n"
			"fault s0 2+8		| s0 read r0 22+1\n"
			"got r0 1		| s0 copy r0 2..3\n"
			"count pages_demand 1, count pages_total 8, count pages_owed 7\n"
			/* Answered already: the thread was on its way. */
			"fault s0 2		| s0 zero 2..3 = eexist; s0 wake 2..3\n"
			"owed s0 7, count pages_zero 0, count res_eexist 1\n");
}
END_TEST

START_TEST(one_page_has_one_request)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"fault s0 2, fault s0 2+8, fault s0 2\n"
			"fault s0 3		| s0 read r1 3+1\n"
			"count waiting 2, count faults 5\n"
			"got r1 1		| s0 copy r1 3..4\n"
			"got r0 1		| s0 copy r0 2..3\n"
			"count waiting 0, count pages_demand 2\n");
}
END_TEST

START_TEST(all_faults_of_a_batch)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"fault s0 5, fault s0 1, fault s0 5, fault s0 7"
		"			| s0 read r0 5+1; s0 read r1 1+1; s0 read r2 7+1\n");
}
END_TEST

START_TEST(nothing_runs_ahead_of_a_restorer)
{
	transcript_play(
		"image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
		"fault s0 2		| s0 read r0 2+1\n"
		"fault s0 3		| s0 read r1 3+1\n"
		"fault s0 4		| s0 read r2 4+1\n"
		"got r0 1, got r1 1, got r2 1"
		"			| s0 copy r0 2..3; s0 copy r1 3..4; s0 copy r2 4..5\n"
		"is not done, retry never\n");
}
END_TEST

START_TEST(a_page_the_image_does_not_hold)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 5		| s0 zero 5..6\n"
			"fault s0 7+4095	| s0 zero 7..8\n"
			/* Grown onto a stack: registered, but of no area that we know. */
			"fault s0 8+1		| s0 zero 8..9\n"
			"count pages_zero 3, count pages_gone 0, owed s0 4\n"
			"fault s0 6		| s0 zero 6..7 = enoent; s0 wake 6..7\n"
			"fault s0 6		| s0 zero 6..7 = eexist; s0 wake 6..7\n"
			"count pages_zero 3, count res_enoent 1\n");
}
END_TEST

START_TEST(zero_pages_in_a_stream)
{
	transcript_play("image 0+1 at f0:0, image 40+1 at f0:9, area 0..300 from 0, attach s0\n"
			"fault s0 1		| s0 zero 1..2\n"
			"fault s0 2		| s0 zero 2..3\n" /* the restorer is at work */
			"wait 6000, start	| s0 read r0 0+1; s0 read r1 9+1\n"
			"fault s0 3		| s0 zero 3..7\n"
			"fault s0 7		| s0 zero 7..23\n"
			"fault s0 23		| s0 zero 23..40\n" /* not what is owed */
			"count pages_zero 39, owed s0 2\n"
			"fault s0 50		| s0 zero 50..51\n" /* no stream */
			"fault s0 52		| s0 zero 52..53\n"
			"fault s0 53		| s0 zero 53..57 = 2\n" /* the third is there */
			"fault s0 55		| s0 zero 55..63\n"
			/* A seam: alone then, and from there on as before. */
			"fault s0 63		| s0 zero 63..95 = enoent; s0 wake 63..95\n"
			"fault s0 63		| s0 zero 63..64\n"
			"fault s0 64		| s0 zero 64..68 = eagain\n"
			"wait 50		| s0 zero 64..68\n"
			"fault s0 68		| s0 zero 68..84\n"
			"fault s0 84		| s0 zero 84..148\n"
			"fault s0 148		| s0 zero 148..212\n" /* no more than 64 */
			"fault s0 212		| s0 zero 212..276\n"
			"fault s0 276		| s0 zero 276..300\n" /* to the area's end */
			"fault s0 300		| s0 zero 300..301\n");
}
END_TEST

/* Of large pages there is one page of zeroes to be copied, and no more. */
START_TEST(large_zero_pages_are_placed_alone)
{
	transcript_play("image 0+512 at f0:0 2M, area 0..4096 from 0 2M, no sweep, attach s0\n"
			"start\n"
			"fault s0 600		| s0 zero 512..1024\n"
			"fault s0 1100		| s0 zero 1024..1536\n"
			"fault s0 1536		| s0 zero 1536..2048\n");
}
END_TEST

START_TEST(a_removed_page_is_zero)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"remove s0 2..4		| s0 wake 2..4\n"
			"owed s0 6, count pages_gone 2, count ev_remove 1\n"
			"fault s0 3		| s0 zero 3..4\n");
}
END_TEST

/* ---- what a request may hold ---- */

START_TEST(fragments_of_memory_are_one_read)
{
	transcript_play(
		"image 0+2 at f0:0, image 4+1 at f0:2, image 8+3 at f0:3\n"
		"area 0..12 from 0, attach s0\n"
		"start			| s0 read r0 0+6\n"
		"got r0 6 | s0 copy r0 0..2; s0 copy r0@2 4..5; s0 copy r0@3 8..11; s0 close\n");
}
END_TEST

START_TEST(fragments_of_a_file_are_not)
{
	transcript_play("image 0+2 at f0:0, image 2+2 at f0:8, image 4+2 at f1:10\n"
			"area 0..6 from 0, attach s0\n"
			"start	| s0 read r0 0+2; s0 read r1 8+2; s0 read r2 f1:10+2\n"
			"got r2 2		| s0 copy r2 4..6\n"
			"got r0 2, got r1 2	| s0 copy r0 0..2; s0 copy r1 2..4; s0 close\n");
}
END_TEST

START_TEST(a_read_goes_to_many_areas)
{
	transcript_play(
		"image 0+8 at f0:0\n"
		"area 0..2 from 4, area 10..13 from 0, area 20..21 from 3, area 30..32 from 6\n"
		"attach s0\n"
		"start			| s0 read r0 0+8\n"
		"got r0 8		| s0 copy r0 10..13; s0 copy r0@3 20..21;"
		" s0 copy r0@4 0..2; s0 copy r0@6 30..32; s0 close\n");
}
END_TEST

START_TEST(only_what_has_an_area_is_owed)
{
	transcript_play("image 0+8 at f0:0, area 3..6 from 3, attach s0\n"
			"count pages_total 3\n"
			"start			| s0 read r0 3+3\n"
			"got r0 3		| s0 copy r0 3..6; s0 close\n");
}
END_TEST

START_TEST(huge_pages)
{
	transcript_play(
		"image 0+1024 at f0:0 2M, image 2048+4 at f0:1024\n"
		"area 0..1536 from 0 2M, area 2048..2052 from 2048, attach s0\n"
		"count pages_total 6\n"
		"fault s0 513+77	| s0 read r0 512+512\n"
		"got r0 512		| s0 copy r0 512..1024\n"
		"fault s0 1100		| s0 zero 1024..1536\n"
		"fault s0 2050		| s0 read r0 1026+1\n"
		/* Inward: a part of a huge page is not removed. */
		"remove s0 1..512	| s0 wake 1..512\n"
		"owed s0 516\n"
		"wait 6000, start	| s0 read r1 1024+2; s0 read r2 1027+1;"
		" s0 read r3 0+512\n"
		"remap s0 0..512 to 4096 | s0 wake 0..512\n"
		"got r3 512		| s0 copy r3 4096..4608\n"
		"got r0 1, got r1 2, got r2 1 | s0 copy r0 2050..2051; s0 copy r1 2048..2050;"
		" s0 copy r2 2051..2052; s0 close\n");
}
END_TEST

/* ---- the end of a space ---- */

START_TEST(nothing_is_closed_before_the_start)
{
	transcript_play("image 0+1 at f0:0, area 0..1 from 0, attach s0\n"
			"fault s0 0		| s0 read r0 0+1\n"
			"got r0 1		| s0 copy r0 0..1\n"
			"owed s0 0, is not done\n"
			"start			| s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(an_empty_space)
{
	transcript_play("area 0..8 from 0, attach s0\n"
			"fault s0 3		| s0 zero 3..4\n"
			"start			| s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(no_space_at_all)
{
	transcript_play("area 0..8 from 0, attach s0\n"
			"exit s0		| s0 close\n"
			"is not done\n"
			"start\n"
			"is done\n");
}
END_TEST

START_TEST(not_while_a_request_is_on_its_way)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start			| s0 read r0 0+8\n"
			"unmap s0 0..8		| s0 wake 0..8\n"
			"owed s0 0, is not done\n"
			"got r0 8		| s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(faults_while_closing_are_answered)
{
	transcript_play("image 0+1 at f0:0, area 0..8 from 0, attach s0\n"
			"start			| s0 read r0 0+1\n"
			"got r0 1		| s0 copy r0 0..1; s0 close = none\n"
			"fault s0 4		| s0 zero 4..5\n"
			"is not done\n");
}
END_TEST

START_TEST(what_others_wait_for_stays)
{
	transcript_play("image 0+1 at f0:0, area 0..8 from 0, attach s0, attach s1\n"
			"fault s1 5		| s1 zero 5..6 = eagain\n"
			"exit s0		| s0 close\n"
			"count waiting 1\n"
			"wait 50		| s1 zero 5..6\n");
}
END_TEST

START_TEST(a_number_is_used_again)
{
	transcript_play("image 0+1 at f0:0, area 0..2 from 0, attach s0, attach s1\n"
			"start			| s0 read r0 0+1; s1 read r1 0+1\n"
			"got r0 1		| s0 copy r0 0..1; s0 close\n"
			"fork s1 s0		| s0 read r0 0+1\n"
			"got r1 1		| s1 copy r1 0..1; s1 close\n"
			"got r0 1		| s0 copy r0 0..1; s0 close\n"
			"is done, count pages_total 3, count pages_sweep 3\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("faults");

	tcase_add_test(t, a_fault_is_read_alone);
	tcase_add_test(t, one_page_has_one_request);
	tcase_add_test(t, all_faults_of_a_batch);
	tcase_add_test(t, nothing_runs_ahead_of_a_restorer);
	tcase_add_test(t, a_page_the_image_does_not_hold);
	tcase_add_test(t, zero_pages_in_a_stream);
	tcase_add_test(t, large_zero_pages_are_placed_alone);
	tcase_add_test(t, a_removed_page_is_zero);
	suite_add_tcase(s, t);
	t = tcase_create("requests");
	tcase_add_test(t, fragments_of_memory_are_one_read);
	tcase_add_test(t, fragments_of_a_file_are_not);
	tcase_add_test(t, a_read_goes_to_many_areas);
	tcase_add_test(t, only_what_has_an_area_is_owed);
	tcase_add_test(t, huge_pages);
	suite_add_tcase(s, t);
	t = tcase_create("close");
	tcase_add_test(t, nothing_is_closed_before_the_start);
	tcase_add_test(t, an_empty_space);
	tcase_add_test(t, no_space_at_all);
	tcase_add_test(t, not_while_a_request_is_on_its_way);
	tcase_add_test(t, faults_while_closing_are_answered);
	tcase_add_test(t, what_others_wait_for_stays);
	tcase_add_test(t, a_number_is_used_again);
	suite_add_tcase(s, t);
	return run_suite(s);
}
