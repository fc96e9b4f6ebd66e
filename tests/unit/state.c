/* SPDX-License-Identifier: MIT */
/*
 * The shared state: what is attached, taken and closed is noted, and who dies in between has taken
 * no message twice and forgotten none. What becomes of many notes is in state_compact.c.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "state_world.h"
#include "tests/lib/suite.h"

START_TEST(fresh)
{
	ck_assert(!lz_state_is_used(st));
	ck_assert(!lz_state_is_full(st));
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		ck_assert_int_eq(st->slot[i].uffd, NONE);
		ck_assert_int_eq(st->slot[i].pidfd, NONE);
	}
	ck_assert_int_eq(replay(), NONE);
	ck_assert_int_eq(attach(7), 0);
	ck_assert(lz_state_is_used(st));
	ck_assert_int_eq(st->slot[0].uffd, 7);
	ck_assert_int_eq(st->slot[0].pidfd, 107);
	succeed();
	/* The bits of each space have room of their own. */
	ck_assert_ptr_eq(lz_state_words(st, 1), lz_state_words(st, 0) + 2);
	ck_assert_ptr_eq(lz_state_words(st, LZ_SPACES_MAX), (char *)st + lz_state_size(PAGES));
}
END_TEST

START_TEST(attach_refused)
{
	struct lz_plan *large;
	struct lz_plan *mine = plan;
	const struct lz_piece piece = { BASE, K4(PAGES + 1), 0, 0, 12 };

	ck_assert_int_eq(lz_state_attach(st, e, &MEMORIES, 2, 3, 4, ++now_ns), -ENOENT);
	ck_assert_int_eq(lz_plan_new(&large), 0);
	ck_assert_int_eq(lz_plan_add(large, &piece), 0);
	lz_plan_seal(large);
	plan = large;
	ck_assert_int_eq(attach(3), -EINVAL);
	plan = mine;
	lz_plan_put(large);
	ck_assert(!lz_state_is_used(st));
	ck_assert_int_eq(st->slot[0].uffd, NONE);
	for (int i = 0; i < LZ_SPACES_MAX; i++)
		ck_assert_int_eq(attach(i), i);
	ck_assert_int_eq(attach(50), -ENOSPC);
	succeed();
}
END_TEST

/* Where the memory's pages are is the space's own, lower pages higher up, and some are nowhere. */
static const struct lz_seg PLACES[] = {
	{ 0x500000, 0x508000, BASE + 0x20000, 12, 0 },
	{ 0x700000, 0x704000, BASE, 12, 0 },
};

START_TEST(places_of_its_own)
{
	const struct lz_state_place at = { .memory = 0, .seg = PLACES, .nr_segs = 2 };
	const struct lz_seg *seg;
	size_t nr;

	ck_assert_int_eq(lz_state_attach_at(st, e, &MEMORIES, &at, 3, 4, ++now_ns), 0);
	ck_assert_uint_eq(st->journal.nr[0], 3);
	lz_engine_gauge(e);
	ck_assert_uint_eq(st->stats.n.pages_owed, 12);
	for (int again = 0; again < 3; again++) {
		succeed();
		seg = lz_engine_segs(e, 0, &nr);
		ck_assert_uint_eq(nr, 2);
		ck_assert(!memcmp(seg, PLACES, sizeof(PLACES)));
		lz_engine_gauge(e);
		ck_assert_uint_eq(st->stats.n.pages_owed, 12);
		if (again)
			ck_assert_int_eq(lz_state_compact(st, e), 0);
	}
	/* Beside one that has them where the memory does. */
	ck_assert_int_eq(attach(5), 1);
	succeed();
	seg = lz_engine_segs(e, 1, &nr);
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(seg[0].start, BASE);
}
END_TEST

/* Who dies before all of them are written has noted nothing; and so has who finds no room. */
START_TEST(places_all_or_none)
{
	const struct lz_state_place at = { .memory = 0, .seg = PLACES, .nr_segs = 2 };
	struct lz_journal *j = &st->journal;

	ck_assert_int_eq(lz_state_attach_at(st, e, &MEMORIES, &at, 3, 4, ++now_ns), 0);
	j->nr[0] = 0;
	ck_assert(!lz_state_is_used(st));
	lz_engine_free(e);
	e = new_engine();
	j->nr[0] = LZ_JOURNAL_NOTES - 2;
	ck_assert_int_eq(lz_state_attach_at(st, e, &MEMORIES, &at, 3, 4, ++now_ns), -ENOSPC);
	ck_assert_uint_eq(j->nr[0], LZ_JOURNAL_NOTES - 2);
	ck_assert_int_eq(lz_engine_free_space(e), 0);
	j->nr[0] = LZ_JOURNAL_NOTES - 3;
	ck_assert_int_eq(lz_state_attach_at(st, e, &MEMORIES, &at, 3, 4, ++now_ns), 0);
	ck_assert_uint_eq(lz_journal_room(j), 0);
	j->nr[0] = 0;
}
END_TEST

START_TEST(messages)
{
	struct lz_slot *s = &st->slot[0];
	struct lz_event ev;

	attach(3);
	for (unsigned i = 0; i < LZ_BATCH_MAX; i++) {
		ck_assert_uint_eq(lz_state_nr_messages(s), i);
		s->armed[i] = fault(i);
	}
	ck_assert_uint_eq(lz_state_nr_messages(s), LZ_BATCH_MAX);
	ck_assert_int_eq(take_at(0, 1, &ev), LZ_TAKEN);
	ck_assert_int_eq(ev.type, LZ_EV_FAULT);
	ck_assert_uint_eq(ev.range.start, BASE + K4(1));
	s->seen = 2;
	ck_assert_uint_eq(lz_state_nr_messages(s), LZ_BATCH_MAX);
	lz_state_rearm(st, 0);
	ck_assert_uint_eq(s->seen, 0);
	ck_assert_uint_eq(lz_state_nr_messages(s), 0);
	s->armed[0].event = 0x77;
	ck_assert_int_eq(take_at(0, 0, &ev), LZ_TAKEN_UNKNOWN);
}
END_TEST

START_TEST(what_is_noted)
{
	const struct lz_journal *j = &st->journal;

	attach(3);
	ck_assert_uint_eq(j->nr[0], 1);
	/* Faults come again, and a removal is wholly in the bits. */
	ck_assert_int_eq(take(0, fault(1)), LZ_TAKEN);
	ck_assert_int_eq(take(0, drop(UFFD_EVENT_REMOVE, 2, 4)), LZ_TAKEN);
	ck_assert_uint_eq(j->nr[0], 1);
	ck_assert_int_eq(take(0, drop(UFFD_EVENT_UNMAP, 8, 20)), LZ_TAKEN);
	ck_assert_int_eq(take(0, move(0, 4, 100)), LZ_TAKEN);
	ck_assert_int_eq(take(0, forks(33)), LZ_TAKEN_FORK);
	ck_assert_uint_eq(j->nr[0], 4);
	ck_assert_uint_eq(j->note[0][2].batch, j->note[0][1].batch + 1);
	ck_assert_int_eq(st->slot[1].uffd, 33);
	ck_assert_int_eq(st->slot[1].pidfd, NONE);
	ck_assert_uint_eq(st->slot[1].kin, 1);
	succeed();
	ck_assert_int_eq(lz_state_start(st, e, ++now_ns), 0);
	succeed();
	ck_assert(lz_engine_is_started(e));
}
END_TEST

START_TEST(forks_and_what_they_leave)
{
	struct lz_event ev;
	int ufd;

	ck_assert_int_eq(lz_state_attach(st, e, &MEMORIES, 1, 5, 6, ++now_ns), 0);
	take(0, drop(UFFD_EVENT_REMOVE, 2, 4));
	/* Messages of the slot's last user, whom nobody has taken them from. */
	st->slot[1].armed[0] = drop(UFFD_EVENT_UNMAP, 0, 16);
	st->slot[0].armed[0] = forks(33);
	ck_assert_int_eq(lz_state_take(st, e, 0, 0, 44, ++now_ns, &ev, &ufd), LZ_TAKEN_FORK);
	ck_assert_uint_eq(ev.child, 1);
	ck_assert_int_eq(ufd, 33);
	lz_state_rearm(st, 0);
	ck_assert_uint_eq(lz_state_nr_messages(&st->slot[1]), 0);
	ck_assert_int_eq(st->slot[1].pidfd, 44);
	ck_assert_uint_eq(st->slot[1].memory, 1);
	take(1, drop(UFFD_EVENT_UNMAP, 0, 8));
	take(1, move(8, 4, 80));
	ck_assert_int_eq(take(1, forks(34)), LZ_TAKEN_FORK);
	take(0, move(8, 4, 90));
	succeed();
}
END_TEST

START_TEST(a_fork_too_many)
{
	for (int i = 0; i < LZ_SPACES_MAX; i++)
		attach(i);
	ck_assert_int_eq(take(3, forks(77)), LZ_TAKEN_LOST);
	succeed();
}
END_TEST

/* Dead behind the closing of its descriptor, and before the batch was done:
 * there may be room by now. */
START_TEST(a_fork_too_many_is_lost_once)
{
	struct lz_event ev;
	int ufd;

	for (int i = 0; i < LZ_SPACES_MAX; i++)
		attach(i);
	st->slot[3].armed[0] = forks(77);
	st->slot[3].armed[1] = forks(78);
	ck_assert_int_eq(lz_state_take(st, e, 3, 0, NONE, ++now_ns, &ev, &ufd), LZ_TAKEN_LOST);
	ck_assert_int_eq(ufd, 77);
	lz_state_lose_fork(st, 3, 0);
	ck_assert_int_eq(lz_state_closing(st, 5), 0);
	ck_assert_int_eq(lz_state_closed(st, e, 5, ++now_ns), 0);
	ck_assert_int_eq(replay(), NONE);
	ck_assert_uint_eq(st->slot[3].seen, 0);
	ck_assert_uint_eq(lz_state_nr_messages(&st->slot[3]), 2);
	ck_assert_int_eq(lz_state_take(st, e, 3, 0, NONE, ++now_ns, &ev, &ufd), LZ_TAKEN_UNKNOWN);
	ck_assert(!lz_engine_serves(e, 5));
	ck_assert_int_eq(lz_state_take(st, e, 3, 1, NONE, ++now_ns, &ev, &ufd), LZ_TAKEN_FORK);
	ck_assert_int_eq(st->slot[5].uffd, 78);
}
END_TEST

START_TEST(a_number_used_again)
{
	uint64_t last;

	attach(3);
	attach(4);
	take(0, move(0, 16, 100));
	take(0, drop(UFFD_EVENT_REMOVE, 100, 116));
	last = st->slot[0].batch;
	ck_assert_int_eq(lz_state_closing(st, 0), 0);
	ck_assert_int_eq(lz_state_closed(st, e, 0, ++now_ns), 0);
	ck_assert_int_eq(st->slot[0].uffd, NONE);
	succeed();
	st->slot[0].armed[1] = fault(3);
	ck_assert_int_eq(attach(9), 0);
	ck_assert(!memcmp(&st->slot[0].armed[1], &(struct uffd_msg){ 0 }, sizeof(struct uffd_msg)));
	ck_assert_uint_ne(st->slot[0].batch, last);
	/* The first user's moves and removals are not the second's. */
	succeed();
	take(0, drop(UFFD_EVENT_REMOVE, 0, 2));
	ck_assert_int_eq(lz_state_closing(st, 1), 0);
	ck_assert_int_eq(lz_state_closed(st, e, 1, ++now_ns), 0);
	ck_assert_int_eq(take(0, forks(12)), LZ_TAKEN_FORK);
	succeed();
}
END_TEST

START_TEST(half_closed)
{
	attach(3);
	attach(4);
	ck_assert_int_eq(lz_state_closing(st, 0), 0);
	ck_assert_int_eq(replay(), 0);
	/* Whoever goes on ends what was begun. */
	ck_assert(lz_engine_serves(e, 0));
	ck_assert_int_eq(lz_state_closed(st, e, 0, ++now_ns), 0);
	ck_assert_int_eq(replay(), NONE);
	ck_assert(!lz_engine_serves(e, 0));
	ck_assert_int_eq(attach(5), 0);
	ck_assert_int_eq(lz_state_closing(st, 1), 0);
	ck_assert_int_eq(replay(), 1);
}
END_TEST

/* Dying at any point of a batch: what was noted is not taken again, what was not is. */
START_TEST(a_batch_half_taken)
{
	struct lz_slot *s = &st->slot[0];
	struct lz_event ev;

	attach(3);
	s->armed[0] = fault(1);
	s->armed[1] = move(0, 4, 100);
	s->armed[2] = forks(33);
	s->armed[3] = move(100, 4, 0);
	for (unsigned i = 0; i < (unsigned)_i; i++)
		take_at(0, i, &ev);
	ck_assert_int_eq(replay(), NONE);
	ck_assert_uint_eq(s->seen, _i < 2 ? 0 : (unsigned)_i);
	ck_assert_uint_eq(lz_state_nr_messages(s), 4);
	for (unsigned i = s->seen; i < 4; i++)
		ck_assert_int_ne(take_at(0, i, &ev), LZ_TAKEN_LOST);
	lz_state_rearm(st, 0);
	succeed();
	ck_assert_int_eq(st->slot[1].uffd, 33);
	ck_assert(!lz_engine_serves(e, 2));
	ck_assert_int_eq(take(1, fault(100)), LZ_TAKEN);
	ck_assert_uint_eq(lz_engine_segs(e, 1, &(size_t){ 0 })[0].start, BASE + K4(4));
}
END_TEST

/* Fed, and dead before the note counts. */
START_TEST(a_message_fed_and_not_noted)
{
	struct lz_journal *j = &st->journal;
	struct lz_slot *s = &st->slot[0];
	struct lz_event ev;
	uint64_t sum;

	attach(3);
	s->armed[0] = drop(UFFD_EVENT_UNMAP, 0, 8);
	s->armed[1] = forks(33);
	take_at(0, 0, &ev);
	take_at(0, 1, &ev);
	sum = owed(e, 0);
	j->nr[0] -= (unsigned)_i;
	replay();
	ck_assert_uint_eq(s->seen, 2 - (unsigned)_i);
	for (unsigned i = s->seen; i < 2; i++)
		take_at(0, i, &ev);
	lz_state_rearm(st, 0);
	ck_assert_uint_eq(owed(e, 0), sum);
	ck_assert_uint_eq(owed(e, 1), sum);
	ck_assert_int_eq(st->slot[1].uffd, 33);
	succeed();
}
END_TEST

START_TEST(an_old_batch_is_not_this_one)
{
	attach(3);
	take(0, move(0, 4, 100));
	st->slot[0].armed[0] = move(100, 4, 0);
	/* The kernel has written the next batch, and nobody has taken it. */
	replay();
	ck_assert_uint_eq(st->slot[0].seen, 0);
	ck_assert_uint_eq(lz_state_nr_messages(&st->slot[0]), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, fresh);
	tcase_add_test(t, attach_refused);
	tcase_add_test(t, places_of_its_own);
	tcase_add_test(t, places_all_or_none);
	tcase_add_test(t, messages);
	tcase_add_test(t, what_is_noted);
	tcase_add_test(t, forks_and_what_they_leave);
	tcase_add_test(t, a_fork_too_many);
	tcase_add_test(t, a_fork_too_many_is_lost_once);
	tcase_add_test(t, a_number_used_again);
	tcase_add_test(t, half_closed);
	tcase_add_loop_test(t, a_batch_half_taken, 0, 5);
	tcase_add_loop_test(t, a_message_fed_and_not_noted, 0, 3);
	tcase_add_test(t, an_old_batch_is_not_this_one);
	suite_add_tcase(s, t);
	return run_suite(s);
}
