/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out: whatever can fail for the want of it is made to fail at its first
 * allocation, its second, and so on until it succeeds. After each failure the object is as it was,
 * and the same call then succeeds. Here plans, sets, maps and spaces; engines and their state are
 * in alloc_engine.c.
 *
 * limits: small
 */
#include <check.h>
#include <string.h>

#include "alloc_world.h"
#include "tests/lib/suite.h"

static int call_plan_add(void)
{
	/* The 65th run is one too many for the first room. */
	for (uint64_t i = lz_plan_nr_runs(plan); i < 65; i++) {
		const struct lz_piece piece = { K4(10000 + 2 * i), K4(1), 0, 0, 12 };
		int r = lz_plan_add(plan, &piece);

		if (r)
			return r;
	}
	return 0;
}

static void same_plan(void)
{
	ck_assert_uint_eq(lz_plan_nr_runs(plan), 64);
	ck_assert_uint_eq(lz_plan_nr_pages(plan), NR_PAGES + 64 - AREAS);
	ck_assert_uint_eq(lz_plan_run(plan, NR_PAGES)->identity, K4(10000 + 2 * AREAS));
}

static void changed_plan(void)
{
	ck_assert_uint_eq(lz_plan_nr_runs(plan), 65);
	ck_assert_uint_eq(lz_plan_nr_pages(plan), NR_PAGES + 65 - AREAS);
}

static int call_plan_new(void)
{
	struct lz_plan *p;
	int r = lz_plan_new(&p);

	if (!r)
		lz_plan_put(p);
	return r;
}

START_TEST(plans)
{
	exhaust(call_plan_new, failing_nothing, failing_nothing);
	exhaust(call_plan_add, same_plan, changed_plan);
}
END_TEST

/* Giving back what is not needed may fail, and nobody notices. */
START_TEST(sealing)
{
	set_up();
	failing_arm(FAILING_ONCE, 0);
	lz_plan_seal(plan);
	ck_assert(failing_disarm());
	ck_assert_uint_eq(lz_plan_nr_runs(plan), AREAS);
	ck_assert_int_eq(lz_plan_page(plan, K4(100), NULL), 0);
	tear_down();
}
END_TEST

static struct lz_bits bits;

static int call_bits(void)
{
	return lz_bits_init(&bits, NR_PAGES, NULL);
}

static int call_bits_external(void)
{
	return lz_bits_init(&bits, NR_PAGES, words);
}

static void same_bits(void)
{
	ck_assert_ptr_null(bits.word);
	ck_assert_ptr_null(bits.summary);
}

static void changed_bits(void)
{
	ck_assert_uint_eq(lz_bits_set(&bits, 0, NR_PAGES), NR_PAGES);
	lz_bits_fini(&bits);
}

START_TEST(sets)
{
	exhaust(call_bits, same_bits, changed_bits);
	exhaust(call_bits_external, same_bits, changed_bits);
}
END_TEST

static struct lz_map other;

static int call_map_init(void)
{
	return lz_map_init(&other, area, AREAS);
}

static int call_map_copy(void)
{
	return lz_map_copy(&other, &map);
}

static void same_other(void)
{
	ck_assert_ptr_null(other.seg);
	ck_assert_ptr_null(other.by_identity);
	ck_assert_uint_eq(other.nr, 0);
}

static void changed_other(void)
{
	ck_assert_uint_eq(other.nr, AREAS);
	lz_map_check(&other);
	lz_map_fini(&other);
}

static int call_map_cut(void)
{
	return lz_map_cut(&map, (struct lz_range){ K4(101), K4(102) });
}

static int call_map_move(void)
{
	return lz_map_move(&map, (struct lz_range){ K4(101), K4(102) }, K4(210));
}

static void same_map(void)
{
	ck_assert_uint_eq(map.nr, AREAS);
	ck_assert(!memcmp(map.seg, area, sizeof(area)));
	lz_map_check(&map);
}

static void changed_map(void)
{
	ck_assert_uint_gt(map.nr, AREAS);
	lz_map_check(&map);
}

START_TEST(maps)
{
	exhaust(call_map_init, same_other, changed_other);
	exhaust(call_map_copy, same_other, changed_other);
	exhaust(call_map_cut, same_map, changed_map);
	exhaust(call_map_move, same_map, changed_map);
}
END_TEST

/* ---- spaces ---- */

static int call_open(void)
{
	return lz_space_open(&child, plan, area, AREAS, NULL, false);
}

static int call_fork(void)
{
	return lz_space_fork(&child, &space, words);
}

static void same_child(void)
{
	const struct lz_space none = { 0 };

	ck_assert(!memcmp(&child, &none, sizeof(none)));
	ck_assert_uint_eq(space.nr_owed, NR_PAGES);
	ck_assert_uint_eq(words[0], 0);
}

static void changed_child(void)
{
	ck_assert_uint_eq(child.nr_owed, NR_PAGES);
	lz_space_check(&child);
}

static int call_bind(void)
{
	words[0] = 7;
	return lz_space_bind(&space, words);
}

static void same_space(void)
{
	ck_assert_uint_eq(space.nr_owed, NR_PAGES);
	lz_space_check(&space);
}

static void changed_space(void)
{
	ck_assert_uint_eq(space.nr_owed, 3);
}

START_TEST(spaces)
{
	exhaust(call_open, same_child, changed_child);
	exhaust(call_fork, same_child, changed_child);
	exhaust(call_bind, same_space, changed_space);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc");
	TCase *t = tcase_create("alloc");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, plans);
	tcase_add_test(t, sealing);
	tcase_add_test(t, sets);
	tcase_add_test(t, maps);
	tcase_add_test(t, spaces);
	suite_add_tcase(s, t);
	return run_suite(s);
}
