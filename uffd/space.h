/* SPDX-License-Identifier: MIT */
/*
 * One address space being served: where its pages are, which are still owed, which have a request
 * on its way. The bits are the truth; everything else here is a count of them or a hint. Pure.
 */
#ifndef LZ_SPACE_H
#define LZ_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "pagemap/plan.h"
#include "uffd/bits.h"
#include "uffd/map.h"
#include "uffd/wanted.h"

/* FREE -> OPEN -> CLOSING -> FREE, and nothing else. */
enum lz_space_state {
	LZ_SPACE_FREE,
	LZ_SPACE_OPEN,
	LZ_SPACE_CLOSING, /* CLOSE was handed out; faults are answered until it is carried out */
};

/* The two kinds of pages: bytes here, or with a source behind a wire. */
enum { LZ_LOCAL, LZ_REMOTE };

/* Where a sweep goes on: in both directions from the last fault. */
struct lz_front {
	uint64_t ahead, behind;
	bool backward; /* whose turn it was last */
	bool dry; /* no page of this kind is wanted: all are settled or on their way, for good */
};

struct lz_space {
	enum lz_space_state state;
	struct lz_plan *plan;
	uint32_t memory; /* its number */
	struct lz_map map;
	struct lz_bits owed, busy;
	uint64_t nr_owed, nr_busy;
	uint64_t layout;   /* layout events so far: has anything moved since? */
	uint64_t retry_ns; /* stalled until then, or until the next layout event; 0: not stalled */
	uint64_t delay_ns; /* the delay of that stall */
	uint32_t nr_reqs;  /* requests that name this space */
	bool gone;         /* its process is: nothing more can be placed */
	bool kill;         /* KILL is owed to it */
	bool wake_all;
	bool crowded; /* faults of it found no room: its threads are woken when there is */
	/*
	 * Running ahead: the sweeps of local and of remote pages; the stream of faults: its last
	 * page, how far its next one is from that, where it is if it goes on, and how many to run
	 * ahead of it.
	 */
	struct lz_front front[2]; /* LZ_LOCAL, LZ_REMOTE */
	uint64_t stream_last, stream_next, window;
	unsigned nr_astray; /* faults in a row that were far from the one before */
	int64_t stride;
	/* The same of zero pages: where the last ended that were placed, and how many they were. */
	uint64_t zero_next, zero_pages;
	/* How far it has come with what is wanted, by kind; if it goes through that by itself. */
	struct lz_walk walk[2];
	bool walks;
	uint32_t remote;      /* the plan's remote source, UINT32_MAX: none */
	bool mixed;           /* has pages of both kinds */
	uint64_t remote_from; /* no remote page before it is owed */
};

int lz_space_open(struct lz_space *s, struct lz_plan *plan, const struct lz_seg *seg, size_t nr,
		  uint64_t *words, bool resumed);
/* A copy of @parent that is owed what it is owed and has nothing on its way. */
int lz_space_fork(struct lz_space *child, const struct lz_space *parent, uint64_t *words);
/* @words, as they are, become the owed bits. */
int lz_space_bind(struct lz_space *s, uint64_t *words);
void lz_space_close(struct lz_space *s);

/* The page number of the page at @addr, or -1: not of the image. */
int64_t lz_space_page_at(const struct lz_space *s, uint64_t addr);
/* Its page-aligned range. Outside of every segment: 4 KiB, a page grown onto a stack. */
struct lz_range lz_space_page_range(const struct lz_space *s, uint64_t addr);
/* That page and those behind it, @max at most, that are in the same segment and not owed. */
struct lz_range lz_space_hole(const struct lz_space *s, uint64_t addr, uint64_t max);
/* Owed no longer; how many of them were. */
uint64_t lz_space_settle(struct lz_space *s, uint64_t page, uint64_t nr);
/* What lies at the positions @r is owed no longer; how many pages were. */
uint64_t lz_space_forget(struct lz_space *s, struct lz_range r);
/* From @page on, at most @max pages: the position of those that are owed and lie together. */
bool lz_space_place_of(const struct lz_space *s, uint64_t page, uint64_t max, struct lz_range *at,
		       uint64_t *nr);

/* The same, by whom the page's run is known. */
bool lz_space_place_in(const struct lz_space *s, const struct lz_run *run, uint64_t page,
		       uint64_t max, struct lz_range *at, uint64_t *nr);

/* Are the bytes of @run, one of its plan's, with the remote source? */
static inline bool lz_space_is_remote(const struct lz_space *s, const struct lz_run *run)
{
	return run->source == s->remote;
}
/* Is any remote page owed? Remembers how far it has looked. */
bool lz_space_owes_remote(struct lz_space *s);

void lz_space_check(const struct lz_space *s);

#endif
