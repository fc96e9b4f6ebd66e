/* SPDX-License-Identifier: MIT */
/*
 * The window of a storm, the model of it, and the operations upon both, one kind each. What they
 * are, how they are chosen and who else is there: storm.c.
 */
#ifndef STORM_H
#define STORM_H

#include "common.h"

#include <stdatomic.h>

enum { SEED = 20, SEED_STILL = 21, SEED_NEW = 22, SEEDS = 3 };

#define UNMAPPED UINT64_MAX

extern uint64_t *model; /* a token a page of the window, or UNMAPPED */
extern uint64_t window_pages, next_token, rnd;
extern unsigned int self; /* which of the processes */

/* Of all processes, in memory that they share and that is never lazy. */
struct seen {
	atomic_ullong access_ns, operation_ns; /* the longest */
	atomic_ullong reads, refused;
	atomic_ullong done[]; /* by place in the table */
};
extern struct seen *seen;

/* Of the window. */
void *page_at(uint64_t page);
uint64_t below(uint64_t bound);
uint64_t token_of(unsigned int seed, uint64_t page);
void note_longest(atomic_ullong *longest, uint64_t ns);
/* Reads @page, whose number is for what is said if its bytes are not the token's. */
void expect(const void *page, uint64_t token, uint64_t number, const char *when);
/* In the model. */
void set(uint64_t first, uint64_t count, uint64_t token);
bool is_mapped(uint64_t page);

/* To free addresses, with another size, onto what is there. */
void op_move(void);
void op_resize(void);
void op_onto(void);
/* The pages go, the old place stays mapped and empty. */
void op_leave(void);
void op_shrink(void);
void op_grow(void);
void op_unmap(void);
/* Fresh memory, on free addresses or over what is there; not lazy, but in between. */
void op_map(void);
void op_drop(void);
/* Changes that split an area without a word to a userfaultfd. */
void op_split(void);
void op_join(void);
void op_write(void);
void op_read(void);

#endif
