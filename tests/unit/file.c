/* SPDX-License-Identifier: MIT */
/*
 * Files as page sources, on files in memory: what is read, what ends a read, what counts as
 * resident, and that the mapping stays small. What changes meanwhile is in file_changed.c, what
 * needs a disk in file_cold.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file_world.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum { PAGES = 768, BYTES = PAGES * PAGE, MIB = 1 << 20 };
static const uint64_t TIB = 1ULL << 40;

static void setup(void)
{
	world_open_memory(BYTES);
}

/* Another file in the fixture's place. */
static void reopen(int other, uint64_t size)
{
	source->ops->close(source);
	close(fd);
	fd = other;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(lz_file_open(&source, fd, size, NULL), 0);
}

START_TEST(reads)
{
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	ck_assert_mem_eq(to, bytes, BYTES);
	ck_assert_int_eq(read_all(5 * PAGE, PAGE), PAGE);
	ck_assert_mem_eq(to, bytes + 5 * PAGE, PAGE);
}
END_TEST

START_TEST(ends_where_the_file_ends)
{
	ck_assert_int_eq(read_all(BYTES - PAGE, 4 * PAGE), PAGE);
	ck_assert_mem_eq(to, bytes + BYTES - PAGE, PAGE);
	ck_assert_int_eq(read_all(BYTES, PAGE), 0);
	ck_assert_int_eq(read_all(BYTES + TIB, PAGE), 0);
	ck_assert(!resident(BYTES - PAGE, 2 * PAGE));
	ck_assert(!resident(BYTES, PAGE));
	ck_assert_ptr_null(at(BYTES - PAGE, 2 * PAGE));
	ck_assert_ptr_null(at(UINT64_MAX - PAGE + 1, PAGE));
	ck_assert(!resident(UINT64_MAX - PAGE + 1, PAGE));
}
END_TEST

/* -1 is the descriptor's own position to io_uring: it must not get there. */
START_TEST(offsets_are_never_positions)
{
	struct lz_source_read r = { .source = source, .to = to, .len = PAGE };

	r.offset = UINT64_MAX;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), -EINVAL);
	r.offset = (uint64_t)INT64_MAX + 1;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), -EINVAL);
}
END_TEST

START_TEST(says_what_is_resident)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	const void *p = at(7 * PAGE, PAGE);

	ck_assert(resident(0, BYTES));
	ck_assert_ptr_nonnull(p);
	ck_assert_mem_eq(p, bytes + 7 * PAGE, PAGE);
	ck_assert_int_eq(fallocate(fd, punch, 300 * PAGE, PAGE), 0);
	ck_assert(!resident(0, BYTES));
	ck_assert(!resident(300 * PAGE, PAGE));
	ck_assert(!resident(300 * PAGE + 5, 10));
	ck_assert(resident(0, 300 * PAGE));
	ck_assert(resident(301 * PAGE, BYTES - 301 * PAGE));
	ck_assert(resident(301 * PAGE, 1));
	ck_assert(!resident(301 * PAGE - 1, 2));
	/* A hole has bytes all the same. */
	ck_assert_int_eq(read_all(299 * PAGE, 3 * PAGE), 3 * PAGE);
	ck_assert_mem_eq(to, bytes + 299 * PAGE, PAGE);
	for (int i = 0; i < PAGE; i++)
		ck_assert_uint_eq(to[PAGE + i], 0);
	ck_assert_mem_eq(to + 2 * PAGE, bytes + 301 * PAGE, PAGE);
}
END_TEST

/* @_i pages at a time, where one answer looks ahead for the next. */
START_TEST(says_so_in_sequence)
{
	static const uint64_t hole[] = { 0, 1, 63, 64, 65, 128, 300, 301, 302, 500, 511, 767 };
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	const uint64_t step = (uint64_t)_i * PAGE;

	for (size_t i = 0; i < sizeof(hole) / sizeof(hole[0]); i++) {
		ck_assert_int_eq(fallocate(fd, punch, (off_t)hole[i] * PAGE, PAGE), 0);
	}
	for (uint64_t offset = 0; offset + step <= BYTES; offset += step) {
		bool whole = true;

		for (size_t i = 0; i < sizeof(hole) / sizeof(hole[0]); i++)
			if (hole[i] * PAGE >= offset && hole[i] * PAGE < offset + step)
				whole = false;
		ck_assert_int_eq(source->ops->resident(source, offset, step), whole);
	}
}
END_TEST

/* What is cut off is neither zero nor a signal. */
START_TEST(shrinks_under_us)
{
	const void *last = at(3 * PAGE, PAGE);
	int p[2];

	ck_assert(resident(0, 4 * PAGE));
	ck_assert_int_eq(ftruncate(fd, PAGE + 100), 0);
	ck_assert(resident(0, PAGE));
	ck_assert(!resident(PAGE, PAGE));
	ck_assert(resident(PAGE, 100));
	ck_assert(!resident(3 * PAGE, PAGE));
	ck_assert_int_eq(read_all(0, 4 * PAGE), PAGE + 100);
	ck_assert_int_eq(read_all(3 * PAGE, PAGE), 0);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], last, PAGE), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(write(p[1], at(3 * PAGE, PAGE), PAGE), -1);
	ck_assert_int_eq(errno, EFAULT);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(ends_within_a_page)
{
	ck_assert_int_eq(ftruncate(fd, 5000), 0);
	reopen(dup(fd), 5000);
	ck_assert(resident(0, 5000));
	ck_assert(!resident(0, 2 * PAGE));
	ck_assert_ptr_nonnull(at(PAGE, 5000 - PAGE));
	ck_assert_ptr_null(at(PAGE, PAGE));
	ck_assert_int_eq(read_all(PAGE, PAGE), 5000 - PAGE);
	ck_assert_mem_eq(to, bytes + PAGE, 5000 - PAGE);
}
END_TEST

START_TEST(is_empty)
{
	reopen(memfd_create("empty", 0), 0);
	ck_assert(!resident(0, PAGE));
	ck_assert_ptr_null(at(0, PAGE));
	ck_assert_ptr_null(at(0, 0));
	ck_assert_int_eq(read_all(0, PAGE), 0);
}
END_TEST

START_TEST(is_huge)
{
	uint64_t offset = 3 * TIB - PAGE;
	int huge = memfd_create("huge", 0);

	ck_assert_int_eq(ftruncate(huge, (off_t)(3 * TIB)), 0);
	ck_assert_int_eq(pwrite(huge, bytes, PAGE, (off_t)offset), PAGE);
	reopen(huge, 3 * TIB);
	ck_assert(resident(offset, PAGE));
	ck_assert(!resident(0, PAGE));
	ck_assert_mem_eq(at(offset, PAGE), bytes, PAGE);
	ck_assert_int_eq(read_all(offset, PAGE), PAGE);
	ck_assert_mem_eq(to, bytes, PAGE);
}
END_TEST

/* A file without mmap, and with a size of its own opinion. */
START_TEST(is_a_memory)
{
	uint64_t here = (uintptr_t)bytes & ~(PAGE - 1ULL);

	reopen(open("/proc/self/mem", O_RDONLY), 1ULL << 47);
	ck_assert(!resident(here, PAGE));
	ck_assert_ptr_null(at(here, PAGE));
	ck_assert_int_eq(read_all((uintptr_t)bytes, BYTES), BYTES);
	ck_assert_mem_eq(to, bytes, BYTES);
	ck_assert_int_eq(read_all(0, PAGE), -EIO);
}
END_TEST

START_TEST(is_no_file)
{
	struct lz_source *s;
	int p[2], dir = open(".", O_RDONLY | O_DIRECTORY);

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(lz_file_open(&s, p[0], 4096, NULL), -EINVAL);
	ck_assert_int_eq(lz_file_open(&s, dir, 4096, NULL), -EINVAL);
	ck_assert_int_eq(lz_file_open(&s, -1, 4096, NULL), -EBADF);
	ck_assert_int_eq(lz_file_open(&s, fd, UINT64_MAX, NULL), -EINVAL);
	close(p[0]);
	close(p[1]);
	close(dir);
}
END_TEST

/* @_i: bytes asked for at once, as a shift. */
START_TEST(maps_little)
{
	const uint64_t size = 21 * (uint64_t)BYTES; /* 63 MiB */
	const size_t step = (size_t)1 << _i;
	int big = memfd_create("big", 0);
	uint64_t before, most = 0;

	for (uint64_t n = 0; n < size; n += BYTES)
		ck_assert_int_eq(write(big, bytes, BYTES), BYTES);
	reopen(big, size);
	before = scratch_mapped_bytes();
	for (uint64_t offset = 0; offset < size; offset += step) {
		const uint8_t *p;

		ck_assert(source->ops->resident(source, offset, step));
		p = at(offset, step);
		ck_assert_ptr_nonnull(p);
		for (size_t i = 0; i < step; i += PAGE)
			ck_assert_uint_eq(p[i], bytes[(offset + i) % BYTES]);
		if (offset % MIB == 0) {
			uint64_t now = scratch_mapped_bytes();

			most = now - before > most ? now - before : most;
		}
	}
	/* How much depends on the clock: what is mapped is asked about again at each tick. */
	ck_assert_uint_gt(most, MIB);
	ck_assert_uint_le(most, 20 * MIB);
}
END_TEST

/* ---- when a read goes on and when it has ended, on a source that only counts ---- */

static int begun, begin_says;

static int count_begin(struct lz_source *s, struct lz_ring *unused, struct lz_source_read *r)
{
	(void)s;
	(void)unused;
	(void)r;
	begun++;
	return begin_says;
}

static const struct lz_source_ops count_ops = { .begin = count_begin };
static struct lz_source counting = { .ops = &count_ops };

START_TEST(goes_on_after_a_short_read)
{
	struct lz_source_read r = { .source = &counting, .len = 100 };
	int64_t result = 7;

	ck_assert(!lz_source_completed(&r, NULL, 30, &result));
	ck_assert_uint_eq(r.have, 30);
	ck_assert_int_eq(begun, 1);
	ck_assert(!lz_source_completed(&r, NULL, 60, &result));
	ck_assert_int_eq(begun, 2);
	ck_assert_int_eq(result, 7);
	ck_assert(lz_source_completed(&r, NULL, 10, &result));
	ck_assert_int_eq(begun, 2);
	ck_assert_int_eq(result, 100);
}
END_TEST

START_TEST(goes_on_after_an_interruption_but_not_for_ever)
{
	struct lz_source_read r = { .source = &counting, .len = 1000 };
	int64_t result;
	int n = 0;

	for (int i = 0; i < 100; i++) {
		ck_assert(!lz_source_completed(&r, NULL, i % 2 ? -EINTR : 1, &result));
		ck_assert_int_eq(begun, i + 1);
	}
	while (!lz_source_completed(&r, NULL, -EAGAIN, &result))
		ck_assert_int_lt(++n, 100);
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(result, -EAGAIN);
}
END_TEST

START_TEST(ends_with_what_went_wrong)
{
	struct lz_source_read r = { .source = &counting, .len = 100 };
	int64_t result;

	ck_assert(lz_source_completed(&r, NULL, -EIO, &result));
	ck_assert_int_eq(result, -EIO);
	ck_assert_int_eq(begun, 0);
	begin_says = -EBUSY;
	ck_assert(lz_source_completed(&r, NULL, 50, &result));
	ck_assert_int_eq(result, -EBUSY);
	begin_says = 0;
	ck_assert(lz_source_completed(&r, NULL, 0, &result));
	ck_assert_int_eq(result, 50);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("file");
	TCase *f = tcase_create("file"), *c = tcase_create("completed");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(f, setup, teardown);
	tcase_add_test(f, reads);
	tcase_add_test(f, ends_where_the_file_ends);
	tcase_add_test(f, offsets_are_never_positions);
	tcase_add_test(f, says_what_is_resident);
	tcase_add_loop_test(f, says_so_in_sequence, 1, 20);
	tcase_add_test(f, shrinks_under_us);
	tcase_add_test(f, ends_within_a_page);
	tcase_add_test(f, is_empty);
	tcase_add_test(f, is_huge);
	tcase_add_test(f, is_a_memory);
	tcase_add_test(f, is_no_file);
	tcase_add_loop_test(f, maps_little, 12, 18);
	suite_add_tcase(s, f);
	tcase_add_test(c, goes_on_after_a_short_read);
	tcase_add_test(c, goes_on_after_an_interruption_but_not_for_ever);
	tcase_add_test(c, ends_with_what_went_wrong);
	suite_add_tcase(s, c);
	return run_suite(s);
}
