/* SPDX-License-Identifier: MIT */
/*
 * Stretches: while no faults come the sweep takes more at a time of what is mapped, and what is not
 * mapped after all comes in slices. The language is that of tests/lib/transcript.h.
 */
#include <check.h>

#include "tests/lib/suite.h"
#include "tests/lib/transcript.h"

/* Sixteen slices are on their way. */
#define BEGIN                                                                              \
	"image 0+512 at f0:0, area 0..512 from 0, attach s0\n"                             \
	"start		| s0 fetch b0 0+512 = none\n"                                              \
	"fetched b0	| s0 read r0 0+16; s0 read r1 16+16; s0 read r2 32+16;"                \
	" s0 read r3 48+16; s0 read r4 64+16; s0 read r5 80+16; s0 read r6 96+16;"         \
	" s0 read r7 112+16; s0 read r8 128+16; s0 read r9 144+16; s0 read r10 160+16;"    \
	" s0 read r11 176+16; s0 read r12 192+16; s0 read r13 208+16; s0 read r14 224+16;" \
	" s0 read r15 240+16\n"

START_TEST(behind_a_slice_that_is_mapped)
{
	transcript_play(BEGIN
			"got r0 16 mapped	| s0 copy r0 0..16; s0 read r0 256+64 only\n"
			"got r0 64 mapped	| s0 copy r0 256..320; s0 read r0 320+64 only\n"
			"got r1 16		| s0 copy r1 16..32; s0 read r1 384+16\n");
}
END_TEST

START_TEST(not_while_faults_come)
{
	transcript_play(
		"image 0+512 at f0:0, area 0..512 from 0, attach s0\n"
		"fault s0 0		| s0 read r0 0+1\n"
		"got r0 1 mapped	| s0 copy r0 0..1\n"
		"start			| s0 read r0 1+8\n"
		"got r0 8 mapped	| s0 copy r0 1..9; s0 read r0 9+8\n"
		"wait 6000, got r0 8 mapped	| s0 copy r0 9..17; s0 fetch b0 0+512 = none\n"
		"fetched b0	| s0 read r0 17+64 only; s0 read r1 81+64 only; s0 read r2 145+64 only;"
		" s0 read r3 209+64 only; s0 read r4 273+64 only; s0 read r5 337+64 only;"
		" s0 read r6 401+64 only; s0 read r7 465+47 only\n");
}
END_TEST

START_TEST(not_mapped_after_all)
{
	transcript_play(
		BEGIN "got r0 16 mapped	| s0 copy r0 0..16; s0 read r0 256+64 only\n"
		      "got r0 emsgsize	| s0 read r0 256+16 bytes\n"
		      "got r1 16		| s0 copy r1 16..32; s0 read r1 320+16\n"
		      "got r0 16		| s0 copy r0 256..272; s0 read r0@16 272+16 bytes\n"
		      "got r0 3		| s0 copy r0@16 272..275; s0 read r0@19 275+1 bytes\n"
		      "owed s0 461\n");
}
END_TEST

/* A page that is larger than a slice is read as a whole. */
START_TEST(of_pages_larger_than_a_slice)
{
	transcript_play(
		"image 0+768 at f0:0 128K, area 0..768 from 0 128K, attach s0\n"
		"start	| s0 read r0 0+32; s0 read r1 32+32; s0 read r2 64+32; s0 read r3 96+32;"
		" s0 read r4 128+32; s0 read r5 160+32; s0 read r6 192+32; s0 read r7 224+32;"
		" s0 read r8 256+32; s0 read r9 288+32; s0 read r10 320+32; s0 read r11 352+32;"
		" s0 read r12 384+32; s0 read r13 416+32; s0 read r14 448+32; s0 read r15 480+32\n"
		"got r0 32 mapped	| s0 copy r0 0..32; s0 read r0 512+64 only\n"
		"got r0 emsgsize	| s0 read r0 512+32 bytes\n"
		"got r0 32		| s0 copy r0 512..544; s0 read r0@32 544+32 bytes\n");
}
END_TEST

/* Its file was cut short, say, behind the look at it. */
START_TEST(a_copy_that_finds_nothing_mapped)
{
	transcript_play(
		BEGIN
		"got r0 16 mapped	| s0 copy r0 0..16; s0 read r0 256+64 only\n"
		"got r0 64 mapped	| s0 copy r0 256..320 = 16; s0 copy r0@16 272..320 = efault;"
		" s0 read r0@16 272+16 bytes\n"
		"got r0 16		| s0 copy r0@16 272..288; s0 read r0@32 288+16 bytes\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine_stretch");
	TCase *t = tcase_create("all");

	tcase_add_test(t, behind_a_slice_that_is_mapped);
	tcase_add_test(t, not_while_faults_come);
	tcase_add_test(t, not_mapped_after_all);
	tcase_add_test(t, of_pages_larger_than_a_slice);
	tcase_add_test(t, a_copy_that_finds_nothing_mapped);
	suite_add_tcase(s, t);
	return run_suite(s);
}
