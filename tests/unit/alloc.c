/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out: whatever can fail for the want of it is made to fail at its first
 * allocation, its second, and so on until it succeeds. After each failure the object is as it was,
 * and the same call then succeeds.
 *
 * limits: small
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/failing.h"
#include "tests/lib/suite.h"
#include "uffd/engine.h"
#include "uffd/space.h"
#include "uffd/state.h"

#define K4(n) ((uint64_t)(n) << 12)

enum { NR_PAGES = 200, AREAS = 8, ALLOCATIONS_MAX = 50 };

/* ---- the world, made anew for every failure ---- */

static struct lz_plan *plan;
static struct lz_seg area[AREAS];
static struct lz_map map;
static struct lz_bits bits;
static struct lz_space space, child;
static struct lz_stats stats;
static struct lz_engine *e;
static uint64_t words[NR_PAGES / 64 + 1];
static struct lz_state *st;

static int find_memory(void *arg, uint64_t memory, struct lz_plan **p, const struct lz_seg **seg,
		       size_t *nr)
{
	(void)arg;
	(void)memory;
	*p = plan;
	*seg = area;
	*nr = AREAS;
	return 0;
}
static const struct lz_memories MEMORIES = { .find = find_memory };
static const struct lz_engine_options OPTIONS = { .stats = &stats };

/* Pages in AREAS areas with a page between each two: a map that is full to its first capacity. */
static void set_up(void)
{
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	for (uint64_t i = 0; i < AREAS; i++) {
		const uint64_t at = K4(100 * (i + 1)), len = K4(NR_PAGES / AREAS);
		const struct lz_piece piece = { at, len, K4(1000 * i), 0, 12 };

		ck_assert_int_eq(lz_plan_add(plan, &piece), 0);
		area[i] = (struct lz_seg){ at, at + len, at, 12, 0 };
	}
	memset(&space, 0, sizeof(space));
	memset(&child, 0, sizeof(child));
	memset(&stats, 0, sizeof(stats));
	memset(words, 0, sizeof(words));
	ck_assert_int_eq(lz_map_init(&map, area, AREAS), 0);
	ck_assert_uint_eq(map.cap, AREAS);
	ck_assert_int_eq(lz_space_open(&space, plan, area, AREAS, NULL, false), 0);
	ck_assert_int_eq(lz_engine_new(&e, &OPTIONS), 0);
	ck_assert_int_eq(
		lz_engine_attach(
			e, &(struct lz_attach){ .plan = plan, .seg = area, .nr_segs = AREAS }),
		0);
	st = calloc(1, lz_state_size(NR_PAGES));
	ck_assert_ptr_nonnull(st);
	lz_state_init(st, NR_PAGES);
}

static void tear_down(void)
{
	lz_engine_check(e);
	lz_engine_free(e);
	lz_space_check(&space);
	lz_space_close(&space);
	if (child.state != LZ_SPACE_FREE)
		lz_space_close(&child);
	lz_map_fini(&map);
	free(st);
	lz_plan_put(plan);
}

static void exhaust(int (*call)(void), void (*same)(void), void (*changed)(void))
{
	failing_exhaust(&(struct failing){ set_up, call, same, changed, tear_down });
}

/* ---- plan, bits, map ---- */

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

static void nothing(void)
{
}

START_TEST(plans)
{
	exhaust(call_plan_new, nothing, nothing);
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

/* ---- the engine ---- */

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
	exhaust(call_engine_new, nothing, nothing);
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
	Suite *s = suite_create("alloc");
	TCase *t = tcase_create("alloc");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, plans);
	tcase_add_test(t, sealing);
	tcase_add_test(t, sets);
	tcase_add_test(t, maps);
	tcase_add_test(t, spaces);
	tcase_add_test(t, engines);
	tcase_add_test(t, moves);
	tcase_add_test(t, cuts);
	tcase_add_test(t, faults);
	tcase_add_test(t, states);
	tcase_add_test(t, replays);
	suite_add_tcase(s, t);
	return run_suite(s);
}
