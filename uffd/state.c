/* SPDX-License-Identifier: MIT */
/* The shared state of state.h. The order of the stores is the point of every function here. */
#include "uffd/state.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "uffd/bits.h"
#include "uffd/msg.h"

static const uint64_t MAGIC = UINT64_C(0x31307a6c64797a61);

size_t lz_state_size(uint64_t pages)
{
	return sizeof(struct lz_state) + LZ_SPACES_MAX * lz_bits_size(pages);
}

void lz_state_init(struct lz_state *st, uint64_t pages)
{
	st->version = LZ_STATE_VERSION;
	st->head = sizeof(*st);
	st->pages = pages;
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		st->slot[i].uffd = st->slot[i].pidfd = -1;
	st->wire[0] = st->wire[1] = -1;
	st->magic = MAGIC;
}

bool lz_state_is_one(const struct lz_state *st, uint64_t len)
{
	return len >= sizeof(*st) && st->magic == MAGIC && st->version == LZ_STATE_VERSION &&
	       st->head == sizeof(*st) && st->pages <= LZ_STATE_PAGES_MAX &&
	       len == lz_state_size(st->pages) && st->journal.active < 2 &&
	       st->journal.nr[st->journal.active] <= LZ_JOURNAL_NOTES;
}

bool lz_state_is_used(const struct lz_state *st)
{
	return st->magic == MAGIC && st->journal.nr[st->journal.active];
}

uint64_t *lz_state_words(struct lz_state *st, uint32_t space)
{
	return st->words + space * (lz_bits_size(st->pages) / sizeof(uint64_t));
}

void lz_state_rearm(struct lz_state *st, uint32_t space)
{
	struct lz_slot *s = &st->slot[space];

	memset(s->armed, 0, sizeof(s->armed));
	/* Not before the zeroes: they would be taken for messages of the new batch. */
	__atomic_store_n(&s->batch, s->batch + 1, __ATOMIC_RELEASE);
	s->seen = 0;
}

bool lz_state_is_full(const struct lz_state *st)
{
	return lz_journal_room(&st->journal) < LZ_SPACES_MAX * (LZ_BATCH_MAX + 3);
}

static void fill_slot(struct lz_slot *s, uint32_t memory, int uffd, int pidfd, uint32_t kin)
{
	s->kin = kin;
	s->memory = memory;
	s->uffd = uffd;
	s->pidfd = pidfd;
}

int lz_state_attach_at(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		       const struct lz_state_place *at, int uffd, int pidfd, uint64_t now_ns)
{
	struct lz_event tick = { .type = LZ_EV_TICK, .now_ns = now_ns };
	struct lz_note n = { .type = LZ_NOTE_SPACE, .a = at->memory, .uffd = uffd, .pidfd = pidfd };
	struct lz_attach a = { 0 };
	int r = lz_engine_free_space(e);

	if (r < 0)
		return r;
	if (lz_journal_room(&st->journal) <= at->nr_segs)
		return -ENOSPC;
	a.space = n.space = (uint32_t)r;
	a.memory = at->memory;
	a.words = lz_state_words(st, a.space);
	r = m->find(m->arg, at->memory, &a.plan, &a.seg, &a.nr_segs);
	if (r)
		return r;
	if (at->seg) {
		a.seg = at->seg;
		a.nr_segs = at->nr_segs;
	}
	if (lz_plan_nr_pages(a.plan) > st->pages)
		return -EINVAL;
	memset(a.words, 0, lz_bits_size(lz_plan_nr_pages(a.plan)));
	(void)lz_engine_feed(e, &tick);
	r = lz_engine_attach(e, &a);
	if (r)
		return r;
	lz_state_rearm(st, a.space); /* whoever had the slot may have left messages */
	fill_slot(&st->slot[a.space], at->memory, uffd, pidfd, 0);
	r = at->seg ? lz_journal_add_space(&st->journal, &n, a.seg, a.nr_segs)
		    : lz_journal_add(&st->journal, &n);
	assert(!r);
	return (int)a.space;
}

int lz_state_attach(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		    uint32_t memory, int uffd, int pidfd, uint64_t now_ns)
{
	const struct lz_state_place own = { .memory = memory };

	return lz_state_attach_at(st, e, m, &own, uffd, pidfd, now_ns);
}

int lz_state_start(struct lz_state *st, struct lz_engine *e, uint64_t now_ns)
{
	struct lz_note n = { .type = LZ_NOTE_START };
	struct lz_event ev = { .type = LZ_EV_START, .now_ns = now_ns };
	int r = lz_journal_add(&st->journal, &n);

	return r ? r : lz_engine_feed(e, &ev);
}

unsigned lz_state_nr_messages(const struct lz_slot *s)
{
	unsigned n = s->seen;

	while (n < LZ_BATCH_MAX && s->armed[n].event)
		n++;
	return n;
}

static enum lz_taken take_fork(struct lz_state *st, struct lz_engine *e, struct lz_event *ev,
			       struct lz_note *n, int ufd, int kin)
{
	const struct lz_slot *parent = &st->slot[ev->space];
	int child = lz_engine_free_space(e);

	if (child < 0)
		return LZ_TAKEN_LOST;
	ev->child = (uint32_t)child;
	ev->words = lz_state_words(st, ev->child);
	if (lz_engine_feed(e, ev))
		return LZ_TAKEN_LOST;
	lz_state_rearm(st, ev->child);
	fill_slot(&st->slot[child], parent->memory, ufd, kin, 1);
	n->a = ev->child;
	n->uffd = ufd;
	n->pidfd = kin;
	n->kin = 1;
	return LZ_TAKEN_FORK;
}

enum lz_taken lz_state_take(struct lz_state *st, struct lz_engine *e, uint32_t space,
			    unsigned index, int kin, uint64_t now_ns, struct lz_event *ev, int *ufd)
{
	const struct lz_slot *s = &st->slot[space];
	struct lz_note n = { .space = space, .batch = s->batch, .index = index };
	enum lz_taken taken = LZ_TAKEN;
	int r;

	*ev = (struct lz_event){ .space = space, .now_ns = now_ns };
	if (lz_msg_decode(&s->armed[index], ev, ufd))
		return LZ_TAKEN_UNKNOWN;
	n.a = ev->range.start;
	n.b = ev->range.end;
	n.c = ev->to;
	if (ev->type == LZ_EV_FORK)
		taken = take_fork(st, e, ev, &n, *ufd, kin);
	else if (lz_engine_feed(e, ev))
		taken = LZ_TAKEN_LOST;
	if (taken == LZ_TAKEN_LOST)
		return taken;
	switch (ev->type) {
	case LZ_EV_UNMAP:
		n.type = LZ_NOTE_UNMAP;
		break;
	case LZ_EV_REMAP:
		n.type = LZ_NOTE_REMAP;
		break;
	case LZ_EV_FORK:
		n.type = LZ_NOTE_FORK;
		break;
	default: /* a REMOVE is wholly in the bits, a fault comes again */
		return taken;
	}
	r = lz_journal_add(&st->journal, &n);
	assert(!r); /* compact() in time keeps room for every batch under way */
	return taken;
}

void lz_state_lose_fork(struct lz_state *st, uint32_t space, unsigned index)
{
	st->slot[space].armed[index].arg.fork.ufd = UINT32_MAX;
}

int lz_state_compact(struct lz_state *st, struct lz_engine *e)
{
	struct lz_journal *j = &st->journal;
	struct lz_note start = { .type = LZ_NOTE_START };
	int r = 0;

	lz_journal_begin(j);
	for (uint32_t i = 0; !r && i < LZ_SPACES_MAX; i++) {
		const struct lz_slot *s = &st->slot[i];
		struct lz_note n = { .type = LZ_NOTE_SPACE, .space = i, .a = s->memory, .c = 1 };
		const struct lz_seg *seg;
		size_t nr;

		if (!lz_engine_serves(e, i))
			continue;
		seg = lz_engine_segs(e, i, &nr);
		n.b = nr;
		n.uffd = s->uffd;
		n.pidfd = s->pidfd;
		n.kin = s->kin;
		r = lz_journal_restate(j, &n);
		for (size_t k = 0; !r && k < nr; k++) {
			n = lz_journal_seg(i, &seg[k]);
			r = lz_journal_restate(j, &n);
		}
	}
	if (!r && lz_engine_is_started(e))
		r = lz_journal_restate(j, &start);
	if (!r)
		lz_journal_flip(j);
	return r;
}

int lz_state_closing(struct lz_state *st, uint32_t space)
{
	struct lz_note n = { .type = LZ_NOTE_CLOSING, .space = space };

	return lz_journal_add(&st->journal, &n);
}

int lz_state_closed(struct lz_state *st, struct lz_engine *e, uint32_t space, uint64_t now_ns)
{
	struct lz_note n = { .type = LZ_NOTE_CLOSED, .space = space };
	struct lz_event ev = { .type = LZ_EV_CLOSED, .space = space, .now_ns = now_ns };
	int r = lz_journal_add(&st->journal, &n);

	if (r)
		return r;
	st->slot[space].uffd = st->slot[space].pidfd = -1;
	return lz_engine_feed(e, &ev);
}

/* ---- replay ---- */

struct replay {
	struct lz_state *st;
	const struct lz_memories *m;
	int closing;
};

static int replay_memory(void *arg, uint64_t memory, struct lz_plan **plan,
			 const struct lz_seg **seg, size_t *nr)
{
	struct replay *r = arg;

	return r->m->find(r->m->arg, memory, plan, seg, nr);
}

static void replay_note(void *arg, const struct lz_note *n)
{
	struct replay *r = arg;
	struct lz_slot *s = &r->st->slot[n->space];

	switch (n->type) {
	case LZ_NOTE_SPACE:
		fill_slot(s, (uint32_t)n->a, n->uffd, n->pidfd, n->kin);
		return;
	case LZ_NOTE_FORK:
		fill_slot(&r->st->slot[n->a], s->memory, n->uffd, n->pidfd, n->kin);
		break;
	case LZ_NOTE_CLOSING:
		r->closing = (int)n->space;
		return;
	case LZ_NOTE_CLOSED:
		r->closing = -1;
		return;
	case LZ_NOTE_UNMAP:
	case LZ_NOTE_REMAP:
		break;
	default:
		return;
	}
	if (n->batch == s->batch)
		s->seen = n->index + 1;
}

int lz_state_replay(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		    int *half_closed)
{
	struct lz_stats scratch = { 0 };
	struct replay r = { .st = st, .m = m, .closing = -1 };
	struct lz_replay ops = { .arg = &r, .memory = replay_memory, .note = replay_note };
	int ret;

	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		st->slot[i].seen = 0;
	lz_engine_count_into(e, &scratch);
	ret = lz_journal_replay(&st->journal, e, &ops);
	lz_engine_count_into(e, &st->stats);
	for (uint32_t i = 0; !ret && i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(e, i))
			ret = lz_engine_bind(e, i, lz_state_words(st, i));
	*half_closed = r.closing;
	return ret;
}
