/* SPDX-License-Identifier: MIT */
/*
 * A stream that reads from a page server which the test has: a few reads at once, what has come of
 * them, and what was said in the log. Nothing here asserts once it is open, for that asks for
 * memory. All is global.
 */
#ifndef STREAM_READER_H
#define STREAM_READER_H

#include <netinet/in.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/stream.h"

enum { READS = 8, READ_PAGES = 64 };

extern struct sockaddr_in address; /* of the server */
extern struct lz_ring ring;
extern struct lz_stream *stream;
extern struct lz_source *source;
extern struct lz_source_read reads[READS];
extern uint8_t bytes[READS][READ_PAGES * LZ_PS_PAGE];
extern int64_t result[READS];
extern unsigned nr_ended;

/* Forgets what has ended and been said. */
void reader_reset(void);
/*
 * A ring, a stream with @o, of which the address, the callbacks and the layout are filled in, and
 * all the reads: READS * READ_PAGES pages of task @pid from address @base on. The first is urgent.
 */
void reader_open(struct lz_stream_options *o, uint32_t pid, uint64_t base);
void reader_close(void);
/* For servers too: what they say is in the same log. */
void log_line(void *arg, int level, const char *line);
/* How many lines of the log contain both. */
unsigned logged(const char *a, const char *b);
/* The last of them, "" if there is none. */
const char *last_line(void);

#endif
