/* SPDX-License-Identifier: MIT */
/*
 * fill FIFO SIZE_MB THREADS [latency|huge]: one area of memory. When told to go on, every thread
 * reads every page of it in a random order of its own and compares every byte. With "latency" an
 * eighth of the pages is first touched at random, each access timed. "absent" in the result is how
 * many pages had not arrived when the program went on; "touch_ns" is how long all those accesses
 * took, "access_p99_ns" counts them all, the other times those that were faults. With "huge" the
 * first half of the area is to have huge pages.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SEED = 1 };

static unsigned char *area;
static uint64_t pages;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t start = PTHREAD_COND_INITIALIZER;
static bool started;

static void *reader(void *arg)
{
	struct work_order order;

	work_order_init(&order, pages, (uint64_t)(uintptr_t)arg);
	pthread_mutex_lock(&lock);
	while (!started)
		pthread_cond_wait(&start, &lock);
	pthread_mutex_unlock(&lock);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t p = work_order_next(&order);

		work_expect(area + p * WORK_PAGE, work_token(SEED, p), p, "read");
	}
	return NULL;
}

/* Accesses to absent pages are counted apart: the others measure the memory, not the handler. */
static void measure(uint64_t *times, uint64_t count, char *text, size_t size)
{
	uint64_t faults = 0, t0, seen = 0, begun = work_ns(), touch_ns;
	uint64_t *all = times + count;
	struct work_order order;

	work_order_init(&order, pages, 77);
	for (uint64_t i = 0; i < count; i++) {
		volatile uint64_t *p = (uint64_t *)(void *)(area +
							    work_order_next(&order) * WORK_PAGE);
		unsigned char present = 0;

		mincore((void *)(uintptr_t)p, WORK_PAGE, &present);
		t0 = work_ns();
		seen += *p;
		all[i] = t0 = work_ns() - t0;
		if (!(present & 1))
			times[faults++] = t0;
	}
	touch_ns = work_ns() - begun;
	work_sort(times, faults);
	work_sort(all, count);
	snprintf(text, size,
		 " touched=%llu touch_ns=%llu access_p99_ns=%llu"
		 " faults=%llu p50_ns=%llu p90_ns=%llu p99_ns=%llu max_ns=%llu%s",
		 (unsigned long long)count, (unsigned long long)touch_ns,
		 (unsigned long long)work_permille(all, count, 990), (unsigned long long)faults,
		 (unsigned long long)work_permille(times, faults, 500),
		 (unsigned long long)work_permille(times, faults, 900),
		 (unsigned long long)work_permille(times, faults, 990),
		 (unsigned long long)work_permille(times, faults, 1000), seen ? "" : " ");
}

int main(int argc, char **argv)
{
	char latency[256] = "";
	pthread_t *thread;
	uint64_t threads, absent, t0;
	uint64_t *times = NULL;
	bool is_huge;

	if (argc < 4 || argc > 5)
		return 2;
	is_huge = argc == 5 && !strcmp(argv[4], "huge");
	if (argc == 5 && !is_huge && strcmp(argv[4], "latency"))
		return 2;
	pages = work_number(argv[2], 1, 1 << 20) << 8;
	threads = work_number(argv[3], 1, 1024);
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	area = work_area(pages);
	if (is_huge && madvise(area, pages / 2 * WORK_PAGE, MADV_HUGEPAGE))
		work_bad("no huge pages: %s", strerror(errno));
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(SEED, p));
	thread = calloc(threads, sizeof(*thread));
	if (argc == 5 && !is_huge)
		times = calloc(pages / 8, 2 * sizeof(*times));
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, reader, (void *)(uintptr_t)(i + 1)))
			work_bad("no thread");

	work_ready("%llu pages", (unsigned long long)pages);

	absent = work_absent(area, pages);
	if (times)
		measure(times, pages / 8, latency, sizeof(latency));
	t0 = work_ns();
	pthread_mutex_lock(&lock);
	started = true;
	pthread_cond_broadcast(&start);
	pthread_mutex_unlock(&lock);
	for (uint64_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	work_say("ok pages=%llu threads=%llu absent=%llu verify_ms=%llu%s",
		 (unsigned long long)pages, (unsigned long long)threads, (unsigned long long)absent,
		 (unsigned long long)((work_ns() - t0) / 1000000), latency);
	return 0;
}
