/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out for an engine, its state, and one that is rebuilt from it: the event is as
 * if it had not come, or is followed as far as that needs no memory.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>

#include "alloc_world.h"
#include "tests/lib/suite.h"

static uint64_t owed(uint32_t of)
{
	uint64_t page = 0, n = 0;
	struct lz_range r;

	while (lz_engine_owed_range(e, of, &page, &r))
		n += lz_range_len(r) >> 12;
	return n;
}

static int call_engine_new(void)
{
	struct lz_engine *n;
	int r = lz_engine_new(&n, &OPTIONS);

	if (!r)
		lz_engine_free(n);
	return r;
}

static int call_attach(void)
{
	const struct lz_attach a = { .space = 1, .plan = plan, .seg = area, .nr_segs = AREAS };

	return lz_engine_attach(e, &a);
}

static int call_ev_fork(void)
{
	const struct lz_event ev = { .type = LZ_EV_FORK, .child = 1, .words = words };

	return lz_engine_feed(e, &ev);
}

static void same_engine(void)
{
	ck_assert(!lz_engine_serves(e, 1));
	ck_assert_int_eq(lz_engine_free_space(e), 1);
	ck_assert_uint_eq(owed(0), NR_PAGES);
	ck_assert_uint_eq(stats.n.pages_total, NR_PAGES);
	ck_assert_uint_eq(words[0], 0);
	lz_engine_check(e);
}

static void changed_engine(void)
{
	ck_assert(lz_engine_serves(e, 1));
	ck_assert_uint_eq(owed(0), NR_PAGES);
	ck_assert_uint_eq(owed(1), NR_PAGES);
	ck_assert_uint_eq(stats.n.pages_total, 2 * NR_PAGES);
	lz_engine_check(e);
}

START_TEST(engines)
{
	exhaust(call_engine_new, failing_nothing, failing_nothing);
	exhaust(call_attach, same_engine, changed_engine);
	exhaust(call_ev_fork, same_engine, changed_engine);
}
END_TEST

static int feed_failing(enum lz_event_type type, unsigned n)
{
	const struct lz_event ev = { .type = type, .range = { K4(101), K4(103) }, .to = K4(210) };
	int r;

	failing_arm(FAILING_ONCE, n);
	r = lz_engine_feed(e, &ev);
	(void)failing_disarm();
	lz_engine_check(e);
	return r;
}

/* A move that cannot be followed has happened all the same: what it moved is owed no longer, so
 * that nothing is placed where something else may be now. */
START_TEST(moves)
{
	struct lz_action a;
	unsigned n = 0;
	int r;

	do {
		ck_assert_uint_lt(n, ALLOCATIONS_MAX);
		set_up();
		r = feed_failing(LZ_EV_REMAP, n++);
		ck_assert(lz_engine_next(e, &a) && a.type == LZ_ACT_WAKE);
		if (r) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_uint_eq(stats.n.pages_lost, 2);
		}
		/* Two moved, and two were covered. */
		ck_assert_uint_eq(owed(0), r ? NR_PAGES - 4 : NR_PAGES - 2);
		ck_assert_uint_eq(stats.n.pages_gone, 2);
		ck_assert_int_eq(feed_failing(LZ_EV_REMAP, ALLOCATIONS_MAX), 0);
		tear_down();
	} while (r);
	ck_assert_uint_gt(n, 1);
}
END_TEST

/* A segment may stay behind, with no page that is owed. */
START_TEST(cuts)
{
	for (unsigned n = 0; n < 4; n++) {
		set_up();
		ck_assert_int_eq(feed_failing(LZ_EV_UNMAP, n), 0);
		ck_assert_uint_eq(owed(0), NR_PAGES - 2);
		ck_assert_int_eq(feed_failing(LZ_EV_UNMAP, ALLOCATIONS_MAX), 0);
		ck_assert_uint_eq(owed(0), NR_PAGES - 2);
		tear_down();
	}
}
END_TEST

/* Page faults, reads and placements never ask for memory. */
START_TEST(faults)
{
	struct lz_event ev = { .type = LZ_EV_START };
	struct lz_action a;

	set_up();
	failing_arm(FAILING_ONCE, 0);
	lz_engine_feed(e, &ev);
	for (uint64_t i = 0; i < 20; i++) {
		ev = (struct lz_event){ .type = LZ_EV_FAULT, .range = { K4(100 + i), 0 } };
		lz_engine_feed(e, &ev);
	}
	while (lz_engine_next(e, &a)) {
		if (a.type == LZ_ACT_READ)
			ev = (struct lz_event){ .type = LZ_EV_READ,
						.req = a.req,
						.res = (int64_t)a.len };
		else if (a.type == LZ_ACT_CLOSE)
			ev = (struct lz_event){ .type = LZ_EV_CLOSED };
		else if (a.type == LZ_ACT_FETCH)
			ev = (struct lz_event){ .type = LZ_EV_FETCHED, .req = a.req };
		else
			ev = (struct lz_event){ .type = LZ_EV_PLACED,
						.did = a.type,
						.req = a.req,
						.range = a.dst,
						.res = (int64_t)lz_range_len(a.dst) };
		if (a.type != LZ_ACT_WAKE)
			lz_engine_feed(e, &ev);
	}
	ck_assert(!failing_disarm());
	ck_assert(lz_engine_is_done(e));
	tear_down();
}
END_TEST

/* ---- the state ---- */

static int call_state_attach(void)
{
	return lz_state_attach(st, e, &MEMORIES, 0, 5, 6, 1) < 0 ? -ENOMEM : 0;
}

static void same_state(void)
{
	same_engine();
	ck_assert(!lz_state_is_used(st));
	ck_assert_int_eq(st->slot[1].uffd, -1);
	ck_assert_uint_eq(lz_bits_size(NR_PAGES), sizeof(words));
}

static void changed_state(void)
{
	changed_engine();
	ck_assert(lz_state_is_used(st));
	ck_assert_int_eq(st->slot[1].uffd, 5);
}

/* A fork that is not followed is not noted:
 * the state is what it was, the descriptor the caller's. */
static int ufd;

static int call_state_take(void)
{
	struct lz_event ev;

	st->slot[0].armed[0].event = UFFD_EVENT_FORK;
	st->slot[0].armed[0].arg.fork.ufd = 5;
	return lz_state_take(st, e, 0, 0, -1, 1, &ev, &ufd) == LZ_TAKEN_LOST ? -ENOMEM : 0;
}

static void same_fork(void)
{
	ck_assert_int_eq(ufd, 5);
	/* The words are the slot's: they may be written, nobody is owed them. */
	ck_assert(!lz_engine_serves(e, 1));
	ck_assert_uint_eq(owed(0), NR_PAGES);
	ck_assert(!lz_state_is_used(st));
	ck_assert_int_eq(st->slot[1].uffd, -1);
}

/* A move that is not followed is not noted either; the message can be taken once more. */
static int call_state_move(void)
{
	struct uffd_msg *m = &st->slot[0].armed[0];
	struct lz_event ev;

	m->event = UFFD_EVENT_REMAP;
	m->arg.remap.from = K4(101);
	m->arg.remap.to = K4(210);
	m->arg.remap.len = K4(2);
	return lz_state_take(st, e, 0, 0, -1, 1, &ev, &ufd) == LZ_TAKEN_LOST ? -ENOMEM : 0;
}

static void same_move(void)
{
	ck_assert_uint_eq(lz_journal_room(&st->journal), LZ_JOURNAL_NOTES);
	ck_assert_uint_eq(stats.n.pages_lost, 2);
}

static void changed_move(void)
{
	ck_assert_uint_eq(lz_journal_room(&st->journal), LZ_JOURNAL_NOTES - 1);
	ck_assert_uint_eq(st->journal.note[0][0].type, LZ_NOTE_REMAP);
}

START_TEST(states)
{
	exhaust(call_state_move, same_move, changed_move);
	exhaust(call_state_attach, same_state, changed_state);
	exhaust(call_state_take, same_fork, changed_state);
}
END_TEST

/* What has been replayed in part is thrown away; the journal and the bits are there for another. */
static int call_replay(void)
{
	int half_closed, r;

	r = lz_engine_new(&e, &OPTIONS);
	if (r)
		return r;
	r = lz_state_replay(st, e, &MEMORIES, &half_closed);
	lz_engine_check(e);
	if (r)
		lz_engine_free(e);
	return r;
}

static void replay_failing(void (*prepare)(void))
{
	int r = -ENOMEM;

	for (unsigned n = 0; r; n++) {
		ck_assert_uint_lt(n, ALLOCATIONS_MAX);
		set_up();
		lz_engine_free(e);
		ck_assert_int_eq(lz_engine_new(&e, &OPTIONS), 0);
		prepare();
		lz_engine_free(e);
		failing_arm(FAILING_ONCE, n);
		r = call_replay();
		(void)failing_disarm();
		if (r) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_int_eq(call_replay(), 0);
		}
		ck_assert_uint_eq(owed(0), NR_PAGES);
		ck_assert_uint_eq(owed(1), NR_PAGES);
		tear_down();
	}
}

static void take(uint8_t event, uint64_t from, uint64_t to, uint64_t len)
{
	struct uffd_msg *m = &st->slot[0].armed[0];
	struct lz_event ev;

	m->event = event;
	if (event == UFFD_EVENT_FORK) {
		m->arg.fork.ufd = 5;
	} else {
		m->arg.remap.from = from;
		m->arg.remap.to = to;
		m->arg.remap.len = len;
	}
	ck_assert_int_ne(lz_state_take(st, e, 0, 0, -1, 1, &ev, &ufd), LZ_TAKEN_LOST);
	lz_state_rearm(st, 0);
}

static void prepare(void)
{
	ck_assert_int_eq(lz_state_attach(st, e, &MEMORIES, 0, 3, -1, 1), 0);
	for (uint64_t i = 0; i < 6; i++)
		take(UFFD_EVENT_REMAP, K4(100 + 2 * i), K4(5000 + 2 * i), K4(1));
	take(UFFD_EVENT_FORK, 0, 0, 0);
}

static void prepare_compacted(void)
{
	prepare();
	ck_assert_int_eq(lz_state_compact(st, e), 0);
}

START_TEST(replays)
{
	replay_failing(prepare);
	replay_failing(prepare_compacted);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc_engine");
	TCase *t = tcase_create("alloc");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, engines);
	tcase_add_test(t, moves);
	tcase_add_test(t, cuts);
	tcase_add_test(t, faults);
	tcase_add_test(t, states);
	tcase_add_test(t, replays);
	suite_add_tcase(s, t);
	return run_suite(s);
}
