/* SPDX-License-Identifier: MIT */
/*
 * How much background may be on its way from a source behind a link: enough to fill the link, and
 * hardly more, for what is more stands in a queue before the page that a thread waits for.
 *
 *   window = rate * round trip + allowance + extra
 *
 * The rate is the most that came in any five milliseconds of the last tenth of a second, or round
 * trip of the last few; the round trip is the shortest seen. The allowance keeps the link busy
 * while the next request is on its way; how long it is depends on what is asked for. While no queue
 * forms the link can carry more: extra doubles each round (until a read that was begun within it is
 * back), from the start on. Where one stands, what comes is what the link carries, and nothing is
 * extra. Every ten seconds the window falls to half for one round trip, so that the shortest is
 * seen without a queue of our own making. What it has grown by is asked for in the measure in which
 * bytes come, so that no burst stands in the queue either.
 *
 * Demanded reads are never held back; they count, for they are on the same link. Pure: the time is
 * told.
 */
#ifndef LZ_WINDOW_H
#define LZ_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum { LZ_WINDOW_PAGE = 4096 };

/* What background is asked for now: how much of it may stand before a page that is demanded? */
enum lz_window_pace {
	LZ_WINDOW_CALM,
	LZ_WINDOW_PRESSED, /* faults come for what is not on its way */
	LZ_WINDOW_STORM,   /* so many that the sweep is to go on, which ends them */
	LZ_WINDOW_WANTED,  /* they do not, and it will be demanded soon itself */
};

/* What a read has to remember from its beginning to its end. */
struct lz_window_mark {
	uint64_t sent_ns;
	uint64_t delivered; /* before it */
	uint64_t bytes;
	bool background;
	bool probe;
};

struct lz_window {
	uint64_t slice_min, slice_max; /* bytes */
	uint64_t nr_reads; /* of background at a time: slices grow where more would be needed */
	uint64_t in_flight, background; /* bytes; of those, background */
	uint64_t delivered;             /* bytes, since the beginning */
	uint64_t heard_ns;              /* when bytes last came, or were first asked for again */
	uint64_t since_ns;              /* what was sent before is of a link that is gone */

	uint64_t rate, peak;           /* bytes a second; the most since the last probe */
	uint64_t this_rate, last_rate; /* the most of this span of time, and of the one before */
	uint64_t span_ns;              /* its beginning */
	uint64_t sample_ns, sample_delivered; /* where the measuring of a rate began */
	bool sample_full;                     /* more was wanted in it than the window allowed */
	uint64_t rtt_ns, rtt_at_ns; /* the shortest round trip, UINT64_MAX: not known; since when */
	uint64_t extra;
	uint64_t ramp; /* a window that has grown is taken in the measure in which bytes come */

	uint64_t round_ns, round_delivered; /* its beginning */
	uint64_t round_rtt_ns;              /* the shortest in it, less the slice's own time */
	enum lz_window_pace pace;
	bool was_queued;
	bool full;               /* more was wanted in it than the window allowed */
	unsigned probes, unsent; /* of a probe: reads still to come, and still to be sent */
	uint64_t probe_rtt_ns;
};

void lz_window_init(struct lz_window *w, uint64_t slice_max, uint64_t nr_reads);
/* From now on, until told again. */
void lz_window_set_pace(struct lz_window *w, enum lz_window_pace pace);
/* From now on only whole slices of the largest size. */
void lz_window_coarsen(struct lz_window *w);
/* Bytes that may be on their way. */
uint64_t lz_window_bytes(const struct lz_window *w);
/* Bytes that one read of background should have: whole pages. */
uint64_t lz_window_slice(const struct lz_window *w);
/* May @bytes of background be asked for now? Notes that they were wanted. One read always may. */
bool lz_window_allows(struct lz_window *w, uint64_t bytes);
/* A read of @bytes was begun. */
void lz_window_sent(struct lz_window *w, uint64_t bytes, bool background, uint64_t now_ns,
		    struct lz_window_mark *mark);
/* It has ended, with @bytes; 0 where it has failed. */
void lz_window_got(struct lz_window *w, uint64_t bytes, uint64_t now_ns,
		   const struct lz_window_mark *mark);

#endif
