/* SPDX-License-Identifier: MIT */
/*
 * Messages that no kernel sends: any event, any order, any numbers, as they lie in armed[]. They
 * are taken into a state with an engine of three spaces behind it, whose actions are carried out
 * with answers of the fuzzer's choice. Nothing crashes, no invariant breaks, next() runs dry, what
 * is refused is refused before anything changes, and a successor rebuilt from the state owes what
 * its predecessor owed.
 *
 * The input is a row of steps: a byte that says what to do, and what that needs. What a kernel
 * could not answer is not tried: a placement of more bytes than were asked for, or of parts of a
 * page, a read of more than was asked for, and half of a huge page unmapped or moved.
 *
 * limits: small
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "uffd/limits.h"
#include "uffd/msg.h"
#include "uffd/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 600, ACTIONS_MAX = 10000 };

struct input {
	const uint8_t *at;
	size_t left;
};

struct world {
	struct lz_state *st;
	struct lz_engine *e;
	struct lz_plan *plan;
	uint64_t now_ns;
	bool reading[LZ_REQS_MAX];
	uint64_t asked[LZ_REQS_MAX];
	bool abandoned;
};

/* An area of small pages at either end of the numbers, and one of huge pages between. */
static const struct lz_seg AREAS[] = {
	{ 0x1000, 0x9000, 0x1000, 12, 0 },
	{ 0x40000000, 0x40600000, 0x40000000, 21, 0 },
	{ 0x40600000, 0x40640000, 0x40600000, 12, 0 },
	{ 0xffffffffffff0000, 0xfffffffffffff000, 0xffffffffffff0000, 12, 0 },
};
static const struct lz_piece PIECES[] = {
	{ 0x1000, 0x7000, 0, 0, 12 },
	{ 0x40200000, 0x400000, 0x200000, 0, 21 },
	{ 0x40600000, 0x20000, 0x600000, 0, 12 },
	{ 0xffffffffffff0000, 0x8000, 0, 1, 12 },
};

static uint64_t number(struct input *in, size_t bytes)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bytes && in->left; i++, in->left--)
		n |= (uint64_t)*in->at++ << (8 * i);
	return n;
}

/* Mostly at or near what is served; at times anything at all. */
static uint64_t address(struct input *in)
{
	uint64_t n = number(in, 2);
	static const uint64_t near[] = { 0, 0x40000000, 0x40600000, 0xffffffffffff0000 };

	if (n & 0x8000)
		return near[n & 3] + ((n >> 2 & 0x3f) << 12) + (n & 0x4000 ? n >> 8 : 0);
	return n & 1 ? n << 48 | n : n << 12;
}

static int find_memory(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		       size_t *nr)
{
	struct world *w = arg;

	(void)memory;
	*plan = w->plan;
	*seg = AREAS;
	*nr = sizeof(AREAS) / sizeof(AREAS[0]);
	return 0;
}

static void feed(struct world *w, struct lz_event ev)
{
	int r;

	ev.now_ns = ++w->now_ns;
	r = lz_engine_feed(w->e, &ev);
	assert(!r);
}

/* ---- actions ---- */

static int64_t answer(struct input *in, const struct lz_action *a)
{
	static const int64_t errors[] = { -EAGAIN, -EEXIST, -ENOENT, -EFAULT,
					  -EINVAL, -ESRCH,  -ENOMEM, -ENOSPC };
	uint64_t how = number(in, 1), len = lz_range_len(a->dst), page = 4096;

	if (how < 0xc0)
		return (int64_t)len;
	if (how < 0xe0)
		return errors[how & 7];
	if (a->type != LZ_ACT_ZERO && a->dst.start >= 0x40000000 && !(len & 0x1fffff))
		page = 0x200000; /* a huge page is placed whole */
	return (int64_t)(len > page ? page : len);
}

static void carry_out(struct world *w, struct input *in, const struct lz_action *a)
{
	struct lz_event ev = { .space = a->space, .req = a->req, .range = a->dst, .did = a->type };

	assert(lz_engine_serves(w->e, a->space));
	switch (a->type) {
	case LZ_ACT_WAKE:
		return;
	case LZ_ACT_READ:
		assert(!w->reading[a->req] && a->len);
		w->reading[a->req] = true;
		w->asked[a->req] = a->len;
		return;
	case LZ_ACT_FETCH:
		ev.type = LZ_EV_FETCHED;
		feed(w, ev);
		return;
	case LZ_ACT_KILL:
		ev.type = LZ_EV_EXIT;
		feed(w, ev);
		return;
	case LZ_ACT_CLOSE:
		assert(!lz_state_closing(w->st, a->space));
		assert(!lz_state_closed(w->st, w->e, a->space, ++w->now_ns));
		return;
	default:
		assert(lz_range_len(a->dst)); /* the last page of all ends at 0 */
		ev.type = LZ_EV_PLACED;
		ev.res = answer(in, a);
		feed(w, ev);
		return;
	}
}

static void act(struct world *w, struct input *in)
{
	struct lz_action a;

	if (lz_state_is_full(w->st))
		/* More segments than half a small journal has room for:
		 * the loop goes on without. */
		(void)lz_state_compact(w->st, w->e);
	for (int n = 0; lz_engine_next(w->e, &a); n++) {
		assert(n < ACTIONS_MAX);
		carry_out(w, in, &a);
		lz_engine_check(w->e);
	}
	assert(!lz_engine_next(w->e, &a));
}

/* ---- messages ---- */

static void fill_in(struct input *in, struct uffd_msg *m)
{
	static const uint8_t kinds[] = { UFFD_EVENT_PAGEFAULT, UFFD_EVENT_FORK, UFFD_EVENT_REMAP,
					 UFFD_EVENT_REMOVE, UFFD_EVENT_UNMAP };
	uint8_t kind = (uint8_t)number(in, 1);

	memset(m, 0, sizeof(*m));
	m->event = kind < 0xf0 ? kinds[kind % 5] : kind;
	m->arg.remap.from = address(in);
	m->arg.remap.to = address(in);
	m->arg.remap.len = number(in, 1) << 12 | (kind == 0xef ? 1 : 0);
	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		m->arg.pagefault.address = m->arg.remap.to;
		m->arg.pagefault.flags = kind & 0x10 ? UFFD_PAGEFAULT_FLAG_MINOR : 0;
		break;
	case UFFD_EVENT_FORK:
		m->arg.fork.ufd = (uint32_t)number(in, 1) - 1;
		break;
	case UFFD_EVENT_REMAP:
		break;
	default:
		if (kind & 0x10)
			m->arg.remove.end = m->arg.remove.start + m->arg.remap.len;
		break;
	}
}

/* Half a huge page is neither unmapped nor moved: the kernel refuses the call. */
static bool tears(const struct world *w, const struct lz_event *ev)
{
	const uint64_t mask = 0x1fffff;
	struct lz_range to = { ev->to, ev->to + lz_range_len(ev->range) };
	const struct lz_seg *seg;
	bool is_torn = false;
	size_t nr;

	if (ev->type != LZ_EV_UNMAP && ev->type != LZ_EV_REMAP)
		return false;
	seg = lz_engine_segs(w->e, ev->space, &nr);
	for (size_t i = 0; i < nr; i++) {
		struct lz_range s = { seg[i].start, seg[i].end };
		struct lz_range from = lz_range_common(s, ev->range);
		struct lz_range over = lz_range_common(s, to);

		if (seg[i].page_shift != 21)
			continue;
		if (!lz_range_is_empty(from))
			is_torn = is_torn || (from.start | from.end) & mask ||
				  (ev->type == LZ_EV_REMAP && (ev->to - ev->range.start) & mask);
		if (ev->type == LZ_EV_REMAP && !lz_range_is_empty(over))
			is_torn = is_torn || (over.start | over.end) & mask;
	}
	return is_torn;
}

static void take(struct world *w, struct input *in, uint32_t space)
{
	struct lz_slot *s = &w->st->slot[space];
	unsigned nr = 1 + (unsigned)number(in, 1) % LZ_BATCH_MAX;
	struct lz_event ev;
	int ufd;

	if (!lz_engine_serves(w->e, space) || lz_state_is_full(w->st))
		return;
	for (unsigned i = 0; i < nr; i++)
		fill_in(in, &s->armed[i]);
	nr = lz_state_nr_messages(s);
	for (unsigned i = 0; i < nr; i++) {
		struct lz_event decoded = { .space = space };
		int bad = lz_msg_decode(&s->armed[i], &decoded, &ufd);

		assert(!bad || bad == -EBADMSG);
		assert(bad || decoded.type == LZ_EV_FAULT || decoded.type == LZ_EV_FORK ||
		       decoded.range.start < decoded.range.end);
		if (!bad && tears(w, &decoded))
			continue;
		switch (lz_state_take(w->st, w->e, space, i, -1, ++w->now_ns, &ev, &ufd)) {
		case LZ_TAKEN_UNKNOWN:
			assert(bad);
			break;
		case LZ_TAKEN_FORK:
			assert(ev.type == LZ_EV_FORK && lz_engine_serves(w->e, ev.child));
			break;
		case LZ_TAKEN_LOST:
			assert(ev.type == LZ_EV_FORK && lz_engine_free_space(w->e) == -ENOSPC);
			break;
		case LZ_TAKEN:
			assert(!bad);
			break;
		}
		lz_engine_check(w->e);
	}
	lz_state_rearm(w->st, space);
}

/* ---- a successor ---- */

static uint64_t owed(const struct lz_engine *e, uint32_t space)
{
	uint64_t page = 0, sum = 0, n = 0;
	struct lz_range r;

	while (lz_engine_serves(e, space) && lz_engine_owed_range(e, space, &page, &r))
		sum = sum * 31 + r.start + r.end + ++n;
	return sum;
}

static void die(struct world *w)
{
	struct lz_engine_options o = { .stats = &w->st->stats };
	struct lz_memories m = { .arg = w, .find = find_memory };
	struct lz_engine *old = w->e;
	int half_closed;

	assert(!lz_engine_new(&w->e, &o));
	assert(!lz_state_replay(w->st, w->e, &m, &half_closed) && half_closed == -1);
	lz_engine_check(w->e);
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		assert(lz_engine_serves(old, i) == lz_engine_serves(w->e, i));
		assert(owed(old, i) == owed(w->e, i));
	}
	lz_engine_free(old);
	memset(w->reading, 0, sizeof(w->reading));
	if (w->abandoned)
		feed(w, (struct lz_event){ .type = LZ_EV_ABANDON });
}

/* ---- one input ---- */

static void got(struct world *w, struct input *in)
{
	uint32_t req = (uint32_t)number(in, 1) % LZ_REQS_MAX;
	uint64_t how = number(in, 1);
	struct lz_event ev = { .type = LZ_EV_READ, .req = req };

	if (!w->reading[req])
		return;
	w->reading[req] = false;
	ev.mapped = how < 0x40;
	ev.res = how < 0x80   ? (int64_t)w->asked[req]
		 : how < 0xe0 ? (int64_t)(w->asked[req] * (how & 0x1f) / 0x20)
			      : -EIO;
	feed(w, ev);
}

static void step(struct world *w, struct input *in)
{
	struct lz_memories m = { .arg = w, .find = find_memory };
	uint8_t what = (uint8_t)number(in, 1);

	switch (what >> 4) {
	default:
		take(w, in, what % LZ_SPACES_MAX);
		break;
	case 8:
	case 9:
	case 10:
		got(w, in);
		break;
	case 11:
		w->now_ns += number(in, 2) * 1000;
		feed(w, (struct lz_event){ .type = LZ_EV_TICK });
		break;
	case 12:
		if (lz_journal_room(&w->st->journal) && !lz_engine_is_started(w->e))
			assert(!lz_state_start(w->st, w->e, ++w->now_ns));
		break;
	case 13:
		die(w);
		break;
	case 14:
		if (!lz_state_is_full(w->st))
			(void)lz_state_attach(w->st, w->e, &m, 0, 1, -1, ++w->now_ns);
		break;
	case 15:
		if (what & 1 && lz_engine_serves(w->e, what >> 1 & 7))
			feed(w, (struct lz_event){ .type = LZ_EV_EXIT, .space = what >> 1 & 7 });
		else if (what == 0xf0)
			w->abandoned = true;
		if (w->abandoned)
			feed(w, (struct lz_event){ .type = LZ_EV_ABANDON });
		break;
	}
	lz_engine_check(w->e);
	act(w, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lz_state *st;
	struct world w = { .now_ns = 1 };
	struct lz_memories m = { .arg = &w, .find = find_memory };
	struct input in = { data, size };
	struct lz_engine_options o = { 0 };
	int r = lz_plan_new(&w.plan);

	for (size_t i = 0; !r && i < sizeof(PIECES) / sizeof(PIECES[0]); i++)
		r = lz_plan_add(w.plan, &PIECES[i]);
	assert(!r);
	lz_plan_seal(w.plan);
	if (!st)
		st = malloc(lz_state_size(PAGES));
	assert(st);
	memset(st, 0, lz_state_size(PAGES));
	w.st = st;
	lz_state_init(st, PAGES);
	o.stats = &st->stats;
	o.on_lost = size && data[0] & 1 ? LAZYD_LOST_KILL : LAZYD_LOST_POISON;
	assert(!lz_engine_new(&w.e, &o));
	for (int i = 0; i < 3; i++)
		assert(lz_state_attach(st, w.e, &m, 0, i, -1, ++w.now_ns) == i);
	while (in.left)
		step(&w, &in);
	lz_engine_free(w.e);
	lz_plan_put(w.plan);
	return 0;
}
