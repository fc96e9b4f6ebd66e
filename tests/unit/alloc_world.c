/* SPDX-License-Identifier: MIT */
/* The things of alloc_world.h. Not here: any test. */
#include "alloc_world.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct lz_plan *plan;
struct lz_seg area[AREAS];
struct lz_map map;
struct lz_space space, child;
struct lz_stats stats;
struct lz_engine *e;
uint64_t words[NR_PAGES / 64 + 1];
struct lz_state *st;

static int find_memory(void *arg, uint64_t memory, struct lz_plan **p, const struct lz_seg **seg,
		       size_t *nr)
{
	(void)arg;
	(void)memory;
	*p = plan;
	*seg = area;
	*nr = AREAS;
	return 0;
}

const struct lz_memories MEMORIES = { .find = find_memory };
const struct lz_engine_options OPTIONS = { .stats = &stats };

void set_up(void)
{
	ck_assert_int_eq(lz_plan_new(&plan), 0);
	for (uint64_t i = 0; i < AREAS; i++) {
		const uint64_t at = K4(100 * (i + 1)), len = K4(NR_PAGES / AREAS);
		const struct lz_piece piece = { at, len, K4(1000 * i), 0, 12 };

		ck_assert_int_eq(lz_plan_add(plan, &piece), 0);
		area[i] = (struct lz_seg){ at, at + len, at, 12, 0 };
	}
	memset(&space, 0, sizeof(space));
	memset(&child, 0, sizeof(child));
	memset(&stats, 0, sizeof(stats));
	memset(words, 0, sizeof(words));
	ck_assert_int_eq(lz_map_init(&map, area, AREAS), 0);
	ck_assert_uint_eq(map.cap, AREAS);
	ck_assert_int_eq(lz_space_open(&space, plan, area, AREAS, NULL, false), 0);
	ck_assert_int_eq(lz_engine_new(&e, &OPTIONS), 0);
	ck_assert_int_eq(
		lz_engine_attach(
			e, &(struct lz_attach){ .plan = plan, .seg = area, .nr_segs = AREAS }),
		0);
	st = calloc(1, lz_state_size(NR_PAGES));
	ck_assert_ptr_nonnull(st);
	lz_state_init(st, NR_PAGES);
}

void tear_down(void)
{
	lz_engine_check(e);
	lz_engine_free(e);
	lz_space_check(&space);
	lz_space_close(&space);
	if (child.state != LZ_SPACE_FREE)
		lz_space_close(&child);
	lz_map_fini(&map);
	free(st);
	lz_plan_put(plan);
}

void exhaust(int (*call)(void), void (*same)(void), void (*changed)(void))
{
	failing_exhaust(&(struct failing){ set_up, call, same, changed, tear_down });
}
