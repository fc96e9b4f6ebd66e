/* SPDX-License-Identifier: MIT */
/*
 * Files as page sources, on files in memory: what is read, what ends a read, what counts as
 * resident, and that the mapping stays small. What needs a disk is in file_cold.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "iouring/source.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum { PAGE = 4096, PAGES = 768, BYTES = PAGES * PAGE, MIB = 1 << 20 };
static const uint64_t TIB = 1ULL << 40;

static struct lz_ring ring;
static uint8_t bytes[BYTES], to[BYTES];
static int fd = -1;
static struct lz_source *source;

static void setup(void)
{
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(1 + (i * 31 + i / PAGE) % 255);
	ck_assert_int_eq(lz_ring_open(&ring, 8), 0);
	fd = memfd_create("file", 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, BYTES), BYTES);
	ck_assert_int_eq(lz_file_open(&source, fd, BYTES, NULL), 0);
}

static void teardown(void)
{
	source->ops->close(source);
	close(fd);
	lz_ring_close(&ring);
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

static int64_t read_all(uint64_t offset, size_t len)
{
	struct lz_source_read r = {
		.source = source, .offset = offset, .to = to, .len = len, .request = 3
	};
	struct lz_completion c;
	int64_t result;

	memset(to, 0, len);
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), 0);
	for (;;) {
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		if (!lz_ring_reap(&ring, &c, 1))
			continue;
		ck_assert_uint_eq(c.tag.kind, LZ_TAG_READ);
		ck_assert_uint_eq(c.tag.id, 3);
		if (lz_source_completed(&r, &ring, c.res, &result))
			return result;
	}
}

static int64_t tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Asks anew: an answer is good for the clock's tick that it was given in. */
static bool resident(uint64_t offset, size_t len)
{
	int64_t before = tick();

	while (tick() == before)
		continue;
	return source->ops->resident(source, offset, len);
}

static const void *at(uint64_t offset, size_t len)
{
	return source->ops->at(source, offset, len);
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

/* ---- files that change under us ---- */

static struct lz_file_look look(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (struct lz_file_look){ st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
				      (uint64_t)st.st_blocks };
}

/* From here on the file is to stay as it is. */
static void watch(void)
{
	struct lz_file_look as = look();

	source->ops->close(source);
	ck_assert_int_eq(lz_file_open(&source, fd, BYTES, &as), 0);
}

/* Until the change shows: stamps of some kernels are no finer than the clock's tick. */
static void change(int (*how)(void))
{
	int64_t was = look().mtime_ns, before;

	do
		ck_assert_int_eq(how(), 0);
	while (look().mtime_ns == was);
	before = tick();
	while (tick() == before)
		continue;
}

static int write_a_byte(void)
{
	return pwrite(fd, "x", 1, 9 * PAGE) == 1 ? 0 : -1;
}

static int copy_over(void)
{
	return ftruncate(fd, 0) || pwrite(fd, bytes, BYTES, 0) != BYTES;
}

static int punch(void)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 300 * PAGE, PAGE);
}

static int begin(uint64_t offset, size_t len)
{
	struct lz_source_read r = { .source = source, .offset = offset, .to = to, .len = len };

	return source->ops->begin(source, &ring, &r);
}

static void nothing_is_given(void)
{
	ck_assert_int_eq(begin(0, PAGE), -ESTALE);
	ck_assert(!source->ops->read_now(source, 0, to, PAGE));
	ck_assert(!resident(0, PAGE));
	ck_assert_ptr_null(at(0, PAGE));
	ck_assert(source->ops->has_changed(source));
}

START_TEST(stays_as_it_is)
{
	watch();
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	ck_assert(resident(0, BYTES));
	ck_assert_ptr_nonnull(at(0, PAGE));
	ck_assert(!source->ops->has_changed(source));
}
END_TEST

START_TEST(is_written_to)
{
	watch();
	change(write_a_byte);
	nothing_is_given();
}
END_TEST

/* As long as before again, with the same bytes even, but nobody can know that. */
START_TEST(is_copied_over)
{
	watch();
	change(copy_over);
	nothing_is_given();
}
END_TEST

/* Noticed while nobody asks: when all has been had. */
START_TEST(is_written_to_at_last)
{
	watch();
	ck_assert_int_eq(read_all(0, BYTES), BYTES);
	change(write_a_byte);
	ck_assert(source->ops->has_changed(source));
}
END_TEST

/* Begun before and ended after: some of the bytes may be new. */
START_TEST(is_written_to_while_it_is_read)
{
	struct lz_source_read r = { .source = source, .to = to, .len = 2 * PAGE, .request = 3 };
	struct lz_completion c;
	int64_t result;

	watch();
	r.source = source;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), 0);
	change(write_a_byte);
	do
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
	while (!lz_ring_reap(&ring, &c, 1));
	ck_assert(lz_source_completed(&r, &ring, c.res, &result));
	ck_assert_int_eq(result, -ESTALE);
	ck_assert_uint_eq(r.have, 0);
}
END_TEST

/* As CRIU's --auto-dedup does: what is not in the hole is still good. */
START_TEST(gets_holes)
{
	watch();
	change(punch);
	ck_assert_int_eq(read_all(0, 300 * PAGE), 300 * PAGE);
	ck_assert_mem_eq(to, bytes, 300 * PAGE);
	ck_assert_int_eq(begin(299 * PAGE, 2 * PAGE), -ENODATA);
	ck_assert_int_eq(begin(300 * PAGE, PAGE), -ENODATA);
	ck_assert_int_eq(read_all(301 * PAGE, PAGE), PAGE);
	ck_assert_int_eq(read_all(BYTES - PAGE, 2 * PAGE), PAGE);
	ck_assert(!source->ops->read_now(source, 0, to, PAGE));
	ck_assert(!resident(0, PAGE));
	ck_assert_ptr_null(at(0, PAGE));
	ck_assert(!source->ops->has_changed(source));
	change(write_a_byte);
	nothing_is_given();
}
END_TEST

/* Where there were holes before nobody can tell which are new. */
START_TEST(gets_more_holes)
{
	change(punch);
	watch();
	change(punch);
	nothing_is_given();
}
END_TEST

/* Its owner has said that it may. */
START_TEST(may_change)
{
	change(write_a_byte);
	ck_assert_int_eq(read_all(9 * PAGE, PAGE), PAGE);
	ck_assert_uint_eq(to[0], 'x');
	ck_assert(!source->ops->has_changed(source));
}
END_TEST

static uint64_t mapped_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long shared = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*u %*u %lu", &shared), 1);
	fclose(f);
	return shared * PAGE;
}

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
	before = mapped_bytes();
	for (uint64_t offset = 0; offset < size; offset += step) {
		const uint8_t *p;

		ck_assert(source->ops->resident(source, offset, step));
		p = at(offset, step);
		ck_assert_ptr_nonnull(p);
		for (size_t i = 0; i < step; i += PAGE)
			ck_assert_uint_eq(p[i], bytes[(offset + i) % BYTES]);
		if (offset % MIB == 0) {
			uint64_t now = mapped_bytes();

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
	tcase_add_test(f, stays_as_it_is);
	tcase_add_test(f, is_written_to);
	tcase_add_test(f, is_copied_over);
	tcase_add_test(f, is_written_to_at_last);
	tcase_add_test(f, is_written_to_while_it_is_read);
	tcase_add_test(f, gets_holes);
	tcase_add_test(f, gets_more_holes);
	tcase_add_test(f, may_change);
	tcase_add_loop_test(f, maps_little, 12, 18);
	suite_add_tcase(s, f);
	tcase_add_test(c, goes_on_after_a_short_read);
	tcase_add_test(c, goes_on_after_an_interruption_but_not_for_ever);
	tcase_add_test(c, ends_with_what_went_wrong);
	suite_add_tcase(s, c);
	return run_suite(s);
}
