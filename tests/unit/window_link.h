/* SPDX-License-Identifier: MIT */
/*
 * A link in miniature: a rate, a delay, and one queue before the bottleneck. A reader asks for as
 * much background as the window allows, and for a page on demand now and then; what is measured is
 * how much of the link is used, and how long a demanded page stands in the queue.
 */
#ifndef WINDOW_LINK_H
#define WINDOW_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "uffd/window.h"

enum { PAGE = LZ_WINDOW_PAGE, SLICE = 64 << 10, READS = 160, RING = 8192 };

static const uint64_t MS = 1000000, SECOND = 1000000000;

struct read {
	struct lz_window_mark mark;
	uint64_t back_ns;
	bool demanded;
};

struct link {
	struct lz_window w;
	uint64_t rate; /* bytes a second */
	uint64_t delay_ns, jitter_ns;
	uint64_t demand_ns; /* between demanded pages, half to one and a half; 0: none */
	bool halves;        /* faults are lately: slices are halved */
	uint64_t left;      /* bytes of background that are wanted */

	uint64_t now_ns, free_ns, last_ns, next_demand_ns, seed;
	struct read ring[RING];
	unsigned head, tail;
	uint64_t reads; /* of background, under way */

	/* Measured since reset(). */
	uint64_t since_ns, bytes, max_reads, max_in_flight, slice;
	uint64_t nr_demanded, queue_ns, max_queue_ns;
};

/* For free(). */
struct link *link_new(uint64_t mbit, uint64_t delay_ns);
/* What is measured begins anew. */
void reset(struct link *l);
void run(struct link *l, uint64_t ns);
/* Per cent of the link that has been used. */
uint64_t used(const struct link *l);
uint64_t mean_queue_ns(const struct link *l);
/* What so many pages take on the link. */
uint64_t pages_ns(const struct link *l, uint64_t pages);

#endif
