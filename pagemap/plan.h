/* SPDX-License-Identifier: MIT */
/*
 * The plan: which pages an image holds for one address space and where their bytes are. Immutable
 * once sealed, counted, shared by every space made from it (forked children too). Pages are
 * numbered 0..nr_pages-1 in the order of their identity; the number is the index of the page's
 * bits in the engine. A page that no run holds is a zero page. Pure: memory and nothing else.
 */
#ifndef LZ_PLAN_H
#define LZ_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* @len bytes known to the image as [identity, identity + len), stored at @offset of @source. */
struct lz_piece {
	uint64_t identity, len;
	uint64_t offset;
	uint32_t source;     /* index into the memory's sources; the plan does not look inside */
	uint32_t page_shift; /* all four numbers above are multiples of the page but @source */
};

/* 32 bytes a run, so that 1,000,000 fragments cost 32 MB. Its length is the next run's @first. */
struct lz_run {
	uint64_t identity;
	uint64_t offset;
	uint64_t first; /* number of its first page */
	uint32_t source;
	uint16_t page_shift;
	/* What its source has read is in the shared memory that is mapped there: to be mapped, not
	 * copied. What is a hole there by then is zero. */
	uint16_t in_place;
};

struct lz_plan;

/* An empty plan with one reference, to be filled by add() in ascending order and then sealed. */
int lz_plan_new(struct lz_plan **out);
/*
 * Appends a piece; joins it to the last run where identity, source and offset go on. -EINVAL if it
 * is empty, unaligned, wraps, has pages below 4 KiB, or begins before the last piece's end.
 * -ENOMEM leaves the plan as it was.
 */
int lz_plan_add(struct lz_plan *p, const struct lz_piece *piece);
/* The same, for a source that is in place: see struct lz_run. */
int lz_plan_add_in_place(struct lz_plan *p, const struct lz_piece *piece);
/* No add() after this. Gives back slack; cannot fail. */
void lz_plan_seal(struct lz_plan *p);

struct lz_plan *lz_plan_get(struct lz_plan *p);
void lz_plan_put(struct lz_plan *p); /* NULL is fine */

uint64_t lz_plan_nr_pages(const struct lz_plan *p);
size_t lz_plan_nr_runs(const struct lz_plan *p);
const struct lz_run *lz_plan_runs(const struct lz_plan *p); /* nr_runs of them, by identity */

/* Does it hold pages of another size in [identity, identity + len)? */
bool lz_plan_has_others(const struct lz_plan *p, uint64_t identity, uint64_t len,
			uint32_t page_shift);
/* Are its bytes in more than one source? */
bool lz_plan_is_mixed(const struct lz_plan *p);
/* The one source whose bytes come over a wire, UINT32_MAX if none do, as in a new plan. */
uint32_t lz_plan_remote(const struct lz_plan *p);
void lz_plan_set_remote(struct lz_plan *p, uint32_t source); /* before seal() */

/* How many pages @run has; @run points into the plan. */
uint64_t lz_plan_run_pages(const struct lz_plan *p, const struct lz_run *run);
/* The number of the page that holds @identity, or -1: the image has no bytes for it. O(log n) */
int64_t lz_plan_page(const struct lz_plan *p, uint64_t identity, const struct lz_run **run);
/* The page that holds @identity or else the first behind it, nr_pages if none. O(log n) */
uint64_t lz_plan_page_from(const struct lz_plan *p, uint64_t identity);
/* The run that holds page number @page < nr_pages. O(log n) */
const struct lz_run *lz_plan_run(const struct lz_plan *p, uint64_t page);
/* The same, but looks first at @hint (a run of this plan, or NULL) and the one behind it. */
const struct lz_run *lz_plan_run_near(const struct lz_plan *p, const struct lz_run *hint,
				      uint64_t page);
/* Identity of page number @page of @run. */
uint64_t lz_plan_identity(const struct lz_run *run, uint64_t page);
/*
 * How many pages from @page on, at most @max, lie one behind the other in one source with one page
 * size, whatever holes their identities have. At least 1 for a page < nr_pages and max > 0.
 */
uint64_t lz_plan_extent(const struct lz_plan *p, uint64_t page, uint64_t max);

#endif
