/* SPDX-License-Identifier: MIT */
/* One address space: which pages it is owed, where they are, and what is forgotten when. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "uffd/space.h"

#define K4(n) ((uint64_t)(n) << 12)

/* Pages 0..8 at 0x100.., a hole of 8, pages 8..12, and two huge pages, 12 and 13. */
static const struct lz_piece PIECES[] = {
	{ K4(0x100), K4(8), 0, 0, 12 },
	{ K4(0x110), K4(4), K4(8), 0, 12 },
	{ K4(0x200), K4(0x400), K4(0x200), 0, 21 },
};
static const struct lz_seg AREAS[] = {
	{ K4(0x100), K4(0x112), K4(0x100), 12, 0 },
	{ K4(0x112), K4(0x120), K4(0x112), 12, 0 },
	{ K4(0x200), K4(0x600), K4(0x200), 21, 0 },
};
enum { NR_PAGES = 14, NR_AREAS = 3 };

static struct lz_plan *plan;
static struct lz_space s;

static void set_up(void)
{
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	for (size_t i = 0; i < sizeof(PIECES) / sizeof(PIECES[0]); i++)
		ck_assert_int_eq(lz_plan_add(plan, &PIECES[i]), 0);
	lz_plan_seal(plan);
	memset(&s, 0, sizeof(s));
	lz_space_check(&s);
	ck_assert_int_eq(lz_space_open(&s, plan, AREAS, NR_AREAS, NULL, false), 0);
	lz_space_check(&s);
}

static void tear_down(void)
{
	lz_space_check(&s);
	if (s.state != LZ_SPACE_FREE)
		lz_space_close(&s);
	lz_space_check(&s);
	lz_plan_put(plan);
}

static struct lz_range range(uint64_t from, uint64_t to)
{
	return (struct lz_range){ K4(from), K4(to) };
}

START_TEST(owed_at_first)
{
	ck_assert_int_eq(s.state, LZ_SPACE_OPEN);
	ck_assert_uint_eq(s.nr_owed, NR_PAGES);
	ck_assert_uint_eq(lz_bits_count(&s.owed), NR_PAGES);
	ck_assert_uint_eq(s.nr_busy, 0);
}
END_TEST

START_TEST(owed_in_part)
{
	const struct lz_seg part[] = {
		{ K4(1), K4(3), K4(0x104), 12, 0 },    /* pages 4 and 5, elsewhere */
		{ K4(5), K4(25), K4(0x10c), 12, 0 },   /* a hole and all behind it */
		{ K4(30), K4(31), K4(0x1000), 12, 0 }, /* nothing of the image */
	};
	struct lz_space t = { 0 };

	ck_assert_int_eq(lz_space_open(&t, plan, part, 3, NULL, false), 0);
	ck_assert_uint_eq(t.nr_owed, 6);
	ck_assert(lz_bits_test(&t.owed, 4) && lz_bits_test(&t.owed, 5) &&
		  !lz_bits_test(&t.owed, 6));
	ck_assert_int_eq(lz_space_page_at(&t, K4(2) + 5), 5);
	ck_assert_int_eq(lz_space_page_at(&t, K4(9)), 8);
	ck_assert_int_eq(lz_space_page_at(&t, K4(8)), -1);
	ck_assert_int_eq(lz_space_page_at(&t, K4(30)), -1);
	lz_space_check(&t);
	lz_space_close(&t);
	ck_assert_int_eq(lz_space_open(&t, plan, NULL, 0, NULL, false), 0);
	ck_assert_uint_eq(t.nr_owed, 0);
	lz_space_close(&t);
}
END_TEST

START_TEST(refused)
{
	const struct lz_seg bad[] = { AREAS[1], AREAS[0] };
	struct lz_space t = { 0 };

	ck_assert_int_eq(lz_space_open(&t, plan, bad, 2, NULL, false), -EINVAL);
	ck_assert_int_eq(t.state, LZ_SPACE_FREE);
	lz_space_check(&t);
}
END_TEST

START_TEST(pages_and_ranges)
{
	const struct lz_range small = lz_space_page_range(&s, K4(0x10a) + 77);
	const struct lz_range huge = lz_space_page_range(&s, K4(0x4ff) + 4095);
	const struct lz_range stack = lz_space_page_range(&s, K4(0x9000) + 1);

	ck_assert_int_eq(lz_space_page_at(&s, K4(0x107) + 4095), 7);
	ck_assert_int_eq(lz_space_page_at(&s, K4(0x108)), -1);
	ck_assert_int_eq(lz_space_page_at(&s, K4(0x3ff)), 12);
	ck_assert_int_eq(lz_space_page_at(&s, K4(0x400)), 13);
	ck_assert_int_eq(lz_space_page_at(&s, K4(0x600)), -1);
	ck_assert_uint_eq(small.start, K4(0x10a));
	ck_assert_uint_eq(small.end, K4(0x10b));
	ck_assert_uint_eq(huge.start, K4(0x400));
	ck_assert_uint_eq(huge.end, K4(0x600));
	ck_assert_uint_eq(stack.start, K4(0x9000));
	ck_assert_uint_eq(lz_range_len(stack), 4096);
}
END_TEST

START_TEST(settling_and_forgetting)
{
	ck_assert_uint_eq(lz_space_settle(&s, 2, 3), 3);
	ck_assert_uint_eq(lz_space_settle(&s, 0, 4), 2);
	ck_assert_uint_eq(s.nr_owed, NR_PAGES - 5);
	/* Over a hole, a seam of areas, and beyond the last of them. */
	ck_assert_uint_eq(lz_space_forget(&s, range(0x104, 0x113)), 6);
	ck_assert_uint_eq(s.nr_owed, NR_PAGES - 11);
	ck_assert_uint_eq(lz_space_forget(&s, range(0x104, 0x113)), 0);
	ck_assert_uint_eq(lz_space_forget(&s, range(0x10000, 0x20000)), 0);
	ck_assert_uint_eq(lz_space_forget(&s, (struct lz_range){ 0, UINT64_MAX }), 3);
	ck_assert_uint_eq(s.nr_owed, 0);
}
END_TEST

START_TEST(huge_pages_are_forgotten_whole)
{
	ck_assert_uint_eq(lz_space_forget(&s, range(0x201, 0x400)), 0);
	ck_assert_uint_eq(lz_space_forget(&s, range(0x200, 0x3ff)), 0);
	ck_assert_uint_eq(lz_space_forget(&s, range(0x3ff, 0x401)), 0);
	ck_assert_uint_eq(lz_space_forget(&s, range(0x201, 0x600)), 1);
	ck_assert(lz_bits_test(&s.owed, 12));
	ck_assert_uint_eq(lz_space_forget(&s, range(0x200, 0x401)), 1);
}
END_TEST

START_TEST(places)
{
	struct lz_range at;
	uint64_t nr = 99;

	ck_assert(lz_space_place_of(&s, 1, 5, &at, &nr));
	ck_assert_uint_eq(at.start, K4(0x101));
	ck_assert_uint_eq(at.end, K4(0x106));
	ck_assert_uint_eq(nr, 5);
	/* Not beyond the run, not into another area, not over what is owed no longer. */
	ck_assert(lz_space_place_of(&s, 6, 100, &at, &nr));
	ck_assert_uint_eq(nr, 2);
	ck_assert(lz_space_place_of(&s, 8, 100, &at, &nr));
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(at.start, K4(0x110));
	lz_space_settle(&s, 3, 1);
	ck_assert(lz_space_place_of(&s, 0, 100, &at, &nr));
	ck_assert_uint_eq(nr, 3);
	ck_assert(!lz_space_place_of(&s, 3, 100, &at, &nr));
	ck_assert(lz_space_place_of(&s, 12, 2, &at, &nr));
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(lz_range_len(at), K4(0x400));
	/* It is where it has been moved to. */
	ck_assert_int_eq(lz_map_move(&s.map, range(0x101, 0x103), K4(0x800)), 0);
	ck_assert(lz_space_place_of(&s, 0, 100, &at, &nr));
	ck_assert_uint_eq(nr, 1);
	ck_assert(lz_space_place_of(&s, 1, 100, &at, &nr));
	ck_assert_uint_eq(at.start, K4(0x800));
	ck_assert_uint_eq(nr, 2);
}
END_TEST

START_TEST(a_fork)
{
	struct lz_space child = { 0 };
	uint64_t words[1] = { UINT64_MAX }; /* of the slot's last user */

	lz_space_settle(&s, 0, 3);
	s.nr_busy = lz_bits_set(&s.busy, 5, 6);
	s.front[LZ_LOCAL].ahead = 7;
	s.front[LZ_LOCAL].behind = 2;
	s.wake_all = s.kill = true;
	ck_assert_int_eq(lz_map_move(&s.map, range(0x104, 0x106), K4(0x900)), 0);
	ck_assert_int_eq(lz_space_fork(&child, &s, words), 0);
	lz_space_check(&child);
	ck_assert_uint_eq(child.nr_owed, NR_PAGES - 3);
	ck_assert_uint_eq(child.nr_busy, 0);
	ck_assert(!lz_bits_test(&child.busy, 5) && !child.wake_all && !child.kill);
	ck_assert_uint_eq(child.front[LZ_LOCAL].ahead, 7);
	ck_assert_int_eq(lz_space_page_at(&child, K4(0x901)), 5);
	ck_assert_uint_eq(words[0], (1U << NR_PAGES) - 1 - 7);
	/* From here on each goes its way. */
	lz_space_forget(&child, range(0x900, 0x902));
	ck_assert_int_eq(lz_map_cut(&child.map, range(0x100, 0x200)), 0);
	ck_assert_uint_eq(s.nr_owed, NR_PAGES - 3);
	ck_assert_int_eq(lz_space_page_at(&s, K4(0x103)), 3);
	lz_space_close(&s);
	ck_assert_int_eq(lz_space_page_at(&child, K4(0x901)), 5);
	lz_space_check(&child);
	lz_space_close(&child);
	ck_assert_uint_eq(words[0], (1U << NR_PAGES) - 1 - 7 - (3U << 4));
}
END_TEST

START_TEST(words_that_outlive_it)
{
	uint64_t words[1] = { 0 };
	struct lz_space t = { 0 };

	ck_assert_int_eq(lz_space_open(&t, plan, AREAS, NR_AREAS, words, false), 0);
	lz_space_settle(&t, 0, 10);
	lz_space_close(&t);
	ck_assert_uint_eq(words[0], 0xfU << 10);
	/* A successor is owed nothing until it has been given them. */
	ck_assert_int_eq(lz_space_open(&t, plan, AREAS, NR_AREAS, NULL, true), 0);
	ck_assert_uint_eq(t.nr_owed, 0);
	ck_assert_int_eq(lz_space_bind(&t, words), 0);
	ck_assert_uint_eq(t.nr_owed, 4);
	lz_space_check(&t);
	lz_space_settle(&t, 12, 1);
	ck_assert_uint_eq(words[0], 0xfU << 10 & ~(1U << 12));
	lz_space_close(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("space");
	TCase *t = tcase_create("space");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, owed_at_first);
	tcase_add_test(t, owed_in_part);
	tcase_add_test(t, refused);
	tcase_add_test(t, pages_and_ranges);
	tcase_add_test(t, settling_and_forgetting);
	tcase_add_test(t, huge_pages_are_forgotten_whole);
	tcase_add_test(t, places);
	tcase_add_test(t, a_fork);
	tcase_add_test(t, words_that_outlive_it);
	suite_add_tcase(suite, t);
	return run_suite(suite);
}
