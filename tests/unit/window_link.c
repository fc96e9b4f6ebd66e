/* SPDX-License-Identifier: MIT */
/* The link of window_link.h. Not here: any test. */
#include "window_link.h"

#include <check.h>
#include <stdlib.h>

static uint64_t below(struct link *l, uint64_t bound)
{
	l->seed = l->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return bound ? (l->seed >> 20) % bound : 0;
}

void reset(struct link *l)
{
	l->since_ns = l->now_ns;
	l->bytes = l->max_reads = l->max_in_flight = l->slice = 0;
	l->nr_demanded = l->queue_ns = l->max_queue_ns = 0;
}

struct link *link_new(uint64_t mbit, uint64_t delay_ns)
{
	struct link *l = calloc(1, sizeof(*l));

	ck_assert_ptr_nonnull(l);
	lz_window_init(&l->w, SLICE, READS);
	l->rate = mbit * 125000;
	l->delay_ns = delay_ns;
	l->left = UINT64_MAX;
	l->now_ns = l->free_ns = 5 * SECOND;
	l->seed = 42;
	reset(l);
	return l;
}

static void ask(struct link *l, uint64_t bytes, bool demanded)
{
	struct read *r = &l->ring[l->tail++ % RING];
	uint64_t there_ns = l->now_ns + l->delay_ns / 2, wait_ns;

	ck_assert_uint_lt(l->tail - l->head, RING);
	lz_window_sent(&l->w, bytes, !demanded, l->now_ns, &r->mark);
	if (l->free_ns < there_ns)
		l->free_ns = there_ns;
	wait_ns = l->free_ns - there_ns;
	l->free_ns += bytes * SECOND / l->rate;
	r->back_ns = l->free_ns + l->delay_ns / 2 + below(l, l->jitter_ns);
	if (r->back_ns < l->last_ns)
		r->back_ns = l->last_ns; /* one stream: nothing overtakes */
	l->last_ns = r->back_ns;
	r->demanded = demanded;
	if (demanded) {
		l->nr_demanded++;
		l->queue_ns += wait_ns;
		l->max_queue_ns = wait_ns > l->max_queue_ns ? wait_ns : l->max_queue_ns;
		return;
	}
	l->left -= bytes;
	l->reads++;
	l->max_reads = l->reads > l->max_reads ? l->reads : l->max_reads;
	l->slice = bytes > l->slice ? bytes : l->slice;
	if (l->w.in_flight > l->max_in_flight)
		l->max_in_flight = l->w.in_flight;
}

static void ask_all(struct link *l)
{
	if (l->demand_ns && l->now_ns >= l->next_demand_ns) {
		l->next_demand_ns = l->now_ns + l->demand_ns / 2 + below(l, l->demand_ns);
		ask(l, PAGE, true);
	}
	while (l->reads < READS) {
		uint64_t bytes = lz_window_slice(&l->w);

		if (l->halves && bytes > PAGE)
			bytes = bytes / 2 / PAGE * PAGE;
		if (bytes > l->left || !lz_window_allows(&l->w, bytes))
			break;
		ask(l, bytes, false);
	}
}

void run(struct link *l, uint64_t ns)
{
	uint64_t until = l->now_ns + ns;

	while (l->now_ns < until) {
		struct read *r = &l->ring[l->head % RING];

		ask_all(l);
		if (l->head == l->tail || (l->demand_ns && l->next_demand_ns < r->back_ns)) {
			l->now_ns = l->demand_ns ? l->next_demand_ns : until;
			continue;
		}
		l->head++;
		l->now_ns = r->back_ns;
		l->reads -= !r->demanded;
		l->bytes += r->mark.bytes;
		lz_window_got(&l->w, r->mark.bytes, l->now_ns, &r->mark);
	}
}

uint64_t used(const struct link *l)
{
	return (uint64_t)((double)l->bytes * 1e11 / (double)(l->now_ns - l->since_ns) /
				  (double)l->rate +
			  0.5);
}

uint64_t mean_queue_ns(const struct link *l)
{
	ck_assert_uint_gt(l->nr_demanded, 0);
	return l->queue_ns / l->nr_demanded;
}

uint64_t pages_ns(const struct link *l, uint64_t pages)
{
	return pages * PAGE * SECOND / l->rate;
}
