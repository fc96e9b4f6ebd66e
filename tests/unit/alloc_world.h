/* SPDX-License-Identifier: MIT */
/*
 * What the tests of memory that runs out share in the core: one of each thing that asks for memory,
 * made anew for every failure. Not for what asks beyond the core: there the tests have their own.
 */
#ifndef ALLOC_WORLD_H
#define ALLOC_WORLD_H

#include "tests/lib/failing.h"
#include "uffd/engine.h"
#include "uffd/space.h"
#include "uffd/state.h"

#define K4(n) ((uint64_t)(n) << 12)

enum { NR_PAGES = 200, AREAS = 8, ALLOCATIONS_MAX = 50 };

extern struct lz_plan *plan;
extern struct lz_seg area[AREAS];
extern struct lz_map map;
extern struct lz_space space, child; /* the first is open */
extern struct lz_stats stats;
extern struct lz_engine *e; /* serves space 0 */
extern uint64_t words[NR_PAGES / 64 + 1];
extern struct lz_state *st;
extern const struct lz_memories MEMORIES;
extern const struct lz_engine_options OPTIONS;

/* Pages in AREAS areas with a page between each two: a map that is full to its first capacity. */
void set_up(void);
void tear_down(void);
/* Between the two, @call with the first allocation failing, the second, and so on: what holds after
 * each failure (@same) and in the end (@changed). */
void exhaust(int (*call)(void), void (*same)(void), void (*changed)(void));

#endif
