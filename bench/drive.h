/* SPDX-License-Identifier: MIT */
/*
 * What live_lazyd and live_pair share: their options beside those of touch.h, and an engine of
 * liblazyd that serves one task until it has ended, or until all of it is filled.
 */
#ifndef LZ_DRIVE_H
#define LZ_DRIVE_H

#include "bench/touch.h"
#include "uffd/lazyd.h"

#define LZ_DRIVE_OPTIONS LZ_TOUCH_OPTIONS "d:m:w:"

struct lz_drive {
	struct lz_touch touch;
	const char *dir;       /* where the pages file is made */
	bool drains;           /* a memory that nobody touches */
	uint64_t busy_poll_ns; /* looks for so long before it sleeps */
};

void lz_drive_init(struct lz_drive *d);
/* As lz_touch_option(), of LZ_DRIVE_OPTIONS. */
bool lz_drive_option(struct lz_drive *d, int c);

/* Ends the program; @l may be NULL. */
_Noreturn void lz_drive_die(const struct lazyd *l, const char *what, int r);
/* An engine with @o that serves @task, whose memory is @m; it is put. */
struct lazyd *lz_drive_new(const struct lazyd_options *o, struct lazyd_memory *m,
			   struct lz_bench_task *task);
/* Faults of @task until it has ended; with @sweep the rest is filled meanwhile. */
void lz_drive_faults(struct lazyd *l, struct lz_bench_task *task, bool sweep);
/* All of it. Returns how long that took. */
uint64_t lz_drive_drain(struct lazyd *l);

#endif
