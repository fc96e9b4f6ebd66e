/* SPDX-License-Identifier: MIT */
/*
 * Directories of images in which something is wrong: whatever it is, it is told in a sentence that
 * names file, record and byte.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_dir.h"
#include "pagemap/writer.h"
#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "tests/lib/fds.h"
#include "tests/lib/suite.h"

START_TEST(alive_without_memory)
{
	make(&small);
	put_core(1000, 1);
	ck_assert_int_eq(unlinkat(dirfd_, "mm-1000.img", 0), 0);
	ck_assert_int_eq(load(), -ENOENT);
	says("mm-1000.img is missing");
	ck_assert_int_eq(lz_images_memory(images, 77, &memory, NULL, &why), -ESRCH);
	says("no task of pid 77");
}
END_TEST

START_TEST(no_state)
{
	make(&small);
	put_core(1001, 0);
	ck_assert_int_eq(load(), -EBADMSG);
	says("core-1001.img: record 1, at byte 8, does not say what state");
}
END_TEST

static void put_pstree(const uint32_t *pid, size_t nr)
{
	struct imagebuf b = { .bytes = NULL };

	imagebuf_head(&b, LZ_IMAGE_PSTREE);
	for (size_t n = 0; n < nr; n++) {
		Lz__Criu__PstreeEntry entry = LZ__CRIU__PSTREE_ENTRY__INIT;

		entry.pid = pid[n];
		imagebuf_message(&b, &entry.base);
	}
	put("pstree.img", &b);
	imagebuf_free(&b);
}

START_TEST(pids)
{
	static const uint32_t twice[] = { 5, 7, 6, 7 }, zero[] = { 5, 0 },
			      large[] = { 5, 0x80000000 };
	uint32_t many[100];

	make(&small);
	put_pstree(twice, 4);
	ck_assert_int_eq(load(), -EBADMSG);
	says("pstree.img: record 4, at byte");
	says("two tasks have pid 7");
	put_pstree(zero, 2);
	ck_assert_int_eq(load(), -EBADMSG);
	says("record 2, at byte 16, has pid 0");
	put_pstree(large, 2);
	ck_assert_int_eq(load(), -EBADMSG);
	says("has pid 2147483648");
	put_pstree(NULL, 0);
	ck_assert_int_eq(load(), -EBADMSG);
	says("pstree.img, at byte");
	for (uint32_t n = 0; n < 100; n++)
		many[n] = 1099 - n;
	put_pstree(many, 100);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(lz_images_nr_tasks(images), 100);
	ck_assert_uint_eq(lz_images_task(images, 99)->pid, 1000);
}
END_TEST

START_TEST(versions)
{
	static const uint32_t version[] = { 0, 1, 3, UINT32_MAX };
	Lz__Criu__InventoryEntry entry = LZ__CRIU__INVENTORY_ENTRY__INIT;
	struct imagebuf b = { .bytes = NULL };
	char text[32];

	make(&small);
	entry.img_version = version[_i];
	imagebuf_head(&b, LZ_IMAGE_INVENTORY);
	imagebuf_message(&b, &entry.base);
	put("inventory.img", &b);
	imagebuf_free(&b);
	ck_assert_int_eq(load(), -EPROTONOSUPPORT);
	snprintf(text, sizeof(text), "inventory.img says version %" PRIu32, version[_i]);
	says(text);
}
END_TEST

START_TEST(parent_nowhere)
{
	make(&small);
	relink("nowhere");
	ck_assert_int_eq(load(), -ENOENT);
	says("parent link of level 0 leads to no directory");
}
END_TEST

START_TEST(parent_no_directory)
{
	make(&small);
	relink("inventory.img");
	ck_assert_int_eq(load(), -ENOTDIR);
	says("leads to no directory");
}
END_TEST

START_TEST(parent_loop)
{
	make(&small);
	relink(_i ? "." : "snapshot-1");
	if (!_i) {
		int fd = openat(dirfd_, "snapshot-1", O_RDONLY | O_DIRECTORY);

		ck_assert_int_eq(lz_writer_parent(fd, "..", &why), 0);
		close(fd);
	}
	ck_assert_int_eq(load(), -ELOOP);
	says("leads back to level 0");
}
END_TEST

START_TEST(parent_pagemap_gone)
{
	make(&small);
	ck_assert_int_eq(unlinkat(dirfd_, "parent/pagemap-1000.img", 0), 0);
	ck_assert_int_eq(load(), -EBADMSG);
	says("pagemap-1000.img: record 3, at byte ");
	says("there is no parent with a pagemap");
}
END_TEST

static const struct {
	const char *file;
	enum imagegen_damage damage;
	int err;
	const char *says, *also;
} damaged[] = {
	{ "inventory.img", IMAGEGEN_CUT, -EBADMSG, "inventory.img: record 1, at byte 4",
	  "cut off" },
	{ "inventory.img", IMAGEGEN_EMPTY, -EBADMSG, "inventory.img, at byte 0", "too short" },
	{ "inventory.img", IMAGEGEN_MAGIC, -EBADMSG, "inventory.img, at byte 0", "magic" },
	{ "inventory.img", IMAGEGEN_SIZE, -EBADMSG, "record 1, at byte 4", "4294967295 bytes" },
	{ "inventory.img", IMAGEGEN_NOISE, -EBADMSG, "record 1, at byte 4", "no inventory" },
	{ "pstree.img", IMAGEGEN_CUT, -EBADMSG, "pstree.img: record 2, at byte", "cut off" },
	{ "pstree.img", IMAGEGEN_EMPTY, -EBADMSG, "pstree.img, at byte 0", "too short" },
	{ "pstree.img", IMAGEGEN_MAGIC, -EBADMSG, "pstree.img, at byte 4", "magic" },
	{ "pstree.img", IMAGEGEN_SIZE, -EBADMSG, "pstree.img: record 1, at byte 8", "claims" },
	{ "pstree.img", IMAGEGEN_NOISE, -EBADMSG, "pstree.img: record 1, at byte 8", "no task" },
	{ "pstree.img", IMAGEGEN_REPEAT, -EBADMSG, "pstree.img: record 3", "two tasks" },
	{ "mm-1000.img", IMAGEGEN_CUT, -EBADMSG, "mm-1000.img: record 1, at byte 8", "cut off" },
	{ "mm-1000.img", IMAGEGEN_EMPTY, -EBADMSG, "mm-1000.img, at byte 0", "too short" },
	{ "mm-1000.img", IMAGEGEN_MAGIC, -EBADMSG, "mm-1000.img, at byte 4", "magic" },
	{ "mm-1000.img", IMAGEGEN_SIZE, -EBADMSG, "mm-1000.img: record 1, at byte 8", "claims" },
	{ "mm-1000.img", IMAGEGEN_NOISE, -EBADMSG, "record 1, at byte 8", "no description" },
	{ "pagemap-1000.img", IMAGEGEN_CUT, -EBADMSG, "pagemap-1000.img: record 5", "cut off" },
	{ "pagemap-1000.img", IMAGEGEN_EMPTY, -EBADMSG, "pagemap-1000.img, at byte 0", "short" },
	{ "pagemap-1000.img", IMAGEGEN_MAGIC, -EBADMSG, "pagemap-1000.img, at byte 4", "magic" },
	{ "pagemap-1000.img", IMAGEGEN_SIZE, -EBADMSG, "record 1, at byte 8", "claims" },
	{ "pagemap-1000.img", IMAGEGEN_NOISE, -EBADMSG, "record 1, at byte 8", "no head" },
	{ "pagemap-1000.img", IMAGEGEN_FIELD, -EPROTONOSUPPORT, "record 6", "field 6, which" },
	{ "pagemap-1000.img", IMAGEGEN_REPEAT, -EBADMSG, "record 6", "before the end" },
	{ "snapshot-1/pagemap-1000.img", IMAGEGEN_CUT, -EBADMSG, "parent/pagemap-1000.img: record",
	  "cut off" },
	{ "snapshot-1/pagemap-1000.img", IMAGEGEN_MAGIC, -EBADMSG,
	  "parent/pagemap-1000.img, at byte 4", "magic" },
	{ "snapshot-1/pagemap-1000.img", IMAGEGEN_FIELD, -EPROTONOSUPPORT,
	  "parent/pagemap-1000.img: record", "field 6" },
	{ "snapshot-1/pagemap-1000.img", IMAGEGEN_REPEAT, -EBADMSG,
	  "parent/pagemap-1000.img: record 4", "before the end" },
};

START_TEST(damage)
{
	unsigned before = fds_count();

	make(&small);
	ck_assert_int_eq(imagegen_hurt(dirfd_, damaged[_i].file, damaged[_i].damage), 0);
	ck_assert_int_eq(load(), damaged[_i].err);
	says(damaged[_i].says);
	says(damaged[_i].also);
	if (damaged[_i].err == -EBADMSG)
		says("copy it again");
	ck_assert_ptr_null(memory);
	lz_images_close(images);
	images = NULL;
	ck_assert_uint_eq(fds_count(), before);
}
END_TEST

static const char *const needed[] = { "inventory.img", "pstree.img",  "pagemap-1000.img",
				      "pages-1.img",   "mm-1000.img", "snapshot-1/pages-1.img" };
enum { NR_NEEDED = sizeof(needed) / sizeof(needed[0]) };

START_TEST(missing)
{
	const char *name = strrchr(needed[_i], '/');

	make(&small);
	put_core(1000, 1); /* else the one without mm is a zombie */
	ck_assert_int_eq(unlinkat(dirfd_, needed[_i], 0), 0);
	ck_assert_int_eq(load(), -ENOENT);
	says(name ? "parent/pages-1.img is missing" : needed[_i]);
	says("is missing");
}
END_TEST

/* Neither waits for the other end of a fifo nor takes it for an image. */
START_TEST(no_regular_file)
{
	make(&small);
	ck_assert_int_eq(unlinkat(dirfd_, needed[_i / 2], 0), 0);
	ck_assert_int_eq(_i % 2 ? mkfifoat(dirfd_, needed[_i / 2], 0600)
				: mkdirat(dirfd_, needed[_i / 2], 0700),
			 0);
	ck_assert_int_eq(load(), _i % 2 ? -EINVAL : -EISDIR);
	says("is no regular file");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("files_wrong");
	TCase *t = tcase_create("wrong");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, alive_without_memory);
	tcase_add_test(t, no_state);
	tcase_add_test(t, pids);
	tcase_add_loop_test(t, versions, 0, 4);
	tcase_add_test(t, parent_nowhere);
	tcase_add_test(t, parent_no_directory);
	tcase_add_loop_test(t, parent_loop, 0, 2);
	tcase_add_test(t, parent_pagemap_gone);
	tcase_add_loop_test(t, damage, 0, sizeof(damaged) / sizeof(damaged[0]));
	tcase_add_loop_test(t, missing, 0, NR_NEEDED);
	tcase_add_loop_test(t, no_regular_file, 0, 2 * NR_NEEDED);
	suite_add_tcase(s, t);
	return run_suite(s);
}
