/* SPDX-License-Identifier: MIT */
/* The histogram of latency.h. */
#include "uffd/latency.h"

static unsigned bucket_of(uint64_t ns)
{
	unsigned octave;

	if (ns < 8)
		return (unsigned)ns;
	octave = 63 - (unsigned)__builtin_clzll(ns);
	return (octave - 2) * 8 + (unsigned)(ns >> (octave - 3) & 7);
}

static uint64_t upper_end(unsigned bucket)
{
	unsigned octave = bucket / 8 + 2;

	if (bucket < 8)
		return bucket;
	return ((UINT64_C(8) + bucket % 8) << (octave - 3)) + ((UINT64_C(1) << (octave - 3)) - 1);
}

void lz_latency_note(struct lz_latency *l, uint64_t ns)
{
	l->bucket[bucket_of(ns)]++;
	l->count++;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

uint64_t lz_latency_percentile(const struct lz_latency *l, double share)
{
	uint64_t want = (uint64_t)((double)l->count * share), n = 0;

	if (!l->count)
		return 0;
	if (want >= l->count)
		want = l->count - 1;
	for (unsigned i = 0; i < LZ_LATENCY_BUCKETS; i++) {
		n += l->bucket[i];
		if (n > want)
			return upper_end(i) < l->max_ns ? upper_end(i) : l->max_ns;
	}
	return l->max_ns;
}
