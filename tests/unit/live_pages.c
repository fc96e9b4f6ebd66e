/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a process are its own: of this one, by both ways of asking. Pages that were
 * written are, those that were only read are zero, those of a file are the file's until they are
 * written.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/live_pages.h"

enum { PAGE = 4096, PAGES = 3000 };

static struct lazyd_area area;
static struct lz_live_task task;

static uint8_t *map(int flags, int fd)
{
	uint8_t *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	ck_assert_int_eq(madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE), 0);
	area = (struct lazyd_area){ (uintptr_t)at, (uintptr_t)at + PAGES * PAGE, PROT_READ };
	return at;
}

static void look(bool scans)
{
	free(task.page);
	task = (struct lz_live_task){ .task = { .pid = (uint32_t)getpid() },
				      .area = &area,
				      .nr_areas = 1 };
	ck_assert_int_eq(lz_live_pages(&task, scans), 0);
	for (size_t i = 0; i < task.nr_pages; i++)
		ck_assert(task.page[i].start < task.page[i].end &&
			  (!i || task.page[i - 1].end < task.page[i].start));
}

static bool has(uint64_t page)
{
	uint64_t at = area.start + page * PAGE;

	for (size_t i = 0; i < task.nr_pages; i++)
		if (at >= task.page[i].start && at < task.page[i].end)
			return true;
	return false;
}

/* Every third page is written, every third read, in the second half none at all but the last. */
static bool is_written(uint64_t n)
{
	return (n < PAGES / 2 && n % 3 == 0) || n == PAGES - 1;
}

static void touch(uint8_t *at)
{
	for (uint64_t n = 0; n < PAGES; n++)
		if (is_written(n))
			at[n * PAGE] = 1;
		else if (n < PAGES / 2 && n % 3 == 1)
			(void)*(volatile uint8_t *)&at[n * PAGE];
}

START_TEST(what_was_written)
{
	bool scans = _i;

	touch(map(MAP_PRIVATE | MAP_ANONYMOUS, -1));
	look(scans);
	for (uint64_t n = 0; n < PAGES; n++) {
		if (is_written(n))
			ck_assert_msg(has(n), "page %d is missing", (int)n);
		else if (scans || n >= PAGES / 2 || n % 3 != 1) /* words do not tell of zeros */
			ck_assert_msg(!has(n), "page %d is not its own", (int)n);
	}
}
END_TEST

START_TEST(what_is_a_files)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, PAGES * PAGE), 0);
	touch(map(MAP_PRIVATE, fd));
	look(_i);
	for (uint64_t n = 0; n < PAGES; n++)
		ck_assert_int_eq(has(n), is_written(n));
	(void)close(fd);
}
END_TEST

/* More runs than one answer holds. */
START_TEST(in_many_runs)
{
	uint8_t *at = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (uint64_t n = 0; n < PAGES; n += 2)
		at[n * PAGE] = 1;
	look(_i);
	ck_assert_uint_eq(task.nr_pages, PAGES / 2);
	/* And in one. */
	memset(at, 1, PAGES * PAGE);
	look(_i);
	ck_assert_uint_eq(task.nr_pages, 1);
}
END_TEST

START_TEST(nobody)
{
	task = (struct lz_live_task){ .task = { .pid = 1 << 30 } };
	ck_assert_int_eq(lz_live_pages(&task, _i), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("live_pages");
	TCase *t = tcase_create("both ways");

	tcase_add_loop_test(t, what_was_written, 0, 2);
	tcase_add_loop_test(t, what_is_a_files, 0, 2);
	tcase_add_loop_test(t, in_many_runs, 0, 2);
	tcase_add_loop_test(t, nobody, 0, 2);
	suite_add_tcase(s, t);
	return run_suite(s);
}
