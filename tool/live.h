/* SPDX-License-Identifier: MIT */
/*
 * Processes that stand still as a source of pages, instead of their images: which areas they have,
 * which pages of these are theirs alone, and images that say so without a byte of them.
 */
#ifndef LZ_LIVE_H
#define LZ_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uffd/lazyd.h"

struct lz_live_range {
	uint64_t start, end;
};

struct lz_live_task {
	struct lazyd_task task;
	struct lazyd_area *area;
	size_t nr_areas;
	struct lz_live_range *page; /* pages that are there and not zero, ascending */
	size_t nr_pages;
	uint64_t nr_shared; /* areas that are shared memory, which are left out */
};

struct lz_live {
	struct lz_live_task *task; /* the first is the root */
	size_t nr;
	uint64_t bytes;     /* of pages */
	uint64_t nr_shared; /* of all */
};

/*
 * Looks at @pid, and with @tree at all below it. @stops: by SIGSTOP first, parents before their
 * children; else they stand still already, or -EBUSY. On failure @why has a sentence.
 */
int lz_live_look(struct lz_live *l, pid_t pid, bool tree, bool stops, struct lazyd_why *why);
/* Images of what was seen into @dirfd. */
int lz_live_write(const struct lz_live *l, int dirfd, struct lazyd_why *why);
/* All of it, to be served. */
int lz_live_serve(const struct lz_live *l, struct lazyd_server *s, struct lazyd_why *why);
void lz_live_free(struct lz_live *l);

#endif
