/* SPDX-License-Identifier: MIT */
/*
 * What a file makes ready for single pages where all of it is in the page cache. A program of its
 * own because the working directory may be on a filesystem that cannot read without waiting.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "iouring/source.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

enum { PAGE = 4096, SLICE = 16 * PAGE, MIB = 1 << 20 };

static uint8_t bytes[SLICE], to[PAGE];
static struct lz_source *source;
static int fd = -1;

static int hot_file(uint64_t size)
{
	char name[] = "file_hot-XXXXXX";
	int f = mkstemp(name);

	if (f < 0)
		return -errno;
	unlink(name);
	memset(bytes, 0x5a, sizeof(bytes));
	for (uint64_t n = 0; n < size; n += SLICE)
		if (write(f, bytes, size - n < SLICE ? size - n : SLICE) < 0)
			return -EIO;
	return f;
}

/* @looked_at: how it is now is how it is to stay. */
static void open_source(uint64_t size, bool looked_at)
{
	struct lz_file_look as;
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	as.mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
	as.blocks = (uint64_t)st.st_blocks;
	ck_assert_int_eq(lz_file_open(&source, fd, size, looked_at ? &as : NULL), 0);
}

static void open_hot(uint64_t size, bool looked_at)
{
	fd = hot_file(size);
	ck_assert_int_ge(fd, 0);
	open_source(size, looked_at);
}

static void teardown(void)
{
	source->ops->close(source);
	close(fd);
}

static bool reads_now(uint64_t offset)
{
	return source->ops->read_now(source, offset, to, PAGE);
}

static bool at_hand(uint64_t offset)
{
	return source->ops->at_hand(source, offset, PAGE);
}

static unsigned prepare_all(void)
{
	unsigned n = 0;

	while (source->ops->prepare(source))
		ck_assert_uint_lt(n++, 100000);
	return n;
}

/* What lies behind the first page asked for, then what lies before it. */
START_TEST(prepares_what_lies_around)
{
	const uint64_t size = 5 * MIB + 3 * PAGE;
	uint64_t before;

	open_hot(size, true);
	ck_assert_uint_eq(prepare_all(), 0);
	ck_assert(!at_hand(2 * MIB));
	ck_assert(reads_now(2 * MIB));
	before = scratch_mapped_bytes();
	ck_assert(source->ops->prepare(source));
	ck_assert(at_hand(2 * MIB + 3 * PAGE));
	ck_assert(!at_hand(MIB));
	ck_assert_uint_gt(prepare_all(), 5);
	for (uint64_t offset = 0; offset < size; offset += PAGE) {
		ck_assert(at_hand(offset));
		ck_assert_int_eq(*(const uint8_t *)source->ops->at(source, offset, PAGE), 0x5a);
	}
	ck_assert(!at_hand(size));
	/* All of it is mapped: no copy has to fault it in. */
	ck_assert_uint_ge(scratch_mapped_bytes() - before, 5 * MIB);
}
END_TEST

START_TEST(prepares_no_more_than_it_may)
{
	uint64_t before;

	open_hot(100 * MIB, true);
	before = scratch_mapped_bytes();
	ck_assert(reads_now(90 * MIB));
	(void)prepare_all();
	ck_assert(at_hand(90 * MIB) && at_hand(99 * MIB) && at_hand(80 * MIB));
	ck_assert(!at_hand(10 * MIB));
	ck_assert_uint_gt(scratch_mapped_bytes() - before, 60 * MIB);
	ck_assert_uint_le(scratch_mapped_bytes() - before, 66 * MIB);
	/* Long reads make the mapping anew, and what was prepared is gone with it. */
	for (uint64_t offset = 0; offset < 20 * MIB; offset += SLICE) {
		ck_assert(source->ops->resident(source, offset, SLICE));
		ck_assert_ptr_nonnull(source->ops->at(source, offset, SLICE));
	}
	ck_assert(!at_hand(99 * MIB));
}
END_TEST

/* A hole is what is never resident, whatever the filesystem. */
START_TEST(prepares_nothing_that_is_not_resident)
{
	uint64_t before;

	open_hot(5 * MIB, false);
	source->ops->close(source);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, MIB), 0);
	open_source(5 * MIB, true);
	ck_assert(reads_now(4 * MIB));
	before = scratch_mapped_bytes();
	(void)prepare_all();
	ck_assert(at_hand(5 * MIB - PAGE) && at_hand(3 * MIB));
	ck_assert(!at_hand(MIB) && !at_hand(0));
	ck_assert_uint_le(scratch_mapped_bytes() - before, 3 * MIB + 64 * PAGE);
}
END_TEST

/* Who goes on where the last answer ended is told of what lies there. */
START_TEST(what_comes_next_is_at_hand)
{
	open_hot(MIB, true);
	ck_assert(!at_hand(PAGE));
	ck_assert(reads_now(0));
	ck_assert(at_hand(PAGE));
	ck_assert(at_hand(2 * PAGE));
	ck_assert(!at_hand(100 * PAGE));
}
END_TEST

START_TEST(what_may_change_is_not_prepared)
{
	open_hot(MIB, false);
	ck_assert(reads_now(0));
	ck_assert_uint_eq(prepare_all(), 0);
	ck_assert(!at_hand(10 * PAGE));
}
END_TEST

static bool has_cachestat(void)
{
	uint64_t range[2] = { 0, PAGE }, have[5];

	return !syscall(SYS_cachestat, fd, range, have, 0);
}

static bool resident(uint64_t offset)
{
	return source->ops->resident(source, offset, SLICE);
}

/* Who has gone on for a while: what comes next is mapped before anybody copies it. The kernel
 * counts what is mapped to within some dozen pages. */
START_TEST(who_goes_on_finds_it_mapped)
{
	uint64_t before;

	open_hot(8 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t offset = 3 * MIB; offset < 3 * MIB + 3 * SLICE; offset += SLICE)
		ck_assert(resident(offset));
	ck_assert_uint_lt(scratch_mapped_bytes() - before, MIB / 2);
	for (uint64_t offset = 3 * MIB + 3 * SLICE; offset < 5 * MIB; offset += SLICE)
		ck_assert(resident(offset));
	ck_assert_int_eq(scratch_mapped_bytes() - before >= MIB / 2, has_cachestat());
	for (uint64_t offset = 5 * MIB; offset < 8 * MIB; offset += SLICE) {
		ck_assert(resident(offset));
		ck_assert_int_eq(*(const uint8_t *)source->ops->at(source, offset, SLICE), 0x5a);
	}
	ck_assert(!resident(8 * MIB));
}
END_TEST

/* Both ends of a sweep do, by turns, however far apart, past pages that somebody else has asked
 * for. */
START_TEST(so_do_two_by_turns)
{
	uint64_t before;

	open_hot(12 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t n = 0; n < 16; n++) {
		ck_assert(resident(8 * MIB + n * (SLICE + 3 * PAGE)));
		ck_assert(resident(4 * MIB - n * (SLICE + 3 * PAGE)));
	}
	ck_assert_int_eq(scratch_mapped_bytes() - before >= 2 * MIB, has_cachestat());
}
END_TEST

/* Who asks for more than a window has no need to have gone on before; and all of it is mapped,
 * wherever it begins. */
START_TEST(who_asks_for_a_lot_finds_it_mapped)
{
	const size_t len = 16 * SLICE;
	uint64_t before;

	open_hot(8 * MIB, true);
	ck_assert(reads_now(0)); /* so that as little as may be is mapped beyond */
	before = scratch_mapped_bytes();
	ck_assert(source->ops->resident(source, 3 * MIB + 5 * PAGE, len));
	ck_assert_int_eq(scratch_mapped_bytes() - before >= len - MIB / 4, has_cachestat());
	ck_assert_uint_lt(scratch_mapped_bytes() - before, len + MIB / 2);
	ck_assert_int_eq(*(const uint8_t *)source->ops->at(source, 3 * MIB + 5 * PAGE, len), 0x5a);
	ck_assert_uint_lt(scratch_mapped_bytes() - before, len + MIB / 2);
	ck_assert_uint_ge(scratch_mapped_bytes() - before, len - MIB / 4);
	/* The last of the file: it ends within a window. */
	ck_assert(source->ops->resident(source, 8 * MIB - 2 * SLICE - PAGE, 2 * SLICE + PAGE));
	ck_assert(!source->ops->resident(source, 8 * MIB - 2 * SLICE, 2 * SLICE + PAGE));
}
END_TEST

/* The sweep goes both ways by turns, and each finds its own. */
START_TEST(both_ways_by_turns)
{
	uint64_t before;

	open_hot(8 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t n = 0; n < 12 * SLICE; n += SLICE) {
		ck_assert(resident(4 * MIB + n));
		ck_assert(resident(4 * MIB - n - SLICE));
	}
	ck_assert_int_eq(scratch_mapped_bytes() - before >= MIB + MIB / 2, has_cachestat());
	ck_assert_uint_le(scratch_mapped_bytes() - before, 4 * MIB);
	for (uint64_t n = 0; n < 4 * MIB; n += SLICE) {
		ck_assert(resident(4 * MIB + n));
		ck_assert(resident(4 * MIB - n - SLICE));
		ck_assert_ptr_nonnull(source->ops->at(source, 4 * MIB + n, SLICE));
		ck_assert_ptr_nonnull(source->ops->at(source, 4 * MIB - n - SLICE, SLICE));
	}
}
END_TEST

/* A fault elsewhere draws the sweep away: its thread waits for the next one behind a slice, and not
 * behind more. */
START_TEST(who_goes_elsewhere_finds_nothing_mapped)
{
	uint64_t before;

	open_hot(64 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t n = 0; n < 60; n++) {
		ck_assert(reads_now(n * MIB));
		ck_assert(resident(n * MIB + PAGE));
		ck_assert(resident(n * MIB + PAGE + SLICE));
	}
	ck_assert_uint_lt(scratch_mapped_bytes() - before, MIB);
}
END_TEST

/* Single pages between do not end it, but nobody is to wait for much at a time. */
START_TEST(single_pages_between_make_it_less)
{
	uint64_t before;

	open_hot(64 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t n = 0; n < 4; n++) {
		ck_assert(reads_now((60 - n) * MIB));
		ck_assert(resident(n * SLICE));
	}
	ck_assert_int_eq(scratch_mapped_bytes() - before >= MIB / 8, has_cachestat());
	ck_assert_uint_lt(scratch_mapped_bytes() - before, MIB / 2);
}
END_TEST

/* A page that is not there is not waited for: nothing of a stretch with a hole is mapped. */
START_TEST(goes_on_as_far_as_it_is_resident)
{
	uint64_t before;

	open_hot(4 * MIB, false);
	source->ops->close(source);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * MIB, MIB),
			 0);
	open_source(4 * MIB, true);
	before = scratch_mapped_bytes();
	for (uint64_t offset = 0; offset < 2 * MIB; offset += SLICE)
		ck_assert(resident(offset));
	for (uint64_t offset = 2 * MIB; offset < 3 * MIB; offset += SLICE)
		ck_assert(!resident(offset));
	for (uint64_t offset = 3 * MIB; offset < 4 * MIB; offset += SLICE)
		ck_assert(resident(offset));
	ck_assert_uint_le(scratch_mapped_bytes() - before, 3 * MIB);
}
END_TEST

/* After a read through the ring what is cached may be on its way from the disk still. */
START_TEST(nothing_is_mapped_after_a_read)
{
	struct lz_source_read read = { .offset = 0, .to = bytes, .len = SLICE };
	struct lz_ring ring;
	uint64_t before;

	open_hot(4 * MIB, true);
	ck_assert_int_eq(lz_ring_open(&ring, 8), 0);
	read.source = source;
	ck_assert_int_eq(source->ops->begin(source, &ring, &read), 0);
	ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
	before = scratch_mapped_bytes();
	for (uint64_t offset = 0; offset < 4 * MIB; offset += SLICE)
		ck_assert(resident(offset));
	ck_assert_uint_lt(scratch_mapped_bytes() - before, MIB);
	lz_ring_close(&ring);
}
END_TEST

static bool can_read_now(void)
{
	bool can = !lz_file_open(&source, fd, PAGE, NULL) && reads_now(0);

	source->ops->close(source);
	return can;
}

int main(void)
{
	Suite *s = suite_create("file_hot");
	TCase *t = tcase_create("file_hot");

	fd = hot_file(PAGE);
	if (fd < 0 || !can_read_now()) {
		printf("skipped: a file here: %s; it is read without waiting: no\n",
		       fd < 0 ? strerror(-fd) : "yes");
		return 77;
	}
	close(fd);
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, prepares_what_lies_around);
	tcase_add_test(t, prepares_no_more_than_it_may);
	tcase_add_test(t, prepares_nothing_that_is_not_resident);
	tcase_add_test(t, what_comes_next_is_at_hand);
	tcase_add_test(t, what_may_change_is_not_prepared);
	tcase_add_test(t, who_goes_on_finds_it_mapped);
	tcase_add_test(t, so_do_two_by_turns);
	tcase_add_test(t, who_asks_for_a_lot_finds_it_mapped);
	tcase_add_test(t, both_ways_by_turns);
	tcase_add_test(t, who_goes_elsewhere_finds_nothing_mapped);
	tcase_add_test(t, single_pages_between_make_it_less);
	tcase_add_test(t, goes_on_as_far_as_it_is_resident);
	tcase_add_test(t, nothing_is_mapped_after_a_read);
	suite_add_tcase(s, t);
	return run_suite(s);
}
