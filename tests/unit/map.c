/* SPDX-License-Identifier: MIT */
/*
 * Segments: random cuts and moves against an array that knows, of each position, which page of the
 * image is there; and the moves that are hard to get right.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "uffd/map.h"

#define K4(n) ((uint64_t)(n) << 12)

enum { PAGES = 96, AREAS_MAX = 12, STEPS = 400, NOTHING = -1 };

static uint64_t seed, first_seed;
static uint64_t base; /* of positions and identities */
static int model[PAGES];

static uint64_t pick(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

static struct lz_range range(uint64_t from, uint64_t to)
{
	return (struct lz_range){ base + K4(from), base + K4(to) };
}

static struct lz_seg seg(uint64_t from, uint64_t to, uint64_t identity)
{
	return (struct lz_seg){ base + K4(from), base + K4(to), base + K4(identity), 12, 0 };
}

static void init(struct lz_map *m, const struct lz_seg *segs, size_t nr)
{
	ck_assert_int_eq(lz_map_init(m, segs, nr), 0);
	lz_map_check(m);
}

/* ---- random layouts against the model ---- */

static void compare_positions(const struct lz_map *m)
{
	for (int i = 0; i < PAGES; i++) {
		uint64_t addr = base + K4(i) + pick(4096);
		const struct lz_seg *s = lz_map_at(m, addr);
		int last = i;

		MUST_EQ(!s, model[i] == NOTHING);
		if (s) {
			MUST_EQ(s->identity + (addr - s->start),
				base + K4(model[i]) + (addr - base - K4(i)));
			MUST_EQ(lz_map_from(m, addr), s);
			continue;
		}
		while (last < PAGES && model[last] == NOTHING)
			last++;
		s = lz_map_from(m, addr);
		MUST_EQ(!s, last == PAGES);
		if (s)
			MUST_EQ(s->start, base + K4(last));
	}
}

static void compare_identities(const struct lz_map *m)
{
	for (int id = 0; id < PAGES; id++) {
		uint64_t len = K4(1 + pick(6)), together = K4(1);
		struct lz_range at;
		int i = 0;

		while (i < PAGES && model[i] != id)
			i++;
		MUST_EQ(lz_map_where(m, base + K4(id), len, &at), i < PAGES);
		if (i == PAGES)
			continue;
		MUST_EQ(at.start, base + K4(i));
		/* The pieces that the map keeps may be shorter than what lies together. */
		MUST_EQ(lz_range_len(at) <= len && lz_range_len(at) >= K4(1), true);
		for (; together < lz_range_len(at); together += K4(1)) {
			i++;
			id++;
			MUST_EQ(i < PAGES && model[i] == id, true);
		}
	}
}

static size_t least_segments(void)
{
	size_t n = 0;

	for (int i = 0; i < PAGES; i++)
		n += model[i] != NOTHING &&
		     (!i || model[i - 1] != model[i] - 1 || model[i - 1] == NOTHING);
	return n;
}

static void random_map(struct lz_map *m)
{
	struct lz_seg segs[AREAS_MAX];
	bool taken[PAGES] = { false };
	size_t nr = 0;

	for (int i = 0; i < PAGES; i++)
		model[i] = NOTHING;
	for (uint64_t at = pick(5); at < PAGES - 8 && nr < AREAS_MAX; at += pick(5)) {
		uint64_t len = 1 + pick(8), id = pick(PAGES - 8);
		bool is_free = true;

		for (uint64_t i = 0; i < len; i++)
			is_free = is_free && !taken[id + i];
		if (!is_free)
			continue;
		segs[nr++] = seg(at, at + len, id);
		for (uint64_t i = 0; i < len; i++) {
			taken[id + i] = true;
			model[at + i] = (int)(id + i);
		}
		at += len;
	}
	init(m, segs, nr);
}

static void change(struct lz_map *m)
{
	uint64_t from = pick(PAGES), len = 1 + pick(12), to = pick(PAGES);
	int moved[PAGES];

	len = from + len > PAGES ? PAGES - from : len;
	if (!pick(3)) {
		MUST_EQ(lz_map_cut(m, range(from, from + len)), 0);
		/* Little is left after many cuts: cut little. */
		for (uint64_t i = 0; i < len; i++)
			model[from + i] = NOTHING;
		return;
	}
	if (to + len > PAGES || (to < from + len && from < to + len))
		return; /* mremap refuses a target that overlaps its source */
	MUST_EQ(lz_map_move(m, range(from, from + len), base + K4(to)), 0);
	memcpy(moved, model + from, len * sizeof(*model));
	for (uint64_t i = 0; i < len; i++)
		model[from + i] = NOTHING;
	memcpy(model + to, moved, len * sizeof(*model));
}

static void run(void)
{
	struct lz_map m, copy;

	random_map(&m);
	for (int i = 0; i < STEPS; i++) {
		change(&m);
		lz_map_check(&m);
		MUST_EQ(m.nr >= least_segments(), true);
		compare_positions(&m);
		compare_identities(&m);
		if (!pick(30)) {
			lz_map_fini(&m);
			random_map(&m);
		}
	}
	MUST_EQ(lz_map_copy(&copy, &m), 0);
	lz_map_check(&copy);
	lz_map_fini(&m);
	compare_positions(&copy);
	compare_identities(&copy);
	change(&copy);
	compare_positions(&copy);
	lz_map_fini(&copy);
}

START_TEST(like_the_model)
{
	seed = first_seed = (uint64_t)_i;
	base = K4(256);
	run();
	base = -K4(PAGES + 16); /* right below 2^64 */
	run();
}
END_TEST

/* ---- by hand ---- */

START_TEST(empty)
{
	struct lz_map m, copy;
	struct lz_range at;

	init(&m, NULL, 0);
	ck_assert_ptr_null(lz_map_at(&m, 0));
	ck_assert_ptr_null(lz_map_from(&m, 0));
	ck_assert(!lz_map_where(&m, 0, 1, &at));
	ck_assert_int_eq(lz_map_cut(&m, range(0, 9)), 0);
	ck_assert_int_eq(lz_map_move(&m, range(0, 9), K4(20)), 0);
	ck_assert_int_eq(lz_map_copy(&copy, &m), 0);
	lz_map_check(&copy);
	ck_assert_uint_eq(copy.nr, 0);
	lz_map_fini(&copy);
	lz_map_fini(&m);
}
END_TEST

START_TEST(refuses)
{
	const struct lz_seg bad[][2] = {
		{ seg(3, 3, 0), seg(4, 5, 9) },   /* empty */
		{ seg(5, 4, 0), seg(8, 9, 9) },   /* backwards */
		{ seg(4, 6, 0), seg(5, 7, 9) },   /* overlapping */
		{ seg(6, 7, 0), seg(4, 5, 9) },   /* not ascending */
		{ seg(4, 6, 10), seg(8, 9, 11) }, /* one identity twice */
		{ seg(4, 6, 10), seg(8, 9, 10) },
		{ seg(4, 6, 0), { K4(8), K4(11), -K4(2), 12, 0 } }, /* identities wrap */
	};
	struct lz_map m;

	ck_assert_int_eq(lz_map_init(&m, bad[_i], 2), -EINVAL);
	ck_assert_ptr_null(m.seg);
	ck_assert_uint_eq(m.nr, 0);
}
END_TEST

START_TEST(up_to_the_last_identity)
{
	const struct lz_seg s = { K4(8), K4(10), -K4(2), 12, 0 };
	struct lz_range at;
	struct lz_map m;

	init(&m, &s, 1);
	ck_assert(lz_map_where(&m, UINT64_MAX, 1, &at));
	ck_assert_uint_eq(at.start, K4(10) - 1);
	ck_assert(lz_map_where(&m, -K4(1), K4(1), &at));
	ck_assert_uint_eq(at.start, K4(9));
	ck_assert(!lz_map_where(&m, -K4(3), K4(1), &at));
	lz_map_fini(&m);
}
END_TEST

/* Seams are joined again: a process that moves its heap for ever must not fill our memory. */
START_TEST(back_and_forth)
{
	const struct lz_seg all = seg(0, 64, 0);
	struct lz_map m;
	size_t cap = 0;

	init(&m, &all, 1);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(lz_map_move(&m, range(16, 32), K4(100)), 0);
		ck_assert_uint_eq(m.nr, 3);
		ck_assert_int_eq(lz_map_move(&m, range(100, 116), K4(16)), 0);
		ck_assert_uint_eq(m.nr, 1);
		cap = i ? cap : m.cap;
	}
	ck_assert_uint_eq(m.cap, cap);
	ck_assert(!memcmp(&m.seg[0], &all, sizeof(all)));
	lz_map_check(&m);
	lz_map_fini(&m);
}
END_TEST

START_TEST(one_page_at_a_time)
{
	const struct lz_seg all = seg(0, 64, 0);
	struct lz_range at;
	struct lz_map m;

	init(&m, &all, 1);
	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(lz_map_move(&m, range(i, i + 1), K4(200 + 2 * (63 - i))), 0);
	lz_map_check(&m);
	ck_assert_uint_eq(m.nr, 64);
	for (uint64_t i = 0; i < 64; i++) {
		ck_assert(lz_map_where(&m, K4(i), K4(64), &at));
		ck_assert_uint_eq(at.start, K4(200 + 2 * (63 - i)));
		ck_assert_uint_eq(lz_range_len(at), 4096);
	}
	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(
			lz_map_move(&m, range(200 + 2 * (63 - i), 201 + 2 * (63 - i)), K4(i)), 0);
	ck_assert_uint_eq(m.nr, 1);
	ck_assert(!memcmp(&m.seg[0], &all, sizeof(all)));
	lz_map_fini(&m);
}
END_TEST

START_TEST(onto_what_is_there)
{
	const struct lz_seg segs[] = { seg(0, 8, 0), seg(8, 16, 50) };
	struct lz_range at;
	struct lz_map m;

	init(&m, segs, 2);
	ck_assert_int_eq(lz_map_move(&m, range(0, 4), K4(6)), 0);
	lz_map_check(&m);
	ck_assert(lz_map_where(&m, K4(0), K4(8), &at));
	ck_assert_uint_eq(at.start, K4(6));
	ck_assert_uint_eq(lz_range_len(at), K4(4));
	ck_assert(lz_map_where(&m, K4(4), K4(8), &at));
	ck_assert_uint_eq(lz_range_len(at), K4(2));
	ck_assert(!lz_map_where(&m, K4(6), K4(1), &at)); /* covered */
	ck_assert(!lz_map_where(&m, K4(51), K4(1), &at));
	ck_assert(lz_map_where(&m, K4(52), K4(1), &at));
	ck_assert_uint_eq(at.start, K4(10));
	lz_map_fini(&m);
}
END_TEST

START_TEST(page_sizes_are_not_joined)
{
	struct lz_seg segs[] = { seg(0, 512, 0), seg(512, 1024, 512) };
	struct lz_map m;

	segs[0].page_shift = 21;
	init(&m, segs, 2);
	ck_assert_int_eq(lz_map_move(&m, range(512, 1024), K4(4096)), 0);
	ck_assert_int_eq(lz_map_move(&m, range(4096, 4096 + 512), K4(512)), 0);
	ck_assert_uint_eq(m.nr, 2);
	ck_assert_uint_eq(lz_map_at(&m, 0)->page_shift, 21);
	ck_assert_uint_eq(lz_map_at(&m, K4(512))->page_shift, 12);
	lz_map_fini(&m);
}
END_TEST

/* What reads as one whole is one position, however it came to be two segments. */
START_TEST(cut_in_the_middle)
{
	const struct lz_seg all = seg(10, 20, 0);
	struct lz_map m;

	init(&m, &all, 1);
	ck_assert_int_eq(lz_map_cut(&m, range(14, 16)), 0);
	ck_assert_uint_eq(m.nr, 2);
	ck_assert_int_eq(lz_map_cut(&m, range(0, 11)), 0);
	ck_assert_int_eq(lz_map_cut(&m, range(19, 100)), 0);
	ck_assert_uint_eq(m.nr, 2);
	ck_assert_uint_eq(m.seg[0].start, K4(11));
	ck_assert_uint_eq(m.seg[1].identity, K4(6));
	ck_assert_uint_eq(m.seg[1].end, K4(19));
	ck_assert_int_eq(lz_map_cut(&m, (struct lz_range){ 0, UINT64_MAX }), 0);
	ck_assert_uint_eq(m.nr, 0);
	lz_map_fini(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("map");
	TCase *t = tcase_create("map");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, like_the_model, 0, 60);
	tcase_add_test(t, empty);
	tcase_add_loop_test(t, refuses, 0, 7);
	tcase_add_test(t, up_to_the_last_identity);
	tcase_add_test(t, back_and_forth);
	tcase_add_test(t, one_page_at_a_time);
	tcase_add_test(t, onto_what_is_there);
	tcase_add_test(t, page_sizes_are_not_joined);
	tcase_add_test(t, cut_in_the_middle);
	suite_add_tcase(s, t);
	return run_suite(s);
}
