/* SPDX-License-Identifier: MIT */
/* Files of working sets: what goes in comes out, and what is none is refused with its reason. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "proto/wset.h"
#include "tests/lib/suite.h"

static const struct lz_wset_run RUNS[] = {
	{ 0x7f0000001000, 1, 1000 },
	{ 0x400000, 300, 1001 },
};
enum { NR = 2 };

static uint8_t bytes[256];

static size_t put(void)
{
	struct lz_wset_head head = { .flags = LZ_WSET_CUT, .nr_runs = NR };

	for (unsigned i = 0; i < sizeof(head.identity); i++)
		head.identity[i] = (uint8_t)(0xa0 + i);
	lz_wset_put_head(bytes, &head);
	for (size_t i = 0; i < NR; i++)
		lz_wset_put_run(bytes, i, &RUNS[i]);
	lz_wset_seal(bytes, NR);
	return lz_wset_size(NR);
}

/* Puts @with at @at, where it is wrong, behind a checksum that is right. */
static void refused(size_t at, uint8_t with, int err, const char *why)
{
	size_t len = put();
	struct lz_wset w;

	bytes[at] = with;
	lz_wset_seal(bytes, NR);
	ck_assert_int_eq(lz_wset_parse(&w, bytes, len), err);
	ck_assert_str_eq(w.what, why);
}

START_TEST(it_comes_out_as_it_went_in)
{
	size_t len = put();
	struct lz_wset w;

	ck_assert_int_eq(lz_wset_parse(&w, bytes, len), 0);
	ck_assert_str_eq(w.what, "");
	ck_assert_uint_eq(w.head.flags, LZ_WSET_CUT);
	ck_assert_uint_eq(w.head.nr_runs, NR);
	ck_assert_uint_eq(w.head.identity[31], 0xbf);
	for (size_t i = 0; i < NR; i++) {
		struct lz_wset_run r = lz_wset_run(&w, i);

		ck_assert_uint_eq(r.address, RUNS[i].address);
		ck_assert_uint_eq(r.nr_pages, RUNS[i].nr_pages);
		ck_assert_uint_eq(r.task, RUNS[i].task);
	}
}
END_TEST

/* The example of lazyd-formats(7). */
START_TEST(byte_by_byte)
{
	static const uint8_t wanted[] = {
		0x6c, 0x61, 0x7a, 0x79, 0x64, 0x2d, 0x77, 0x73, 0x01, 0x00, 0x00, 0x00, 0x01,
		0x00, 0x00, 0x00, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
		0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
		0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0x01, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x7f, 0x00, 0x00, 0x02,
		0x00, 0x00, 0x00, 0xe8, 0x03, 0x00, 0x00, 0x9b, 0xe0, 0xe8, 0xb2,
	};
	struct lz_wset_head head = { .flags = LZ_WSET_SWEPT, .nr_runs = 1 };
	struct lz_wset_run run = { 0x7f0000001000, 2, 1000 };

	for (unsigned i = 0; i < sizeof(head.identity); i++)
		head.identity[i] = (uint8_t)(0xa0 + i);
	lz_wset_put_head(bytes, &head);
	lz_wset_put_run(bytes, 0, &run);
	lz_wset_seal(bytes, 1);
	ck_assert_uint_eq(lz_wset_size(1), sizeof(wanted));
	ck_assert_mem_eq(bytes, wanted, sizeof(wanted));
}
END_TEST

START_TEST(its_checksum_is_that_of_gzip)
{
	struct lz_wset_head head = { .nr_runs = 0 };

	lz_wset_put_head(bytes, &head);
	memcpy(bytes, "123456789", 9);
	lz_wset_seal(bytes, 0);
	/* What zlib.crc32() of Python says of the 56 bytes. */
	ck_assert_mem_eq(bytes + 56, "\x58\x7c\x64\xbf", 4);
}
END_TEST

START_TEST(what_is_none)
{
	size_t len = put();
	struct lz_wset w;

	ck_assert_int_eq(lz_wset_parse(&w, bytes, 0), -EBADMSG);
	ck_assert_str_eq(w.what, "is no working set");
	bytes[3] ^= 1;
	ck_assert_int_eq(lz_wset_parse(&w, bytes, len), -EBADMSG);
	ck_assert_str_eq(w.what, "is no working set");
	refused(8, 2, -EPROTONOSUPPORT, "is of version 2, not 1");
	refused(8, 0, -EBADMSG, "is of version 0, not 1");
}
END_TEST

START_TEST(no_byte_may_be_missing_or_wrong)
{
	size_t len = put();
	struct lz_wset w;

	for (size_t n = 0; n < len; n++) {
		ck_assert_int_eq(lz_wset_parse(&w, bytes, n), -EBADMSG);
		ck_assert_str_ne(w.what, "");
	}
	ck_assert_int_eq(lz_wset_parse(&w, bytes, len + 1), -EBADMSG);
	for (size_t n = 0; n < len; n++)
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[n] ^= (uint8_t)(1 << bit);
			ck_assert_int_lt(lz_wset_parse(&w, bytes, len), 0);
			bytes[n] ^= (uint8_t)(1 << bit);
		}
	ck_assert_int_eq(lz_wset_parse(&w, bytes, len), 0);
}
END_TEST

START_TEST(what_is_no_run)
{
	const size_t first = 56, second = first + 16;

	refused(first, 1, -EBADMSG, "has a run, 0, that is no pages"); /* not aligned */
	refused(first + 8, 0, -EBADMSG, "has a run, 0, that is no pages");
	refused(second + 11, 0xff, -EBADMSG, "has more than 67108864 pages");
}
END_TEST

START_TEST(the_end_of_all_addresses)
{
	struct lz_wset_head head = { .nr_runs = 1 };
	struct lz_wset_run run = { UINT64_MAX - 4095, 1, 1 };
	struct lz_wset w;

	lz_wset_put_head(bytes, &head);
	lz_wset_put_run(bytes, 0, &run);
	lz_wset_seal(bytes, 1);
	ck_assert_int_eq(lz_wset_parse(&w, bytes, lz_wset_size(1)), -EBADMSG);
	run.address -= 4096;
	lz_wset_put_run(bytes, 0, &run);
	lz_wset_seal(bytes, 1);
	ck_assert_int_eq(lz_wset_parse(&w, bytes, lz_wset_size(1)), 0);
}
END_TEST

START_TEST(more_runs_than_there_may_be)
{
	refused(51, 1, -EBADMSG, "claims 16777218 runs, more than the 262144 there may be");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wset");
	TCase *t = tcase_create("file");

	tcase_add_test(t, it_comes_out_as_it_went_in);
	tcase_add_test(t, byte_by_byte);
	tcase_add_test(t, its_checksum_is_that_of_gzip);
	tcase_add_test(t, what_is_none);
	tcase_add_test(t, no_byte_may_be_missing_or_wrong);
	tcase_add_test(t, what_is_no_run);
	tcase_add_test(t, the_end_of_all_addresses);
	tcase_add_test(t, more_runs_than_there_may_be);
	suite_add_tcase(s, t);
	return run_suite(s);
}
