/* SPDX-License-Identifier: MIT */
/*
 * The engine when the kernel says something else than "done", and when bytes cannot be had. The
 * language is that of tests/lib/transcript.h.
 */
#include <check.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

#define EIGHT "image 0+8 at f0:0, area 0..8 from 0, attach s0\n"
#define SWEPT EIGHT "start | s0 read r0 0+8\n"

/* ---- EAGAIN ---- */

START_TEST(eagain_waits_for_the_time)
{
	transcript_play(EIGHT "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1			| s0 copy r0 2..3 = eagain\n"
			      "retry 50\n"
			      "wait 49\n"
			      "retry 1\n"
			      "wait 1			| s0 copy r0 2..3 = eagain\n"
			      /* Twice as long each time. */
			      "retry 100\n"
			      "wait 100			| s0 copy r0 2..3\n"
			      "retry never, count res_eagain 2, count pages_demand 1\n");
}
END_TEST

START_TEST(eagain_has_a_longest_wait)
{
	transcript_play(EIGHT "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1			| s0 copy r0 2..3 = eagain\n"
			      "wait 50			| s0 copy r0 2..3 = eagain\n"
			      "wait 100			| s0 copy r0 2..3 = eagain\n"
			      "wait 200			| s0 copy r0 2..3 = eagain\n"
			      "wait 400			| s0 copy r0 2..3 = eagain\n"
			      "wait 800			| s0 copy r0 2..3 = eagain\n"
			      "wait 1600		| s0 copy r0 2..3 = eagain\n"
			      "retry 2000\n"
			      "wait 2000		| s0 copy r0 2..3 = eagain\n"
			      "retry 2000\n"
			      "wait 5000		| s0 copy r0 2..3\n"
			      /* What went well forgets the waits. */
			      "fault s0 3		| s0 read r0 3+1\n"
			      "got r0 1			| s0 copy r0 3..4 = eagain\n"
			      "retry 50\n");
}
END_TEST

START_TEST(eagain_waits_for_the_next_event)
{
	transcript_play(EIGHT "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1			| s0 copy r0 2..3 = eagain\n"
			      "remove s0 5..6		| s0 wake 5..6; s0 copy r0 2..3 = eagain\n"
			      "retry 50\n"
			      "unmap s0 2..3		| s0 wake 2..3\n"
			      "retry never, owed s0 6\n");
}
END_TEST

START_TEST(a_stalled_zero_is_not_forgotten)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 5		| s0 zero 5..6 = eagain\n"
			"count waiting 1\n"
			/* Others of the space wait with it; what can be read is read. */
			"fault s0 6, fault s0 2	| s0 read r0 2+1\n"
			"got r0 1\n"
			"wait 50		| s0 copy r0 2..3; s0 zero 5..6; s0 zero 6..7\n"
			"count waiting 0, count pages_zero 2\n");
}
END_TEST

/* Asked twice of the layout as it is: nothing has moved in between. */
START_TEST(enoent_twice_behind_a_layout_event)
{
	transcript_play(EIGHT "remove s0 5..6	| s0 wake 5..6\n"
			      "fault s0 2	| s0 read r0 2+1\n"
			      "got r0 1		| s0 copy r0 2..3 = enoent; s0 wake 2..3\n");
}
END_TEST

START_TEST(a_stall_is_of_one_space)
{
	transcript_play(EIGHT "attach s1\n"
			      "fault s0 2, fault s1 2	| s0 read r0 2+1; s1 read r1 2+1\n"
			      "got r0 1			| s0 copy r0 2..3 = eagain\n"
			      "got r1 1			| s1 copy r1 2..3\n"
			      "start			| s1 read r1 0+2\n"
			      "got r1 2			| s1 copy r1 0..2; s1 read r1 3+5\n"
			      "got r1 5			| s1 copy r1 3..8; s1 close\n"
			      "wait 50			| s0 copy r0 2..3; s0 read r0 0+2\n");
}
END_TEST

START_TEST(a_stall_does_not_hold_up_neighbours_of_others)
{
	transcript_play("image 0+100 at f0:0, area 0..100 from 0, attach s0, attach s1\n"
			"fault s0 10, start	| s0 read r0 10+1; s0 read r1 2+8\n"
			"got r0 1		| s0 copy r0 10..11 = eagain\n"
			"fault s0 50, fault s0 51 | s0 read r2 50+1; s0 read r3 51+1\n"
			"fault s1 50, fault s1 51 | s1 read r4 50+1; s1 read r5 51+1;"
			" s1 read r6 52+4\n");
}
END_TEST

/* The kernel has no memory: as EAGAIN, for no event will tell. */
START_TEST(enomem_is_later)
{
	transcript_play(SWEPT "got r0 8			| s0 copy r0 0..8 = enomem\n"
			      "retry 50\n"
			      "wait 50			| s0 copy r0 0..8; s0 close\n");
}
END_TEST

/* ---- a part, and EEXIST ---- */

START_TEST(a_partial_copy_goes_on)
{
	transcript_play(SWEPT "got r0 8 | s0 copy r0 0..8 = 3; s0 copy r0@3 3..8 = 1;"
			      " s0 copy r0@4 4..8 = eagain\n"
			      "owed s0 4, count res_partial 2\n"
			      "wait 50			| s0 copy r0@4 4..8; s0 close\n"
			      "count pages_sweep 8\n");
}
END_TEST

START_TEST(present_pages_are_settled_and_woken)
{
	transcript_play(SWEPT "got r0 8 | s0 copy r0 0..8 = 2; s0 copy r0@2 2..8 = eexist;"
			      " s0 wake 2..3; s0 copy r0@3 3..8 = eexist; s0 wake 3..4;"
			      " s0 copy r0@4 4..8; s0 close\n"
			      "count res_eexist 2, count pages_gone 2, count pages_sweep 6\n");
}
END_TEST

START_TEST(all_is_present)
{
	transcript_play("image 0+2 at f0:0, area 0..2 from 0, attach s0\n"
			"start			| s0 read r0 0+2\n"
			"fault s0 1\n"
			"got r0 2		| s0 copy r0 0..2 = eexist; s0 wake 0..1;"
			" s0 copy r0@1 1..2 = eexist; s0 wake 1..2; s0 close\n"
			"count waiting 0, is done\n");
}
END_TEST

/* ---- ENOENT ---- */

START_TEST(enoent_of_several_is_halved)
{
	transcript_play(SWEPT "got r0 8 | s0 copy r0 0..8 = enoent; s0 copy r0 0..4 = enoent;"
			      " s0 copy r0 0..2; s0 copy r0@2 2..6 = enoent;"
			      " s0 copy r0@2 2..4; s0 copy r0@4 4..8; s0 close\n"
			      "count pages_sweep 8, count pages_gone 0, count res_enoent 3\n");
}
END_TEST

START_TEST(enoent_of_one_is_doubted)
{
	/* No event has come that explains it: it has no place any more. */
	transcript_play(SWEPT "got r0 8 | s0 copy r0 0..8 = enoent; s0 copy r0 0..4 = enoent;"
			      " s0 copy r0 0..2 = enoent; s0 copy r0 0..1 = enoent; s0 wake 0..1;"
			      " s0 copy r0@1 1..2; s0 copy r0@2 2..4; s0 copy r0@4 4..8; s0 close\n"
			      "count pages_gone 1, count pages_sweep 7\n");
}
END_TEST

START_TEST(before_the_start_it_is_kept)
{
	/* The restorer has not registered the area yet. */
	transcript_play(EIGHT "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1	| s0 copy r0 2..3 = enoent; s0 wake 2..3\n"
			      "owed s0 8, count pages_gone 0\n"
			      "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1			| s0 copy r0 2..3\n"
			      "owed s0 7\n");
}
END_TEST

START_TEST(a_move_settles_the_doubt)
{
	/* The event that explains it comes before the next action is asked for. */
	transcript_play("image 0+3 at f0:0, area 0..3 from 0, attach s0, start | s0 read r0 0+3\n"
			"got r0 3	| s0 copy r0 0..3 = 1;"
			" s0 copy r0@1 1..3 = enoent, remap s0 1..2 to 20; s0 wake 1..2;"
			" s0 copy r0@1 20..21 = enoent, remap s0 20..21 to 30; s0 wake 20..21;"
			" s0 copy r0@1 30..31; s0 copy r0@2 2..3; s0 close\n"
			"count pages_sweep 3, count pages_gone 0\n");
}
END_TEST

/* ---- bytes that cannot be had ---- */

START_TEST(a_shrunken_mapping_is_read)
{
	transcript_play(SWEPT "got r0 8	| s0 copy r0 0..8 = 3; s0 copy r0@3 3..8 = efault;"
			      " s0 read r0@3 3+5 bytes\n"
			      "got r0 5			| s0 copy r0@3 3..8; s0 close\n"
			      "count pages_lost 0\n");
}
END_TEST

START_TEST(a_fault_on_a_shrunken_mapping)
{
	transcript_play(EIGHT "fault s0 2		| s0 read r0 2+1\n"
			      "got r0 1	| s0 copy r0 2..3 = efault; s0 read r0 2+1 bytes\n"
			      "got r0 0	| s0 poison r0 2..3\n"
			      "count pages_lost 1, count waiting 0, owed s0 7\n");
}
END_TEST

START_TEST(a_short_read_goes_page_by_page)
{
	transcript_play(SWEPT "got r0 5+100		| s0 copy r0 0..5; s0 read r0@5 5+1\n"
			      "got r0 1		| s0 copy r0@5 5..6; s0 read r0@6 6+1\n"
			      "got r0 0		| s0 poison r0@6 6..7; s0 read r0@7 7+1\n"
			      "got r0 0+4000		| s0 poison r0@7 7..8; s0 close\n"
			      "is done, count pages_lost 2, count pages_sweep 6\n");
}
END_TEST

START_TEST(a_failed_read_goes_page_by_page)
{
	transcript_play("image 0+3 at f0:0, area 0..3 from 0, attach s0, start | s0 read r0 0+3\n"
			"got r0 eio		| s0 read r0 0+1\n"
			"got r0 1		| s0 copy r0 0..1; s0 read r0@1 1+1\n"
			"got r0 eio		| s0 poison r0@1 1..2; s0 read r0@2 2+1\n"
			"got r0 1		| s0 copy r0@2 2..3; s0 close\n"
			"count pages_lost 1, count pages_sweep 2\n");
}
END_TEST

START_TEST(a_lost_page_removed_meanwhile)
{
	transcript_play(SWEPT "got r0 eio		| s0 read r0 0+1\n"
			      "remove s0 0..1		| s0 wake 0..1\n"
			      "got r0 eio		| s0 read r0@1 1+1\n"
			      "got r0 eio		| s0 poison r0@1 1..2 = eagain\n"
			      "remove s0 0..2		| s0 wake 0..2; s0 read r0@2 2+1\n"
			      "got r0 1			| s0 copy r0@2 2..3; s0 read r0@3 3+1\n"
			      "count pages_lost 0, count pages_gone 2\n");
}
END_TEST

START_TEST(a_lost_page_present_already)
{
	transcript_play("image 0+1 at f0:0, area 0..1 from 0, attach s0, start | s0 read r0 0+1\n"
			"got r0 eio | s0 poison r0 0..1 = eexist; s0 wake 0..1; s0 close\n"
			"count pages_lost 0, count pages_gone 1\n");
}
END_TEST

/* A COPY that fails for no reason this engine knows is a page lost, not a page retried for ever. */
START_TEST(a_copy_refused)
{
	transcript_play("image 0+2 at f0:0, area 0..2 from 0, attach s0, start | s0 read r0 0+2\n"
			"got r0 2	| s0 copy r0 0..2 = einval; s0 copy r0 0..1 = einval;"
			" s0 poison r0 0..1; s0 copy r0@1 1..2; s0 close\n"
			"count pages_lost 1\n");
}
END_TEST

START_TEST(a_poison_refused_is_a_kill)
{
	transcript_play("image 0+2 at f0:0, area 0..2 from 0, attach s0, start | s0 read r0 0+2\n"
			"got r0 eio		| s0 read r0 0+1\n"
			"got r0 eio		| s0 poison r0 0..1 = einval; s0 kill; s0 close\n"
			"is done, count pages_lost 2, count pages_gone 0\n");
}
END_TEST

START_TEST(a_kill_by_option)
{
	transcript_play("on-lost kill\n" EIGHT "attach s1\n"
			"fault s0 2, fault s0 3	| s0 read r0 2+1; s0 read r1 3+1\n"
			"got r0 eio		| s0 kill\n"
			"count pages_lost 8, owed s1 8\n"
			"got r1 1		| s0 close\n"
			"fault s1 2		| s1 read r0 2+1\n");
}
END_TEST

START_TEST(a_killed_space_gets_nothing_more)
{
	transcript_play("on-lost kill\n" EIGHT
			"fault s0 2, fault s0 3	| s0 read r0 2+1; s0 read r1 3+1\n"
			"got r0 eio, got r1 1	| s0 kill; s0 close\n"
			"count pages_lost 8\n");
}
END_TEST

START_TEST(who_has_lost_nothing_is_not_killed)
{
	transcript_play("on-lost kill\n" EIGHT "fault s0 2		| s0 read r0 2+1\n"
			"got r0 1		| s0 copy r0 2..3 = eexist; s0 wake 2..3\n"
			"wait 6000, start	| s0 read r0 0+2; s0 read r1 3+5\n"
			"got r0 2, got r1 5	| s0 copy r0 0..2; s0 copy r1 3..8; s0 close\n"
			"count pages_lost 0\n");
}
END_TEST

/* ---- giving up ---- */

START_TEST(abandoned)
{
	transcript_play(
		"image 0+20 at f0:0, area 0..20 from 0, attach s0\n"
		"fault s0 2, wait 6000		| s0 read r0 2+1\n"
		"abandon	| s0 poison r1 0..2; s0 poison r2 3..19; s0 poison r3 19..20\n"
		"got r0 ecanceled	| s0 poison r0 2..3; s0 close\n"
		"is done, count pages_lost 20\n");
}
END_TEST

START_TEST(abandoned_with_bytes_at_hand)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0, start | s0 read r0 0+4\n"
			"abandon\n"
			"fault s0 6		| s0 zero 6..7\n"
			"got r0 2		| s0 copy r0 0..2; s0 poison r0@2 2..4; s0 close\n"
			"is done, count pages_lost 2, count pages_sweep 2\n");
}
END_TEST

START_TEST(abandoned_while_page_by_page)
{
	transcript_play("image 0+4 at f0:0, area 0..4 from 0, attach s0, start | s0 read r0 0+4\n"
			"got r0 1, abandon	| s0 copy r0 0..1; s0 poison r0@1 1..4; s0 close\n"
			"is done\n");
}
END_TEST

START_TEST(abandoned_while_stalled)
{
	transcript_play(SWEPT "got r0 8			| s0 copy r0 0..8 = eagain\n"
			      "abandon\n"
			      "wait 50			| s0 copy r0 0..8; s0 close\n"
			      "count pages_lost 0\n");
}
END_TEST

START_TEST(abandoned_by_kill)
{
	transcript_play("on-lost kill\n" EIGHT "attach s1\n"
			"fault s0 2		| s0 read r0 2+1\n"
			"abandon		| s0 kill; s1 kill; s1 close\n"
			"got r0 ecanceled	| s0 close\n"
			"is done, count pages_lost 16\n");
}
END_TEST

START_TEST(abandoned_and_a_stall_goes_on)
{
	transcript_play(EIGHT "fault s0 30		| s0 zero 30..31 = eagain\n"
			      "abandon\n"
			      "wait 49\n"
			      "wait 1		| s0 zero 30..31; s0 poison r0 0..8; s0 close\n");
}
END_TEST

START_TEST(abandoned_and_forked)
{
	transcript_play(EIGHT "abandon			| s0 poison r0 0..8; s0 close = none\n"
			      "fork s0 s1		| s1 close\n");
}
END_TEST

START_TEST(abandoned_where_nothing_is_mapped)
{
	transcript_play("image 0+2 at f0:0, area 0..2 from 0, attach s0\n"
			"abandon | s0 poison r0 0..2 = enoent; s0 poison r0 0..1 = enoent;"
			" s0 wake 0..1; s0 poison r0@1 1..2 = esrch; s0 close\n"
			"is done\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_results");
	TCase *t = tcase_create("later");

	tcase_add_test(t, eagain_waits_for_the_time);
	tcase_add_test(t, eagain_has_a_longest_wait);
	tcase_add_test(t, eagain_waits_for_the_next_event);
	tcase_add_test(t, a_stalled_zero_is_not_forgotten);
	tcase_add_test(t, enoent_twice_behind_a_layout_event);
	tcase_add_test(t, a_stall_is_of_one_space);
	tcase_add_test(t, a_stall_does_not_hold_up_neighbours_of_others);
	tcase_add_test(t, enomem_is_later);
	suite_add_tcase(s, t);
	t = tcase_create("in part");
	tcase_add_test(t, a_partial_copy_goes_on);
	tcase_add_test(t, present_pages_are_settled_and_woken);
	tcase_add_test(t, all_is_present);
	tcase_add_test(t, enoent_of_several_is_halved);
	tcase_add_test(t, enoent_of_one_is_doubted);
	tcase_add_test(t, before_the_start_it_is_kept);
	tcase_add_test(t, a_move_settles_the_doubt);
	suite_add_tcase(s, t);
	t = tcase_create("lost");
	tcase_add_test(t, a_shrunken_mapping_is_read);
	tcase_add_test(t, a_fault_on_a_shrunken_mapping);
	tcase_add_test(t, a_short_read_goes_page_by_page);
	tcase_add_test(t, a_failed_read_goes_page_by_page);
	tcase_add_test(t, a_lost_page_removed_meanwhile);
	tcase_add_test(t, a_lost_page_present_already);
	tcase_add_test(t, a_copy_refused);
	tcase_add_test(t, a_poison_refused_is_a_kill);
	tcase_add_test(t, a_kill_by_option);
	tcase_add_test(t, a_killed_space_gets_nothing_more);
	tcase_add_test(t, who_has_lost_nothing_is_not_killed);
	suite_add_tcase(s, t);
	t = tcase_create("giving up");
	tcase_add_test(t, abandoned);
	tcase_add_test(t, abandoned_with_bytes_at_hand);
	tcase_add_test(t, abandoned_while_page_by_page);
	tcase_add_test(t, abandoned_while_stalled);
	tcase_add_test(t, abandoned_by_kill);
	tcase_add_test(t, abandoned_and_a_stall_goes_on);
	tcase_add_test(t, abandoned_and_forked);
	tcase_add_test(t, abandoned_where_nothing_is_mapped);
	suite_add_tcase(s, t);
	return run_suite(s);
}
