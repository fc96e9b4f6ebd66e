/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the stream share: a world of pages whose bytes follow from their addresses,
 * reads of them that are checked when they end, and a stream to the servers of stream_peer.h. All
 * in one thread, with a clock that the test sets. The fixture is global; each test begins with a
 * fresh one.
 */
#ifndef STREAM_WORLD_H
#define STREAM_WORLD_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/stream.h"
#include "stream_peer.h"

enum { PAGE = 4096, PID = 77, SLOTS = 600, PAGES = 1 << 14 };
static const uint64_t SEC = 1000000000;

extern struct lz_ring ring;
extern struct lz_stream *stream;
extern struct lz_source *source;
extern uint64_t now_ns;
extern int32_t keep[LZ_STREAM_NR];
extern uint64_t keep_ino[LZ_STREAM_NR];
extern unsigned asked[PAGES]; /* how often each page was asked for */
extern unsigned asked_urgent_on[LZ_STREAM_NR], asked_on[LZ_STREAM_NR];

/* Reads by number; result INT64_MIN: has not ended. */
extern struct lz_source_read reads[SLOTS];
extern int64_t result[SLOTS];
extern unsigned nr_ended, order[SLOTS];
extern void (*on_ended)(unsigned slot);

void world_setup(void);
void world_teardown(void);
/* Opens the stream and its source as the script says. */
void world_open(void);
uint64_t random_below(uint64_t n);
/* For what is checked often: check writes each of its assertions down. */
void must(bool ok);

/* Pages are numbered in the plan; every fifth is followed by a hole in the address space. */
uint64_t page_at(uint64_t address);
bool page_is_zero(uint64_t page);
bool page_is_lost(uint64_t page);
void page_bytes(uint64_t page, uint8_t *out);
/* Counts it in asked[] and for the connection it was asked on. */
void note_asked(unsigned link, uint64_t page);

/* Pages [page, page + nr); returns begin()'s value. */
int start(unsigned slot, uint64_t page, uint64_t nr, bool urgent);
/* Ended with all bytes, and they are right. */
void check_read(unsigned slot);
/* One turn of the stream, one of every peer. */
void turn(void);
void turns(unsigned n);
/* Peers send @max bytes at most in one turn. */
void turn_slowly(size_t max);
/* Turns until so many reads have ended in all, or a few thousand times. */
void until_ended(unsigned nr);
void until_state(enum lz_stream_state state);
/* The clock goes to the stream's deadline, which is due. */
void until_deadline(void);
enum lz_stream_state state(void);
/* How many lines of the log contain @what. */
unsigned logged(const char *what);

#endif
