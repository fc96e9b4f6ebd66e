/* SPDX-License-Identifier: MIT */
/* See touch.h. */
#define _GNU_SOURCE 1
#include "bench/touch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const pinning_name[LZ_NR_PIN] = { "none", "same", "different" };

void lz_touch_init(struct lz_touch *t)
{
	*t = (struct lz_touch){ .pages = 16384, .touches = 4096, .rounds = 5, .seed = 1 };
}

bool lz_touch_option(struct lz_touch *t, int c)
{
	if (c == 'p')
		t->pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 24);
	else if (c == 't')
		t->touches = (uint32_t)lz_bench_number(optarg, 1, 1 << 24);
	else if (c == 'r')
		t->rounds = (uint32_t)lz_bench_number(optarg, 1, 10000);
	else if (c == 's')
		t->seed = lz_bench_number(optarg, 0, UINT64_MAX);
	else if (c == 'b')
		t->sweep = true;
	else if (c == 'k')
		t->copiers = (uint32_t)lz_bench_number(optarg, 0, 3);
	else if (c == 'c')
		for (t->pinning = LZ_PIN_NONE; t->pinning < LZ_NR_PIN; t->pinning++)
			if (!strcmp(optarg, pinning_name[t->pinning]))
				break;
	return strchr(LZ_TOUCH_OPTIONS, c) && t->pinning < LZ_NR_PIN;
}

void lz_touch_ready(struct lz_touch *t)
{
	/* Whole slices: what the file of the pages is made of. */
	t->pages = (t->pages + 15) & ~15U;
	if (t->touches > t->pages)
		t->touches = t->pages;
	t->samples = lz_bench_samples_new((size_t)t->touches * t->rounds);
	t->touch_ns = lz_bench_shared(sizeof(*t->touch_ns));
}

void lz_touch_fill(uint8_t *page, uint64_t n)
{
	memset(page, 0x5a, LZ_BENCH_PAGE);
	memcpy(page, &n, sizeof(n));
}

/* In the task. A page that the sweep has brought is no fault and not timed. */
static void touch(uint8_t *area, void *arg)
{
	const struct lz_touch *t = arg;
	uint64_t all_begun;

	if (t->pinning != LZ_PIN_NONE)
		lz_bench_pin(t->pinning == LZ_PIN_DIFFERENT);
	all_begun = lz_bench_now_ns();
	for (uint32_t i = 0; i < t->touches; i++) {
		uint8_t *at = area + (size_t)t->order[i] * LZ_BENCH_PAGE;
		const volatile uint64_t *page = (const void *)at;
		unsigned char present = 0;
		uint64_t begun, value;

		if (t->sweep)
			mincore(at, LZ_BENCH_PAGE, &present);
		begun = lz_bench_now_ns();
		value = *page;
		if (!(present & 1))
			lz_bench_samples_add(t->samples, lz_bench_now_ns() - begun);
		if (value != t->order[i])
			_exit(3);
	}
	*t->touch_ns += lz_bench_now_ns() - all_begun;
}

void lz_touch_start(struct lz_touch *t, struct lz_bench_task *task, uint32_t round)
{
	t->order = lz_bench_order(t->pages, t->seed + round);
	lz_bench_task_start(task, (uint64_t)t->pages * LZ_BENCH_PAGE, touch, t);
	if (t->pinning != LZ_PIN_NONE)
		lz_bench_pin(0);
}

void lz_touch_end(struct lz_touch *t, struct lz_bench_task *task)
{
	lz_bench_task_end(task);
	free(t->order);
}

void lz_touch_line(struct lz_touch *t, const char *name)
{
	lz_bench_line(name, t->samples,
		      "pages=%u touches=%u rounds=%u cpus=%s sweep=%d copiers=%u touch_ns=%llu",
		      t->pages, t->touches, t->rounds, pinning_name[t->pinning], t->sweep,
		      t->copiers, (unsigned long long)(*t->touch_ns / t->rounds));
}
