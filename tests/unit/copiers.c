/* SPDX-License-Identifier: MIT */
/*
 * COPYs by several threads, with the real kernel: whatever comes of each is told exactly, and
 * others who fill, drop and split the same memory meanwhile change no byte of it.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/fds.h"
#include "tests/lib/suite.h"
#include "uffd/copiers.h"
#include "uffd/uffd.h"

enum { PAGE = 4096, SLICE_PAGES = 16, PAGES = 512, ROUNDS = 8 };

static struct lz_copiers copiers;
static uint8_t *area, *bytes;
static int uffd = -1;

static void *map(uint64_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	(void)madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static void set_up(uint64_t features, unsigned nr)
{
	struct uffdio_register reg = { .range.len = PAGES * PAGE,
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	uffd = fds_uffd(features);
	ck_assert_int_ge(uffd, 0);
	area = map(PAGES);
	bytes = map(PAGES);
	for (uint64_t i = 0; i < PAGES * PAGE; i++)
		bytes[i] = (uint8_t)(1 + (i * 7 + i / PAGE) % 255);
	reg.range.start = (uintptr_t)area;
	ck_assert_int_eq(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	ck_assert_int_eq(lz_copiers_open(&copiers, nr), 0);
	ck_assert_uint_eq(copiers.nr, nr);
}

static void tear_down(void)
{
	lz_copiers_close(&copiers);
	close(uffd);
	munmap(area, PAGES * PAGE);
	munmap(bytes, PAGES * PAGE);
}

static struct lz_range pages(uint64_t first, uint64_t nr)
{
	uint64_t at = (uintptr_t)area + first * PAGE;

	return (struct lz_range){ at, at + nr * PAGE };
}

static uint64_t page_of(uint64_t at)
{
	return (at - (uintptr_t)area) / PAGE;
}

static void check_bytes(uint64_t first, uint64_t nr)
{
	ck_assert(!memcmp(area + first * PAGE, bytes + first * PAGE, nr * PAGE));
}

static bool is_there(uint64_t page)
{
	unsigned char present;

	ck_assert_int_eq(mincore(area + page * PAGE, PAGE, &present), 0);
	return present & 1;
}

static struct lz_copy copy_of(uint64_t first, uint64_t nr, const uint8_t *from)
{
	return (struct lz_copy){ .fd = uffd,
				 .dst = pages(first, nr),
				 .src = from,
				 .space = 7,
				 .req = (uint32_t)(first / SLICE_PAGES) };
}

static bool give(uint64_t first, uint64_t nr, const uint8_t *from)
{
	struct lz_copy c = copy_of(first, nr, from);

	return lz_copiers_give(&copiers, &c);
}

/* What was given is what is taken back. */
static bool take(enum lz_copiers_how how, struct lz_copy *c)
{
	if (!lz_copiers_take(&copiers, how, c))
		return false;
	ck_assert_int_eq(c->fd, uffd);
	ck_assert_uint_eq(c->space, 7);
	ck_assert_uint_eq(page_of(c->dst.start) / SLICE_PAGES, c->req);
	return true;
}

static void drop_all(void)
{
	ck_assert_int_eq(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
}

/* One slice after the other; *given: how many found room. Those that did not are copied here. */
static void copy_all(unsigned *given)
{
	struct lz_copy c;

	for (uint64_t n = 0; n < PAGES; n += SLICE_PAGES) {
		if (give(n, SLICE_PAGES, bytes + n * PAGE))
			++*given;
		else
			ck_assert_int_eq(
				lz_uffd_copy(uffd, pages(n, SLICE_PAGES), bytes + n * PAGE),
				SLICE_PAGES * PAGE);
		while (take(LZ_COPIERS_ENDED, &c))
			ck_assert_int_eq(c.res, SLICE_PAGES * PAGE);
	}
	while (take(LZ_COPIERS_WAIT, &c))
		ck_assert_int_eq(c.res, SLICE_PAGES * PAGE);
	ck_assert_uint_eq(copiers.nr_given, 0);
}

/* @_i: copiers. */
START_TEST(all_is_placed)
{
	unsigned given = 0;

	set_up(0, (unsigned)_i);
	for (int round = 0; round < ROUNDS; round++) {
		drop_all();
		copy_all(&given);
		check_bytes(0, PAGES);
	}
	ck_assert_int_eq(given > 0, _i > 0);
	tear_down();
}
END_TEST

/* What has ended keeps its room until it is taken back. */
START_TEST(there_is_room_for_so_many)
{
	const unsigned room = (unsigned)_i * LZ_COPIERS_GIVEN;
	struct lz_copy c;
	unsigned nr = 0;

	set_up(0, (unsigned)_i);
	for (uint64_t n = 0; n < room; n++)
		ck_assert(give(n * SLICE_PAGES, SLICE_PAGES, bytes + n * SLICE_PAGES * PAGE));
	ck_assert(!give(room * SLICE_PAGES, SLICE_PAGES, bytes));
	ck_assert(take(LZ_COPIERS_WAIT, &c));
	ck_assert(give(room * SLICE_PAGES, SLICE_PAGES, bytes + room * SLICE_PAGES * PAGE));
	for (; take(LZ_COPIERS_WAIT, &c); nr++)
		ck_assert_int_eq(c.res, SLICE_PAGES * PAGE);
	ck_assert_uint_eq(nr, room);
	check_bytes(0, (room + 1) * SLICE_PAGES);
	tear_down();
}
END_TEST

/* Nobody is woken for a page, nor for two; but for many in a row somebody is. */
START_TEST(a_short_one_wakes_nobody)
{
	struct lz_copy c;

	set_up(0, LZ_COPIERS_MAX);
	while (give(0, 1, bytes)) { /* somebody is awake */
		ck_assert(take(LZ_COPIERS_WAIT, &c));
		sched_yield();
	}
	ck_assert(!take(LZ_COPIERS_WAIT, &c));
	for (unsigned n = 0; n < LZ_COPIERS_SHORT; n++)
		ck_assert(!give(1, 1, bytes + PAGE));
	ck_assert(give(1, 1, bytes + PAGE));
	ck_assert(take(LZ_COPIERS_WAIT, &c));
	check_bytes(1, 1);
	tear_down();
}
END_TEST

/* Of what is called off nothing is placed, and what has been begun is told. */
START_TEST(what_nobody_has_begun_is_called_off)
{
	unsigned called_off = 0, done = 0;
	struct lz_copy c;

	set_up(0, (unsigned)_i);
	while (!called_off || !done) {
		drop_all();
		for (uint64_t n = 0; n < LZ_COPIERS_GIVEN; n++)
			ck_assert(
				give(n * SLICE_PAGES, SLICE_PAGES, bytes + n * SLICE_PAGES * PAGE));
		sched_yield();
		while (take(LZ_COPIERS_CANCEL, &c)) {
			uint64_t first = page_of(c.dst.start);

			if (c.res == LZ_COPY_CANCELLED) {
				called_off++;
				ck_assert(!is_there(first) && !is_there(first + SLICE_PAGES - 1));
				continue;
			}
			done++;
			ck_assert_int_eq(c.res, SLICE_PAGES * PAGE);
			check_bytes(first, SLICE_PAGES);
		}
	}
	tear_down();
}
END_TEST

/* Each ends at what somebody else has placed there. */
START_TEST(each_ends_at_what_is_there)
{
	static const uint8_t zero[PAGE];
	struct lz_copy c;

	set_up(0, 1);
	for (uint64_t k = 0; k < SLICE_PAGES; k++) {
		drop_all();
		ck_assert_int_eq(lz_uffd_copy(uffd, pages(k, 1), zero), PAGE);
		ck_assert(give(0, SLICE_PAGES, bytes));
		ck_assert(take(LZ_COPIERS_WAIT, &c));
		ck_assert_int_eq(c.res, k ? (int64_t)k * PAGE : -EEXIST);
		check_bytes(0, k);
		ck_assert_uint_eq(area[k * PAGE], 0);
		for (uint64_t i = k + 1; i < SLICE_PAGES; i++)
			ck_assert(!is_there(i));
	}
	tear_down();
}
END_TEST

/* The last page of the bytes is gone: who needs it is told so, and nobody is sent a SIGBUS. */
START_TEST(bytes_that_are_gone)
{
	int fd = memfd_create("bytes", MFD_CLOEXEC);
	struct lz_copy c;
	uint8_t *from;

	set_up(0, 1);
	ck_assert_int_eq(ftruncate(fd, SLICE_PAGES * PAGE), 0);
	ck_assert_int_eq(pwrite(fd, bytes, SLICE_PAGES * PAGE, 0), SLICE_PAGES * PAGE);
	from = mmap(NULL, SLICE_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(from, MAP_FAILED);
	ck_assert_int_eq(ftruncate(fd, (SLICE_PAGES - 1) * PAGE), 0);
	ck_assert(give(0, SLICE_PAGES, from));
	ck_assert(take(LZ_COPIERS_WAIT, &c));
	ck_assert_int_eq(c.res, (SLICE_PAGES - 1) * PAGE);
	check_bytes(0, SLICE_PAGES - 1);
	ck_assert(!is_there(SLICE_PAGES - 1));
	munmap(from, SLICE_PAGES * PAGE);
	close(fd);
	tear_down();
}
END_TEST

static unsigned long long blocked_by(const char *tid)
{
	unsigned long long blocked = 0;
	char path[300], line[256];
	bool found = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		found = found || !strcmp(line, "Name:\tlazyd-copier\n");
		if (found)
			(void)sscanf(line, "SigBlk: %llx", &blocked);
	}
	if (f)
		(void)fclose(f);
	return blocked;
}

/* A program's signal handlers run on its own threads. */
START_TEST(copiers_take_no_signal)
{
	unsigned long long blocked = 0;
	struct dirent *d;
	sigset_t mine;
	DIR *dir;

	set_up(0, 1);
	/* It has its name once it has run. */
	while (!blocked) {
		dir = opendir("/proc/self/task");
		ck_assert_ptr_nonnull(dir);
		while ((d = readdir(dir)))
			blocked |= blocked_by(d->d_name);
		(void)closedir(dir);
	}
	ck_assert(blocked & 1ULL << (SIGTERM - 1));
	ck_assert(blocked & 1ULL << (SIGCHLD - 1));
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	ck_assert(!sigismember(&mine, SIGTERM));
	tear_down();
}
END_TEST

/* ---- a storm ---- */

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
	Suite *s = suite_create("copiers");
	TCase *t = tcase_create("copiers"), *storm = tcase_create("storm");
	int fd = fds_uffd(UFFD_FEATURE_EVENT_REMOVE);

	if (fd < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(-fd));
		return 77;
	}
	close(fd);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, all_is_placed, 0, LZ_COPIERS_MAX + 1);
	tcase_add_loop_test(t, there_is_room_for_so_many, 1, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, a_short_one_wakes_nobody);
	tcase_add_loop_test(t, what_nobody_has_begun_is_called_off, 1, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, each_ends_at_what_is_there);
	tcase_add_test(t, bytes_that_are_gone);
	tcase_add_test(t, copiers_take_no_signal);
	suite_add_tcase(s, t);
	tcase_set_timeout(storm, 120);
	tcase_add_loop_test(storm, others_do_what_they_like, 0, LZ_COPIERS_MAX + 1);
	suite_add_tcase(s, storm);
	return run_suite(s);
}
