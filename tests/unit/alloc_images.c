/* SPDX-License-Identifier: MIT */
/*
 * Memory and descriptors that run out while images are read and written: no image is called damaged
 * for it, none is half opened, and the sentence that goes with the failure is there.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/failing.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

enum { PID = 1000, RANGES = 70, PAGES = 2 };

/* More ranges than a plan has room for at first, in two snapshots;
 * more tasks than their list has. */
static const struct imagegen GIVEN = { .nr_tasks = 17,
				       .nr_ranges = RANGES,
				       .nr_pages = PAGES,
				       .gap_pages = 1,
				       .area_pages = 100,
				       .nr_levels = 2,
				       .sparse = true,
				       .format = LZ_PAGEMAP_4_1 };
static char dir[] = "/tmp/lazyd-alloc.XXXXXX";
static int dirfd_;
static struct lazyd_images *images;
static struct lazyd_memory *memory;
static struct lazyd_task_report report;
static struct lazyd_writer *writer;
static struct lazyd_why why;
static uint8_t identity[LAZYD_IDENTITY_LEN];

static void make(void)
{
	struct lz_why w;

	dirfd_ = scratch_open(dir);
	ck_assert_int_eq(imagegen_make(dirfd_, &GIVEN, &w), 0);
}

static void remove_all(void)
{
	scratch_close(dir, dirfd_);
}

/* ---- reading ---- */

static void open_images(void)
{
	images = NULL;
	memory = NULL;
	ck_assert_int_eq(lazyd_images_open(&images, dirfd_, &why), 0);
}

static void open_remote(void)
{
	open_images();
	lazyd_images_remote(images);
}

static void close_images(void)
{
	lazyd_images_close(images);
	images = NULL;
}

static void is_said(void)
{
	ck_assert_str_ne(why.text, "");
	ck_assert_ptr_null(strstr(why.text, "damaged"));
}

static int call_open(void)
{
	return lazyd_images_open(&images, dirfd_, &why);
}

static void not_opened(void)
{
	is_said();
	ck_assert_ptr_null(images);
}

static void opened(void)
{
	struct lazyd_task task;

	ck_assert_str_eq(why.text, "");
	ck_assert_int_eq(lazyd_images_task(images, GIVEN.nr_tasks - 1, &task), 0);
	ck_assert_uint_eq(task.pid, PID + GIVEN.nr_tasks - 1);
}

START_TEST(opening)
{
	failing_exhaust(
		&(struct failing){ failing_nothing, call_open, not_opened, opened, close_images });
}
END_TEST

static int call_memory(void)
{
	return lazyd_images_memory(images, PID, &memory, &why);
}

static void no_memory(void)
{
	is_said();
	ck_assert_ptr_null(memory);
}

static void whole_memory(void)
{
	ck_assert_str_eq(why.text, "");
	ck_assert_uint_eq(lazyd_memory_pages(memory), RANGES * PAGES);
	lazyd_memory_put(memory);
	memory = NULL;
}

START_TEST(memories)
{
	failing_exhaust(&(struct failing){ open_images, call_memory, no_memory, whole_memory,
					   close_images });
	failing_exhaust(&(struct failing){ open_remote, call_memory, no_memory, whole_memory,
					   close_images });
}
END_TEST

static int call_report(void)
{
	return lazyd_images_report(images, PID, &report, &why);
}

static void reported(void)
{
	ck_assert_uint_eq(report.lazy_bytes, RANGES * PAGES * IMAGEGEN_PAGE);
	ck_assert_uint_eq(report.lost_bytes, 0);
}

START_TEST(reports)
{
	failing_exhaust(
		&(struct failing){ open_images, call_report, is_said, reported, close_images });
}
END_TEST

/* 24: 32, where nothing is known, would make another wire of it. */
static int call_header(void)
{
	int r = lazyd_images_header(images);

	return r == 24 ? 0 : r;
}

START_TEST(headers)
{
	failing_exhaust(
		&(struct failing){ open_images, call_header, NULL, failing_nothing, close_images });
}
END_TEST

static int call_identity(void)
{
	return lazyd_images_identity(images, identity, &why);
}

static void identified(void)
{
	uint8_t again[LAZYD_IDENTITY_LEN];

	ck_assert_int_eq(lazyd_images_identity(images, again, &why), 0);
	ck_assert_mem_eq(identity, again, sizeof(again));
}

/* Only descriptors: what it needs of memory is on the stack and GnuTLS's. */
START_TEST(identities)
{
	for (unsigned n = 0; n < 3; n++) {
		int r;

		open_images();
		failing_arm(FAILING_DESCRIPTORS, n);
		r = call_identity();
		(void)failing_disarm();
		ck_assert_int_eq(r, n ? 0 : -EMFILE);
		if (r)
			is_said();
		ck_assert_int_eq(call_identity(), 0);
		identified();
		close_images();
	}
}
END_TEST

/* ---- writing ---- */

static int call_tasks(void)
{
	const struct lazyd_task task[] = { { .pid = 7 }, { .pid = 8, .ppid = 7 } };

	return lazyd_writer_tasks(dirfd_, task, 2, &why);
}

static int call_areas(void)
{
	const struct lazyd_area area[] = { { 0x10000, 0x20000, 3 }, { 0x30000, 0x40000, 3 } };

	return lazyd_writer_areas(dirfd_, 7, area, 2, &why);
}

START_TEST(small_images)
{
	failing_exhaust(&(struct failing){ failing_nothing, call_tasks, is_said, failing_nothing,
					   failing_nothing });
	failing_exhaust(&(struct failing){ failing_nothing, call_areas, is_said, failing_nothing,
					   failing_nothing });
}
END_TEST

static int call_writer_open(void)
{
	return lazyd_writer_open(&writer, dirfd_, 7, 7, &why);
}

static void writer_opened(void)
{
	ck_assert_int_eq(lazyd_writer_close(writer, &why), 0);
}

START_TEST(writers)
{
	failing_exhaust(&(struct failing){ failing_nothing, call_writer_open, is_said,
					   writer_opened, failing_nothing });
}
END_TEST

/* From the first page to the end; what has failed once is no image, and is never said to be one. */
static int call_write(void)
{
	static const uint8_t page[2][IMAGEGEN_PAGE] = { { 1 }, { 2 } };
	const uint32_t flags = LAZYD_PAGE_PRESENT | LAZYD_PAGE_LAZY;
	int r = lazyd_writer_open(&writer, dirfd_, 7, 7, &why), first = 0, closed;

	if (r)
		return r;
	for (uint64_t i = 0; i < 4; i++) {
		r = lazyd_writer_add(writer, 0x10000 + 0x2000 * i, 1, flags, page[i & 1], &why);
		first = first ? first : r;
	}
	closed = lazyd_writer_close(writer, &why);
	if (first && closed != first)
		return -EPROTO;
	return first ? first : closed;
}

static void written(void)
{
	struct lazyd_task task = { .pid = 7 };

	ck_assert_int_eq(lazyd_writer_tasks(dirfd_, &task, 1, &why), 0);
	ck_assert_int_eq(call_areas(), 0);
	open_images();
	ck_assert_int_eq(lazyd_images_memory(images, 7, &memory, &why), 0);
	ck_assert_uint_eq(lazyd_memory_pages(memory), 4);
	lazyd_memory_put(memory);
	close_images();
}

START_TEST(writing)
{
	failing_exhaust(&(struct failing){ failing_nothing, call_write, is_said, written,
					   failing_nothing });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc_images");
	TCase *t = tcase_create("alloc_images");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, make, remove_all);
	tcase_add_test(t, opening);
	tcase_add_test(t, memories);
	tcase_add_test(t, reports);
	tcase_add_test(t, headers);
	tcase_add_test(t, identities);
	tcase_add_test(t, small_images);
	tcase_add_test(t, writers);
	tcase_add_test(t, writing);
	suite_add_tcase(s, t);
	return run_suite(s);
}
