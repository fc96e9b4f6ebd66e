/* SPDX-License-Identifier: MIT */
/*
 * The writer by itself: which records it makes of what it is told, in both encodings, and what it
 * does not touch. That whole directories are read back is tried with files.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap/writer.h"
#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/mm.pb-c.h"
#include "proto/criu/pagemap.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum { PARENT = LZ_PAGE_PARENT, LAZY = LZ_PAGE_LAZY, PRESENT = LZ_PAGE_PRESENT };

static char dir[] = "/tmp/lazyd-writer.XXXXXX";
static int at;
static struct lz_why why;
static struct lz_writer *writer;
static uint8_t page[3 * IMAGEGEN_PAGE];
static uint8_t bytes[65536];

static void setup(void)
{
	at = scratch_open(dir);
	for (uint64_t n = 0; n < 3; n++)
		imagegen_fill(1, n, page + n * IMAGEGEN_PAGE);
}

static void teardown(void)
{
	scratch_close(dir, at);
}

static size_t contents(const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	ck_assert_int_ge(fd, 0);
	len = read(fd, bytes, sizeof(bytes));
	ck_assert_int_ge(len, 0);
	close(fd);
	return (size_t)len;
}

static void begin(enum lz_pagemap_format format)
{
	ck_assert_int_eq(lz_writer_open(&writer, at, 7, 9, format, &why), 0);
}

static int add(uint64_t n, uint64_t nr_pages, uint32_t flags, const void *from)
{
	return lz_writer_add(writer, n << 12, nr_pages, flags, from, &why);
}

static void end(void)
{
	ck_assert_msg(lz_writer_close(writer, &why) == 0, "%s", why.text);
}

struct entry {
	uint64_t page, nr_pages;
	uint32_t flags;
};

static void expect(enum lz_pagemap_format format, const struct entry *entry, size_t nr)
{
	size_t len = contents("pagemap-7.img"), size;
	Lz__Criu__PagemapHead *head;
	struct lz_image image;
	const uint8_t *payload;

	ck_assert_int_eq(lz_image_init(&image, bytes, len, LZ_IMAGE_PAGEMAP), 0);
	ck_assert_int_eq(lz_image_next(&image, &payload, &size), 1);
	head = lz__criu__pagemap_head__unpack(NULL, size, payload);
	ck_assert_uint_eq(head->pages_id, 9);
	lz__criu__pagemap_head__free_unpacked(head, NULL);
	for (size_t n = 0; n < nr; n++) {
		Lz__Criu__PagemapEntry *e;

		ck_assert_int_eq(lz_image_next(&image, &payload, &size), 1);
		e = lz__criu__pagemap_entry__unpack(NULL, size, payload);
		ck_assert_uint_eq(e->vaddr, entry[n].page << 12);
		ck_assert(e->has_flags && !e->has_in_parent);
		ck_assert_uint_eq(e->flags, entry[n].flags);
		ck_assert_int_eq(e->has_nr_pages, format == LZ_PAGEMAP_4_2);
		if (e->has_nr_pages)
			ck_assert_uint_eq(e->compat_nr_pages, 0);
		ck_assert_uint_eq(e->has_nr_pages ? e->nr_pages : e->compat_nr_pages,
				  entry[n].nr_pages);
		lz__criu__pagemap_entry__free_unpacked(e, NULL);
	}
	ck_assert_int_eq(lz_image_next(&image, &payload, &size), 0);
}

static const enum lz_pagemap_format format_of[] = { LZ_PAGEMAP_4_1, LZ_PAGEMAP_4_2 };

START_TEST(joins)
{
	static const struct entry wanted[] = { { 1, 3, PRESENT }, { 4, 1, PRESENT | LAZY },
					       { 6, 5, PARENT },  { 11, 2, LAZY },
					       { 14, 1, LAZY },   { 15, 2, PRESENT } };

	begin(format_of[_i]);
	ck_assert_int_eq(add(1, 1, PRESENT, page), 0);
	ck_assert_int_eq(add(2, 2, PRESENT, page + IMAGEGEN_PAGE), 0);
	ck_assert_int_eq(add(4, 1, PRESENT | LAZY, page), 0);
	ck_assert_int_eq(add(6, 2, PARENT, NULL), 0);
	ck_assert_int_eq(add(8, 3, PARENT, NULL), 0);
	ck_assert_int_eq(add(11, 2, LAZY, NULL), 0);
	ck_assert_int_eq(add(14, 1, LAZY, NULL), 0);
	ck_assert_int_eq(add(15, 2, PRESENT, page + IMAGEGEN_PAGE), 0);
	end();
	expect(format_of[_i], wanted, 6);
	ck_assert_uint_eq(contents("pages-9.img"), 6 * IMAGEGEN_PAGE);
	ck_assert_int_eq(memcmp(bytes, page, 3 * IMAGEGEN_PAGE), 0);
	ck_assert_int_eq(memcmp(bytes + 3 * IMAGEGEN_PAGE, page, IMAGEGEN_PAGE), 0);
	ck_assert_int_eq(memcmp(bytes + 4 * IMAGEGEN_PAGE, page + IMAGEGEN_PAGE, 2 * IMAGEGEN_PAGE),
			 0);
}
END_TEST

START_TEST(huge)
{
	const uint64_t nr = (UINT64_C(1) << 32) + 5;
	const struct entry old[] = { { 1, UINT32_MAX, LAZY },
				     { 1 + (uint64_t)UINT32_MAX, 6, LAZY } };
	const struct entry new[] = { { 1, nr, LAZY } };

	begin(format_of[_i]);
	ck_assert_int_eq(add(1, nr - 1, LAZY, NULL), 0);
	ck_assert_int_eq(add(nr, 1, LAZY, NULL), 0);
	end();
	if (_i)
		expect(LZ_PAGEMAP_4_2, new, 1);
	else
		expect(LZ_PAGEMAP_4_1, old, 2);
}
END_TEST

START_TEST(holes)
{
	struct stat st;

	begin(LZ_PAGEMAP_4_2);
	ck_assert_int_eq(add(0, 100, PRESENT, NULL), 0);
	ck_assert_int_eq(add(100, 1, PRESENT, page), 0);
	ck_assert_int_eq(add(200, UINT64_C(1) << 24, PRESENT, NULL), 0);
	end();
	ck_assert_int_eq(fstatat(at, "pages-9.img", &st, 0), 0);
	ck_assert_int_eq(st.st_size, (INT64_C(101) + (1 << 24)) << 12);
	ck_assert_int_lt(st.st_blocks, 1000);
}
END_TEST

static const struct {
	uint64_t vaddr, nr_pages;
	uint32_t flags;
	bool with_bytes;
	int err;
} wrong[] = {
	{ 0x9000, 0, PRESENT, true, -EINVAL },
	{ 0x9001, 1, PRESENT, true, -EINVAL },
	{ 0x7000, 1, PRESENT, true, -EINVAL },
	{ 0x9000, 1, PRESENT | PARENT, true, -EINVAL },
	{ 0x9000, 1, LAZY, true, -EINVAL },
	{ 0x9000, 1, 0, false, -EINVAL },
	{ 0x9000, 1, 8 | PRESENT, true, -EINVAL },
	{ 0x9000, UINT64_C(1) << 52, LAZY, false, -EINVAL },
	{ UINT64_MAX - 0xfff, 1, LAZY, false, -EINVAL },
	{ 0x9000, UINT64_C(1) << 51, PRESENT, false, -EFBIG },
};

START_TEST(refuses)
{
	static const struct entry wanted[] = { { 7, 1, PRESENT }, { 9, 1, PRESENT } };

	begin(LZ_PAGEMAP_4_2);
	ck_assert_int_eq(add(7, 1, PRESENT, page), 0);
	ck_assert_int_eq(lz_writer_add(writer, wrong[_i].vaddr, wrong[_i].nr_pages, wrong[_i].flags,
				       wrong[_i].with_bytes ? page : NULL, &why),
			 wrong[_i].err);
	ck_assert_ptr_nonnull(strstr(why.text, wrong[_i].err == -EFBIG ? "pages-9" : "pagemap-7"));
	ck_assert_int_eq(add(9, 1, PRESENT, page), 0);
	ck_assert_str_eq(why.text, "");
	end();
	expect(LZ_PAGEMAP_4_2, wanted, 2);
	ck_assert_uint_eq(contents("pages-9.img"), 2 * IMAGEGEN_PAGE);
}
END_TEST

/* Images are made anew beside the old ones, which may be somebody else's by a hard link. */
START_TEST(leaves_links_alone)
{
	struct stat st;

	begin(LZ_PAGEMAP_4_2);
	ck_assert_int_eq(add(1, 1, PRESENT, page), 0);
	end();
	ck_assert_int_eq(linkat(at, "pages-9.img", at, "kept", 0), 0);
	begin(LZ_PAGEMAP_4_2);
	end();
	ck_assert_uint_eq(contents("kept"), IMAGEGEN_PAGE);
	ck_assert_uint_eq(contents("pages-9.img"), 0);
	ck_assert_int_eq(fstatat(at, "pages-9.img", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
}
END_TEST

START_TEST(in_the_way)
{
	ck_assert_int_eq(mkdirat(at, "pages-9.img", 0700), 0);
	ck_assert_int_ne(lz_writer_open(&writer, at, 7, 9, LZ_PAGEMAP_4_2, &why), 0);
	ck_assert_ptr_nonnull(strstr(why.text, "pages-9.img cannot be written"));
	ck_assert_int_eq(mkdirat(at, "parent", 0700), 0);
	ck_assert_int_ne(lz_writer_parent(at, "x", &why), 0);
	ck_assert_ptr_nonnull(strstr(why.text, "parent link"));
}
END_TEST

START_TEST(full_disk)
{
	/* A descriptor that cannot be written to, in place of the pages file. */
	begin(LZ_PAGEMAP_4_2);
	for (int fd = 3; fd < 64; fd++) {
		struct stat is, pages;

		if (!fstat(fd, &is) && !fstatat(at, "pages-9.img", &pages, 0) &&
		    is.st_ino == pages.st_ino && is.st_dev == pages.st_dev) {
			int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

			dup2(full, fd);
			close(full);
		}
	}
	ck_assert_int_eq(add(1, 1, PRESENT, page), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(why.text, "pages-9.img cannot be written: No space"));
	lz_writer_close(writer, &why);
}
END_TEST

/* What CRIU's own readers insist on is there. */
START_TEST(small_images)
{
	static const struct lz_task task[] = { { .pid = 7 }, { .pid = 8, .ppid = 7 } };
	static const struct lz_writer_area area[] = { { 0x1000, 0x3000, 3 } };
	Lz__Criu__InventoryEntry *inventory;
	Lz__Criu__PstreeEntry *pstree;
	Lz__Criu__MmEntry *mm;
	size_t len;

	ck_assert_int_eq(lz_writer_inventory(at, &why), 0);
	len = contents("inventory.img");
	inventory = lz__criu__inventory_entry__unpack(NULL, len - 8, bytes + 8);
	ck_assert_uint_eq(inventory->img_version, 2);
	ck_assert(inventory->has_fdinfo_per_id && inventory->fdinfo_per_id);
	lz__criu__inventory_entry__free_unpacked(inventory, NULL);

	ck_assert_int_eq(lz_writer_pstree(at, task, 2, &why), 0);
	len = contents("pstree.img");
	pstree = lz__criu__pstree_entry__unpack(NULL, bytes[8], bytes + 12);
	ck_assert_uint_eq(pstree->pid, 7);
	ck_assert(pstree->has_pgid && pstree->has_sid && pstree->n_threads == 1);
	lz__criu__pstree_entry__free_unpacked(pstree, NULL);

	ck_assert_int_eq(lz_writer_mm(at, 7, area, 1, &why), 0);
	len = contents("mm-7.img");
	mm = lz__criu__mm_entry__unpack(NULL, len - 12, bytes + 12);
	ck_assert_uint_eq(mm->n_vmas, 1);
	ck_assert_uint_eq(mm->vmas[0]->prot, 3);
	ck_assert(mm->vmas[0]->has_pgoff && mm->vmas[0]->has_shmid && mm->vmas[0]->has_fd);
	ck_assert_int_eq(mm->vmas[0]->fd, -1);
	ck_assert(mm->has_start_code && mm->has_env_end && mm->has_exe_file_id);
	lz__criu__mm_entry__free_unpacked(mm, NULL);
	ck_assert_int_eq(lz_writer_mm(at, 7, NULL, 0, &why), 0);
}
END_TEST

/* For the second area, and nothing is written. */
START_TEST(areas_refused)
{
	static const struct lz_writer_area second[][2] = {
		{ { 0x20000, 0x30000, 3 }, { 0x10000, 0x20000, 3 } },
		{ { 0x20000, 0x30000, 3 }, { 0x2f000, 0x40000, 3 } },
		{ { 0x20000, 0x30000, 3 }, { 0x30000, 0x30000, 3 } },
		{ { 0x20000, 0x30000, 3 }, { 0x50000, 0x40000, 3 } },
		{ { 0x20000, 0x30000, 3 }, { 0x30100, 0x40000, 3 } },
		{ { 0x20000, 0x30000, 3 }, { 0x30000, 0x40100, 3 } },
	};
	static const struct lz_writer_area touching[] = { { 0x20000, 0x30000, 3 },
							  { 0x30000, 0x40000, 3 } };
	struct stat st;

	for (size_t n = 0; n < sizeof(second) / sizeof(second[0]); n++) {
		ck_assert_int_eq(lz_writer_mm(at, 7, second[n], 2, &why), -EINVAL);
		ck_assert_ptr_nonnull(strstr(why.text, "area number 2"));
		ck_assert_int_eq(fstatat(at, "mm-7.img", &st, 0), -1);
	}
	ck_assert_int_eq(lz_writer_mm(at, 7, touching, 2, &why), 0);
}
END_TEST

START_TEST(parent_link)
{
	char target[16] = "";

	ck_assert_int_eq(lz_writer_parent(at, "one", &why), 0);
	ck_assert_int_eq(lz_writer_parent(at, "two", &why), 0);
	ck_assert_int_eq(readlinkat(at, "parent", target, sizeof(target)), 3);
	ck_assert_str_eq(target, "two");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("writer");
	TCase *t = tcase_create("writer");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, joins, 0, 2);
	tcase_add_loop_test(t, huge, 0, 2);
	tcase_add_test(t, holes);
	tcase_add_loop_test(t, refuses, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, leaves_links_alone);
	tcase_add_test(t, in_the_way);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, small_images);
	tcase_add_test(t, areas_refused);
	tcase_add_test(t, parent_link);
	suite_add_tcase(s, t);
	return run_suite(s);
}
