/* SPDX-License-Identifier: MIT */
/* The pagemaps of chain_levels.h. Not here: any test. */
#include "chain_levels.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

uint64_t first_seed;
struct imagebuf buf[LEVELS];
struct lz_chain_level level[LEVELS];
struct lz_chain chain;
size_t nr_levels;

static uint8_t *exact[LEVELS];

void begin(size_t levels)
{
	nr_levels = levels;
	for (size_t n = 0; n < LEVELS; n++) {
		imagebuf_free(&buf[n]);
		if (n < levels)
			imagebuf_pagemap(&buf[n], (uint32_t)n + 1);
	}
}

/* From copies without a spare byte, so that a sanitizer sees the first byte read too far. */
int start(const struct lz_seg *seg, size_t nr_segs)
{
	for (size_t n = 0; n < nr_levels; n++) {
		free(exact[n]);
		exact[n] = malloc(buf[n].len);
		memcpy(exact[n], buf[n].bytes, buf[n].len);
		level[n] = (struct lz_chain_level){ .flags = 0 };
		MUST_EQ(lz_image_init(&level[n].image, exact[n], buf[n].len, LZ_IMAGE_PAGEMAP), 0);
	}
	return lz_chain_init(&chain, level, nr_levels, seg, nr_segs);
}
