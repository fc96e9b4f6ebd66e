/* SPDX-License-Identifier: MIT */
/*
 * A histogram of latencies: eight buckets an octave, so a percentile is right within 12.5 %, in a
 * fixed 4 KiB that may lie in shared memory. Pure.
 */
#ifndef LZ_LATENCY_H
#define LZ_LATENCY_H

#include <stdint.h>

enum { LZ_LATENCY_BUCKETS = 496 }; /* (64 - 3 + 1) octaves of 8 */

struct lz_latency {
	uint64_t bucket[LZ_LATENCY_BUCKETS];
	uint64_t count, max_ns;
};

void lz_latency_note(struct lz_latency *l, uint64_t ns);
/* The upper end of the bucket that holds the given share (0..1) of all; 0 when nothing is noted. */
uint64_t lz_latency_percentile(const struct lz_latency *l, double share);

#endif
