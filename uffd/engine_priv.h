/* SPDX-License-Identifier: MIT */
/* What feed (engine.c) writes and next (next.c) reads. Nobody else includes this. */
#ifndef LZ_ENGINE_PRIV_H
#define LZ_ENGINE_PRIV_H

#include "uffd/engine.h"
#include "uffd/limits.h"
#include "uffd/space.h"
#include "uffd/wanted.h"
#include "uffd/window.h"

/*
 * FREE -> READING -> PLACING -> FREE; PLACING -> READING where pages are asked for again, and
 * FREE -> PLACING where they are given up.
 */
enum lz_req_state { LZ_REQ_FREE, LZ_REQ_READING, LZ_REQ_PLACING, LZ_REQ_STATES };
enum lz_req_cause { LZ_FOR_FAULT, LZ_FOR_NEIGHBOUR, LZ_FOR_WANTED, LZ_FOR_SWEEP };

/* Pages [first, first + nr) of a space: one behind the other in one source.
 * All of them are busy. */
struct lz_req {
	uint64_t first, nr;
	uint64_t bytes; /* all of it */
	uint32_t space;
	enum lz_req_state state;
	enum lz_req_cause cause;
	bool remote;
	const struct lz_run *run; /* the one last looked at: the next page's, or right before it */
	uint64_t have;            /* pages [0, have) have arrived */
	uint64_t done;            /* pages [0, done) are placed or found needless */
	uint64_t step;            /* pages a placement may have: halved on ENOENT */
	bool alone;               /* one page a READ: a longer one has failed */
	bool lost;                /* page @done cannot be had */
	bool unmapped;            /* not from a mapping again */
	bool lent;                /* a COPY of it is under way elsewhere */
	bool doubted;             /* page @done said ENOENT, when the space's layout was @layout */
	uint64_t layout;
	/* If it is demanded: pages [0, demanded) have those that are waited
	 * for, the oldest fault. */
	uint64_t demanded, since_ns;
	struct lz_window_mark mark; /* of a remote READ */
	uint64_t read_at;           /* the number of the look that it was read by */
};

/*
 * Pages [first, first + nr) of a space, one behind the other in one source, which a FETCH has
 * brought into memory; slice by slice they are read from @next on. Nobody is promised anything by
 * it, and what is demanded of them is read as ever.
 */
enum lz_block_state { LZ_BLOCK_FREE, LZ_BLOCK_COMING, LZ_BLOCK_HERE };
struct lz_block {
	enum lz_block_state state;
	bool orphan; /* COMING: its space was closed meanwhile */
	uint32_t space, source;
	const struct lz_plan *plan; /* compared, never looked into */
	uint64_t first, nr, next;
	uint64_t turn; /* they are read in the order in which they were asked for */
};

/* A set of requests, by number: states are found here and not in 256 structs. */
struct lz_req_set {
	uint64_t word[(LZ_REQS_MAX + 63) / 64];
};

struct lz_fault {
	uint32_t space;
	bool minor;
	uint64_t addr;
	uint64_t since_ns;
};

struct lz_wake {
	uint32_t space;
	struct lz_range range;
};

/* Pages worth reading behind a fault: each @step from the one before it. */
struct lz_hint {
	uint32_t space;
	uint64_t page, nr;
	int64_t step;
};

struct lz_engine {
	struct lz_engine_options options;
	struct lz_space space[LZ_SPACES_MAX];
	uint32_t nr_spaces; /* all open ones are below this */
	uint32_t nr_open;
	uint32_t sweep_space[2]; /* whose turn it is; by kind */
	struct lz_req req[LZ_REQS_MAX];
	struct lz_req_set in[LZ_REQ_STATES];
	struct lz_req_set demanded; /* a thread waits for it */
	unsigned nr_reqs[2];        /* in use, by kind */
	unsigned nr_ahead[2];       /* of those, not for a fault */
	unsigned nr_sweeping;       /* of the local ones, for the sweep */
	uint64_t wanted_bytes;      /* of the local ones, what is wanted */
	struct lz_window window;    /* of the remote source */
	struct lz_fault fault[LZ_FAULTS_MAX];
	unsigned nr_faults;
	/* Of the ZERO or CONTINUE for no request that is being carried out. */
	uint64_t alone_since_ns;
	struct lz_wake wake[LZ_WAKES_MAX];
	unsigned nr_wakes, nr_wake_all, nr_crowded;
	struct lz_hint hint[LZ_HINTS_MAX];
	unsigned nr_hints;
	struct lz_block block[LZ_BLOCKS_MAX];
	uint64_t nr_blocks;         /* asked for so far */
	bool block_over;            /* one has been read to its end: there is room for another */
	struct lz_wanted wanted[2]; /* by kind */
	bool each_walks; /* each space goes through it by itself: there may be many of a memory */
	uint32_t root[LZ_MEMORIES_MAX];        /* else: the space attached with a memory */
	struct lz_bits noted[LZ_MEMORIES_MAX]; /* pages that are in the record */
	uint32_t nr_kills, nr_stalled;
	uint64_t now_ns;
	uint64_t fault_ns;                /* of the last fault */
	uint64_t missed_ns;               /* of the last whose page was not on its way */
	uint64_t nr_storm;                /* faults since it was calm */
	uint64_t nr_looks;                /* for an action, so far */
	bool sweep_waits;                 /* its last local bytes did not come at once */
	bool sweep_maps;                  /* they are where they are mapped */
	const struct lz_plan *first_plan; /* compared, never looked into */
	bool many_sources;                /* has there been more than one? */
	bool has_remote;                  /* is RELEASE to be given? */
	bool released;                    /* RELEASE was given */
	uint32_t release_space;           /* no space before it is owed a remote page */
	bool started, abandoned;
	bool look_again; /* a branch of next() has made work for one before it */
	bool may_close;  /* a space may have become ripe for CLOSE since the last look */
};

void lz_engine_wake(struct lz_engine *e, uint32_t space, struct lz_range range);

/* reqs.c */

void lz_reqs_init(struct lz_engine *e);

/* A free one, if one may be had for this; nothing has changed before begin(). */
struct lz_req *lz_reqs_take(struct lz_engine *e, enum lz_req_cause cause, bool remote);
/* Has the source of @page its share of requests under way? */
bool lz_reqs_are_crowded(const struct lz_engine *e, const struct lz_space *s, uint64_t page,
			 enum lz_req_cause cause);
/* Makes pages [first, first + nr) of a space q's; enter() or read() must follow. */
void lz_reqs_begin(struct lz_engine *e, struct lz_req *q, uint32_t space, uint64_t first,
		   uint64_t nr, enum lz_req_cause cause);
void lz_reqs_enter(struct lz_engine *e, struct lz_req *q, enum lz_req_state state);
/* Pages that the next READ, or the one under way, is for:
 * all that @q has not got, a slice of it or one. */
uint64_t lz_reqs_asked(const struct lz_req *q);
void lz_reqs_read(struct lz_engine *e, struct lz_req *q, struct lz_action *out);
void lz_reqs_retire(struct lz_engine *e, struct lz_req *q);
/* A thread has waited for @page of it since then. */
void lz_reqs_demand(struct lz_engine *e, struct lz_req *q, uint64_t page, uint64_t since_ns);
/* The one that a busy page belongs to. */
struct lz_req *lz_reqs_of(struct lz_engine *e, uint32_t space, uint64_t page);
/* The first from number @from on that places, demanded or not; LZ_REQ_NONE: there is none. */
uint32_t lz_reqs_placing(const struct lz_engine *e, uint32_t from, bool demanded);

static inline unsigned lz_reqs_max(const struct lz_engine *e)
{
	return e->options.nr_reqs;
}

static inline uint32_t lz_reqs_number(const struct lz_engine *e, const struct lz_req *q)
{
	return (uint32_t)(q - e->req);
}

static inline bool lz_reqs_test(const struct lz_req_set *set, uint32_t number)
{
	return set->word[number / 64] >> number % 64 & 1;
}

static inline void lz_reqs_put(struct lz_req_set *set, uint32_t number, bool in)
{
	set->word[number / 64] &= ~(UINT64_C(1) << number % 64);
	set->word[number / 64] |= (uint64_t)in << number % 64;
}

/* blocks.c */

/*
 * The sweep has come to @page of @space. FETCH: *out has the block around it brought in, *b is it.
 * WAIT: it is about to come, or others of its source are. SLICE: to be read at once.
 */
enum lz_blocks_how { LZ_BLOCKS_FETCH, LZ_BLOCKS_WAIT, LZ_BLOCKS_SLICE };
enum lz_blocks_how lz_blocks_ask(struct lz_engine *e, uint32_t space, uint64_t page,
				 struct lz_block **b, struct lz_action *out);
/* One that is here and has a page to be read, and whose source may be asked for one more: that is
 * b->next. NULL: there is none. */
struct lz_block *lz_blocks_here(struct lz_engine *e);
/* @n pages from @b->next on are being read. */
void lz_blocks_read(struct lz_engine *e, struct lz_block *b, uint64_t n);
void lz_blocks_fetched(struct lz_engine *e, uint32_t number);
/* The space is no more. */
void lz_blocks_disown(struct lz_engine *e, uint32_t space);
void lz_blocks_check(const struct lz_engine *e);

/* ahead.c */

/* Faults come, and have not done so for long: less of the sweep is to stand before them. */
bool lz_ahead_is_pressed(const struct lz_engine *e);
/* The first page of [from, to) that is owed and not on its way; @to if none. */
uint64_t lz_ahead_missing(const struct lz_space *s, uint64_t from, uint64_t to);

/* A fault was answered by @q: where the sweep and the neighbours go on. */
void lz_ahead_follow(struct lz_engine *e, const struct lz_req *q);
bool lz_ahead_neighbour(struct lz_engine *e, struct lz_action *out);
/* The space that was attached with a memory, if something can be placed in it; or NULL. */
struct lz_space *lz_ahead_root(struct lz_engine *e, uint32_t memory);
bool lz_ahead_wanted(struct lz_engine *e, struct lz_action *out);
/* Behind a block that has been read to its end: the next, before those bytes are placed. */
bool lz_ahead_block(struct lz_engine *e, struct lz_action *out);
bool lz_ahead_sweep(struct lz_engine *e, struct lz_action *out);
/* The first page of a space that is owed and not on its way; nr_pages if none. */
uint64_t lz_ahead_first(const struct lz_space *s);
/* How many pages from @page on, at most @max, make one request. */
uint64_t lz_ahead_slice(const struct lz_engine *e, const struct lz_space *s, uint64_t page,
			uint64_t max);

#endif
