/* SPDX-License-Identifier: MIT */
/*
 * The engine upon shared memory in which pages are before they are mapped, and upon large pages.
 * The language is that of tests/lib/transcript.h.
 */
#include <check.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

#define EIGHT "image 0+8 at f0:0 in place, area 0..8 from 0, attach s0\n"
/* Two large pages, 512 of ours each, and a hole of one. */
#define LARGE "image 0+1024 at f0:0 2M, area 0..1536 from 0 2M, attach s0\n"

/* ---- in place ---- */

START_TEST(what_is_in_place_is_mapped)
{
	transcript_play(EIGHT "fault s0 2 minor	| s0 read r0 2+1\n"
			      "got r0 1			| s0 map r0 2..3\n"
			      "wait 6000, start		| s0 read r0 0+2; s0 read r1 3+5\n"
			      "got r0 2			| s0 map r0 0..2\n"
			      "got r1 5			| s0 map r1 3..8; s0 close\n"
			      "count pages_demand 1, count pages_sweep 7, is done\n");
}
END_TEST

START_TEST(what_is_mapped_already_is_woken)
{
	transcript_play(
		EIGHT
		"start			| s0 read r0 0+8\n"
		"got r0 8			| s0 map r0 0..8 = eexist; s0 wake 0..1; s0 map r0@1 1..8;"
		" s0 close\n"
		"count pages_gone 1, count pages_sweep 7\n");
}
END_TEST

/* Looked for page by page, it is the one that is found to be a hole;
 * who waits there gets a zero page. */
START_TEST(a_hole_in_place_is_zero)
{
	transcript_play(EIGHT
			"fault s0 1			| s0 read r0 1+1\n"
			"got r0 1			| s0 map r0 1..2 = efault; s0 wake 1..2\n"
			"count pages_gone 1, count pages_lost 0\n"
			"fault s0 1			| s0 zero 1..2\n"
			"wait 6000, start	| s0 read r0 0+1; s0 read r1 2+6\n"
			"got r1 6		| s0 map r1 2..8 = 1; s0 map r1@1 3..8 = efault;"
			" s0 map r1@1 3..5; s0 map r1@3 5..8\n"
			"got r0 1		| s0 map r0 0..1; s0 close\n"
			"count pages_lost 0\n");
}
END_TEST

START_TEST(what_cannot_be_mapped_is_lost)
{
	transcript_play(
		EIGHT
		"fault s0 1			| s0 read r0 1+1\n"
		"got r0 1			| s0 map r0 1..2 = einval; s0 poison r0 1..2\n"
		"count pages_lost 1\n");
}
END_TEST

START_TEST(a_stalled_mapping_is_not_forgotten)
{
	transcript_play(EIGHT "fault s0 1			| s0 read r0 1+1\n"
			      "got r0 1			| s0 map r0 1..2 = eagain\n"
			      "retry 50\n"
			      "wait 50			| s0 map r0 1..2\n"
			      "owed s0 7\n");
}
END_TEST

/* ---- minor faults where nothing is owed ---- */

START_TEST(a_minor_fault_is_mapped)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 6 minor	| s0 map 6..7\n"
			"fault s0 7		| s0 zero 7..8\n"
			"count pages_zero 1, count waiting 0\n");
}
END_TEST

START_TEST(a_minor_fault_waits_for_the_time)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 6 minor	| s0 map 6..7 = eagain\n"
			"count waiting 1\n"
			"wait 50		| s0 map 6..7\n"
			"count waiting 0\n");
}
END_TEST

/* The page has been taken out of the file meanwhile. */
START_TEST(a_minor_fault_on_what_has_gone)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 6 minor	| s0 map 6..7 = efault; s0 wake 6..7\n"
			"fault s0 6		| s0 zero 6..7\n");
}
END_TEST

/* Somebody else has put the page there: it is newer, and stays. */
START_TEST(what_others_have_placed_stays)
{
	transcript_play("image 0+4 at f0:0, area 0..8 from 0, attach s0\n"
			"fault s0 2 minor	| s0 read r0 2+1\n"
			"got r0 1		| s0 copy r0 2..3 = eexist; s0 wake 2..3\n"
			"fault s0 2 minor	| s0 map 2..3\n"
			"owed s0 3, count pages_gone 1\n");
}
END_TEST

/* ---- large pages ---- */

START_TEST(a_large_page_is_read_and_placed_whole)
{
	transcript_play(LARGE "fault s0 700		| s0 read r0 512+512\n"
			      "got r0 512		| s0 copy r0 512..1024\n"
			      "fault s0 1100		| s0 zero 1024..1536\n"
			      "start			| s0 read r0 0+512\n"
			      "got r0 512		| s0 copy r0 0..512; s0 close\n"
			      "count pages_demand 1, count pages_sweep 1, count pages_zero 1\n");
}
END_TEST

START_TEST(half_a_large_page_is_lost)
{
	transcript_play(LARGE "fault s0 700		| s0 read r0 512+512\n"
			      "got r0 511		| s0 poison r0 512..1024\n"
			      "count pages_lost 1, owed s0 512\n");
}
END_TEST

START_TEST(large_pages_are_removed_whole)
{
	transcript_play(LARGE "remove s0 512..1024	| s0 wake 512..1024\n"
			      "owed s0 512\n"
			      "fault s0 600		| s0 zero 512..1024\n"
			      "remap s0 0..512 to 2048	| s0 wake 0..512\n"
			      "fault s0 2100		| s0 read r0 0+512\n"
			      "got r0 512		| s0 copy r0 2048..2560\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_shared");
	TCase *t = tcase_create("in place");

	tcase_add_test(t, what_is_in_place_is_mapped);
	tcase_add_test(t, what_is_mapped_already_is_woken);
	tcase_add_test(t, a_hole_in_place_is_zero);
	tcase_add_test(t, what_cannot_be_mapped_is_lost);
	tcase_add_test(t, a_stalled_mapping_is_not_forgotten);
	suite_add_tcase(s, t);
	t = tcase_create("minor faults");
	tcase_add_test(t, a_minor_fault_is_mapped);
	tcase_add_test(t, a_minor_fault_waits_for_the_time);
	tcase_add_test(t, a_minor_fault_on_what_has_gone);
	tcase_add_test(t, what_others_have_placed_stays);
	suite_add_tcase(s, t);
	t = tcase_create("large pages");
	tcase_add_test(t, a_large_page_is_read_and_placed_whole);
	tcase_add_test(t, half_a_large_page_is_lost);
	tcase_add_test(t, large_pages_are_removed_whole);
	suite_add_tcase(s, t);
	return run_suite(s);
}
