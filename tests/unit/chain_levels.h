/* SPDX-License-Identifier: MIT */
/*
 * What the tests of chains share: pagemaps of a few levels, written entry by entry, and the chain
 * over them.
 */
#ifndef CHAIN_LEVELS_H
#define CHAIN_LEVELS_H

#include "pagemap/chain.h"
#include "tests/lib/imagegen.h"

#define K4(n) ((uint64_t)(n) << 12)

enum { PARENT = 1, LAZY = 2, PRESENT = 4, LEVELS = 4 };

extern uint64_t first_seed; /* for MUST_EQ() */
extern struct imagebuf buf[LEVELS];
extern struct lz_chain_level level[LEVELS];
extern struct lz_chain chain;
extern size_t nr_levels;

/* That many pagemaps without an entry. */
void begin(size_t levels);
/* The chain over what is in them by now; what lz_chain_init() says. */
int start(const struct lz_seg *seg, size_t nr_segs);

#endif
