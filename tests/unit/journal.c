/* SPDX-License-Identifier: MIT */
/*
 * The journal by itself: adding, its two halves, and notes that cannot be. What is kept in it and
 * comes back out of it is tried in state.c.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "uffd/engine.h"
#include "uffd/journal.h"

#define K4(n) ((uint64_t)(n) << 12)
enum { BAD_NOTES = 16 };

static const struct lz_seg AREA = { 0x100000, 0x108000, 0x100000, 12, 0 };
static struct lz_journal *j;
static struct lz_engine *e;
static struct lz_plan *plan;
static struct lz_stats stats;
static unsigned nr_told;

static void set_up(void)
{
	const struct lz_piece piece = { 0x100000, K4(8), 0, 0, 12 };
	const struct lz_engine_options o = { .stats = &stats };

	j = calloc(1, sizeof(*j));
	ck_assert_ptr_nonnull(j);
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	ck_assert_int_eq(lz_plan_add(plan, &piece), 0);
	lz_plan_seal(plan);
	ck_assert_int_eq(lz_engine_new(&e, &o), 0);
	nr_told = 0;
}

static void tear_down(void)
{
	lz_engine_check(e);
	lz_engine_free(e);
	lz_plan_put(plan);
	free(j);
}

static int find_memory(void *arg, uint64_t memory, struct lz_plan **p, const struct lz_seg **seg,
		       size_t *nr)
{
	(void)arg;
	if (memory)
		return -ENOENT;
	*p = plan;
	*seg = &AREA;
	*nr = 1;
	return 0;
}

static void told(void *arg, const struct lz_note *n)
{
	(void)arg;
	(void)n;
	nr_told++;
}

static int replay(void)
{
	const struct lz_replay r = { .memory = find_memory, .note = told };

	return lz_journal_replay(j, e, &r);
}

static int add(uint32_t type, uint32_t space, uint64_t a, uint64_t b, uint64_t c)
{
	const struct lz_note n = { .type = type, .space = space, .a = a, .b = b, .c = c };

	return lz_journal_add(j, &n);
}

START_TEST(empty)
{
	ck_assert_uint_eq(lz_journal_room(j), LZ_JOURNAL_NOTES);
	ck_assert_int_eq(replay(), 0);
	ck_assert_uint_eq(nr_told, 0);
	ck_assert_int_eq(lz_engine_free_space(e), 0);
}
END_TEST

START_TEST(full)
{
	for (uint64_t i = 0; i < LZ_JOURNAL_NOTES; i++) {
		ck_assert_uint_eq(lz_journal_room(j), LZ_JOURNAL_NOTES - i);
		ck_assert_int_eq(add(LZ_NOTE_UNMAP, 0, i, i + 1, 0), 0);
	}
	ck_assert_uint_eq(lz_journal_room(j), 0);
	ck_assert_int_eq(add(LZ_NOTE_START, 0, 0, 0, 0), -ENOSPC);
	ck_assert_uint_eq(j->nr[0], LZ_JOURNAL_NOTES);
	ck_assert_uint_eq(j->note[0][LZ_JOURNAL_NOTES - 1].a, LZ_JOURNAL_NOTES - 1);
	ck_assert_uint_eq(j->nr[1], 0);
}
END_TEST

START_TEST(two_halves)
{
	const struct lz_note start = { .type = LZ_NOTE_START };

	ck_assert_int_eq(add(LZ_NOTE_SPACE, 0, 0, 0, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_CLOSED, 0, 0, 0, 0), 0);
	for (int round = 0; round < 3; round++) {
		lz_journal_begin(j);
		ck_assert_int_eq(lz_journal_restate(j, &start), 0);
		/* Not flipped: whoever dies now has lost nothing, and begins again. */
		lz_journal_begin(j);
		ck_assert_int_eq(lz_journal_restate(j, &start), 0);
		ck_assert_uint_eq(j->nr[j->active], round ? 1 : 2);
		lz_journal_flip(j);
		ck_assert_uint_eq(j->nr[j->active], 1);
		ck_assert_uint_eq(lz_journal_room(j), LZ_JOURNAL_NOTES - 1);
	}
	ck_assert_int_eq(replay(), 0);
	ck_assert(lz_engine_is_done(e));
}
END_TEST

START_TEST(restating_too_much)
{
	const struct lz_note n = { .type = LZ_NOTE_START };

	ck_assert_int_eq(add(LZ_NOTE_SPACE, 0, 0, 0, 0), 0);
	lz_journal_begin(j);
	for (int i = 0; i < LZ_JOURNAL_NOTES; i++)
		ck_assert_int_eq(lz_journal_restate(j, &n), 0);
	ck_assert_int_eq(lz_journal_restate(j, &n), -ENOSPC);
	ck_assert_uint_eq(j->nr[j->active], 1);
	ck_assert_int_eq(replay(), 0);
	ck_assert(lz_engine_serves(e, 0));
}
END_TEST

START_TEST(all_kinds)
{
	const struct lz_seg *seg;
	size_t nr;

	ck_assert_int_eq(add(LZ_NOTE_SPACE, 2, 0, 0, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_UNMAP, 2, 0x100000, 0x102000, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_FORK, 2, 5, 0, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_REMAP, 5, 0x102000, 0x104000, 0x200000), 0);
	ck_assert_int_eq(add(LZ_NOTE_CLOSING, 2, 0, 0, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_CLOSED, 2, 0, 0, 0), 0);
	ck_assert_int_eq(add(LZ_NOTE_START, 0, 0, 0, 0), 0);
	ck_assert_int_eq(replay(), 0);
	ck_assert_uint_eq(nr_told, 7);
	ck_assert(!lz_engine_serves(e, 2));
	ck_assert(lz_engine_serves(e, 5));
	ck_assert(lz_engine_is_started(e));
	seg = lz_engine_segs(e, 5, &nr);
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(seg[0].start, 0x104000);
	ck_assert_uint_eq(seg[1].start, 0x200000);
	ck_assert_uint_eq(seg[1].identity, 0x102000);
}
END_TEST

START_TEST(segments_restated)
{
	struct lz_note n = { .type = LZ_NOTE_SEG, .uffd = 12 };
	const struct lz_seg *seg;
	size_t nr;

	ck_assert_int_eq(add(LZ_NOTE_SPACE, 0, 0, 2, 1), 0);
	for (uint64_t i = 0; i < 2; i++) {
		n.a = K4(0x900 + 4 * i);
		n.b = n.a + K4(1 + i);
		n.c = 0x100000 + K4(4 * (1 - i));
		ck_assert_int_eq(lz_journal_add(j, &n), 0);
	}
	ck_assert_int_eq(add(LZ_NOTE_SPACE, 1, 0, 0, 1), 0); /* none are left */
	ck_assert_int_eq(replay(), 0);
	ck_assert_uint_eq(nr_told, 2);
	seg = lz_engine_segs(e, 0, &nr);
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(seg[0].identity, 0x104000);
	ck_assert_uint_eq(seg[1].end, K4(0x906));
	ck_assert_uint_eq(seg[1].page_shift, 12);
	(void)lz_engine_segs(e, 1, &nr);
	ck_assert_uint_eq(nr, 0);
}
END_TEST

START_TEST(bad_notes)
{
	const struct {
		struct lz_note n;
		int err;
	} bad[] = {
		{ { .type = LZ_NOTE_NONE }, -EBADMSG },
		{ { .type = 99 }, -EBADMSG },
		{ { .type = LZ_NOTE_SEG, .a = K4(1), .b = K4(2) }, -EBADMSG },
		{ { .type = LZ_NOTE_SPACE, .space = LZ_SPACES_MAX }, -EBADMSG },
		{ { .type = LZ_NOTE_SPACE, .b = 1, .c = 1 }, -EBADMSG },
		{ { .type = LZ_NOTE_SPACE, .b = UINT64_MAX, .c = 1 }, -EBADMSG },
		{ { .type = LZ_NOTE_SPACE, .a = 1 }, -ENOENT },
		/* Space 3 is there, and no other. */
		{ { .type = LZ_NOTE_SPACE, .space = 3 }, -EBADMSG },
		{ { .type = LZ_NOTE_CLOSED, .space = 2 }, -EBADMSG },
		{ { .type = LZ_NOTE_UNMAP, .a = K4(1), .b = K4(2) }, -EBADMSG },
		{ { .type = LZ_NOTE_FORK, .space = 2, .a = 1 }, -EBADMSG },
		{ { .type = LZ_NOTE_FORK, .space = 3, .a = 3 }, -EBADMSG },
		{ { .type = LZ_NOTE_FORK, .space = 3, .a = LZ_SPACES_MAX }, -EBADMSG },
		{ { .type = LZ_NOTE_UNMAP, .space = 3, .a = K4(2), .b = K4(1) }, -EBADMSG },
		{ { .type = LZ_NOTE_REMAP, .space = 3, .b = K4(2), .c = -K4(1) }, -EBADMSG },
		/* Segments that are none: not asked for, there are no notes of them. */
		{ { .type = LZ_NOTE_SPACE, .b = 1 }, -EBADMSG },
	};

	ck_assert_uint_eq(sizeof(bad) / sizeof(bad[0]), BAD_NOTES);
	ck_assert_int_eq(add(LZ_NOTE_SPACE, 3, 0, 0, 0), 0);
	ck_assert_int_eq(lz_journal_add(j, &bad[_i].n), 0);
	ck_assert_int_eq(replay(), bad[_i].err);
	ck_assert_uint_eq(nr_told, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("journal");
	TCase *t = tcase_create("journal");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, empty);
	tcase_add_test(t, full);
	tcase_add_test(t, two_halves);
	tcase_add_test(t, restating_too_much);
	tcase_add_test(t, all_kinds);
	tcase_add_test(t, segments_restated);
	tcase_add_loop_test(t, bad_notes, 0, BAD_NOTES);
	suite_add_tcase(s, t);
	return run_suite(s);
}
