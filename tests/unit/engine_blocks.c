/* SPDX-License-Identifier: MIT */
/*
 * Blocks, which the sweep has brought into memory while no faults come: which pages they have, how
 * many are on their way, and what does not wait for them. The language is that of
 * tests/lib/transcript.h.
 */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

/* Pages 0..512 of a space of 1536, as they are read slice by slice. */
#define SIXTEEN                                                                          \
	"s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16; s0 read r3 48+16;"         \
	" s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16; s0 read r7 112+16;"      \
	" s0 read r8 128+16; s0 read r9 144+16; s0 read r10 160+16; s0 read r11 176+16;" \
	" s0 read r12 192+16; s0 read r13 208+16; s0 read r14 224+16; s0 read r15 240+16"

START_TEST(what_has_come_is_read_slice_by_slice)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"wait 1000000\n"
			"fetched b0		| " SIXTEEN "\n"
			"got r0 16		| s0 copy r0 0..16; s0 read r0 256+16\n");
}
END_TEST

/* The disk has the next one to read while this one is placed, and no more than that. */
START_TEST(two_of_a_source)
{
	transcript_play("image 0+2048 at f0:0, area 0..2048 from 0, attach s0\n"
			"start	| s0 fetch b0 0+512 = none; s0 fetch b1 512+512 = none\n"
			"wait 1000000\n");
}
END_TEST

START_TEST(the_next_is_asked_for_when_one_has_been_read)
{
	transcript_play("image 0+128 at f0:0, image 200+128 at f0:512, image 400+128 at f0:1024\n"
			"area 0..600 from 0, attach s0\n"
			"start	| s0 fetch b0 0+128 = none; s0 fetch b1 512+128 = none\n"
			"fetched b0	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"
			" s0 read r3 48+16; s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16;"
			" s0 read r7 112+16; s0 fetch b0 1024+128 = none\n"
			"got r3 16		| s0 copy r3 48..64\n"
			/* Both at once, the later one first: read in the order of the asking. */
			"fetched b0, fetched b1 | s0 read r3 512+16; s0 read r8 528+16;"
			" s0 read r9 544+16; s0 read r10 560+16; s0 read r11 576+16;"
			" s0 read r12 592+16; s0 read r13 608+16; s0 read r14 624+16;"
			" s0 read r15 1024+16\n");
}
END_TEST

START_TEST(and_before_its_last_bytes_are_placed)
{
	transcript_play("image 0+128 at f0:0, image 200+128 at f0:512, image 400+128 at f0:1024\n"
			"area 0..600 from 0, attach s0\n"
			"start	| s0 fetch b0 0+128 = none; s0 fetch b1 512+128 = none\n"
			"fetched b0	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"
			" s0 read r3 48+16; s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16;"
			" s0 read r7 112+16 = none, got r7 16; s0 fetch b0 1024+128 = none;"
			" s0 copy r7 112..128\n");
}
END_TEST

/* In the order in which they were asked for, not in that in which they come. */
START_TEST(another_source_has_its_own)
{
	transcript_play(
		"image 0+128 at f0:0, image 200+128 at f1:0, area 0..600 from 0, attach s0\n"
		"start	| s0 fetch b0 0+128 = none; s0 fetch b1 f1:0+128 = none\n"
		"fetched b1	| s0 read r0 f1:0+16; s0 read r1 f1:16+16; s0 read r2 f1:32+16;"
		" s0 read r3 f1:48+16; s0 read r4 f1:64+16; s0 read r5 f1:80+16;"
		" s0 read r6 f1:96+16; s0 read r7 f1:112+16\n");
}
END_TEST

/* One that does not answer has its share of the sweep's reads, and the others go on. */
START_TEST(a_slow_source_keeps_no_block_of_another)
{
	transcript_play(
		"image 0+256 at f0:0, image 300+128 at f1:0, area 0..600 from 0, attach s0\n"
		"start	| s0 fetch b0 0+256 = none; s0 fetch b1 f1:0+128 = none\n"
		"fetched b0	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"
		" s0 read r3 48+16; s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16;"
		" s0 read r7 112+16; s0 read r8 128+16; s0 read r9 144+16; s0 read r10 160+16;"
		" s0 read r11 176+16\n"
		"fetched b1	| s0 read r12 f1:0+16; s0 read r13 f1:16+16; s0 read r14 f1:32+16;"
		" s0 read r15 f1:48+16\n"
		"got r12 16	| s0 copy r12 300..316; s0 read r12 f1:64+16\n"
		"got r0 16		| s0 copy r0 0..16; s0 read r0 192+16\n");
}
END_TEST

/* Blocks are those of the file, and hold what lies together in it, wherever that is in memory. */
START_TEST(where_the_source_has_its_blocks)
{
	transcript_play("image 0+300 at f0:412, image 500+300 at f0:712, area 0..800 from 0\n"
			"attach s0\n"
			"start			| s0 read r0 412+16; s0 read r1 428+16;"
			" s0 read r2 444+16; s0 read r3 460+16; s0 read r4 476+16;"
			" s0 read r5 492+16; s0 read r6 508+16; s0 fetch b0 512+500 = none\n");
}
END_TEST

START_TEST(from_the_middle_of_one)
{
	transcript_play("image 0+600 at f0:300, area 0..600 from 0, attach s0\n"
			"start	| s0 fetch b0 300+212 = none; s0 fetch b1 512+388 = none\n");
}
END_TEST

START_TEST(what_is_demanded_does_not_wait_for_it)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"fault s0 100		| s0 read r0 100+1\n"
			"got r0 1		| s0 copy r0 100..101\n"
			"fetched b0		| s0 read r0 0+8\n"
			"got r0 8, wait 6000	| s0 copy r0 0..8; s0 read r0 8+16;"
			" s0 read r1 24+16; s0 read r2 40+16; s0 read r3 56+16; s0 read r4 72+16;"
			" s0 read r5 88+12; s0 read r6 101+16; s0 read r7 117+16;"
			" s0 read r8 133+16; s0 read r9 149+16; s0 read r10 165+16;"
			" s0 read r11 181+16; s0 read r12 197+16; s0 read r13 213+16;"
			" s0 read r14 229+16; s0 read r15 245+16\n");
}
END_TEST

START_TEST(none_while_faults_come)
{
	transcript_play("image 0+1024 at f0:0, area 0..1024 from 0, attach s0\n"
			"fault s0 600, start	| s0 read r0 600+1; s0 read r1 592+8\n"
			"got r0 1, got r1 8, wait 4000 | s0 copy r0 600..601; s0 copy r1 592..600;"
			" s0 read r0 601+8\n"
			"got r0 8, wait 2000	| s0 copy r0 601..609; s0 fetch b0 512+512 = none;"
			" s0 fetch b1 0+512 = none\n");
}
END_TEST

/* Less than a quarter of a block is read as it is. */
START_TEST(not_for_a_few_pages)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"unmap s0 0..385	| s0 wake 0..385\n"
			"start | s0 read r0 385+16; s0 read r1 401+16; s0 read r2 417+16;"
			" s0 read r3 433+16; s0 read r4 449+16; s0 read r5 465+16;"
			" s0 read r6 481+16; s0 read r7 497+15\n");
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"unmap s0 0..384	| s0 wake 0..384\n"
			"start			| s0 fetch b0 0+512 = none\n");
}
END_TEST

START_TEST(a_space_that_ends_meanwhile)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0, attach s1\n"
			"start	| s0 fetch b0 0+512 = none; s1 fetch b1 0+512 = none\n"
			"exit s0		| s0 close\n"
			"fork s1 s0\n"
			"owed s0 512\n"
			"fetched b0		| s0 fetch b0 0+512 = none\n"
			"exit s0		| s0 close\n"
			"exit s1		| s1 close\n"
			"is done\n"
			"fetched b1, fetched b0\n");
}
END_TEST

START_TEST(a_stalled_space_keeps_its_own)
{
	transcript_play("image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
			"start			| s0 fetch b0 0+512 = none\n"
			"fault s0 600		| s0 zero 600..601 = eagain\n"
			"fetched b0\n"
			"wait 50		| s0 zero 600..601; s0 read r0 0+8\n");
}
END_TEST

START_TEST(giving_up)
{
	transcript_play("image 0+128 at f0:0, area 0..128 from 0, attach s0\n"
			"start			| s0 fetch b0 0+128 = none\n"
			"abandon | s0 poison r0 0..16; s0 poison r1 16..32; s0 poison r2 32..48;"
			" s0 poison r3 48..64; s0 poison r4 64..80; s0 poison r5 80..96;"
			" s0 poison r6 96..112; s0 poison r7 112..128; s0 close\n"
			"fetched b0\n"
			"is done\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_blocks");
	TCase *t = tcase_create("blocks");

	tcase_add_test(t, what_has_come_is_read_slice_by_slice);
	tcase_add_test(t, two_of_a_source);
	tcase_add_test(t, the_next_is_asked_for_when_one_has_been_read);
	tcase_add_test(t, and_before_its_last_bytes_are_placed);
	tcase_add_test(t, another_source_has_its_own);
	tcase_add_test(t, a_slow_source_keeps_no_block_of_another);
	tcase_add_test(t, where_the_source_has_its_blocks);
	tcase_add_test(t, from_the_middle_of_one);
	tcase_add_test(t, what_is_demanded_does_not_wait_for_it);
	tcase_add_test(t, none_while_faults_come);
	tcase_add_test(t, not_for_a_few_pages);
	tcase_add_test(t, a_space_that_ends_meanwhile);
	tcase_add_test(t, a_stalled_space_keeps_its_own);
	tcase_add_test(t, giving_up);
	suite_add_tcase(s, t);
	return run_suite(s);
}
