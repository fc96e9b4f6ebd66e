/* SPDX-License-Identifier: MIT */
/*
 * The engine: events in, actions out, no effect of its own. feed() records what happened; next()
 * alone decides what is done about it, in one order of policy; deadline() says when it wants to be
 * told the time; check() asserts every invariant. The caller carries out an action before it asks
 * for the next one, and has fed everything the kernel handed out before it asks: then no decision
 * rests on a layout that has already changed.
 *
 * Pages are spoken of by their number in the plan (identity). Positions appear only in events from
 * the kernel and in the dst of actions, computed the moment the action is handed out.
 */
#ifndef LZ_ENGINE_H
#define LZ_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/plan.h"
#include "pagemap/range.h"
#include "uffd/latency.h"
#include "uffd/lazyd.h"
#include "uffd/record.h"

struct lz_stats {
	struct lazyd_stats n;
	struct lz_latency latency;
};

enum lz_action_type {
	LZ_ACT_WAKE,     /* threads waiting in dst are to fault again; dst {0, UINT64_MAX}: all */
	LZ_ACT_COPY,     /* place bytes of @req from @skip on at dst; then feed PLACED */
	LZ_ACT_ZERO,     /* place a zero page at dst; then feed PLACED */
	LZ_ACT_CONTINUE, /* map what the shared memory at dst has; then feed PLACED */
	LZ_ACT_POISON,   /* make an access to dst a SIGBUS; then feed PLACED */
	/* Fetch len bytes at offset of source: those of @req from @skip on; later feed READ. */
	LZ_ACT_READ,
	/* Have len bytes at offset of source in memory, for they will be read soon, slice by
	 * slice; later feed FETCHED. */
	LZ_ACT_FETCH,
	LZ_ACT_KILL,    /* kill the space's process: its memory cannot be had; then feed EXIT */
	LZ_ACT_CLOSE,   /* owed nothing: unregister and close; then feed CLOSED */
	LZ_ACT_RELEASE, /* nothing is owed of the remote source any more: it is never read again */
};

enum lz_event_type {
	LZ_EV_FAULT,   /* a thread waits for the page at range.start */
	LZ_EV_REMOVE,  /* range will read as zero: MADV_DONTNEED and the like */
	LZ_EV_UNMAP,   /* range is no longer mapped */
	LZ_EV_REMAP,   /* range was moved to @to */
	LZ_EV_FORK,    /* @child is a copy of @space; @words: room for its owed bits, or NULL */
	LZ_EV_EXIT,    /* the space's process is gone */
	LZ_EV_READ,    /* READ of @req ended: res bytes, or -errno; EMSGSIZE: it is not mapped */
	LZ_EV_FETCHED, /* FETCH of @req ended, well or not */
	LZ_EV_PLACED,  /* COPY, ZERO, CONTINUE or POISON of @range returned: res bytes, or -errno */
	LZ_EV_CLOSED,  /* CLOSE was carried out: the space's number is free again */
	LZ_EV_COSTLY,  /* requests cost the remote source a lot: few, large ones */
	LZ_EV_START,   /* every space is assembled: running ahead is allowed */
	LZ_EV_SWEEP,   /* no_sweep is over: the rest is wanted too */
	LZ_EV_FINISH,  /* options.stays: no more spaces will come */
	LZ_EV_ABANDON, /* give up: what is owed is lost */
	LZ_EV_TICK,    /* nothing but the time */
};

struct lz_event {
	enum lz_event_type type;
	enum lz_action_type did; /* PLACED: which of them it was */
	bool minor;              /* FAULT: shared memory has the page, it is not mapped */
	bool mapped;             /* READ: the bytes are where they are mapped, in no buffer */
	uint32_t space, child, req;
	struct lz_range range;
	uint64_t to;
	uint64_t *words;
	int64_t res;
	uint64_t now_ns; /* any monotonic clock; never goes back */
};

enum { LZ_REQ_NONE = UINT32_MAX };

struct lz_action {
	enum lz_action_type type;
	uint32_t space, req, source; /* FETCH: @req is the number of a block, below LZ_BLOCKS_MAX */
	uint64_t offset, len;
	uint64_t skip;
	struct lz_range dst;
	bool mapped_ok;   /* READ: bytes may be taken where they are mapped; false after a COPY from
			 * there has failed */
	bool mapped_only; /* READ: if they are not mapped, feed -EMSGSIZE: so many are not read */
	bool urgent;      /* READ: a thread waits for it */
	bool wanted;      /* READ: of a working set, whose bytes are elsewhere */
	bool large;       /* ZERO: of a page that is larger than 4 KiB */
};

struct lz_engine_options {
	enum lazyd_on_lost on_lost;
	struct lz_stats *stats; /* the caller's; counted into, never reset */
	unsigned
		nr_reqs; /* at most LZ_REQS_MAX, requests are numbered below it; 0: LZ_REQS_LOCAL */
	/* RELEASE is given even if no space has a remote source:
	 * one that a predecessor has closed may have had it. */
	bool has_remote;
	bool no_sweep; /* nothing runs ahead of the faults but what is wanted: see SWEEP */
	/* Where first touches are noted, for so long from the first on;
	 * NULL: nowhere; 0: without end. */
	struct lz_record *record;
	uint64_t record_ns;
	/* Spaces may come at any time, also after START: it is not done, and the remote source not
	 * released, before FINISH. */
	bool stays;
};

struct lz_engine;

int lz_engine_new(struct lz_engine **out, const struct lz_engine_options *options);
void lz_engine_free(struct lz_engine *e);

/* The lowest free number for attach() or FORK's child; -ENOSPC when LZ_SPACES_MAX are in use. */
int lz_engine_free_space(const struct lz_engine *e);

struct lz_attach {
	uint32_t space, memory; /* its memory's number: below LZ_MEMORIES_MAX */
	struct lz_plan *plan;   /* a reference is taken */
	const struct lz_seg *seg;
	size_t nr_segs;
	uint64_t *words; /* room for owed bits, lz_bits_size(nr_pages), all zero; NULL: private */
	bool resumed;    /* owed nothing until bind() says what */
};
/* -ESHUTDOWN: its plan has a remote source, and RELEASE has been given. */
int lz_engine_attach(struct lz_engine *e, const struct lz_attach *a);

/*
 * The pages that @plan, of memory number @memory, holds of the identities @r are to be had before
 * all that nobody waits for, behind what was wanted before; in the space that was attached with
 * that memory, not in its children. With options.stays in each of them, whenever it is attached,
 * from the first on: they take turns. -ENOSPC: so many cannot be; -ENOMEM.
 */
int lz_engine_want(struct lz_engine *e, const struct lz_plan *plan, uint32_t memory,
		   struct lz_range r);

/*
 * Records. Fails with -ENOMEM only, for REMAP and FORK: a REMAP's pages are then owed no longer and
 * counted as lost, a FORK has changed nothing. The caller fails closed what the event moved or the
 * child is owed (owed_range() of its parent).
 */
int lz_engine_feed(struct lz_engine *e, const struct lz_event *ev);
/* Decides: true with one action to carry out now, false when there is nothing to do. */
bool lz_engine_next(struct lz_engine *e, struct lz_action *act);
/*
 * The COPY just handed out for @req is being carried out by somebody else: until its PLACED is fed,
 * or this is taken back since nobody has begun it, nothing else is handed out for @req. Nothing
 * that tells of the layout may be read from the kernel meanwhile: behind the one that has read it
 * pages may move, and a COPY that comes then would be to where they were.
 */
void lz_engine_lend(struct lz_engine *e, uint32_t req, bool lent);
/* No fault has come for a while. */
bool lz_engine_is_calm(const struct lz_engine *e);
/* When it wants an event with now_ns at least this; UINT64_MAX: never. */
uint64_t lz_engine_deadline(const struct lz_engine *e);
bool lz_engine_serves(const struct lz_engine *e, uint32_t space);
/* Its process is, or had to be killed. */
bool lz_engine_is_gone(const struct lz_engine *e, uint32_t space);
bool lz_engine_is_started(const struct lz_engine *e);
/* Started, every space has been closed, and no more will come. */
bool lz_engine_is_done(const struct lz_engine *e);

/*
 * From now on a resumed space's owed bits are @words, as they are. Not before the whole journal has
 * been replayed: notes of a slot's former user must not touch the bits of its present one.
 */
int lz_engine_bind(struct lz_engine *e, uint32_t space, uint64_t *words);

/* Counts into other statistics from now on: what a replay repeats has been counted before. */
void lz_engine_count_into(struct lz_engine *e, struct lz_stats *stats);

/* The segments of an open space, as they are now; valid until the next feed. */
const struct lz_seg *lz_engine_segs(const struct lz_engine *e, uint32_t space, size_t *nr);
/*
 * Walks what @space is owed, as positions: the next range at or behind *page (begin with 0), *page
 * moved on. False at the end.
 */
bool lz_engine_owed_range(const struct lz_engine *e, uint32_t space, uint64_t *page,
			  struct lz_range *out);
/* How large the page at @addr is. */
uint64_t lz_engine_page_bytes(const struct lz_engine *e, uint32_t space, uint64_t addr);
/* Fills in the figures that are a state and not a count: owed, waiting, spaces, the window. */
void lz_engine_gauge(const struct lz_engine *e);
void lz_engine_check(const struct lz_engine *e);

#endif
