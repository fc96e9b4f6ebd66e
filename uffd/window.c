/* SPDX-License-Identifier: MIT */
/* The window of window.h: BBR's measures, and Vegas' look at the queue. */
#include "uffd/window.h"

#include <assert.h>

#include "uffd/limits.h"

enum { PAGE = LZ_WINDOW_PAGE, START_PAGES = 4, PROBES = 4 };

/* A slice takes the link for this long, and this much may stand before a demanded page. */
#define SLICE_NS UINT64_C(200000)
#define ALLOWANCE_NS UINT64_C(400000)
#define PRESSED_NS UINT64_C(100000)
/* More than the destination lets pass between two looks at its socket; with 400 us the storm is
 * over a little sooner, and each fault of it waits longer. */
#define STORM_NS UINT64_C(250000)
/* A disk behind the server that takes single pages at random has twice as many to put in order. */
#define WANTED_NS UINT64_C(800000)
/* The shortest round trip is looked for anew after this long; and where the rate has fallen by
 * half, for that may be a longer way and no queue, after this long. */
#define RTT_NS UINT64_C(10000000000)
#define RTT_AGAIN_NS UINT64_C(1000000000)
/* A source that was silent for this long and eight round trips is taken for another one. */
#define SILENT_NS UINT64_C(1000000000)
/* How long a rate is remembered, twice at most: so long, or so many round trips. */
#define RATE_NS UINT64_C(50000000)
enum { RATE_ROUNDS = 5 };
/* Rates are measured over no less: a page more or less at either end, or a reader who came late,
 * must not make one of them the most. */
#define SAMPLE_NS UINT64_C(5000000)
#define SECOND UINT64_C(1000000000)
#define RATE_MAX UINT64_C(1000000000000)

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Bytes that @rate brings in @ns. */
static uint64_t carried(uint64_t rate, uint64_t ns)
{
	return rate * (lz_limits_least(ns, RTT_NS) / 1000) / (SECOND / 1000);
}

static uint64_t round_trip(const struct lz_window *w)
{
	return w->rtt_ns == UINT64_MAX ? 0 : w->rtt_ns;
}

static void begin_sample(struct lz_window *w, uint64_t now_ns)
{
	w->sample_ns = now_ns;
	w->sample_delivered = w->delivered;
	w->sample_full = false;
}

static void begin_round(struct lz_window *w, uint64_t now_ns)
{
	w->round_ns = now_ns;
	w->round_delivered = w->delivered;
	w->round_rtt_ns = UINT64_MAX;
	w->full = false;
}

/* Knows nothing of the link, again. */
static void start(struct lz_window *w, uint64_t now_ns)
{
	w->since_ns = now_ns;
	w->rate = w->peak = 0;
	w->this_rate = w->last_rate = 0;
	w->span_ns = now_ns;
	w->rtt_ns = UINT64_MAX;
	w->extra = START_PAGES * PAGE;
	w->ramp = w->extra + PAGE;
	w->probes = w->unsent = 0;
	begin_sample(w, now_ns);
	begin_round(w, now_ns);
}

void lz_window_init(struct lz_window *w, uint64_t slice_max, uint64_t nr_reads)
{
	*w = (struct lz_window){ .slice_min = PAGE, .slice_max = slice_max, .nr_reads = nr_reads };
	start(w, 0);
}

static uint64_t slice_of(const struct lz_window *w, uint64_t window)
{
	/* Half of the reads are enough: slices are halved while faults come. */
	uint64_t enough = (window / most(w->nr_reads / 2, 1) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	uint64_t bytes = carried(w->rate, SLICE_NS) & ~(uint64_t)(PAGE - 1);

	return lz_limits_least(most(most(bytes, enough), w->slice_min), w->slice_max);
}

static uint64_t allowance_ns(const struct lz_window *w)
{
	switch (w->pace) {
	case LZ_WINDOW_CALM:
		break;
	case LZ_WINDOW_PRESSED:
		return PRESSED_NS;
	case LZ_WINDOW_STORM:
		/* What is slower than that has enough to do; else it is the ends that have not. */
		return carried(w->rate, SLICE_NS) < w->slice_max ? PRESSED_NS : STORM_NS;
	case LZ_WINDOW_WANTED:
		return WANTED_NS;
	}
	return ALLOWANCE_NS;
}

/* What the measures say. */
static uint64_t window(const struct lz_window *w)
{
	uint64_t filled = carried(w->rate, round_trip(w)) + w->extra;
	uint64_t allowance = carried(w->rate, allowance_ns(w));
	uint64_t bytes = filled + most(allowance, slice_of(w, filled + allowance));

	return lz_limits_least(bytes, w->nr_reads * w->slice_max);
}

uint64_t lz_window_bytes(const struct lz_window *w)
{
	return lz_limits_least(window(w), w->ramp);
}

void lz_window_set_pace(struct lz_window *w, enum lz_window_pace pace)
{
	w->pace = pace;
}

void lz_window_coarsen(struct lz_window *w)
{
	w->slice_min = w->slice_max;
}

uint64_t lz_window_slice(const struct lz_window *w)
{
	uint64_t half = lz_window_bytes(w) / 2 & ~(uint64_t)(PAGE - 1);

	return w->unsent ? PAGE : most(lz_limits_least(slice_of(w, window(w)), half), w->slice_min);
}

bool lz_window_allows(struct lz_window *w, uint64_t bytes)
{
	if (!w->background || w->in_flight + bytes <= lz_window_bytes(w))
		return true;
	w->full = w->full || w->ramp >= window(w);
	w->sample_full = w->sample_full || w->full;
	return false;
}

void lz_window_sent(struct lz_window *w, uint64_t bytes, bool background, uint64_t now_ns,
		    struct lz_window_mark *mark)
{
	if (!w->in_flight) { /* the time in which nothing was asked for tells nothing */
		w->sample_ns += now_ns - w->heard_ns;
		w->heard_ns = now_ns;
		begin_round(w, now_ns);
	}
	*mark = (struct lz_window_mark){ .sent_ns = now_ns,
					 .delivered = w->delivered,
					 .bytes = bytes,
					 .background = background,
					 .probe = w->unsent && background };
	w->unsent -= mark->probe;
	w->in_flight += bytes;
	w->background += background ? bytes : 0;
}

/*
 * The most of this span and the last. No round tells the rate by itself: whoever is descheduled for
 * some milliseconds sees a slow one, and a window made for that would keep the next ones slow.
 */
static void note_rate(struct lz_window *w, uint64_t rate, uint64_t now_ns)
{
	if (now_ns - w->span_ns >= most(RATE_NS, RATE_ROUNDS * round_trip(w))) {
		w->last_rate = w->this_rate;
		w->this_rate = 0;
		w->span_ns = now_ns;
	}
	w->this_rate = most(w->this_rate, rate);
	w->rate = most(w->this_rate, w->last_rate);
	w->peak = most(w->peak, w->rate);
}

static uint64_t rate_since(const struct lz_window *w, uint64_t delivered, uint64_t since_ns,
			   uint64_t now_ns)
{
	return lz_limits_least((w->delivered - delivered) * SECOND / most(now_ns - since_ns, 1),
			       RATE_MAX);
}

/* Where nobody wanted more it says only that so much can be carried. */
static void end_sample(struct lz_window *w, uint64_t now_ns)
{
	uint64_t rate = rate_since(w, w->sample_delivered, w->sample_ns, now_ns);

	if (w->sample_full || rate > w->rate)
		note_rate(w, rate, now_ns);
	begin_sample(w, now_ns);
}

/* Half of what fills the link leaves no queue; where that is not known, next to nothing does. */
static void begin_probe(struct lz_window *w, uint64_t bytes)
{
	w->probes = w->unsent = PROBES;
	w->probe_rtt_ns = UINT64_MAX;
	w->ramp = most(lz_limits_least(bytes, lz_window_bytes(w) / 2), PAGE);
}

static void end_round(struct lz_window *w, uint64_t now_ns)
{
	uint64_t rate = rate_since(w, w->round_delivered, w->round_ns, now_ns);
	uint64_t rtt = round_trip(w), age = now_ns - w->rtt_at_ns;
	/* Two reads that were begun together are no queue. */
	uint64_t pair_ns = w->rate ? (PAGE + PAGE / 4) * SECOND / w->rate : 0;
	uint64_t slack_ns = lz_limits_least(rtt / 8, most(ALLOWANCE_NS / 2, pair_ns));
	bool queued = w->round_rtt_ns != UINT64_MAX && w->round_rtt_ns > rtt + slack_ns;
	bool grows = rate > w->rate + w->rate / 4;

	/* For want of a measured one. */
	if (!w->this_rate && !w->last_rate)
		w->rate = most(w->rate, rate);
	if (w->full) {
		if (queued && rate < w->rate - w->rate / 16 && w->round_rtt_ns < rtt + rtt / 2)
			queued = false;
		if (!queued)
			w->extra = most(2 * w->extra, most(carried(w->rate, ALLOWANCE_NS), PAGE));
		else if (!grows && (w->was_queued || w->extra < carried(w->rate, rtt) / 4))
			w->extra = 0;
		w->extra = lz_limits_least(w->extra, carried(w->rate, rtt) + START_PAGES * PAGE);
		w->was_queued = queued && !grows;
		if (age > RTT_AGAIN_NS && w->rate < w->peak / 2)
			begin_probe(w, PROBES * PAGE);
		else if (age > RTT_NS)
			begin_probe(w, carried(w->rate, rtt) / 2);
	}
	begin_round(w, now_ns);
}

static void probed(struct lz_window *w, uint64_t rtt_ns, uint64_t now_ns)
{
	w->probe_rtt_ns = lz_limits_least(w->probe_rtt_ns, rtt_ns);
	if (--w->probes)
		return;
	w->rtt_ns = w->probe_rtt_ns;
	w->rtt_at_ns = now_ns;
	w->peak = w->rate;
	w->extra = 0;
	begin_sample(w, now_ns);
	begin_round(w, now_ns);
}

void lz_window_got(struct lz_window *w, uint64_t bytes, uint64_t now_ns,
		   const struct lz_window_mark *mark)
{
	uint64_t rtt_ns = now_ns - mark->sent_ns, own_ns = 0;

	assert(w->in_flight >= mark->bytes);
	w->in_flight -= mark->bytes;
	w->background -= mark->background ? mark->bytes : 0;
	if (now_ns - w->heard_ns > SILENT_NS + 8 * lz_limits_least(round_trip(w), RTT_NS))
		start(w, now_ns);
	w->heard_ns = now_ns;
	if (!bytes || mark->sent_ns < w->since_ns)
		return;
	w->delivered += bytes;
	if (mark->background) {
		if (w->rate && bytes > PAGE)
			own_ns = (bytes - PAGE) * SECOND / w->rate;
		w->round_rtt_ns = lz_limits_least(w->round_rtt_ns,
						  rtt_ns - lz_limits_least(own_ns, rtt_ns));
		if (rtt_ns <= w->rtt_ns) {
			w->rtt_ns = rtt_ns;
			w->rtt_at_ns = now_ns;
		}
	}
	if (!w->probes && now_ns - w->sample_ns >= most(SAMPLE_NS, round_trip(w)))
		end_sample(w, now_ns);
	if (w->probes && mark->probe)
		probed(w, rtt_ns, now_ns);
	else if (!w->probes && mark->delivered >= w->round_delivered &&
		 mark->sent_ns >= w->round_ns)
		end_round(w, now_ns);
	w->ramp = lz_limits_least(w->ramp + (w->probes ? 0 : bytes), window(w));
}
