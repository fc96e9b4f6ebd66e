/* SPDX-License-Identifier: MIT */
/*
 * One COPY by several threads, with the real kernel: whatever comes of each part is told exactly, and
 * others who fill, drop and split the same memory meanwhile change no byte of it.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "uffd/copiers.h"
#include "uffd/uffd.h"

enum { PAGE = 4096, SLICE_PAGES = 16, PAGES = 512, ROUNDS = 8 };

static struct lz_copiers copiers;
static struct lz_copied part[LZ_COPIERS_MAX + 1];
static uint8_t *area, *bytes;
static int uffd = -1;

static int uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

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

	uffd = uffd_open(features);
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

static unsigned copy(uint64_t first, uint64_t nr, const uint8_t *from)
{
	struct lz_range dst = pages(first, nr);
	uint64_t at = dst.start;
	unsigned n = lz_copiers_copy(&copiers, uffd, dst, from, PAGE, part);

	ck_assert_uint_ge(n, 1);
	ck_assert_uint_le(n, copiers.nr + 1);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_uint_eq(part[i].dst.start, at);
		ck_assert_uint_gt(part[i].dst.end, at);
		ck_assert_uint_eq(part[i].dst.end % PAGE, 0);
		at = part[i].dst.end;
	}
	ck_assert_uint_eq(at, dst.end);
	return n;
}

/* Slices of the memory, each given back first, until all copiers have had a part of one. */
static uint64_t shared_slice(void)
{
	for (uint64_t n = 0;; n = (n + SLICE_PAGES) % PAGES) {
		ck_assert_int_eq(madvise(area + n * PAGE, SLICE_PAGES * PAGE, MADV_DONTNEED), 0);
		if (copy(n, SLICE_PAGES, bytes + n * PAGE) == copiers.nr + 1)
			return n;
		sched_yield();
	}
}

/* @_i: copiers. */
START_TEST(all_is_placed)
{
	uint64_t n;

	set_up(0, (unsigned)_i);
	n = shared_slice();
	for (int i = 0; i <= _i; i++)
		ck_assert_int_eq(part[i].res, (int64_t)lz_range_len(part[i].dst));
	check_bytes(n, SLICE_PAGES);
	for (uint64_t nr = 1; nr <= SLICE_PAGES; nr++) {
		uint64_t first = nr * SLICE_PAGES + 3;

		(void)madvise(area + first * PAGE, nr * PAGE, MADV_DONTNEED);
		(void)copy(first, nr, bytes + first * PAGE);
		check_bytes(first, nr);
	}
	tear_down();
}
END_TEST

START_TEST(a_short_range_is_nobody_elses)
{
	set_up(0, LZ_COPIERS_MAX);
	(void)shared_slice();
	for (uint64_t n = 1; n < LZ_COPIERS_BYTES / PAGE; n++) {
		(void)madvise(area, n * PAGE, MADV_DONTNEED);
		ck_assert_uint_eq(copy(0, n, bytes), 1);
		check_bytes(0, n);
	}
	tear_down();
}
END_TEST

/* A part ends at what somebody else has placed there; the others do not know of it. */
static void check_met(uint64_t page, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		uint64_t first = page_of(part[i].dst.start), end = page_of(part[i].dst.end);
		int64_t whole = (int64_t)lz_range_len(part[i].dst);

		if (page < first || page >= end) {
			ck_assert_int_eq(part[i].res, whole);
			check_bytes(first, end - first);
			continue;
		}
		ck_assert_int_eq(part[i].res,
				 page == first ? -EEXIST : (int64_t)((page - first) * PAGE));
		check_bytes(first, page - first);
		for (uint64_t k = page + 1; k < end; k++)
			ck_assert(!is_there(k));
	}
	ck_assert_uint_eq(area[page * PAGE], 0);
}

START_TEST(each_part_ends_at_what_is_there)
{
	static const uint8_t zero[PAGE];

	set_up(0, (unsigned)_i);
	for (uint64_t k = 0; k < SLICE_PAGES; k++) {
		unsigned nr;

		do {
			(void)shared_slice();
			(void)madvise(area, SLICE_PAGES * PAGE, MADV_DONTNEED);
			ck_assert_int_eq(lz_uffd_copy(uffd, pages(k, 1), zero), PAGE);
			nr = copy(0, SLICE_PAGES, bytes);
			check_met(k, nr);
		} while (nr <= (unsigned)_i);
	}
	tear_down();
}
END_TEST

/* The last page of the bytes is gone: a part that needs it says so, and nobody is sent a SIGBUS. */
START_TEST(bytes_that_are_gone)
{
	int fd = memfd_create("bytes", MFD_CLOEXEC);
	uint8_t *from;
	unsigned nr;

	set_up(0, 1);
	ck_assert_int_eq(ftruncate(fd, SLICE_PAGES * PAGE), 0);
	ck_assert_int_eq(pwrite(fd, bytes, SLICE_PAGES * PAGE, 0), SLICE_PAGES * PAGE);
	from = mmap(NULL, SLICE_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(from, MAP_FAILED);
	ck_assert_int_eq(ftruncate(fd, (SLICE_PAGES - 1) * PAGE), 0);
	do {
		(void)shared_slice();
		(void)madvise(area, SLICE_PAGES * PAGE, MADV_DONTNEED);
		nr = copy(0, SLICE_PAGES, from);
	} while (nr < 2);
	ck_assert_int_eq(part[0].res, SLICE_PAGES / 2 * PAGE);
	ck_assert_int_eq(part[1].res, (SLICE_PAGES / 2 - 1) * PAGE);
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

enum { WHOLE, PARTIAL, EXISTS, AGAIN, SPLIT, OUTCOMES };
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

/* What an engine makes of one part; false: it has not got to its end. *done: pages that are settled. */
static bool take(const struct lz_copied *p, uint64_t *done, uint64_t *most)
{
	*most = SLICE_PAGES;
	if (p->res > 0) {
		ck_assert_int_eq(p->res % PAGE, 0);
		ck_assert_uint_le((uint64_t)p->res, lz_range_len(p->dst));
		*done += (uint64_t)p->res / PAGE;
		seen[(uint64_t)p->res == lz_range_len(p->dst) ? WHOLE : PARTIAL]++;
		return (uint64_t)p->res == lz_range_len(p->dst);
	}
	ck_assert(p->res == -EEXIST || p->res == -EAGAIN || p->res == -ENOENT);
	*done += p->res == -EEXIST;
	if (p->res == -ENOENT)
		*most = 1;
	seen[p->res == -EEXIST ? EXISTS : p->res == -EAGAIN ? AGAIN : SPLIT]++;
	return false;
}

static void fill(uint64_t first)
{
	uint64_t done = 0, most = SLICE_PAGES;

	while (done < SLICE_PAGES) {
		uint64_t at = first + done, left = SLICE_PAGES - done;
		unsigned nr = copy(at, left < most ? left : most, bytes + at * PAGE);

		for (unsigned i = 0; i < nr && take(&part[i], &done, &most); i++)
			;
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
			     !seen[AGAIN] || !seen[SPLIT];
	     n++)
		for (uint64_t first = 0; first < PAGES; first += SLICE_PAGES)
			fill(first);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		while (pthread_tryjoin_np(thread[i], NULL))
			read_events();
	for (uint64_t first = 0; first < PAGES; first += SLICE_PAGES)
		fill(first);
	check_bytes(0, PAGES);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("copiers");
	TCase *t = tcase_create("copiers"), *storm = tcase_create("storm");
	int fd = uffd_open(UFFD_FEATURE_EVENT_REMOVE);

	if (fd < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(-fd));
		return 77;
	}
	close(fd);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, all_is_placed, 0, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, a_short_range_is_nobody_elses);
	tcase_add_loop_test(t, each_part_ends_at_what_is_there, 0, LZ_COPIERS_MAX + 1);
	tcase_add_test(t, bytes_that_are_gone);
	tcase_add_test(t, copiers_take_no_signal);
	suite_add_tcase(s, t);
	tcase_set_timeout(storm, 120);
	tcase_add_loop_test(storm, others_do_what_they_like, 0, LZ_COPIERS_MAX + 1);
	suite_add_tcase(s, storm);
	return run_suite(s);
}
