/* SPDX-License-Identifier: MIT */
/* The state and the successors of state_world.h. Not here: any test. */
#include "state_world.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lz_state *st;
struct lz_engine *e;
struct lz_plan *plan;
uint64_t now_ns;

static const struct lz_seg AREAS[] = {
	{ BASE, BASE + 0x10000, BASE, 12, 0 },
	{ BASE + 0x10000, BASE + 0x40000, BASE + 0x10000, 12, 0 },
};

static int find_memory(void *arg, uint64_t memory, struct lz_plan **p, const struct lz_seg **seg,
		       size_t *nr)
{
	(void)arg;
	if (memory > 1)
		return -ENOENT;
	*p = plan;
	*seg = AREAS;
	*nr = 2 - (size_t)memory; /* memory 1 has but the first area */
	return 0;
}

const struct lz_memories MEMORIES = { .find = find_memory };

struct lz_engine *new_engine(void)
{
	const struct lz_engine_options o = { .stats = &st->stats };
	struct lz_engine *n;

	ck_assert_int_eq(lz_engine_new(&n, &o), 0);
	return n;
}

void set_up(void)
{
	const struct lz_piece piece = { BASE, K4(60), 0, 0, 12 };

	st = calloc(1, lz_state_size(PAGES));
	ck_assert_ptr_nonnull(st);
	lz_state_init(st, PAGES);
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	ck_assert_int_eq(lz_plan_add(plan, &piece), 0);
	lz_plan_seal(plan);
	e = new_engine();
}

void tear_down(void)
{
	lz_engine_check(e);
	lz_engine_free(e);
	lz_plan_put(plan);
	free(st);
}

int attach(int uffd)
{
	return lz_state_attach(st, e, &MEMORIES, 0, uffd, uffd + 100, ++now_ns);
}

/* ---- messages ---- */

struct uffd_msg fault(uint64_t page)
{
	struct uffd_msg m = { .event = UFFD_EVENT_PAGEFAULT };

	m.arg.pagefault.address = BASE + K4(page);
	return m;
}

struct uffd_msg drop(uint8_t event, uint64_t from, uint64_t to)
{
	struct uffd_msg m = { .event = event };

	m.arg.remove.start = BASE + K4(from);
	m.arg.remove.end = BASE + K4(to);
	return m;
}

struct uffd_msg move(uint64_t from, uint64_t nr, uint64_t to)
{
	struct uffd_msg m = { .event = UFFD_EVENT_REMAP };

	m.arg.remap.from = BASE + K4(from);
	m.arg.remap.to = BASE + K4(to);
	m.arg.remap.len = K4(nr);
	return m;
}

struct uffd_msg forks(uint32_t ufd)
{
	struct uffd_msg m = { .event = UFFD_EVENT_FORK };

	m.arg.fork.ufd = ufd;
	return m;
}

enum lz_taken take_at(uint32_t space, unsigned index, struct lz_event *ev)
{
	int ufd;

	return lz_state_take(st, e, space, index, NONE, ++now_ns, ev, &ufd);
}

enum lz_taken take(uint32_t space, struct uffd_msg m)
{
	struct lz_event ev;
	enum lz_taken t;

	st->slot[space].armed[0] = m;
	ck_assert_uint_eq(lz_state_nr_messages(&st->slot[space]), 1);
	t = take_at(space, 0, &ev);
	lz_state_rearm(st, space);
	ck_assert_uint_eq(lz_state_nr_messages(&st->slot[space]), 0);
	return t;
}

/* ---- a successor, compared ---- */

uint64_t owed(const struct lz_engine *of, uint32_t space)
{
	uint64_t page = 0, sum = 0;
	struct lz_range r;

	/* Ranges end with segments, which are the same in both. */
	while (lz_engine_owed_range(of, space, &page, &r))
		sum = sum * 31 + r.start + lz_range_len(r);
	return sum;
}

static void compare(const struct lz_engine *a, const struct lz_engine *b)
{
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		const struct lz_seg *x, *y;
		size_t nr, nr_y;

		ck_assert_int_eq(lz_engine_serves(a, i), lz_engine_serves(b, i));
		if (!lz_engine_serves(a, i))
			continue;
		x = lz_engine_segs(a, i, &nr);
		y = lz_engine_segs(b, i, &nr_y);
		ck_assert_uint_eq(nr, nr_y);
		ck_assert(!nr || !memcmp(x, y, nr * sizeof(*x)));
		ck_assert_uint_eq(owed(a, i), owed(b, i));
	}
	ck_assert_int_eq(lz_engine_is_started(a), lz_engine_is_started(b));
}

int replay(void)
{
	int half_closed = 99;

	lz_engine_free(e);
	e = new_engine();
	ck_assert_int_eq(lz_state_replay(st, e, &MEMORIES, &half_closed), 0);
	lz_engine_check(e);
	return half_closed;
}

void succeed(void)
{
	struct lz_slot slot[LZ_SPACES_MAX];
	struct lz_stats stats = st->stats;
	struct lz_engine *old = e;

	memcpy(slot, st->slot, sizeof(slot));
	e = new_engine();
	ck_assert_int_eq(replay(), NONE);
	compare(old, e);
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(e, i)) {
			ck_assert_int_eq(st->slot[i].uffd, slot[i].uffd);
			ck_assert_int_eq(st->slot[i].pidfd, slot[i].pidfd);
			ck_assert_uint_eq(st->slot[i].kin, slot[i].kin);
			ck_assert_uint_eq(st->slot[i].memory, slot[i].memory);
			ck_assert_uint_eq(st->slot[i].seen, 0);
		}
	/* What is done again has been counted before. */
	ck_assert(!memcmp(&stats, &st->stats, sizeof(stats)));
	lz_engine_free(old);
}
