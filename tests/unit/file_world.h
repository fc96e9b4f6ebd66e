/* SPDX-License-Identifier: MIT */
/*
 * What the tests of files as page sources share: a file whose bytes are known, the source over it,
 * and what can be asked of that. The fixture is global; each test begins with a fresh one.
 */
#ifndef FILE_WORLD_H
#define FILE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/source.h"

enum { PAGE = 4096, SLICE = 16 * PAGE, LARGEST = 64 * SLICE };

extern struct lz_ring ring;
extern struct lz_source *source;
extern int fd;
extern uint8_t bytes[LARGEST]; /* what a file begins with */
extern uint8_t to[LARGEST];    /* what was read last */

/* No page is like the one before it. */
void fill_bytes(void);
/* The ring, and a source over @file, which is taken; it has @size bytes. */
void world_open(int file, uint64_t size);
/* The same over a file in memory, with that many of bytes[]. */
void world_open_memory(uint64_t size);
void teardown(void);

/* Reads into to[]; what the read has ended with. */
int64_t read_all(uint64_t offset, size_t len);
/* The clock that says how long an answer is good. */
int64_t tick(void);
/* Asks anew: an answer is good for the clock's tick that it was given in. */
bool resident(uint64_t offset, size_t len);
const void *at(uint64_t offset, size_t len);

#endif
