/* SPDX-License-Identifier: MIT */
/*
 * The one source of choice of a simulation: a seed's numbers, or a fuzzer's bytes (and after the
 * last of them always 0, so that every input ends).
 */
#ifndef GEN_H
#define GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gen {
	uint64_t seed;
	const uint8_t *bytes;
	size_t nr_bytes;
};

static inline uint32_t gen_below(struct gen *g, uint32_t bound)
{
	if (g->bytes) {
		if (!g->nr_bytes)
			return 0;
		g->nr_bytes--;
		return *g->bytes++ % bound;
	}
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return (uint32_t)((g->seed >> 11) % bound);
}

static inline bool gen_one_in(struct gen *g, uint32_t n)
{
	return gen_below(g, n) == n - 1;
}

#endif
