/* SPDX-License-Identifier: MIT */
/*
 * The task of the fault benches, the same for every handler: touches its pages in random order and
 * times each touch that faults. With the options that decide how.
 */
#ifndef LZ_TOUCH_H
#define LZ_TOUCH_H

#include <stdbool.h>

#include "bench/bench.h"

#define LZ_TOUCH_OPTIONS "p:t:r:s:c:bk:"
#define LZ_TOUCH_USAGE                                                           \
	"[-p pages] [-t touches] [-r rounds] [-s seed]\n"                        \
	"           [-c none|same|different] [-b] [-k copiers]\n"                \
	"-c  CPUs of handler and task      -b  while the rest is being filled\n" \
	"-k  threads that fill beside the handler\n"

enum lz_touch_pinning { LZ_PIN_NONE, LZ_PIN_SAME, LZ_PIN_DIFFERENT, LZ_NR_PIN };

struct lz_touch {
	uint32_t pages, touches, rounds;
	uint64_t seed;
	enum lz_touch_pinning pinning;
	bool sweep;
	uint32_t copiers;
	uint32_t *order;
	struct lz_bench_samples *samples;
	uint64_t *touch_ns; /* shared: all touches of all rounds */
};

void lz_touch_init(struct lz_touch *t);
/* Takes the option @c with optarg; false if it is none of LZ_TOUCH_OPTIONS, or wrong. */
bool lz_touch_option(struct lz_touch *t, int c);
/* After the last option. */
void lz_touch_ready(struct lz_touch *t);
/* What the page @n of the task is to hold. */
void lz_touch_fill(uint8_t *page, uint64_t n);
/* Starts the task of round @round and pins the handler; go() is the caller's. */
void lz_touch_start(struct lz_touch *t, struct lz_bench_task *task, uint32_t round);
void lz_touch_end(struct lz_touch *t, struct lz_bench_task *task);
void lz_touch_line(struct lz_touch *t, const char *name);

#endif
