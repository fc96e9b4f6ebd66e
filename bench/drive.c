/* SPDX-License-Identifier: MIT */
/* The engine of drive.h, through public functions only. */
#define _GNU_SOURCE 1
#include "bench/drive.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void lz_drive_init(struct lz_drive *d)
{
	*d = (struct lz_drive){ .dir = "." };
	lz_touch_init(&d->touch);
}

bool lz_drive_option(struct lz_drive *d, int c)
{
	switch (c) {
	case 'd':
		d->dir = optarg;
		return true;
	case 'm':
		d->drains = true;
		d->touch.pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		return true;
	case 'w':
		d->busy_poll_ns = lz_bench_number(optarg, 0, 1000000) * 1000;
		return true;
	default:
		return lz_touch_option(&d->touch, c);
	}
}

void lz_drive_die(const struct lazyd *l, const char *what, int r)
{
	fprintf(stderr, "%s: %s %s\n", what, strerror(-r), l ? lazyd_error(l) : "");
	exit(1);
}

struct lazyd *lz_drive_new(const struct lazyd_options *o, struct lazyd_memory *m,
			   struct lz_bench_task *task)
{
	struct lazyd *l;
	int r = lazyd_new(&l, o);

	if (r)
		lz_drive_die(NULL, "lazyd_new", r);
	r = lazyd_add(l, m);
	lazyd_memory_put(m);
	if (r >= 0)
		r = lazyd_attach(l, r, task->uffd, (int)syscall(SYS_pidfd_open, task->pid, 0));
	if (r < 0)
		lz_drive_die(l, "lazyd_attach", r);
	task->uffd = -1;
	return l;
}

static void start(struct lazyd *l)
{
	int r = lazyd_start(l);

	if (r)
		lz_drive_die(l, "lazyd_start", r);
}

/* Until nothing is owed and all is closed;
 * or until @fd, which is watched, hangs up, unless it is -1. */
static void serve(struct lazyd *l, int fd)
{
	struct pollfd p = { .fd = fd };
	int r;

	for (unsigned n = 1;; n++) {
		r = lazyd_turn(l, -1);
		if (r < 0)
			lz_drive_die(l, "lazyd_turn", r);
		/* From then on each turn ends at once; a look after every one
		 * would be measured along. */
		if (!r || (fd >= 0 && n % 16 == 0 && poll(&p, 1, 0) != 0))
			return;
	}
}

void lz_drive_faults(struct lazyd *l, struct lz_bench_task *task, bool sweep)
{
	(void)lazyd_watch(l, task->sock);
	lz_bench_task_go(task);
	if (sweep)
		start(l);
	serve(l, task->sock);
}

uint64_t lz_drive_drain(struct lazyd *l)
{
	uint64_t begun = lz_bench_now_ns();

	start(l);
	serve(l, -1);
	return lz_bench_now_ns() - begun;
}
