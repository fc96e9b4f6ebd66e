/* SPDX-License-Identifier: MIT */
/*
 * COPYs by several threads, with the real kernel: whatever comes of each is told exactly. What
 * others do to the same memory meanwhile is in copiers_storm.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "copiers_area.h"
#include "tests/lib/suite.h"

static bool is_there(uint64_t page)
{
	unsigned char present;

	ck_assert_int_eq(mincore(area + page * PAGE, PAGE, &present), 0);
	return present & 1;
}

static bool give(uint64_t first, uint64_t nr, const uint8_t *from)
{
	struct lz_copy c = copy_of(first, nr, from);

	return lz_copiers_give(&copiers, &c);
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

int main(void)
{
	Suite *s = suite_create("copiers");
	TCase *t = tcase_create("copiers");

	if (!has_uffd())
		return 77;
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, all_is_placed, 0, LZ_COPIERS_MAX + 1);
	tcase_add_loop_test(t, there_is_room_for_so_many, 1, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, a_short_one_wakes_nobody);
	tcase_add_loop_test(t, what_nobody_has_begun_is_called_off, 1, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, each_ends_at_what_is_there);
	tcase_add_test(t, bytes_that_are_gone);
	tcase_add_test(t, copiers_take_no_signal);
	suite_add_tcase(s, t);
	return run_suite(s);
}
