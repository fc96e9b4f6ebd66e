/* SPDX-License-Identifier: MIT */
/*
 * The engine while a process moves, drops and doubles its pages: what is on its way follows them or
 * is dropped, and whoever waited for it is woken. The language is that of tests/lib/transcript.h.
 */
#include <check.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

/* ---- remap ---- */

START_TEST(a_read_follows_its_page)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"remap s0 2..4 to 20	| s0 wake 2..4\n"
			"got r0 1		| s0 copy r0 20..21\n"
			"fault s0 21		| s0 read r0 3+1\n"
			"fault s0 2		| s0 zero 2..3 = enoent; s0 wake 2..3\n"
			"got r0 1		| s0 copy r0 21..22\n"
			"owed s0 6, count ev_remap 1, count pages_gone 0\n");
}
END_TEST

START_TEST(a_read_torn_apart)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"start			| s0 read r0 0+8\n"
		"remap s0 2..4 to 20, remap s0 4..8 to 18"
		"			| s0 wake 4..8; s0 wake 2..4\n"
		/* The second move covers what the first had placed at 20..22. */
		"owed s0 6, count pages_gone 2\n"
		"got r0 8		| s0 copy r0 0..2; s0 copy r0@4 18..22; s0 close\n");
}
END_TEST

START_TEST(there_and_back)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"remap s0 0..8 to 100, remap s0 100..108 to 0"
			"			| s0 wake 100..108; s0 wake 0..8\n"
			"fault s0 2\n"
			"got r0 1		| s0 copy r0 2..3\n"
			"wait 6000, start		| s0 read r0 0+2; s0 read r1 3+5\n"
			"got r0 2, got r1 5	| s0 copy r0 0..2; s0 copy r1 3..8; s0 close\n");
}
END_TEST

START_TEST(a_fault_noted_before_a_move)
{
	/* Its message was read with the move's: the thread is woken and faults at the new place. */
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2, remap s0 2..3 to 20"
			"	| s0 wake 2..3; s0 zero 2..3 = enoent; s0 wake 2..3\n"
			"fault s0 20		| s0 read r0 2+1\n");
}
END_TEST

START_TEST(onto_other_pages)
{
	transcript_play("image 0+16 at f0:0, area 0..16 from 0, attach s0\n"
			"fault s0 10		| s0 read r0 10+1\n"
			"remap s0 0..4 to 8	| s0 wake 0..4\n"
			"owed s0 12, count pages_gone 4\n"
			"fault s0 10		| s0 read r1 2+1\n"
			/* The page that lay there is not wanted any more. */
			"got r0 1\n"
			"got r1 1		| s0 copy r1 10..11\n");
}
END_TEST

START_TEST(to_where_nothing_was_held)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"remap s0 4..8 to 2	| s0 wake 4..8\n"
			"owed s0 2\n"
			"fault s0 3		| s0 zero 3..4\n"
			"fault s0 1		| s0 read r0 1+1\n");
}
END_TEST

/* ---- remove, unmap ---- */

START_TEST(a_removed_page_in_flight)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"fault s0 2\n"
			"remove s0 0..4		| s0 wake 0..4\n"
			/* Who was told that it is coming faults again, and sees zeroes. */
			"fault s0 2		| s0 zero 2..3\n"
			"got r0 1\n"
			"count waiting 0, count pages_demand 0, count pages_gone 4, owed s0 4\n");
}
END_TEST

START_TEST(a_part_of_what_is_in_flight)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"start			| s0 read r0 0+8\n"
		"remove s0 2..4, unmap s0 5..6	| s0 wake 5..6; s0 wake 2..4\n"
		"got r0 8 | s0 copy r0 0..2; s0 copy r0@4 4..5; s0 copy r0@6 6..8; s0 close\n");
}
END_TEST

START_TEST(between_two_copies_of_a_read)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"start			| s0 read r0 0+8\n"
			"got r0 8		| s0 copy r0 0..8 = eagain\n"
			"remove s0 0..3		| s0 wake 0..3; s0 copy r0@3 3..8 = 1;"
			" s0 copy r0@4 4..8 = eagain\n"
			"remap s0 6..8 to 40	| s0 wake 6..8; s0 copy r0@4 4..6;"
			" s0 copy r0@6 40..42; s0 close\n");
}
END_TEST

START_TEST(an_unmapped_page_in_flight)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"fault s0 2		| s0 read r0 2+1\n"
		"unmap s0 2..3		| s0 wake 2..3\n"
		"got r0 1\n"
		"owed s0 7, count pages_gone 1, count ev_unmap 1\n"
		/* The address is mapped anew and registered by a restorer: not the image's. */
		"fault s0 2		| s0 zero 2..3\n");
}
END_TEST

START_TEST(around_all)
{
	transcript_play("image 0+4 at f0:0, image 10+4 at f0:4\n"
			"area 0..4 from 0, area 10..14 from 10, attach s0\n"
			"start			| s0 read r0 0+8\n"
			"remove s0 2..12	| s0 wake 2..12\n"
			"unmap s0 0..1000	| s0 wake 0..1000\n"
			"got r0 8		| s0 close\n"
			"count pages_gone 8\n");
}
END_TEST

/* ---- fork ---- */

START_TEST(a_child_is_owed_what_its_parent_is)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"fault s0 2		| s0 read r0 2+1\n"
		"got r0 1		| s0 copy r0 2..3\n"
		"fault s0 5		| s0 read r0 5+1\n"
		"fork s0 s1\n"
		"owed s0 7, owed s1 7, count pages_total 15, count nr_spaces 2\n"
		/* What is on its way is on its way to the parent. */
		"fault s1 5		| s1 read r1 5+1\n"
		"got r0 1		| s0 copy r0 5..6\n"
		"owed s1 7\n"
		"got r1 1		| s1 copy r1 5..6\n"
		"fault s1 2		| s1 zero 2..3 = eexist; s1 wake 2..3\n"
		"wait 6000, start		| s0 read r0 3+2; s1 read r1 3+2; s0 read r2 6+2;"
		" s1 read r3 6+2; s0 read r4 0+2; s1 read r5 0+2\n");
}
END_TEST

START_TEST(each_goes_its_way)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fork s0 s1\n"
			"remap s0 0..4 to 20	| s0 wake 0..4\n"
			"unmap s1 4..8		| s1 wake 4..8\n"
			"fault s0 21, fault s1 1 | s0 read r0 1+1; s1 read r1 1+1\n"
			"got r0 1, got r1 1	| s0 copy r0 21..22; s1 copy r1 1..2\n"
			"owed s0 7, owed s1 3\n");
}
END_TEST

START_TEST(a_fork_of_a_fork)
{
	transcript_play(
		"image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
		"fork s0 s1, remap s1 0..8 to 30, fork s1 s2 | s1 wake 0..8\n"
		"exit s0		| s0 close\n"
		"fault s2 33		| s2 read r0 3+1\n"
		"got r0 1		| s2 copy r0 33..34\n"
		"owed s0 0, owed s1 8, owed s2 7, count ev_fork 2\n"
		"wait 6000, start		| s1 read r0 0+8; s2 read r1 0+3; s2 read r2 4+4\n"
		"got r0 8		| s1 copy r0 30..38; s1 close\n"
		"got r1 3, got r2 4	| s2 copy r1 30..33; s2 copy r2 34..38; s2 close\n"
		"is done\n");
}
END_TEST

START_TEST(a_child_of_a_stalled_space)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"got r0 1		| s0 copy r0 2..3 = eagain\n"
			"retry 50\n"
			/* The fork is what it waited for. */
			"fork s0 s1		| s0 copy r0 2..3\n"
			"retry never\n"
			"fault s1 2		| s1 read r0 2+1\n");
}
END_TEST

START_TEST(a_child_that_is_owed_nothing)
{
	transcript_play("image 0+1 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 0		| s0 read r0 0+1\n"
			"got r0 1		| s0 copy r0 0..1\n"
			"fork s0 s1\n"
			"start			| s0 close; s1 close\n"
			"is done\n");
}
END_TEST

/* ---- exit ---- */

START_TEST(an_exit_cancels_all)
{
	transcript_play("image 0+40 at f0:0, area 0..40 from 0, attach s0, attach s1\n"
			"fault s0 2, fault s0 30	| s0 read r0 2+1; s0 read r1 30+1\n"
			"fault s0 3, exit s0\n"
			"owed s0 0, count pages_gone 40, count ev_exit 1\n"
			/* The buffers are the requests' until their reads are back. */
			"got r0 1\n"
			"fault s0 4\n"
			"got r1 eio		| s0 close\n"
			"fault s1 2		| s1 read r0 2+1\n"
			"is not done\n");
}
END_TEST

START_TEST(an_exit_told_twice)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"got r0 1		| s0 copy r0 2..3 = esrch; s0 close = none\n"
			"exit s0\n"
			"count ev_exit 1, count pages_gone 8, count pages_lost 0\n");
}
END_TEST

START_TEST(an_exit_told_by_a_zero)
{
	transcript_play("image 0+8 at f0:0, area 0..10 from 0, attach s0\n"
			"fault s0 9, fault s0 2	| s0 zero 9..10 = esrch; s0 close\n"
			"count pages_gone 8\n");
}
END_TEST

/* Old kernels. */
START_TEST(an_exit_told_by_enospc)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0, start | s0 read r0 0+8\n"
			"got r0 8		| s0 copy r0 0..8 = enospc; s0 close\n"
			"is done, count pages_gone 8\n");
}
END_TEST

START_TEST(an_exit_ends_a_stall)
{
	transcript_play("image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"got r0 1		| s0 copy r0 2..3 = eagain\n"
			"exit s0		| s0 close\n"
			"retry never\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_layout");
	TCase *t = tcase_create("remap");

	tcase_add_test(t, a_read_follows_its_page);
	tcase_add_test(t, a_read_torn_apart);
	tcase_add_test(t, there_and_back);
	tcase_add_test(t, a_fault_noted_before_a_move);
	tcase_add_test(t, onto_other_pages);
	tcase_add_test(t, to_where_nothing_was_held);
	suite_add_tcase(s, t);
	t = tcase_create("remove");
	tcase_add_test(t, a_removed_page_in_flight);
	tcase_add_test(t, a_part_of_what_is_in_flight);
	tcase_add_test(t, between_two_copies_of_a_read);
	tcase_add_test(t, an_unmapped_page_in_flight);
	tcase_add_test(t, around_all);
	suite_add_tcase(s, t);
	t = tcase_create("fork");
	tcase_add_test(t, a_child_is_owed_what_its_parent_is);
	tcase_add_test(t, each_goes_its_way);
	tcase_add_test(t, a_fork_of_a_fork);
	tcase_add_test(t, a_child_of_a_stalled_space);
	tcase_add_test(t, a_child_that_is_owed_nothing);
	suite_add_tcase(s, t);
	t = tcase_create("exit");
	tcase_add_test(t, an_exit_cancels_all);
	tcase_add_test(t, an_exit_told_twice);
	tcase_add_test(t, an_exit_told_by_a_zero);
	tcase_add_test(t, an_exit_told_by_enospc);
	tcase_add_test(t, an_exit_ends_a_stall);
	suite_add_tcase(s, t);
	return run_suite(s);
}
