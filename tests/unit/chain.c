/* SPDX-License-Identifier: MIT */
/*
 * Chains of pagemaps, entry by entry: what comes of which level, and every entry that is refused,
 * with the place it is said to be at. Random ones are in chain_random.c.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "chain_levels.h"
#include "proto/criu/pagemap.pb-c.h"
#include "tests/lib/suite.h"

static const struct lz_seg everything = { .end = UINT64_MAX - 0xfff, .page_shift = 12 };

static void entry(size_t n, uint64_t vaddr, uint64_t nr_pages, uint32_t flags)
{
	imagebuf_entry(&buf[n], vaddr, nr_pages, flags, LZ_PAGEMAP_4_2);
}

static int start_everywhere(void)
{
	return start(&everything, 1);
}

static void expect(uint64_t at, uint64_t nr_pages, size_t from, uint64_t offset)
{
	struct lz_chain_piece piece;

	ck_assert_int_eq(lz_chain_next(&chain, &piece), 1);
	ck_assert_uint_eq(piece.start, at);
	ck_assert_uint_eq(piece.len, K4(nr_pages));
	ck_assert_int_eq(piece.absent, from == LEVELS);
	if (from < LEVELS) {
		ck_assert_uint_eq(piece.level, from);
		ck_assert_uint_eq(piece.offset, offset);
	}
}

static void expect_end(void)
{
	struct lz_chain_piece piece;

	ck_assert_int_eq(lz_chain_next(&chain, &piece), 0);
	ck_assert_int_eq(lz_chain_next(&chain, &piece), 0);
}

START_TEST(one_level)
{
	begin(1);
	entry(0, K4(1), 2, PRESENT); /* eager, but its bytes count */
	entry(0, K4(3), 3, PRESENT | LAZY);
	entry(0, K4(8), 1, LAZY);
	entry(0, K4(9), 1, PRESENT | LAZY);
	ck_assert_int_eq(start_everywhere(), 0);
	ck_assert_uint_eq(level[0].pages_id, 1);
	expect(K4(3), 3, 0, K4(2));
	expect(K4(8), 1, LEVELS, 0);
	expect(K4(9), 1, 0, K4(5));
	expect_end();
	ck_assert_uint_eq(chain.eager_bytes, K4(2));
	ck_assert_uint_eq(chain.nr_entries, 4);
}
END_TEST

START_TEST(only_in_lazy_areas)
{
	static const struct lz_seg seg[] = {
		{ .start = K4(2), .end = K4(4) },
		{ .start = K4(4), .end = K4(5) },
		{ .start = K4(7), .end = K4(8) },
		{ .start = K4(20), .end = K4(21) },
	};

	begin(1);
	entry(0, K4(1), 9, PRESENT | LAZY);
	entry(0, K4(12), 1, PRESENT | LAZY);
	ck_assert_int_eq(start(seg, 4), 0);
	expect(K4(2), 2, 0, K4(1));
	expect(K4(4), 1, 0, K4(3));
	expect(K4(7), 1, 0, K4(6));
	expect_end();
	ck_assert_uint_eq(chain.eager_bytes, K4(6));
	/* No lazy area at all. */
	ck_assert_int_eq(start(NULL, 0), 0);
	expect_end();
	ck_assert_uint_eq(chain.eager_bytes, K4(10));
}
END_TEST

START_TEST(through_parents)
{
	begin(3);
	entry(0, K4(0), 10, PARENT | LAZY);
	entry(0, K4(10), 1, PARENT); /* the restorer's */
	entry(0, K4(11), 4, PARENT | LAZY);
	entry(1, K4(0), 3, PRESENT);
	entry(1, K4(3), 9, PARENT);
	entry(1, K4(12), 2, LAZY);
	entry(1, K4(14), 3, PRESENT | LAZY);
	entry(2, K4(1), 1, PRESENT);
	entry(2, K4(3), 4, PRESENT | LAZY);
	entry(2, K4(7), 5, PRESENT);
	ck_assert_int_eq(start_everywhere(), 0);
	expect(K4(0), 3, 1, 0);
	expect(K4(3), 4, 2, K4(1));
	expect(K4(7), 3, 2, K4(5));
	expect(K4(11), 1, 2, K4(9));
	expect(K4(12), 2, LEVELS, 0);
	expect(K4(14), 1, 1, K4(3));
	expect_end();
	ck_assert_uint_eq(chain.eager_bytes, K4(1));
}
END_TEST

START_TEST(all_pages)
{
	begin(2);
	entry(0, K4(1), 2, PRESENT);
	entry(0, K4(3), 3, PRESENT | LAZY);
	entry(0, K4(8), 1, LAZY);
	entry(0, K4(9), 2, PARENT);
	entry(0, K4(11), 1, PARENT | LAZY);
	entry(1, K4(9), 1, PRESENT | LAZY);
	entry(1, K4(10), 2, PRESENT);
	ck_assert_int_eq(start(NULL, 0), 0);
	chain.all = true;
	expect(K4(1), 2, 0, 0);
	expect(K4(3), 3, 0, K4(2));
	expect(K4(8), 1, LEVELS, 0);
	expect(K4(9), 1, 1, 0);
	expect(K4(10), 1, 1, K4(1));
	expect(K4(11), 1, 1, K4(2));
	expect_end();
	ck_assert_uint_eq(chain.eager_bytes, 0);
	ck_assert_uint_eq(chain.nr_entries, 5);
}
END_TEST

START_TEST(both_encodings)
{
	const enum lz_pagemap_format format = _i ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;

	begin(1);
	imagebuf_entry(&buf[0], 0, UINT32_MAX, PRESENT | LAZY, format);
	imagebuf_entry(&buf[0], K4(UINT32_MAX), 1, PRESENT | LAZY, format);
	ck_assert_int_eq(start_everywhere(), 0);
	expect(0, UINT32_MAX, 0, 0);
	expect(K4(UINT32_MAX), 1, 0, K4(UINT32_MAX));
	expect_end();
}
END_TEST

/* in_parent and no flags at all are what there was before flags. */
START_TEST(old_entries)
{
	static const struct lz_seg second = { .start = K4(8), .end = K4(99) };
	struct lz_chain_piece piece;
	Lz__Criu__PagemapEntry e = LZ__CRIU__PAGEMAP_ENTRY__INIT;

	begin(2);
	e.compat_nr_pages = 2;
	e.vaddr = K4(1);
	imagebuf_message(&buf[0], &e.base);
	e.vaddr = K4(3);
	e.has_in_parent = 1;
	imagebuf_message(&buf[0], &e.base); /* not present: it is not */
	e.vaddr = K4(5);
	e.in_parent = 1;
	imagebuf_message(&buf[0], &e.base);
	e.vaddr = K4(7);
	e.has_flags = 1;
	e.flags = LAZY;
	imagebuf_message(&buf[0], &e.base);
	entry(1, K4(8), 2, PRESENT);
	e.vaddr = K4(9);
	e.has_in_parent = 0;
	e.flags = PRESENT | LAZY;
	e.has_nr_pages = 1; /* rules out the other */
	e.nr_pages = 1;
	imagebuf_message(&buf[0], &e.base);
	ck_assert_int_eq(start(&everything, 1), 0);
	/* The parent has the second of the two lazy pages only. */
	ck_assert_int_eq(lz_chain_next(&chain, &piece), -EBADMSG);
	ck_assert_uint_eq(chain.failed, 0);
	ck_assert_uint_eq(chain.eager_bytes, K4(6));
	ck_assert_uint_eq(level[0].image.record, 5);
	ck_assert_int_eq(start(&second, 1), 0);
	expect(K4(8), 1, 1, 0);
	expect(K4(9), 1, 0, K4(4));
	expect_end();
}
END_TEST

START_TEST(huge_entries)
{
	const uint64_t huge = UINT64_C(1) << 32;

	begin(2);
	entry(0, 0, huge, PRESENT);
	entry(0, K4(huge), huge, PRESENT | LAZY);
	entry(0, K4(2 * huge), huge, PARENT | LAZY);
	entry(0, -K4(2), 1, PARENT | LAZY);
	entry(1, 0, 4 * huge, PRESENT);
	entry(1, -K4(9), 8, PRESENT);
	ck_assert_int_eq(start_everywhere(), 0);
	expect(K4(huge), huge, 0, K4(huge));
	expect(K4(2 * huge), huge, 1, K4(2 * huge));
	expect(-K4(2), 1, 1, K4(4 * huge + 7));
	expect_end();
}
END_TEST

/* ---- refused ---- */

struct wrong {
	struct {
		uint64_t vaddr, nr_pages;
		uint32_t flags;
	} entry[2][3]; /* of the newest snapshot, of its parent */
	int err;
	size_t level;
	uint64_t record;
	const char *says;
};

static const struct wrong wrong[] = {
	{ { { { K4(1), 1, 6 }, { K4(1), 1, 6 } } }, -EBADMSG, 0, 3, "begins at 0x1000, before" },
	{ { { { K4(1), 2, 6 }, { K4(2), 1, 4 } } }, -EBADMSG, 0, 3, "before the end" },
	{ { { { K4(5), 1, 6 }, { K4(2), 1, 4 } } }, -EBADMSG, 0, 3, "before the end" },
	{ { { { K4(1) + 1, 1, 6 } } }, -EBADMSG, 0, 2, "not at the start of a page" },
	{ { { { K4(1), 1, 6 }, { K4(2), 0, 6 } } }, -EBADMSG, 0, 3, "0 pages at 0x2000" },
	{ { { { 0, UINT64_MAX, 6 } } }, -EBADMSG, 0, 2, "more than there are addresses" },
	{ { { { 0, UINT64_C(1) << 52, 6 } } }, -EBADMSG, 0, 2, "more than there are addresses" },
	{ { { { -K4(1), 1, 6 } } }, -EBADMSG, 0, 2, "more than there are addresses" },
	{ { { { K4(9), (UINT64_C(1) << 52) - 9, 6 } } }, -EBADMSG, 0, 2, "addresses" },
	{ { { { 0, UINT64_C(1) << 51, 6 } } }, -EBADMSG, 0, 2, "what a file can hold" },
	{ { { { 0, UINT64_C(1) << 50, 4 }, { K4(UINT64_C(1) << 50), UINT64_C(1) << 50, 6 } } },
	  -EBADMSG,
	  0,
	  3,
	  "what a file can hold" },
	{ { { { K4(1), 1, 8 } } }, -EPROTONOSUPPORT, 0, 2, "does not know 0x8" },
	{ { { { K4(1), 1, 0x80000006 } } }, -EPROTONOSUPPORT, 0, 2, "flags 0x80000006" },
	{ { { { K4(1), 1, 16 | 1 } } }, -EPROTONOSUPPORT, 0, 2, "use a newer version" },
	{ { { { K4(1), 1, 5 } } }, -EBADMSG, 0, 2, "both" },
	{ { { { K4(1), 1, 7 } } }, -EBADMSG, 0, 2, "both" },
	{ { { { K4(1), 2, 3 } }, { { K4(2), 1, 4 } } }, -EBADMSG, 0, 2, "0x1000, but level 1" },
	{ { { { K4(1), 2, 3 } }, { { K4(1), 1, 4 } } }, -EBADMSG, 0, 2, "0x2000, but level 1" },
	{ { { { K4(1), 2, 3 } }, { { K4(8), 1, 4 } } }, -EBADMSG, 0, 2, "does not hold it" },
	{ { { { K4(1), 2, 3 } }, { { K4(1), 2, 1 } } }, -EBADMSG, 1, 2, "there is no parent" },
	{ { { { K4(1), 2, 3 } }, { { K4(1), 2, 12 } } }, -EPROTONOSUPPORT, 1, 2, "does not know" },
	{ { { { K4(1), 1, 3 } }, { { K4(1), 2, 4 }, { K4(2), 2, 4 } } },
	  -EBADMSG,
	  1,
	  3,
	  "before the end" },
};

START_TEST(refused)
{
	const struct wrong *w = &wrong[_i];
	struct lz_chain_piece piece;
	int err;

	begin(2);
	for (size_t l = 0; l < 2; l++) {
		for (size_t n = 0; n < 3 && w->entry[l][n].flags; n++)
			entry(l, w->entry[l][n].vaddr, w->entry[l][n].nr_pages,
			      w->entry[l][n].flags);
	}
	ck_assert_int_eq(start_everywhere(), 0);
	while ((err = lz_chain_next(&chain, &piece)) > 0)
		;
	ck_assert_int_eq(err, w->err);
	ck_assert_uint_eq(chain.failed, w->level);
	ck_assert_uint_eq(level[w->level].image.record, w->record);
	ck_assert_msg(strstr(level[w->level].image.what, w->says) != NULL, "%s",
		      level[w->level].image.what);
}
END_TEST

START_TEST(no_flags_set)
{
	struct lz_chain_piece piece;

	begin(1);
	entry(0, K4(1), 1, 0);
	ck_assert_int_eq(start_everywhere(), 0);
	ck_assert_int_eq(lz_chain_next(&chain, &piece), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(level[0].image.what, "neither"));
}
END_TEST

START_TEST(unknown_fields)
{
	struct lz_chain_piece piece;

	/* Field 2 in the head of a parent, field 6 in an entry. */
	begin(2);
	imagebuf_free(&buf[1]);
	imagebuf_head(&buf[1], LZ_IMAGE_PAGEMAP);
	imagebuf_record(&buf[1], "\x08\x01\x10\x07", 4);
	ck_assert_int_eq(start_everywhere(), -EPROTONOSUPPORT);
	ck_assert_uint_eq(chain.failed, 1);
	ck_assert_ptr_nonnull(strstr(level[1].image.what, "field 2, which"));

	begin(1);
	imagebuf_record(&buf[0], "\x08\x00\x10\x01\x20\x06\x32\x02\x08\x01", 10);
	ck_assert_int_eq(start_everywhere(), 0);
	ck_assert_int_eq(lz_chain_next(&chain, &piece), -EPROTONOSUPPORT);
	ck_assert_uint_eq(level[0].image.record, 2);
	ck_assert_ptr_nonnull(strstr(level[0].image.what, "field 6, which"));
}
END_TEST

START_TEST(no_messages)
{
	struct lz_chain_piece piece;

	begin(1);
	imagebuf_free(&buf[0]);
	imagebuf_head(&buf[0], LZ_IMAGE_PAGEMAP);
	ck_assert_int_eq(start_everywhere(), -EBADMSG);
	ck_assert_str_eq(level[0].image.what, "holds no record");
	imagebuf_record(&buf[0], "\xff", 1);
	ck_assert_int_eq(start_everywhere(), -EBADMSG);
	ck_assert_str_eq(level[0].image.what, "is no head of a pagemap");

	begin(1);
	imagebuf_record(&buf[0], "\x08\x00", 2); /* lacks field 2 */
	ck_assert_int_eq(start_everywhere(), 0);
	ck_assert_int_eq(lz_chain_next(&chain, &piece), -EBADMSG);
	ck_assert_str_eq(level[0].image.what, "is no entry of a pagemap");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chain");
	TCase *t = tcase_create("chain");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, one_level);
	tcase_add_test(t, only_in_lazy_areas);
	tcase_add_test(t, through_parents);
	tcase_add_test(t, all_pages);
	tcase_add_loop_test(t, both_encodings, 0, 2);
	tcase_add_test(t, old_entries);
	tcase_add_test(t, huge_entries);
	tcase_add_loop_test(t, refused, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, no_flags_set);
	tcase_add_test(t, unknown_fields);
	tcase_add_test(t, no_messages);
	suite_add_tcase(s, t);
	return run_suite(s);
}
