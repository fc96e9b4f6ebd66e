/* SPDX-License-Identifier: MIT */
/*
 * The shared state in the long run: a journal that fills is compacted, and whatever has been done,
 * an engine rebuilt from it owes what the first one owed, where it is now.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>

#include "state_world.h"
#include "tests/lib/suite.h"

START_TEST(compaction)
{
	attach(3);
	attach(4);
	take(0, move(0, 4, 100));
	take(0, forks(33));
	take(2, move(8, 8, 200));
	lz_state_closing(st, 1);
	lz_state_closed(st, e, 1, ++now_ns);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(lz_state_compact(st, e), 0);
		succeed();
		take(2, drop(UFFD_EVENT_UNMAP, (uint64_t)i, (uint64_t)i + 1));
		succeed();
	}
	lz_state_start(st, e, ++now_ns);
	ck_assert_int_eq(lz_state_compact(st, e), 0);
	succeed();
	ck_assert(lz_engine_is_started(e));
	ck_assert_uint_eq(st->journal.nr[st->journal.active], 2 + 3 + 4 + 1);
}
END_TEST

START_TEST(compaction_of_nothing)
{
	ck_assert_int_eq(lz_state_compact(st, e), 0);
	ck_assert(!lz_state_is_used(st));
	attach(3);
	take(0, drop(UFFD_EVENT_UNMAP, 0, 1000));
	ck_assert_int_eq(lz_state_compact(st, e), 0);
	succeed();
	ck_assert(lz_engine_serves(e, 0));
}
END_TEST

/* There is room for one batch of every space, always. */
START_TEST(full)
{
	unsigned n = 0;

	attach(3);
	for (; !lz_state_is_full(st); n++)
		take(0, move(n % 2 ? 100 : 0, 4, n % 2 ? 0 : 100));
	ck_assert_uint_gt(n, 100);
	ck_assert_uint_ge(lz_journal_room(&st->journal), LZ_SPACES_MAX * LZ_BATCH_MAX);
	ck_assert_int_eq(lz_state_compact(st, e), 0);
	ck_assert(!lz_state_is_full(st));
	succeed();
}
END_TEST

START_TEST(no_room_for_another_note)
{
	struct lz_note n = { .type = LZ_NOTE_CLOSING };

	attach(3);
	while (!lz_journal_add(&st->journal, &n))
		;
	ck_assert_int_eq(attach(4), -ENOSPC);
	ck_assert_int_eq(lz_state_start(st, e, ++now_ns), -ENOSPC);
	ck_assert(!lz_engine_is_started(e));
	ck_assert_int_eq(lz_state_closing(st, 0), -ENOSPC);
	ck_assert_int_eq(lz_state_closed(st, e, 0, ++now_ns), -ENOSPC);
	ck_assert(lz_engine_serves(e, 0));
	ck_assert(!lz_engine_serves(e, 1));
	ck_assert_int_eq(lz_state_compact(st, e), 0);
	ck_assert_int_eq(attach(4), 1);
	succeed();
}
END_TEST

/* More segments than a half of the journal holds: the other half still counts. */
START_TEST(too_much_to_compact)
{
	attach(3);
	for (uint64_t i = 0; i < 30; i++)
		take(0, move(2 * i, 1, 100 + 2 * i));
	for (uint32_t i = 1; i < LZ_SPACES_MAX; i++)
		ck_assert_int_eq(take(0, forks(10 + i)), LZ_TAKEN_FORK);
	ck_assert_int_eq(lz_state_compact(st, e), -ENOSPC);
	succeed();
	ck_assert_int_eq(take(7, move(100, 1, 0)), LZ_TAKEN);
	succeed();
}
END_TEST

static uint64_t seed;

static uint64_t pick(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

static void something(void)
{
	uint32_t i = (uint32_t)pick(LZ_SPACES_MAX);
	uint64_t from = pick(120), nr = 1 + pick(10), to = pick(120);

	if (pick(12) == 0) {
		attach((int)pick(1000));
		return;
	}
	if (!lz_engine_serves(e, i))
		return;
	switch (pick(12)) {
	case 0:
		take(i, forks((uint32_t)pick(1000)));
		return;
	case 1:
		lz_state_closing(st, i);
		lz_state_closed(st, e, i, ++now_ns);
		return;
	case 2:
		if (!lz_engine_is_started(e) && !pick(10))
			lz_state_start(st, e, ++now_ns);
		return;
	case 3:
	case 4:
		take(i, drop(UFFD_EVENT_UNMAP, from, from + nr));
		return;
	case 5:
	case 6:
		take(i, drop(UFFD_EVENT_REMOVE, from, from + nr));
		return;
	default:
		if (from + nr <= to || to + nr <= from)
			take(i, move(from, nr, to));
		return;
	}
}

START_TEST(at_random)
{
	seed = (uint64_t)_i;
	attach(1);
	for (int i = 0; i < 400; i++) {
		something();
		lz_engine_check(e);
		if (lz_state_is_full(st) && lz_state_compact(st, e))
			break; /* too many segments for a small half */
		if (!pick(10))
			succeed();
	}
	succeed();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state_compact");
	TCase *t = tcase_create("compact");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, compaction);
	tcase_add_test(t, compaction_of_nothing);
	tcase_add_test(t, full);
	tcase_add_test(t, no_room_for_another_note);
	tcase_add_test(t, too_much_to_compact);
	tcase_add_loop_test(t, at_random, 0, 60);
	suite_add_tcase(s, t);
	return run_suite(s);
}
