/* SPDX-License-Identifier: MIT */
/*
 * The file of a working set: which pages of which dump were touched first, in that order. A head,
 * runs of one size, a checksum; lazyd-formats(7) has it byte by byte. Whole files in memory, which
 * are small. Pure.
 */
#ifndef LZ_WSET_H
#define LZ_WSET_H

#include <stddef.h>
#include <stdint.h>

enum {
	LZ_WSET_VERSION = 1,
	LZ_WSET_IDENTITY = 32,
	LZ_WSET_PAGE = 4096,
	/* 4 MiB of file, 1 GiB where no two pages lie together. */
	LZ_WSET_RUNS_MAX = 1 << 18,
	/* 256 GiB, in all runs together: what a set costs in memory has a bound. */
	LZ_WSET_PAGES_MAX = 1 << 26,
	LZ_WSET_WHAT_MAX = 160,
};

enum lz_wset_flag {
	LZ_WSET_SWEPT = 1, /* pages came meanwhile by other ways too: their touch is not in it */
	LZ_WSET_CUT = 2,   /* there was more to be noted: time or room came to an end */
};

struct lz_wset_head {
	uint32_t flags; /* enum lz_wset_flag; others are let pass */
	uint32_t nr_runs;
	uint8_t identity[LZ_WSET_IDENTITY]; /* of the dump */
};

/* @nr_pages of LZ_WSET_PAGE bytes from @address on, of a task of the dump. */
struct lz_wset_run {
	uint64_t address;
	uint32_t nr_pages, task;
};

struct lz_wset {
	struct lz_wset_head head;
	const uint8_t *runs;         /* the caller's bytes */
	char what[LZ_WSET_WHAT_MAX]; /* what is wrong with it: "is cut off", ... */
};

/* How long a file of @nr_runs is. */
size_t lz_wset_size(size_t nr_runs);
/* Writes all of it but the runs to @to, of that size; before seal() they are put one by one. */
void lz_wset_put_head(uint8_t *to, const struct lz_wset_head *head);
void lz_wset_put_run(uint8_t *to, size_t n, const struct lz_wset_run *run);
void lz_wset_seal(uint8_t *to, size_t nr_runs);

/*
 * Checks all of a file; @bytes must stay. -EBADMSG: it is none, or damaged; -EPROTONOSUPPORT: it is
 * of a later version. @w says why.
 */
int lz_wset_parse(struct lz_wset *w, const uint8_t *bytes, size_t len);
/* Run @n < head.nr_runs of a file that parse() has passed. */
struct lz_wset_run lz_wset_run(const struct lz_wset *w, size_t n);

#endif
