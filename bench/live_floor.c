/* SPDX-License-Identifier: MIT */
/*
 * The floor under fault latency: a handler of poll, read and UFFDIO_COPY out of memory, and nothing
 * else. Another process touches its pages in random order and times each touch that faults. With -b
 * it sweeps meanwhile, and with -k as many threads as well, each an equal part of the memory.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/touch.h"

static void answer_faults(const struct lz_bench_task *t, const uint8_t *bytes)
{
	struct uffd_msg msg[16];
	ssize_t n = read(t->uffd, msg, sizeof(msg));

	if (n < 0 && errno != EAGAIN)
		lz_bench_die("read");
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(msg[0]); i++) {
		uint64_t at = msg[i].arg.pagefault.address & ~(LZ_BENCH_PAGE - 1ULL);

		lz_bench_copy(t, at, bytes + (at - t->base), LZ_BENCH_PAGE);
	}
}

/* One slice; returns where the next begins, the end of the memory when the task is gone. */
static uint64_t sweep_slice(const struct lz_bench_task *t, const uint8_t *bytes, uint64_t from)
{
	uint64_t end = from + LZ_BENCH_SLICE < t->len ? from + LZ_BENCH_SLICE : t->len;

	while (from < end) {
		uint64_t done = lz_bench_copy(t, t->base + from, bytes + from, end - from);

		if (!done)
			return t->len;
		from += done;
	}
	return end;
}

struct copier {
	pthread_t thread;
	struct lz_bench_task task; /* up to the end of its part */
	const uint8_t *bytes;
	uint64_t from;
};

static void *sweep_part(void *arg)
{
	struct copier *c = arg;

	while (c->from < c->task.len)
		c->from = sweep_slice(&c->task, c->bytes, c->from);
	return NULL;
}

/* Returns where the first one's part begins. */
static uint64_t start_copiers(struct copier *c, unsigned nr, const struct lz_bench_task *t,
			      const uint8_t *bytes)
{
	uint64_t part = t->len / (nr + 1) & ~(LZ_BENCH_SLICE - 1ULL);

	for (unsigned i = 0; i < nr; i++) {
		c[i] = (struct copier){ .task = *t, .bytes = bytes, .from = (i + 1) * part };
		c[i].task.len = i + 1 < nr ? (i + 2) * part : t->len;
		errno = pthread_create(&c[i].thread, NULL, sweep_part, &c[i]);
		if (errno)
			lz_bench_die("pthread_create");
	}
	return nr ? part : t->len;
}

static void serve(const struct lz_bench_task *t, const uint8_t *bytes, bool sweep, uint64_t part)
{
	struct pollfd p[] = { { .fd = t->uffd, .events = POLLIN }, { .fd = t->sock } };
	uint64_t swept = sweep ? 0 : part;

	for (;;) {
		if (poll(p, 2, swept < part ? 0 : -1) < 0)
			lz_bench_die("poll");
		if (p[0].revents & POLLIN)
			answer_faults(t, bytes);
		else if (p[1].revents)
			return;
		else if (swept < part)
			swept = sweep_slice(t, bytes, swept);
	}
}

int main(int argc, char **argv)
{
	struct copier copier[3];
	struct lz_touch run;
	uint8_t *bytes;
	int c;

	lz_touch_init(&run);
	while ((c = getopt(argc, argv, LZ_TOUCH_OPTIONS)) >= 0) {
		if (!lz_touch_option(&run, c)) {
			fputs("live_floor " LZ_TOUCH_USAGE, stderr);
			return 2;
		}
	}
	lz_touch_ready(&run);
	bytes = lz_bench_shared((size_t)run.pages * LZ_BENCH_PAGE);
	for (uint32_t i = 0; i < run.pages; i++)
		lz_touch_fill(bytes + (size_t)i * LZ_BENCH_PAGE, i);
	for (uint32_t i = 0; i < run.rounds; i++) {
		struct lz_bench_task task;
		uint64_t part;

		lz_touch_start(&run, &task, i);
		lz_bench_task_go(&task);
		part = start_copiers(copier, run.sweep ? run.copiers : 0, &task, bytes);
		serve(&task, bytes, run.sweep, part);
		for (unsigned n = 0; run.sweep && n < run.copiers; n++)
			(void)pthread_join(copier[n].thread, NULL);
		lz_touch_end(&run, &task);
	}
	lz_touch_line(&run, "live_floor");
	return 0;
}
