/* SPDX-License-Identifier: MIT */
/*
 * What a file makes ready for single pages where all of it is in the page cache. A program of its own
 * because the working directory may be on a filesystem that cannot read without waiting.
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
#include <unistd.h>

#include "iouring/source.h"

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

static uint64_t mapped_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long shared = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*u %*u %lu", &shared), 1);
	fclose(f);
	return shared * PAGE;
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
	before = mapped_bytes();
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
	ck_assert_uint_ge(mapped_bytes() - before, 5 * MIB);
}
END_TEST

START_TEST(prepares_no_more_than_it_may)
{
	uint64_t before;

	open_hot(100 * MIB, true);
	before = mapped_bytes();
	ck_assert(reads_now(90 * MIB));
	(void)prepare_all();
	ck_assert(at_hand(90 * MIB) && at_hand(99 * MIB) && at_hand(80 * MIB));
	ck_assert(!at_hand(10 * MIB));
	ck_assert_uint_gt(mapped_bytes() - before, 60 * MIB);
	ck_assert_uint_le(mapped_bytes() - before, 66 * MIB);
	/* Long reads make the mapping anew, and what was prepared is gone with it. */
	for (uint64_t offset = 0; offset < 20 * MIB; offset += SLICE)
		ck_assert_ptr_nonnull(source->ops->at(source, offset, SLICE));
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
	before = mapped_bytes();
	(void)prepare_all();
	ck_assert(at_hand(5 * MIB - PAGE) && at_hand(3 * MIB));
	ck_assert(!at_hand(MIB) && !at_hand(0));
	ck_assert_uint_le(mapped_bytes() - before, 3 * MIB + 64 * PAGE);
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
	SRunner *r;
	int failed;

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
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
