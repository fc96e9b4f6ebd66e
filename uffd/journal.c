/* SPDX-License-Identifier: MIT */
/* The journal of journal.h. */
#include "uffd/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "uffd/engine.h"

static int add_to(struct lz_journal *j, uint32_t half, const struct lz_note *n)
{
	uint64_t nr = j->nr[half];

	if (nr == LZ_JOURNAL_NOTES)
		return -ENOSPC;
	j->note[half][nr] = *n;
	/* Whoever comes after a death sees either no note or all of it. */
	__atomic_store_n(&j->nr[half], nr + 1, __ATOMIC_RELEASE);
	return 0;
}

int lz_journal_add(struct lz_journal *j, const struct lz_note *n)
{
	return add_to(j, j->active, n);
}

struct lz_note lz_journal_seg(uint32_t space, const struct lz_seg *seg)
{
	return (struct lz_note){ .type = LZ_NOTE_SEG,
				 .space = space,
				 .a = seg->start,
				 .b = seg->end,
				 .c = seg->identity,
				 .uffd = (int32_t)seg->page_shift };
}

int lz_journal_add_space(struct lz_journal *j, const struct lz_note *n, const struct lz_seg *seg,
			 size_t nr_segs)
{
	uint64_t nr = j->nr[j->active];
	struct lz_note *to = &j->note[j->active][nr];

	if (nr_segs >= lz_journal_room(j))
		return -ENOSPC;
	*to = *n;
	to->b = nr_segs;
	to->c = 1;
	for (size_t i = 0; i < nr_segs; i++)
		to[i + 1] = lz_journal_seg(n->space, &seg[i]);
	__atomic_store_n(&j->nr[j->active], nr + 1 + nr_segs, __ATOMIC_RELEASE);
	return 0;
}

uint64_t lz_journal_room(const struct lz_journal *j)
{
	return LZ_JOURNAL_NOTES - j->nr[j->active];
}

void lz_journal_begin(struct lz_journal *j)
{
	j->nr[!j->active] = 0;
}

int lz_journal_restate(struct lz_journal *j, const struct lz_note *n)
{
	return add_to(j, !j->active, n);
}

void lz_journal_flip(struct lz_journal *j)
{
	__atomic_store_n(&j->active, !j->active, __ATOMIC_RELEASE);
}

static bool seg_is_sound(const struct lz_seg *s)
{
	uint64_t mask;

	if (s->page_shift < 12 || s->page_shift > 62)
		return false;
	mask = (UINT64_C(1) << s->page_shift) - 1;
	return !((s->start | s->end | s->identity) & mask);
}

/* Of spaces that are there, or are not yet there, and of ranges that a message could have. */
static bool is_possible(const struct lz_engine *e, const struct lz_note *n)
{
	if (n->space >= LZ_SPACES_MAX)
		return false;
	switch (n->type) {
	case LZ_NOTE_SPACE:
		return !lz_engine_serves(e, n->space) && (n->c || !n->b);
	case LZ_NOTE_UNMAP:
	case LZ_NOTE_REMAP:
		return lz_engine_serves(e, n->space) && n->a < n->b &&
		       n->c <= UINT64_MAX - (n->b - n->a) && !((n->a | n->b | n->c) & 4095);
	case LZ_NOTE_FORK:
		return lz_engine_serves(e, n->space) && n->a < LZ_SPACES_MAX &&
		       !lz_engine_serves(e, (uint32_t)n->a);
	case LZ_NOTE_CLOSING:
	case LZ_NOTE_CLOSED:
		return lz_engine_serves(e, n->space);
	default:
		return n->type == LZ_NOTE_START;
	}
}

/* A SPACE note, with the @left notes behind it from which its segments come. Returns how many. */
static int64_t replay_space(struct lz_engine *e, const struct lz_replay *r, const struct lz_note *n,
			    uint64_t left)
{
	struct lz_attach a = { .space = n->space, .memory = (uint32_t)n->a, .resumed = true };
	struct lz_seg *seg = NULL;
	int ret = r->memory(r->arg, n->a, &a.plan, &a.seg, &a.nr_segs);

	if (ret)
		return ret;
	if (n->b > left || n->a >= LZ_MEMORIES_MAX)
		return -EBADMSG;
	if (n->c) {
		seg = calloc((size_t)n->b + 1, sizeof(*seg));
		if (!seg)
			return -ENOMEM;
		a.seg = seg;
		a.nr_segs = (size_t)n->b;
	}
	for (uint64_t i = 0; !ret && i < n->b; i++) {
		seg[i] = (struct lz_seg){ .start = n[i + 1].a,
					  .end = n[i + 1].b,
					  .identity = n[i + 1].c,
					  .page_shift = (uint32_t)n[i + 1].uffd };
		if (n[i + 1].type != LZ_NOTE_SEG || !seg_is_sound(&seg[i]))
			ret = -EBADMSG;
	}
	if (!ret)
		ret = lz_engine_attach(e, &a);
	free(seg);
	return ret ? ret : (int64_t)n->b;
}

static int replay_event(struct lz_engine *e, const struct lz_note *n)
{
	struct lz_event ev = { .space = n->space, .range = { n->a, n->b }, .to = n->c };

	switch (n->type) {
	case LZ_NOTE_UNMAP:
		ev.type = LZ_EV_UNMAP;
		break;
	case LZ_NOTE_REMAP:
		ev.type = LZ_EV_REMAP;
		break;
	case LZ_NOTE_FORK:
		ev.type = LZ_EV_FORK;
		ev.child = (uint32_t)n->a;
		break;
	case LZ_NOTE_CLOSED:
		ev.type = LZ_EV_CLOSED;
		break;
	case LZ_NOTE_START:
		ev.type = LZ_EV_START;
		break;
	default: /* CLOSING, which is nothing to the engine */
		return 0;
	}
	return lz_engine_feed(e, &ev);
}

int lz_journal_replay(const struct lz_journal *j, struct lz_engine *e, const struct lz_replay *r)
{
	const struct lz_note *note = j->note[j->active];
	uint64_t nr = j->nr[j->active];

	for (uint64_t i = 0; i < nr; i++) {
		const struct lz_note *n = &note[i];
		int64_t ret;

		if (!is_possible(e, n))
			ret = -EBADMSG;
		else if (n->type == LZ_NOTE_SPACE)
			ret = replay_space(e, r, n, nr - i - 1);
		else
			ret = replay_event(e, n);
		if (ret < 0)
			return (int)ret;
		r->note(r->arg, n);
		i += (uint64_t)ret;
	}
	return 0;
}
