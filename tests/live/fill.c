/* SPDX-License-Identifier: MIT */
/* Cases of plain filling: faults, holes, the sweep, threads, odd layouts of memory and file. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/live/live.h"

enum { THREADS = 8, SMALL = 512, MIDDLE = 8192, KEPT_ROUNDS = 500 };

/* ---- faults and the sweep ---- */

static void touch_held(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++)
		if (live_code(n))
			live_expect(l, n, live_code(n));
}

static void touch_holes(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++)
		if (!live_code(n))
			live_expect(l, n, 0);
}

/* Nothing runs ahead before the start: what is there was asked for. */
static void serve_held(struct live *l)
{
	live_serve_faults(l);
	LIVE_CHECK(l, l->stats.pages_demand == live_held(l->nr_pages));
	LIVE_CHECK(l, l->stats.pages_zero == 0);
	LIVE_CHECK(l, l->stats.faults >= l->stats.pages_demand);
	LIVE_CHECK(l, l->stats.latency_count >= l->stats.pages_demand);
}

static void serve_holes(struct live *l)
{
	live_serve_faults(l);
	LIVE_CHECK(l, l->stats.pages_demand == 0);
	LIVE_CHECK(l, l->stats.pages_zero == l->nr_pages - live_held(l->nr_pages));
}

/* From a file in memory every byte is taken where it lies, from a cold one it is read. */
static void serve_cold(struct live *l)
{
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.bytes_read > 0);
	LIVE_CHECK(l, l->stats.bytes_read + l->stats.bytes_cached >=
			      live_held(l->nr_pages) * LIVE_PAGE);
}

static void *touch_as_thread(void *arg)
{
	struct live *l = arg;
	uint64_t seed = (uint64_t)pthread_self();

	for (uint64_t i = 0; i < l->nr_pages; i++) {
		uint64_t n = live_random(&seed) % l->nr_pages;

		live_expect(l, n, live_code(n));
	}
	return NULL;
}

static void touch_by_threads(struct live *l)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_create(&thread[i], NULL, touch_as_thread, l) == 0);
	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_join(thread[i], NULL) == 0);
	live_touch_all(l);
}

/* Threads that all want the same pages, in the same order. */
static void *touch_in_order(void *arg)
{
	struct live *l = arg;

	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, live_code(n));
	return NULL;
}

static void touch_together(struct live *l)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_create(&thread[i], NULL, touch_in_order, l) == 0);
	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_join(thread[i], NULL) == 0);
}

/* ---- CRIU's order: attached, then registered, then touched, then started ---- */

static void register_late(struct live *l)
{
	live_hear(l);
	live_register(l, l->base, l->nr_pages / 2);
	live_expect_image(l, 0, l->nr_pages / 2);
	live_register(l, live_at(l, l->nr_pages / 2), l->nr_pages - l->nr_pages / 2);
	(void)close(l->uffd);
	live_expect_image(l, 0, l->nr_pages / 4 * 3);
	live_say(l);
	live_touch_all(l);
}

static void serve_late(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_say(l);
	live_hear_serving(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
}

/* ---- a task that has its userfaultfds open as long as it lives ---- */

static void *touch_from_behind(void *arg)
{
	struct live *l = arg;

	for (uint64_t n = l->nr_pages; n--;)
		live_expect(l, n, live_code(n));
	return NULL;
}

/*
 * A space is closed as soon as nothing is owed, holes or not, and threads that fault at that moment
 * must not stay behind: the descriptor is not the last one, so its closing wakes nobody. The moment
 * is short.
 */
static void keep_open(struct live *l)
{
	pthread_t thread[THREADS];

	for (int round = 0; round < KEPT_ROUNDS; round++) {
		live_hear(l);
		live_renew(l);
		for (int i = 0; i < THREADS; i++)
			LIVE_CHECK(l, pthread_create(&thread[i], NULL, touch_from_behind, l) == 0);
		for (int i = 0; i < THREADS; i++)
			LIVE_CHECK(l, pthread_join(thread[i], NULL) == 0);
		live_say(l);
		(void)close(l->uffd);
	}
}

static void serve_kept_open(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	for (int round = 0; round < KEPT_ROUNDS; round++) {
		live_say(l);
		live_attach(l);
		while (lazyd_turn(l->l, -1))
			;
		live_hear(l);
	}
	live_fill(l);
	live_end(l, 0);
}

/* ---- two tasks with the same memory ---- */

static void serve_two(struct live *l)
{
	struct live other;

	live_begin(l, NULL);
	live_task(l);
	other = *l;
	live_task(&other);
	live_attach(l);
	live_attach(&other);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_total == 2 * live_held(l->nr_pages));
	live_end(l, 0);
	other.l = NULL;
	other.memory = NULL;
	live_end(&other, 0);
}

/* ---- areas that are split without a word ---- */

static void protect(struct live *l, uint64_t first, uint64_t end)
{
	for (uint64_t n = first; n < end; n += 2)
		LIVE_CHECK(l, mprotect(live_at(l, n), LIVE_PAGE, PROT_READ) == 0);
}

static void protect_and_touch(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 256) {
		protect(l, n, n + 256);
		live_expect_image(l, n, n + 256);
	}
	live_touch_all(l);
}

static void serve_protected(struct live *l)
{
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_gone == 0);
}

/* As many areas as a process may have, nearly. */
static void split_all(struct live *l)
{
	protect(l, 0, l->nr_pages);
	live_register(l, l->base, l->nr_pages);
	(void)close(l->uffd);
	live_say(l);
	live_hear(l);
	live_touch_all(l);
}

static void serve_split(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_gone == 0);
	LIVE_CHECK(l, l->stats.res_enoent > 0);
	live_say(l);
	live_end(l, 0);
}

const struct live_case live_cases_fill[] = {
	{ "fault-held", SMALL, 0, touch_held, serve_held },
	{ "fault-hole", SMALL, 0, touch_holes, serve_holes },
	{ "sweep", MIDDLE, 0, live_touch_later, live_serve_sweep },
	{ "random/faults", MIDDLE, 0, live_touch_all, live_serve_faults },
	{ "random/sweeping", MIDDLE, 0, live_touch_all, live_serve_sweeping },
	{ "threads/faults", MIDDLE, 0, touch_by_threads, live_serve_faults },
	{ "threads/sweeping", MIDDLE, 0, touch_by_threads, live_serve_sweeping },
	{ "same-pages/faults", MIDDLE, 0, touch_together, live_serve_faults },
	{ "same-pages/sweeping", MIDDLE, 0, touch_together, live_serve_sweeping },
	{ "odd/faults", 4097, LIVE_ODD, live_touch_all, live_serve_faults },
	{ "odd/sweeping", 4097, LIVE_ODD, live_touch_all, live_serve_sweeping },
	{ "one-page", 1, 0, live_touch_all, live_serve_sweeping },
	{ "cold", MIDDLE, LIVE_DISK, touch_by_threads, serve_cold },
	{ "late", MIDDLE, LIVE_LATE, register_late, serve_late },
	{ "kept-open", 48, 0, keep_open, serve_kept_open },
	{ "two-tasks", MIDDLE, 0, live_touch_all, serve_two },
	{ "mprotect/faults", MIDDLE, 0, protect_and_touch, live_serve_faults },
	{ "mprotect/sweeping", MIDDLE, 0, protect_and_touch, serve_protected },
	{ "60000-areas", 60000, LIVE_LATE | LIVE_LONG, split_all, serve_split },
	{ NULL, 0, 0, NULL, NULL },
};
