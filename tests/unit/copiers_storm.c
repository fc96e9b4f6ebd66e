/* SPDX-License-Identifier: MIT */
/*
 * COPYs by several threads, with the real kernel, while others fill, drop and split the same
 * memory: they change no byte of it, and every outcome is met.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "copiers_area.h"
#include "tests/lib/suite.h"

enum { WHOLE, PARTIAL, EXISTS, AGAIN, SPLIT, CALLED_OFF, OUTCOMES };
static uint64_t seen[OUTCOMES];
static bool over;

static bool goes_on(void)
{
	return !__atomic_load_n(&over, __ATOMIC_ACQUIRE);
}

static uint64_t any(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % PAGES;
}

static void place(uint64_t page)
{
	int64_t r;

	do {
		r = lz_uffd_copy(uffd, pages(page, 1), bytes + page * PAGE);
		if (r == -EAGAIN)
			sched_yield();
	} while (r == -EAGAIN);
	ck_assert(r == PAGE || r == -EEXIST);
}

static void *fills(void *unused)
{
	for (uint64_t seed = 1; goes_on();)
		place(any(&seed));
	return unused;
}

/* Waits in madvise() until the event has been read. */
static void *drops(void *unused)
{
	for (uint64_t seed = 2; goes_on();) {
		uint64_t page = any(&seed) % (PAGES - SLICE_PAGES);

		ck_assert_int_eq(madvise(area + page * PAGE, SLICE_PAGES * PAGE, MADV_DONTNEED), 0);
	}
	return unused;
}

/* The kernel splits the area at both ends, without a word, and makes it one again. */
static void *splits(void *unused)
{
	for (uint64_t seed = 3; goes_on();) {
		uint8_t *at = area + any(&seed) * PAGE;

		ck_assert_int_eq(mprotect(at, PAGE, PROT_READ), 0);
		ck_assert_int_eq(mprotect(at, PAGE, PROT_READ | PROT_WRITE), 0);
	}
	return unused;
}

static void read_events(void)
{
	struct uffd_msg msg;

	while (read(uffd, &msg, sizeof(msg)) == sizeof(msg))
		ck_assert_int_eq(msg.event, UFFD_EVENT_REMOVE);
}

/* One slice, as an engine sees it. */
struct slice {
	uint64_t done, most; /* pages that are settled; that it asks for at a time */
	bool lent;
};

/* What an engine makes of what has come of a COPY. */
static void settle(struct slice *s, const struct lz_copy *c)
{
	s->lent = false;
	if (c->res == LZ_COPY_CANCELLED) {
		seen[CALLED_OFF]++;
		return;
	}
	s->most = SLICE_PAGES;
	if (c->res > 0) {
		ck_assert_int_eq(c->res % PAGE, 0);
		ck_assert_uint_le((uint64_t)c->res, lz_range_len(c->dst));
		s->done += (uint64_t)c->res / PAGE;
		seen[(uint64_t)c->res == lz_range_len(c->dst) ? WHOLE : PARTIAL]++;
		return;
	}
	ck_assert(c->res == -EEXIST || c->res == -EAGAIN || c->res == -ENOENT);
	s->done += c->res == -EEXIST;
	if (c->res == -ENOENT)
		s->most = 1;
	seen[c->res == -EEXIST ? EXISTS : c->res == -EAGAIN ? AGAIN : SPLIT]++;
}

static void ask(struct slice *s, uint64_t first)
{
	uint64_t at = first + s->done, left = SLICE_PAGES - s->done;
	struct lz_copy c = copy_of(at, left < s->most ? left : s->most, bytes + at * PAGE);

	s->lent = lz_copiers_give(&copiers, &c);
	if (s->lent)
		return;
	c.res = lz_uffd_copy(c.fd, c.dst, c.src);
	settle(s, &c);
}

/* All of it, many slices at a time; nothing is read while a COPY is under way. */
static void fill(void)
{
	struct slice slice[PAGES / SLICE_PAGES] = { 0 };
	struct lz_copy c;
	bool goes_on = true;

	while (goes_on) {
		goes_on = false;
		for (uint64_t i = 0; i < PAGES / SLICE_PAGES; i++) {
			struct slice *s = &slice[i];

			s->most = s->most ? s->most : SLICE_PAGES;
			goes_on = goes_on || s->done < SLICE_PAGES;
			if (!s->lent && s->done < SLICE_PAGES)
				ask(s, i * SLICE_PAGES);
			while (take(LZ_COPIERS_ENDED, &c))
				settle(&slice[c.req], &c);
		}
		while (take(LZ_COPIERS_CANCEL, &c))
			settle(&slice[c.req], &c);
		read_events();
	}
}

START_TEST(others_do_what_they_like)
{
	void *(*const run[])(void *) = { fills, drops, splits };
	pthread_t thread[3];

	memset(seen, 0, sizeof(seen));
	over = false;
	set_up(UFFD_FEATURE_EVENT_REMOVE, (unsigned)_i);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, run[i], NULL), 0);
	/* Every outcome is met, not so many rounds made. */
	for (uint64_t n = 0; n < ROUNDS || !seen[WHOLE] || !seen[PARTIAL] || !seen[EXISTS] ||
			     !seen[AGAIN] || !seen[SPLIT] || (_i && !seen[CALLED_OFF]);
	     n++)
		fill();
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		while (pthread_tryjoin_np(thread[i], NULL))
			read_events();
	fill();
	check_bytes(0, PAGES);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("copiers_storm");
	TCase *storm = tcase_create("storm");

	if (!has_uffd())
		return 77;
	tcase_set_timeout(storm, 120);
	tcase_add_loop_test(storm, others_do_what_they_like, 0, LZ_COPIERS_MAX + 1);
	suite_add_tcase(s, storm);
	return run_suite(s);
}
