/* SPDX-License-Identifier: MIT */
/* Sets of page numbers: random operations against an array of bools, and the ends of words. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "uffd/bits.h"

/* Past one word of summary, which covers 64 * 64 bits. */
enum { NR_MAX = 3 * 4096 + 100, STEPS = 1500 };

/* For inner loops: ck_assert() writes to a pipe each time. */
#define MUST_EQ(a, b)                                                                           \
	do {                                                                                    \
		if ((a) != (b))                                                                 \
			ck_abort_msg("line %d: " #a " != " #b ", %lu bits, seed %lu", __LINE__, \
				     (unsigned long)nr, (unsigned long)first_seed);             \
	} while (0)

static const uint64_t sizes[] = { 0,    1,    2,    63,   64,   65,   127,  128,      129,
				  1000, 4095, 4096, 4097, 4160, 8192, 8256, 3 * 4096, NR_MAX };
enum { NR_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static uint64_t seed, first_seed, nr;
static bool model[NR_MAX];

static uint64_t pick(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

/* Often at or beside the seam of a word, or of a word of the summary. */
static uint64_t pick_place(void)
{
	uint64_t at = pick(nr + 1);

	if (!pick(3))
		at = at / 64 * 64 + pick(3) - (at >= 64);
	else if (!pick(4))
		at = at / 4096 * 4096 + pick(3) - (at >= 4096);
	return at < nr ? at : nr;
}

static uint64_t model_fill(uint64_t from, uint64_t to, bool what)
{
	uint64_t n = 0;

	for (uint64_t i = from; i < to; i++) {
		n += model[i] != what;
		model[i] = what;
	}
	return n;
}

static uint64_t model_count(void)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < nr; i++)
		n += model[i];
	return n;
}

static void look_from(const struct lz_bits *b, uint64_t at)
{
	uint64_t to = at + pick(nr - at + 1), next = at, prev = at, clear = at;

	while (next < nr && !model[next])
		next++;
	while (prev && !model[prev - 1])
		prev--;
	while (clear < to && model[clear])
		clear++;
	MUST_EQ(lz_bits_next(b, at), next);
	MUST_EQ(lz_bits_next_within(b, at, to), next < to ? next : to);
	MUST_EQ(lz_bits_prev(b, at), prev ? prev - 1 : nr);
	MUST_EQ(lz_bits_next_clear(b, at, to), clear);
	if (at < nr)
		MUST_EQ(lz_bits_test(b, at), model[at]);
}

static void operate(struct lz_bits *b)
{
	uint64_t from = pick_place(), to = pick_place(), t = from;

	/* Mostly small ranges: what is found must lie near and far. */
	if (to < from) {
		from = to;
		to = t;
	}
	if (pick(8) && to - from > 70)
		to = from + pick(70);
	if (pick(2))
		MUST_EQ(lz_bits_set(b, from, to), model_fill(from, to, true));
	else
		MUST_EQ(lz_bits_clear(b, from, to), model_fill(from, to, false));
}

static void run(struct lz_bits *b)
{
	for (int i = 0; i < STEPS; i++) {
		if (!pick(100)) { /* sparse again, so that the summary is what finds */
			lz_bits_clear(b, 0, nr);
			memset(model, 0, sizeof(model));
		}
		operate(b);
		for (int k = 0; k < 4; k++)
			look_from(b, pick_place());
		if (!pick(16))
			MUST_EQ(lz_bits_count(b), model_count());
	}
	MUST_EQ(lz_bits_count(b), model_count());
}

START_TEST(like_the_model)
{
	struct lz_bits b;

	nr = sizes[_i / 4];
	seed = first_seed = (uint64_t)_i;
	ck_assert_int_eq(lz_bits_init(&b, nr, NULL), 0);
	ck_assert_uint_eq(b.nr, nr);
	run(&b);
	lz_bits_fini(&b);
	ck_assert_ptr_null(b.word);
}
END_TEST

START_TEST(words_of_somebody_else)
{
	uint64_t *words;
	struct lz_bits b, again;

	nr = sizes[_i];
	seed = first_seed = 77;
	words = calloc(1, lz_bits_size(nr) + 1);
	ck_assert_ptr_nonnull(words);
	ck_assert_int_eq(lz_bits_init(&b, nr, words), 0);
	run(&b);
	lz_bits_fini(&b);
	/* They outlive the set, and the next one takes them as they are. */
	ck_assert_int_eq(lz_bits_init(&again, nr, words), 0);
	MUST_EQ(lz_bits_count(&again), model_count());
	for (uint64_t i = 0; i < nr; i++)
		look_from(&again, i);
	run(&again);
	lz_bits_fini(&again);
	free(words);
}
END_TEST

START_TEST(copies)
{
	struct lz_bits a, b;

	nr = sizes[_i];
	seed = first_seed = 78;
	ck_assert_int_eq(lz_bits_init(&a, nr, NULL), 0);
	ck_assert_int_eq(lz_bits_init(&b, nr, NULL), 0);
	run(&a);
	lz_bits_set(&b, 0, nr);
	lz_bits_copy(&b, &a);
	lz_bits_fini(&a);
	for (uint64_t i = 0; i < nr; i++)
		look_from(&b, i);
	run(&b);
	lz_bits_fini(&b);
}
END_TEST

START_TEST(no_bits)
{
	struct lz_bits b;

	ck_assert_uint_eq(lz_bits_size(0), 0);
	ck_assert_int_eq(lz_bits_init(&b, 0, NULL), 0);
	ck_assert_uint_eq(lz_bits_next(&b, 0), 0);
	ck_assert_uint_eq(lz_bits_next_within(&b, 0, 0), 0);
	ck_assert_uint_eq(lz_bits_prev(&b, 0), 0);
	ck_assert_uint_eq(lz_bits_next_clear(&b, 0, 0), 0);
	ck_assert_uint_eq(lz_bits_set(&b, 0, 0), 0);
	ck_assert_uint_eq(lz_bits_clear(&b, 0, 0), 0);
	ck_assert_uint_eq(lz_bits_count(&b), 0);
	lz_bits_fini(&b);
}
END_TEST

START_TEST(sizes_in_bytes)
{
	ck_assert_uint_eq(lz_bits_size(1), 8);
	ck_assert_uint_eq(lz_bits_size(64), 8);
	ck_assert_uint_eq(lz_bits_size(65), 16);
	ck_assert_uint_eq(lz_bits_size(UINT64_C(1) << 40), UINT64_C(1) << 37);
}
END_TEST

/* 64 GiB of pages with two of them set: found by the summary, from both ends. */
START_TEST(far_apart)
{
	struct lz_bits b;

	nr = UINT64_C(1) << 24;
	ck_assert_int_eq(lz_bits_init(&b, nr, NULL), 0);
	lz_bits_set(&b, 0, 1);
	lz_bits_set(&b, nr - 1, nr);
	ck_assert_uint_eq(lz_bits_next(&b, 1), nr - 1);
	ck_assert_uint_eq(lz_bits_prev(&b, nr - 1), 0);
	ck_assert_uint_eq(lz_bits_prev(&b, nr), nr - 1);
	ck_assert_uint_eq(lz_bits_next_clear(&b, nr - 1, nr), nr);
	ck_assert_uint_eq(lz_bits_set(&b, 0, nr), nr - 2);
	ck_assert_uint_eq(lz_bits_next_clear(&b, 0, nr), nr);
	lz_bits_fini(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bits");
	TCase *t = tcase_create("bits");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, like_the_model, 0, 4 * NR_SIZES);
	tcase_add_loop_test(t, words_of_somebody_else, 0, NR_SIZES);
	tcase_add_loop_test(t, copies, 0, NR_SIZES);
	tcase_add_test(t, no_bits);
	tcase_add_test(t, sizes_in_bytes);
	tcase_add_test(t, far_apart);
	suite_add_tcase(s, t);
	return run_suite(s);
}
