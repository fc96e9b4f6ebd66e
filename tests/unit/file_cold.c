/* SPDX-License-Identifier: MIT */
/*
 * Files as page sources where the page cache is not all there is: on a disk, and behind a mincore()
 * that does not say. A program of its own because the working directory may be on a filesystem that
 * cannot forget a page.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "file_world.h"
#include "tests/lib/suite.h"

enum { BYTES = LARGEST };

/*
 * The page cache is the kernel's: where DAMON pages out what looks unused, what was just read may
 * go, and what it is about to take is held, so that nobody else can drop it.
 */
enum { DROP_SECONDS = 10, READS_MAX = 10 };

static bool is_cold(int f)
{
	unsigned char vec[BYTES / PAGE];
	void *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, f, 0);
	bool any = map == MAP_FAILED || mincore(map, BYTES, vec);

	for (size_t i = 0; !any && i < sizeof(vec); i++)
		any = vec[i] & 1;
	if (map != MAP_FAILED)
		munmap(map, BYTES);
	return !any;
}

/* It is advice: a page that somebody holds stays. False where they always do. */
static bool drop(int f)
{
	time_t until = time(NULL) + DROP_SECONDS;

	do {
		(void)posix_fadvise(f, 0, 0, POSIX_FADV_DONTNEED);
		if (is_cold(f))
			return true;
		(void)sched_yield();
	} while (time(NULL) <= until);
	return false;
}

/* A file whose bytes are on a disk and, if that can be had, nowhere else. */
static int cold_file(void)
{
	char name[] = "file_cold-XXXXXX";
	int f = mkstemp(name);

	if (f < 0)
		return -errno;
	unlink(name);
	fill_bytes();
	if (write(f, bytes, BYTES) != BYTES || fsync(f) < 0 ||
	    posix_fadvise(f, 0, 0, POSIX_FADV_RANDOM)) {
		close(f);
		return -EIO;
	}
	(void)drop(f);
	return f;
}

static void setup(void)
{
	int f = cold_file();

	ck_assert(f >= 0 && is_cold(f));
	world_open(f, BYTES);
}

static bool read_in(uint64_t offset, size_t len)
{
	bool is_there = false;

	for (unsigned n = 0; !is_there && n < READS_MAX; n++) {
		ck_assert_int_eq(read_all(offset, len), (int64_t)len);
		ck_assert_mem_eq(to, bytes + offset, len);
		is_there = resident(offset, len);
	}
	return is_there;
}

START_TEST(cold_until_it_was_read)
{
	for (uint64_t offset = 0; offset < BYTES; offset += SLICE)
		ck_assert(!resident(offset, SLICE));
	ck_assert(read_in(8 * SLICE, SLICE));
	ck_assert_mem_eq(source->ops->at(source, 8 * SLICE, SLICE), bytes + 8 * SLICE, SLICE);
	ck_assert(!resident(40 * SLICE, SLICE));
	ck_assert(!resident(8 * SLICE, BYTES - 8 * SLICE));
}
END_TEST

/* True if it had to be begun; it is over then. */
static bool fetch(uint64_t offset, size_t len)
{
	struct lz_tag tag = { .kind = LZ_TAG_FETCH, .id = 5 };
	struct lz_completion c;
	int r = source->ops->fetch(source, &ring, offset, len, tag);

	ck_assert(r == 0 || r == 1);
	while (r) {
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		if (!lz_ring_reap(&ring, &c, 1))
			continue;
		ck_assert_uint_eq(c.tag.kind, LZ_TAG_FETCH);
		ck_assert_uint_eq(c.tag.id, 5);
		return true;
	}
	return false;
}

/* And resident. */
static bool fetch_in(uint64_t offset, size_t len)
{
	bool begun = fetch(offset, len), is_there = resident(offset, len);

	for (unsigned n = 0; !is_there && n < READS_MAX; n++) {
		(void)fetch(offset, len);
		is_there = resident(offset, len);
	}
	return begun && is_there;
}

START_TEST(fetched_it_is_resident)
{
	const void *at;

	ck_assert(fetch_in(8 * SLICE, 8 * SLICE));
	at = source->ops->at(source, 8 * SLICE, 8 * SLICE);
	ck_assert_mem_eq(at, bytes + 8 * SLICE, 8 * SLICE);
	ck_assert(!fetch(8 * SLICE, 8 * SLICE));
	/* And so it is when the mapping has been made anew. */
	while (!source->ops->renews(source))
		for (uint64_t offset = 16 * SLICE; offset < 24 * SLICE; offset += SLICE)
			ck_assert_ptr_nonnull(source->ops->at(source, offset, PAGE));
	ck_assert(source->ops->resident(source, 8 * SLICE, 8 * SLICE));
	ck_assert(!source->ops->renews(source));
	ck_assert(drop(fd));
	ck_assert(fetch_in(0, 4 * SLICE));
	ck_assert(!fetch(BYTES, PAGE));
}
END_TEST

/* So nothing is left for at(), which would count what it maps and have it taken down. */
START_TEST(fetched_it_is_mapped)
{
	ck_assert(fetch(8 * SLICE, 8 * SLICE));
	for (int i = 0; i < 100; i++)
		for (uint64_t offset = 8 * SLICE; offset < 16 * SLICE; offset += SLICE) {
			ck_assert(source->ops->resident(source, offset, SLICE));
			ck_assert_ptr_nonnull(source->ops->at(source, offset, SLICE));
			ck_assert(!source->ops->renews(source));
		}
}
END_TEST

/* What fetch() maps is counted as well. */
START_TEST(fetched_it_counts)
{
	for (unsigned windows = 0; windows <= 240; windows += BYTES / SLICE) {
		void *at;

		ck_assert(!source->ops->renews(source));
		ck_assert(fetch(0, BYTES));
		at = (void *)(uintptr_t)source->ops->at(source, 0, BYTES);
		ck_assert_int_eq(madvise(at, BYTES, MADV_DONTNEED), 0);
		ck_assert(drop(fd));
	}
	ck_assert(source->ops->renews(source));
}
END_TEST

START_TEST(cold_again_when_it_was_dropped)
{
	ck_assert(read_in(0, BYTES));
	ck_assert(drop(fd));
	ck_assert(!resident(0, PAGE));
	ck_assert(!resident(BYTES - PAGE, PAGE));
}
END_TEST

START_TEST(a_hole_is_cold_and_zero)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	ck_assert_int_eq(fallocate(fd, punch, SLICE, SLICE), 0);
	ck_assert(!resident(SLICE, PAGE));
	ck_assert_int_eq(read_all(SLICE, SLICE), SLICE);
	for (int i = 0; i < SLICE; i++)
		ck_assert_uint_eq(to[i], 0);
}
END_TEST

START_TEST(shrinks_under_us)
{
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	ck_assert_int_eq(ftruncate(fd, SLICE + 100), 0);
	ck_assert(resident(0, SLICE) || read_in(0, SLICE));
	ck_assert(!resident(SLICE, PAGE));
	ck_assert(!resident(2 * SLICE, PAGE));
	ck_assert_int_eq(read_all(0, BYTES), SLICE + 100);
}
END_TEST

/*
 * Somebody else's file: mincore() says that everything is resident, even what is dropped or behind
 * the end, so nothing is believed. An ordinary user sees the same for what is root's.
 */
START_TEST(nothing_is_resident_where_mincore_lies)
{
	if (geteuid() != 0) {
		close(fd);
		fd = open("/bin/sh", O_RDONLY);
		ck_assert_int_ge(fd, 0);
	} else {
		ck_assert(read_in(0, SLICE));
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	}
	source->ops->close(source);
	ck_assert_int_eq(lz_file_open(&source, fd, BYTES, NULL), 0);
	ck_assert_int_gt(read_all(0, SLICE), 0);
	ck_assert(!resident(0, PAGE));
	ck_assert(!fetch(0, PAGE));
	ck_assert_ptr_nonnull(source->ops->at(source, 0, SLICE));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("file_cold");
	TCase *t = tcase_create("file_cold");
	int ret = lz_ring_open(&ring, 8), f = cold_file();

	if (ret || f < 0 || !is_cold(f)) {
		printf("skipped: io_uring: %s; a file here: %s; its pages can be dropped: %s\n",
		       ret ? strerror(-ret) : "yes", f < 0 ? strerror(-f) : "yes",
		       f >= 0 && is_cold(f) ? "yes" : "no");
		return 77;
	}
	close(f);
	lz_ring_close(&ring);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, cold_until_it_was_read);
	tcase_add_test(t, fetched_it_is_resident);
	tcase_add_test(t, fetched_it_is_mapped);
	tcase_add_test(t, fetched_it_counts);
	tcase_add_test(t, cold_again_when_it_was_dropped);
	tcase_add_test(t, a_hole_is_cold_and_zero);
	tcase_add_test(t, shrinks_under_us);
	tcase_add_test(t, nothing_is_resident_where_mincore_lies);
	suite_add_tcase(s, t);
	return run_suite(s);
}
