/* SPDX-License-Identifier: MIT */
/*
 * Where the image's pages live now, in one address space: segments, kept twice, by position and by
 * identity, so that both look-ups are a binary search. An identity has at most one position in a
 * space (mremap moves, it does not double), so the two hold the same segments. Pure.
 */
#ifndef LZ_MAP_H
#define LZ_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/range.h"

struct lz_map {
	struct lz_seg *seg; /* by start, disjoint, none empty */
	struct lz_seg *by_identity;
	size_t nr, cap;
};

/* @seg: by start and disjoint, identities disjoint too: -EINVAL otherwise. */
int lz_map_init(struct lz_map *m, const struct lz_seg *seg, size_t nr);
int lz_map_copy(struct lz_map *to, const struct lz_map *from);
void lz_map_fini(struct lz_map *m);

/*
 * Layout events. -ENOMEM changes nothing. What cut() drops and what move() covers at its target is
 * gone from the map: whoever needs to know looks before.
 */
int lz_map_cut(struct lz_map *m, struct lz_range r);
int lz_map_move(struct lz_map *m, struct lz_range from, uint64_t to);

/* The segment at @addr, or NULL. */
const struct lz_seg *lz_map_at(const struct lz_map *m, uint64_t addr);
/* The first segment that ends after @addr, NULL if none: to walk a range with. */
const struct lz_seg *lz_map_from(const struct lz_map *m, uint64_t addr);
/* Where the page @identity is, and as much of [identity, identity + len) as lies with it. */
bool lz_map_where(const struct lz_map *m, uint64_t identity, uint64_t len, struct lz_range *out);

void lz_map_check(const struct lz_map *m); /* asserts what the text above says */

#endif
