/* SPDX-License-Identifier: MIT */
/*
 * A page server as a page source: one connection to a CRIU, two to a lazyd (demand and bulk). It
 * connects, asks, takes the pages in where the reads want them, and when the link or the server is
 * lost it connects anew with back-off and asks again for what has not come. Reads wait meanwhile;
 * only when nothing has come for the time the caller set do they fail, and from then on all do.
 *
 * A read is whole pages, LZ_STREAM_READ_MAX bytes at most, from have == 0 on; one too many for the
 * table, in which it takes a place for each LZ_STREAM_PAGES_MAX pages, is -EBUSY. It ends by a call
 * of @ended, from within any function here that is given the ring but lz_stream_close(). @ended may
 * begin reads; it must not close the stream.
 */
#ifndef LZ_STREAM_H
#define LZ_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/source.h"
#include "iouring/tls.h"
#include "proto/hello.h"
#include "proto/ps.h"

struct lz_stream;

/* Number the pages of [offset, offset + len) of a task's remote bytes; see pagemap/memory.h. */
typedef size_t lz_stream_ranges(void *memory, uint64_t offset, uint64_t len,
				struct lz_ps_range *out, size_t max);

enum { LZ_STREAM_PAGES_MAX = 64, LZ_STREAM_READS_MAX = 512, LZ_STREAM_READ_MAX = 2 << 20 };
enum { LZ_STREAM_DEMAND, LZ_STREAM_BULK, LZ_STREAM_NR };

struct lz_stream_options {
	/*
	 * A socket that is connected or connecting (non-blocking), to be the stream's; -EAGAIN:
	 * there can be no second one; -errno: it cannot be had now, the stream tries again.
	 */
	int (*connect)(void *connect_arg);
	void *connect_arg;
	void (*ended)(void *arg, struct lz_source_read *r, int64_t result);
	/* @level as enum lazyd_log; one `key=value` line. */
	void (*log)(void *arg, int level, const char *line);
	void *arg;
	enum lz_ps_layout layout; /* of a plain CRIU; never UNKNOWN */
	const char *name;         /* of the peer, until it is connected to; NULL: unknown */
	bool only_lazyd;          /* a plain CRIU checks no identity: it is not asked */
	struct lz_hello hello;    /* identity, session, software; the stream sets the rest */
	uint64_t timeout_ns;      /* 0: for ever */
	/* LZ_STREAM_NR descriptors in use, for who comes after this process, and which sockets they
	 * are: it may have come without them. -1: none. Or NULL. */
	int32_t *keep;
	uint64_t *keep_ino;
	const struct lz_tls
		*tls; /* every connection speaks it; NULL: plain text. Outlives the stream */
};

enum lz_stream_state {
	LZ_STREAM_IDLE,    /* nobody has needed it yet */
	LZ_STREAM_OPENING, /* connecting, probing, greeting */
	LZ_STREAM_UP,
	LZ_STREAM_DOWN,     /* lost: tries again at the deadline */
	LZ_STREAM_GONE,     /* for good: reads fail */
	LZ_STREAM_RELEASED, /* CLOSE said, or nothing was ever asked */
};

struct lz_stream_stats {
	uint64_t bytes_wire, pages_zero, nr_reconnects;
	enum lz_stream_state state;
	bool plain; /* the peer is a CRIU */
};

/* Nothing is connected yet. The options are copied. */
int lz_stream_open(struct lz_stream **out, const struct lz_stream_options *o);
/* Closes at once; reads under way are forgotten. What was not released ends with a reset. */
void lz_stream_close(struct lz_stream *s, struct lz_ring *ring);
/* A task's remote bytes as a source; its begin() fails with -ETIMEDOUT when the stream is GONE. */
int lz_stream_source(struct lz_stream *s, uint32_t pid, lz_stream_ranges *ranges, void *memory,
		     struct lz_source **out);
/* Begins to connect, if it is IDLE: reads will come soon. */
void lz_stream_want(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns);
/* A completion of LZ_TAG_NET. */
void lz_stream_completed(struct lz_stream *s, struct lz_ring *ring, struct lz_tag tag,
			 uint64_t now_ns);
/*
 * Sends what begin() has queued, and asks the ring for what comes: once a turn, before the ring is
 * entered, and before deadline() is asked.
 */
void lz_stream_flush(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns);
/* When tick() wants to be called; UINT64_MAX: never. */
uint64_t lz_stream_deadline(const struct lz_stream *s);
void lz_stream_tick(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns);
/*
 * All pages have been had: says CLOSE, so that the source may go. RELEASED once the status is here.
 */
void lz_stream_release(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns);
/* Ends every read with -ECANCELED and the connections with a reset: the restore has failed. */
void lz_stream_abandon(struct lz_stream *s, struct lz_ring *ring);
struct lz_stream_stats lz_stream_stats(const struct lz_stream *s);

#endif
