/* SPDX-License-Identifier: MIT */
/*
 * What the engine does ahead of faults when all goes well: the sweep outward, and neighbours of
 * streams. The language is that of tests/lib/transcript.h.
 */
#include <check.h>
#include <stdio.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

/* ---- the sweep ---- */

START_TEST(the_sweep_fills_the_rest)
{
	transcript_play(
		"image 0+40 at f0:0, area 0..40 from 0, attach s0\n"
		"start			| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+8\n"
		"got r1 16		| s0 copy r1 16..32\n"
		"got r2 8, got r0 16	| s0 copy r0 0..16; s0 copy r2 32..40; s0 close\n"
		"is done, count pages_sweep 40, count pages_owed 0, count nr_spaces 0\n");
}
END_TEST

START_TEST(from_the_last_fault_outward)
{
	transcript_play(
		"image 0+100 at f0:0, area 0..100 from 0, attach s0\n"
		"fault s0 50, wait 6000		| s0 read r0 50+1\n"
		"start			| s0 read r1 34+16; s0 read r2 51+16; s0 read r3 18+16;"
		" s0 read r4 67+16; s0 read r5 2+16; s0 read r6 83+16; s0 read r7 0+2;"
		" s0 read r8 99+1\n");
}
END_TEST

START_TEST(backward_over_what_is_busy)
{
	transcript_play(
		"image 0+60 at f0:0, area 0..60 from 0, attach s0\n"
		"fault s0 49, fault s0 50, wait 6000 | s0 read r0 49+1; s0 read r1 50+1\n"
		"start			| s0 read r2 33+16; s0 read r3 51+9; s0 read r4 17+16;"
		" s0 read r5 1+16; s0 read r6 0+1\n");
}
END_TEST

START_TEST(backward_over_fragments)
{
	transcript_play("image 0+8 at f0:0, image 8+8 at f0:100, image 16+4 at f0:200\n"
			"area 0..20 from 0, attach s0\n"
			"fault s0 16, wait 6000	| s0 read r0 200+1\n"
			"start	| s0 read r1 100+8; s0 read r2 201+3; s0 read r3 0+8\n");
}
END_TEST

START_TEST(a_new_fault_draws_the_sweep)
{
	transcript_play("image 0+120 at f0:0, area 0..120 from 0, attach s0\n"
			"fault s0 8, start	| s0 read r0 8+1; s0 read r1 0+8\n"
			"got r1 8		| s0 copy r1 0..8; s0 read r1 9+8\n"
			"fault s0 60		| s0 read r2 60+1\n"
			"got r1 8		| s0 copy r1 9..17; s0 read r1 52+8\n"
			"got r1 8		| s0 copy r1 52..60; s0 read r1 61+8\n"
			"got r2 1		| s0 copy r2 60..61\n");
}
END_TEST

/* A fault may have to wait behind one of them, on the disk and here. */
START_TEST(half_a_slice_at_a_time_while_faults_come)
{
	transcript_play("image 0+90 at f0:0, image 100+20 at f1:0, area 0..120 from 0, attach s0\n"
			"fault s0 50		| s0 read r0 50+1\n"
			"start			| s0 read r1 42+8\n"
			"fault s0 100		| s0 read r2 f1:0+1; s0 read r3 f1:1+8\n"
			"got r1 8		| s0 copy r1 42..50; s0 read r1 82+8\n"
			"got r3 8, wait 6000	| s0 copy r3 101..109; s0 read r3 f1:9+11;"
			" s0 read r4 66+16; s0 read r5 51+15; s0 read r6 26+16; s0 read r7 10+16;"
			" s0 read r8 0+10\n");
}
END_TEST

#define FOUR_FAULTS "fault s0 0, fault s0 0, fault s0 0, fault s0 0"

/* In a storm of faults they are whole, but not where a disk has to bring them. */
START_TEST(whole_slices_in_a_storm)
{
	transcript_play(
		"image 0+256 at f0:0, area 0..256 from 0, attach s0\n"
		"fault s0 0		| s0 read r0 0+1\n"
		"start			| s0 read r1 1+8 = none, got r1 8; s0 copy r1 1..9;"
		" s0 read r1 9+8\n" FOUR_FAULTS "," FOUR_FAULTS "," FOUR_FAULTS "," FOUR_FAULTS "\n"
		"got r1 8		| s0 copy r1 9..17; s0 read r1 17+8 = none, got r1 8;"
		" s0 copy r1 17..25; s0 read r1 25+16 = none, got r1 16; s0 copy r1 25..41;"
		" s0 read r1 41+16\n"
		"got r1 16		| s0 copy r1 41..57; s0 read r1 57+8\n");
}
END_TEST

/* Faults that are each far from the one before draw the sweep no more, until one is near. */
START_TEST(faults_all_over_the_place_do_not_draw_the_sweep)
{
	enum { FAULTS = 34, APART = 100 };
	char text[8192];
	int n = snprintf(text, sizeof(text),
			 "no sweep, image 0+4096 at f0:0, area 0..4096 from 0, attach s0, start\n");

	for (int i = 1; i <= FAULTS; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "fault s0 %d | s0 read r%d %d+1\n", i * APART, i - 1, i * APART);
	/* The last that did was the one at 3100. */
	(void)snprintf(text + n, sizeof(text) - (size_t)n,
		       "sweep			| s0 read r34 3084+16\n"
		       "fault s0 3410		| s0 read r35 3410+1\n"
		       "got r34 16		| s0 copy r34 3084..3100; s0 read r34 3411+8\n"
		       "fault s0 3600		| s0 read r36 3600+1\n"
		       "got r34 8		| s0 copy r34 3411..3419; s0 read r34 3592+8\n");
	transcript_play(text);
}
END_TEST

/* Nor are those of a stream far apart, whose next is where it was waited for: behind 64 pages. */
START_TEST(a_stream_goes_on_drawing_the_sweep)
{
	static const int first[] = { 300, 301, 306, 315, 332, 365, 430 };
	enum { FAULTS = 40, GROWN = 6 };
	char text[8192];
	int at = 0;
	int n = snprintf(text, sizeof(text),
			 "no sweep, image 0+4096 at f0:0, area 0..4096 from 0, attach s0, start\n");

	for (int i = 0; i < FAULTS; i++) {
		at = i <= GROWN ? first[i] : at + 65;
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "fault s0 %d | s0 read r%d %d+1\n", at, i, at);
	}
	(void)snprintf(text + n, sizeof(text) - (size_t)n, "sweep | s0 read r%d %d+16\n", FAULTS,
		       at - 16);
	transcript_play(text);
}
END_TEST

START_TEST(over_a_wire_they_do)
{
	enum { FAULTS = 34, APART = 100 };
	char text[8192];
	int n = snprintf(text, sizeof(text),
			 "remote f1, no sweep, image 0+4096 at f1:0, area 0..4096 from 0\n"
			 "requests 256, attach s0, start\n");

	for (int i = 1; i <= FAULTS; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "fault s0 %d | s0 read r%d f1:%d+1 urgent\n", i * APART, i - 1,
			      i * APART);
	(void)snprintf(text + n, sizeof(text) - (size_t)n,
		       "sweep			| s0 read r34 f1:3399+1\n");
	transcript_play(text);
}
END_TEST

START_TEST(a_fault_goes_before_what_has_arrived)
{
	transcript_play("image 0+64 at f0:0, area 0..64 from 0, attach s0\n"
			"start | s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"
			" s0 read r3 48+16\n"
			"remap s0 63..64 to 100	| s0 wake 63..64\n"
			/* All at once: the demanded slice, the unanswered fault, then the rest. */
			"got r0 16, got r1 16, got r2 16, fault s0 40, fault s0 200"
			"	| s0 zero 200..201; s0 copy r2 32..48; s0 copy r0 0..16;"
			" s0 copy r1 16..32\n"
			"count pages_sweep 48\n");
}
END_TEST

START_TEST(a_busy_page_is_demanded)
{
	transcript_play("image 0+32 at f0:0, area 0..32 from 0, attach s0\n"
			"start			| s0 read r0 0+16; s0 read r1 16+16\n"
			"fault s0 20\n"
			"count waiting 1\n"
			"got r0 16, got r1 16	| s0 copy r1 16..32; s0 copy r0 0..16; s0 close\n"
			"count pages_sweep 32, count pages_demand 0, count waiting 0\n");
}
END_TEST

/* Not the same page of another space. */
START_TEST(a_busy_page_is_its_own_space_s)
{
	transcript_play("image 0+16 at f0:0, area 0..16 from 0, attach s0, attach s1\n"
			"start			| s0 read r0 0+16; s1 read r1 0+16\n"
			"fault s1 3\n"
			"got r0 16, got r1 16	| s1 copy r1 0..16; s0 copy r0 0..16; s0 close;"
			" s1 close\n");
}
END_TEST

/* By the one who has waited longest for any page of a request. */
START_TEST(the_oldest_fault_of_a_request_counts)
{
	transcript_play("image 0+32 at f0:0, area 0..32 from 0, attach s0\n"
			"start			| s0 read r0 0+16; s0 read r1 16+16\n"
			"fault s0 3\n"
			"wait 10, fault s0 20\n"
			"wait 10, fault s0 4\n"
			"got r1 16, got r0 16	| s0 copy r0 0..16; s0 copy r1 16..32; s0 close\n");
}
END_TEST

/* What is waited for is placed to its last page before that of somebody who came later. */
START_TEST(the_last_page_that_is_demanded_too)
{
	transcript_play("image 0+32 at f0:0, area 0..32 from 0, attach s0\n"
			"start			| s0 read r0 0+16; s0 read r1 16+16\n"
			"fault s0 3, fault s0 4\n"
			"wait 10, fault s0 20\n"
			"got r0 16, got r1 16	| s0 copy r0 0..16 = 4; s0 copy r0@4 4..16;"
			" s0 copy r1 16..32; s0 close\n");
}
END_TEST

/* The thread's fault and the bytes for it come in one turn, and nothing comes after them. */
START_TEST(a_page_that_has_arrived_is_demanded)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start			| s0 read r0 0+8\n"
			"got r0 8, fault s0 3	| s0 copy r0 0..8; s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(spaces_are_swept_in_turn)
{
	transcript_play("image 0+64 at f0:0, area 0..64 from 0\n"
			"attach s0, attach s1, attach s2\n"
			"start | s0 read r0 0+16; s1 read r1 0+16; s2 read r2 0+16;"
			" s0 read r3 16+16; s1 read r4 16+16; s2 read r5 16+16;"
			" s0 read r6 32+16; s1 read r7 32+16; s2 read r8 32+16;"
			" s0 read r9 48+16; s1 read r10 48+16; s2 read r11 48+16\n"
			"got r1 16, got r4 16, got r7 16, got r10 16"
			" | s1 copy r1 0..16; s1 copy r4 16..32; s1 copy r7 32..48;"
			" s1 copy r10 48..64; s1 close\n"
			"is not done, count nr_spaces 2, owed s0 64\n");
}
END_TEST

/* ---- neighbours ---- */

START_TEST(a_stream_has_a_growing_window)
{
	transcript_play(
		"image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
		/* All of it is on its way, and the sweep waits for it. */
		"start			| s0 fetch b0 0+512 = none\n"
		"fault s0 300			| s0 read r0 300+1\n"
		"fault s0 301			| s0 read r1 301+1; s0 read r2 302+4\n"
		/* The next of the stream is the one behind the window. */
		"fault s0 306			| s0 read r3 306+1; s0 read r4 307+8\n"
		"fault s0 315	| s0 read r5 315+1; s0 read r6 316+8; s0 read r7 324+8\n"
		"got r6 8, got r7 8	| s0 copy r6 316..324; s0 copy r7 324..332\n"
		"fault s0 332	| s0 read r6 332+1; s0 read r7 333+8; s0 read r8 341+8;"
		" s0 read r9 349+8; s0 read r10 357+8\n"
		"got r7 8, got r8 8, got r9 8, got r10 8 | s0 copy r7 333..341;"
		" s0 copy r8 341..349; s0 copy r9 349..357; s0 copy r10 357..365\n"
		"fault s0 365	| s0 read r7 365+1; s0 read r8 366+8; s0 read r9 374+8;"
		" s0 read r10 382+8; s0 read r11 390+8; s0 read r12 398+8; s0 read r13 406+8;"
		" s0 read r14 414+8; s0 read r15 422+8\n"
		"got r8 8, got r9 8, got r10 8, got r11 8 | s0 copy r8 366..374;"
		" s0 copy r9 374..382; s0 copy r10 382..390; s0 copy r11 390..398\n"
		/* 64 pages are the most. */
		"fault s0 430	| s0 read r8 430+1; s0 read r9 431+8; s0 read r10 439+8;"
		" s0 read r11 447+8; s0 read r16 455+8; s0 read r17 463+8; s0 read r18 471+8;"
		" s0 read r19 479+8; s0 read r20 487+8\n"
		"got r2 4			| s0 copy r2 302..306\n"
		"count pages_neighbour 84\n");
}
END_TEST

START_TEST(random_faults_have_none)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"fault s0 300			| s0 read r0 300+1\n"
			"fault s0 301			| s0 read r1 301+1; s0 read r2 302+4\n"
			"fault s0 400			| s0 read r3 400+1; s0 read r4 401+2\n"
			"fault s0 500			| s0 read r5 500+1; s0 read r6 501+1\n"
			"fault s0 350			| s0 read r7 350+1\n"
			"fault s0 450			| s0 read r8 450+1\n"
			"fault s0 451			| s0 read r9 451+1; s0 read r10 452+4\n");
}
END_TEST

START_TEST(neighbours_leave_out_what_is_not_owed)
{
	transcript_play(
		"image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
		"start			| s0 fetch b0 0+512 = none\n"
		"remove s0 302..303		| s0 wake 302..303\n"
		"fault s0 304			| s0 read r0 304+1\n"
		"fault s0 300			| s0 read r1 300+1\n"
		"fault s0 301			| s0 read r2 301+1; s0 read r3 303+1; s0 read r4 305+1\n"
		/* At the end of the image. */
		"fault s0 510			| s0 read r5 510+1; s0 read r6 511+1\n");
}
END_TEST

/* As far as the last two are apart; sixteen pages at most. */
START_TEST(a_stream_may_go_backward_or_in_strides)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"fault s0 300			| s0 read r0 300+1\n"
			"fault s0 299			| s0 read r1 299+1\n"
			"fault s0 298			| s0 read r2 298+1; s0 read r3 294+4\n"
			"fault s0 293			| s0 read r4 293+1; s0 read r5 285+8\n"
			/* Another begins. */
			"fault s0 100			| s0 read r6 100+1; s0 read r7 101+4\n"
			"fault s0 107			| s0 read r8 107+1; s0 read r9 108+2\n"
			"fault s0 114			| s0 read r10 114+1; s0 read r11 121+1;"
			" s0 read r12 128+1; s0 read r13 135+1; s0 read r14 142+1\n");
}
END_TEST

START_TEST(backward_sixteen_pages_are_the_most)
{
	transcript_play(
		"image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
		"start			| s0 fetch b0 0+512 = none\n"
		"fault s0 300			| s0 read r0 300+1\n"
		"fault s0 299			| s0 read r1 299+1\n"
		"fault s0 298			| s0 read r2 298+1; s0 read r3 294+4\n"
		"fault s0 293			| s0 read r4 293+1; s0 read r5 285+8\n"
		"fault s0 284	| s0 read r6 284+1; s0 read r7 268+8; s0 read r8 276+8\n"
		"fault s0 267	| s0 read r9 267+1; s0 read r10 251+8; s0 read r11 259+8\n");
}
END_TEST

/* Either way: of 64 pages, and what is farther apart is none. */
#define ALL_COMES                                              \
	"image 0+512 at f0:0, area 0..512 from 0, attach s0\n" \
	"start			| s0 fetch b0 0+512 = none\n"

START_TEST(the_longest_stride)
{
	transcript_play(ALL_COMES
			"fault s0 100			| s0 read r0 100+1\n"
			"fault s0 164			| s0 read r1 164+1\n"
			"fault s0 228	| s0 read r2 228+1; s0 read r3 292+1; s0 read r4 356+1;"
			" s0 read r5 420+1; s0 read r6 484+1\n");
	transcript_play(ALL_COMES
			"fault s0 500			| s0 read r0 500+1\n"
			"fault s0 436			| s0 read r1 436+1\n"
			"fault s0 372	| s0 read r2 372+1; s0 read r3 308+1; s0 read r4 244+1;"
			" s0 read r5 180+1; s0 read r6 116+1\n");
	transcript_play(ALL_COMES "fault s0 100	| s0 read r0 100+1\n"
				  "fault s0 165	| s0 read r1 165+1\n"
				  "fault s0 230	| s0 read r2 230+1\n");
	transcript_play(ALL_COMES "fault s0 500	| s0 read r0 500+1\n"
				  "fault s0 435	| s0 read r1 435+1\n"
				  "fault s0 370	| s0 read r2 370+1\n");
}
END_TEST

/* Backward it ends at the first page, in strides at the last, and what is not owed is left out. */
START_TEST(streams_end_where_the_memory_does)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"fault s0 4			| s0 read r0 4+1\n"
			"fault s0 3			| s0 read r1 3+1\n"
			"fault s0 2			| s0 read r2 2+1; s0 read r3 0+2\n"
			"remove s0 501..502		| s0 wake 501..502\n"
			"fault s0 461			| s0 read r4 461+1; s0 read r5 462+2\n"
			"fault s0 471			| s0 read r6 471+1; s0 read r7 472+1\n"
			"fault s0 481			| s0 read r8 481+1; s0 read r9 491+1\n"
			"fault s0 511			| s0 read r10 511+1\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_ahead");
	TCase *t = tcase_create("sweep");

	tcase_add_test(t, the_sweep_fills_the_rest);
	tcase_add_test(t, from_the_last_fault_outward);
	tcase_add_test(t, backward_over_what_is_busy);
	tcase_add_test(t, backward_over_fragments);
	tcase_add_test(t, a_new_fault_draws_the_sweep);
	tcase_add_test(t, half_a_slice_at_a_time_while_faults_come);
	tcase_add_test(t, whole_slices_in_a_storm);
	tcase_add_test(t, faults_all_over_the_place_do_not_draw_the_sweep);
	tcase_add_test(t, a_stream_goes_on_drawing_the_sweep);
	tcase_add_test(t, over_a_wire_they_do);
	tcase_add_test(t, a_fault_goes_before_what_has_arrived);
	tcase_add_test(t, a_busy_page_is_demanded);
	tcase_add_test(t, a_busy_page_is_its_own_space_s);
	tcase_add_test(t, the_oldest_fault_of_a_request_counts);
	tcase_add_test(t, the_last_page_that_is_demanded_too);
	tcase_add_test(t, a_page_that_has_arrived_is_demanded);
	tcase_add_test(t, spaces_are_swept_in_turn);
	suite_add_tcase(s, t);
	t = tcase_create("neighbours");
	tcase_add_test(t, a_stream_has_a_growing_window);
	tcase_add_test(t, random_faults_have_none);
	tcase_add_test(t, neighbours_leave_out_what_is_not_owed);
	tcase_add_test(t, a_stream_may_go_backward_or_in_strides);
	tcase_add_test(t, backward_sixteen_pages_are_the_most);
	tcase_add_test(t, the_longest_stride);
	tcase_add_test(t, streams_end_where_the_memory_does);
	suite_add_tcase(s, t);
	return run_suite(s);
}
