/* SPDX-License-Identifier: MIT */
/* Which pages of a process are its own, and not zero. */
#ifndef LZ_LIVE_PAGES_H
#define LZ_LIVE_PAGES_H

#include "tool/live.h"
#include "tool/maps.h"

/* Adds an area to a task: 0 or -ENOMEM. */
int lz_live_pages_add_area(struct lz_live_task *t, const struct lz_maps_area *a);
/* Fills in the pages of a task whose areas are known: 0 or -errno.
 * @scans: by PAGEMAP_SCAN, if it is there. */
int lz_live_pages(struct lz_live_task *t, bool scans);

#endif
