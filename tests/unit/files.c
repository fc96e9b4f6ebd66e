/* SPDX-License-Identifier: MIT */
/*
 * Directories of images: what was made is read back byte for byte, and whatever is wrong with one
 * is told in a sentence that names file, record and byte.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap/files.h"
#include "pagemap/memory.h"
#include "proto/criu/core.pb-c.h"
#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "tests/lib/fds.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

static char dir[] = "/tmp/lazyd-files.XXXXXX";
static int dirfd_;
static struct lz_why why;
static struct lz_images *images;
static struct lz_memory *memory;

static void setup(void)
{
	dirfd_ = scratch_open(dir);
}

static void teardown(void)
{
	lz_memory_put(memory);
	lz_images_close(images);
	memory = NULL;
	images = NULL;
	scratch_close(dir, dirfd_);
}

static void make(const struct imagegen *g)
{
	ck_assert_msg(imagegen_make(dirfd_, g, &why) == 0, "%s", why.text);
}

static const struct imagegen small = { .nr_tasks = 2,
				       .nr_ranges = 4,
				       .nr_pages = 2,
				       .gap_pages = 1,
				       .nr_levels = 2,
				       .format = LZ_PAGEMAP_4_2 };

/* Opens the images and the memory of task 1000, and returns what the first failure says. */
static int load(void)
{
	int err = lz_images_open(&images, dirfd_, &why);

	return err ? err : lz_images_memory(images, 1000, &memory, NULL, &why);
}

static void says(const char *text)
{
	ck_assert_msg(strstr(why.text, text) != NULL, "'%s' is not in: %s", text, why.text);
}

static void put(const char *name, const struct imagebuf *b)
{
	int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, b->bytes, b->len), (ssize_t)b->len);
	close(fd);
}

static void put_core(uint32_t pid, uint32_t state)
{
	Lz__Criu__TaskCoreEntry tc = LZ__CRIU__TASK_CORE_ENTRY__INIT;
	Lz__Criu__CoreEntry core = LZ__CRIU__CORE_ENTRY__INIT;
	struct imagebuf b = { .bytes = NULL };
	char name[32];

	tc.task_state = state;
	core.tc = state ? &tc : NULL;
	imagebuf_head(&b, LZ_IMAGE_CORE);
	imagebuf_message(&b, &core.base);
	snprintf(name, sizeof(name), "core-%" PRIu32 ".img", pid);
	put(name, &b);
	imagebuf_free(&b);
}

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

/* ---- read back ---- */

static const struct imagegen made[] = {
	{ .nr_tasks = 1, .nr_ranges = 1, .nr_pages = 1 },
	{ .nr_tasks = 3, .nr_ranges = 20, .nr_pages = 3, .gap_pages = 2 },
	{ .nr_tasks = 2, .nr_ranges = 20, .nr_pages = 3, .area_pages = 7, .nr_levels = 2 },
	{ .nr_tasks = 1, .nr_ranges = 50, .nr_pages = 1, .gap_pages = 1, .nr_levels = 5 },
	{ .nr_tasks = 1, .nr_ranges = 21, .nr_pages = 2, .eager_every = 3, .nr_levels = 3 },
	{ .nr_tasks = 2, .nr_ranges = 9, .nr_pages = 1, .base = 0x10000, .dead_last = true },
	{ .nr_tasks = 1, .nr_ranges = 4, .nr_pages = 1, .eager_every = 1 },
};
enum { NR_MADE = sizeof(made) / sizeof(made[0]) };

static void verify_page(const struct lz_memory *m, uint32_t pid, const struct lz_run *run,
			uint64_t page)
{
	uint64_t identity = lz_plan_identity(run, page);
	const struct lz_memory_source *source = &m->source[run->source];
	uint8_t bytes[IMAGEGEN_PAGE];

	if (pread(source->fd, bytes, sizeof(bytes),
		  (off_t)(run->offset + identity - run->identity)) != IMAGEGEN_PAGE ||
	    !imagegen_is(pid, identity, bytes))
		ck_abort_msg("page 0x%" PRIx64 " of %s is another", identity, source->name);
}

/* Every page that is to be lazy is in the plan and right, no other is in it. */
static void verify_task(const struct imagegen *g, const struct lz_task *task)
{
	uint64_t nr_lazy = 0;

	for (uint64_t n = 0; n < g->nr_ranges && !task->dead; n++) {
		bool eager = g->eager_every && n % g->eager_every == g->eager_every - 1;

		for (uint64_t p = 0; p < g->nr_pages + g->gap_pages; p++) {
			uint64_t vaddr = imagegen_range(g, n) + p * IMAGEGEN_PAGE;
			const struct lz_run *run = NULL;
			int64_t page = lz_plan_page(memory->plan, vaddr, &run);

			ck_assert_int_eq(page >= 0, !eager && p < g->nr_pages);
			if (page < 0)
				continue;
			verify_page(memory, task->pid, run, (uint64_t)page);
			nr_lazy++;
		}
	}
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), nr_lazy);
}

static void verify_areas(const struct imagegen *g, const struct lz_task *task)
{
	uint64_t end = imagegen_range(g, 0);

	for (size_t n = 0; n < memory->nr_segs; n++) {
		ck_assert_uint_eq(memory->seg[n].start, end);
		ck_assert_uint_eq(memory->seg[n].identity, end);
		end = memory->seg[n].end;
	}
	ck_assert_uint_eq(end, task->dead ? imagegen_range(g, 0) : imagegen_end(g));
}

START_TEST(read_back)
{
	struct imagegen g = made[_i / 2];
	unsigned before = fds_count();

	g.format = _i % 2 ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;
	make(&g);
	ck_assert_msg(lz_images_open(&images, dirfd_, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(lz_images_nr_tasks(images), g.nr_tasks);
	ck_assert_uint_eq(lz_images_depth(images), g.nr_levels ? g.nr_levels : 1);
	for (uint32_t n = 0; n < g.nr_tasks; n++) {
		const struct lz_task *task = lz_images_task(images, n);

		ck_assert_uint_eq(task->pid, 1000 + n);
		ck_assert_uint_eq(task->ppid, n ? 999 + n : 0);
		ck_assert_int_eq(task->dead, g.dead_last && n + 1 == g.nr_tasks);
		ck_assert_msg(!lz_images_memory(images, task->pid, &memory, NULL, &why), "%s",
			      why.text);
		ck_assert_str_eq(why.text, "");
		verify_task(&g, task);
		verify_areas(&g, task);
		lz_memory_put(memory);
		memory = NULL;
	}
	lz_images_close(images);
	images = NULL;
	ck_assert_uint_eq(fds_count(), before);
}
END_TEST

START_TEST(report)
{
	struct imagegen g = { .nr_tasks = 1,
			      .nr_ranges = 60,
			      .nr_pages = 2,
			      .gap_pages = 1,
			      .area_pages = 30,
			      .nr_levels = 3,
			      .eager_every = 5,
			      .absent_every = 4,
			      .format = LZ_PAGEMAP_4_2 };
	struct lz_task_report r = { .depth = 77 };
	unsigned before;

	make(&g);
	ck_assert_int_eq(load(), -ENODATA);
	says("pagemap-1000.img: record 5, at byte 65, leaves the pages from 0x10000009000 on");
	before = fds_count();
	ck_assert_int_eq(unlinkat(dirfd_, "pages-1.img", 0), 0);
	/* Without a memory to make, the pages files are left alone. */
	ck_assert_int_eq(lz_images_memory(images, 1000, NULL, &r, &why), 0);
	ck_assert_uint_eq(fds_count(), before);
	ck_assert_uint_eq(r.absent_bytes, 15 * 2 * 4096);
	ck_assert_uint_eq(r.eager_bytes, (12 - 3) * 2 * 4096);
	ck_assert_uint_eq(r.lazy_bytes, (60 - 15 - 9) * 2 * 4096);
	ck_assert_uint_eq(r.area_bytes, 180 * 4096);
	ck_assert_uint_eq(r.nr_areas, 6);
	ck_assert_uint_eq(r.nr_entries, 60);
	ck_assert_uint_eq(r.nr_runs, 36);
	ck_assert_uint_eq(r.depth, 3);
	ck_assert_uint_gt(r.parent_bytes, r.lazy_bytes / 2);
	ck_assert_uint_lt(r.parent_bytes, r.lazy_bytes);
}
END_TEST

START_TEST(sources)
{
	make(&small);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(memory->nr_sources, 2);
	ck_assert_str_eq(memory->source[0].name, "pages-1.img");
	ck_assert_str_eq(memory->source[1].name, "parent/pages-1.img");
	for (size_t n = 0; n < 2; n++) {
		int fd = memory->source[n].fd;

		ck_assert_uint_eq(memory->source[n].size, 4 * 4096);
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		/* io_uring does not wait for the disk where this is set. */
		ck_assert_int_eq(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDONLY);
	}
}
END_TEST

START_TEST(short_pages)
{
	make(&small);
	ck_assert_int_eq(truncate(strcat(strcpy((char[64]){ 0 }, dir), "/pages-1.img"), 5000), 0);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(memory->source[0].size, 5000);
}
END_TEST

/* ---- tasks ---- */

START_TEST(states)
{
	static const struct {
		uint32_t state;
		bool dead;
	} state[] = { { 1, false }, { 2, true }, { 3, false }, { 6, true } };

	make(&small);
	put_core(1000, state[_i].state);
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(lz_images_task(images, 0)->dead, state[_i].dead);
	ck_assert_int_eq(lz_images_task(images, 1)->dead, false);
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), state[_i].dead ? 0 : 8);
	ck_assert_uint_eq(memory->nr_segs, state[_i].dead ? 0 : 1);
}
END_TEST

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

/* What newer dumps say of themselves besides is not for us to refuse. */
START_TEST(harmless_fields)
{
	struct imagebuf b = { .bytes = NULL };

	make(&small);
	imagebuf_head(&b, LZ_IMAGE_INVENTORY);
	imagebuf_record(&b, "\x08\x02\x10\x01\x6a\x02id\xf8\x01\x07", 11);
	put("inventory.img", &b);
	imagebuf_free(&b);
	ck_assert_int_eq(load(), 0);
}
END_TEST

/* ---- parents ---- */

static void relink(const char *target)
{
	ck_assert_int_eq(lz_writer_parent(dirfd_, target, &why), 0);
}

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

START_TEST(parent_depth)
{
	struct imagegen g = {
		.nr_tasks = 1, .nr_ranges = 600, .nr_pages = 1, .nr_levels = 256u + (uint32_t)_i
	};

	make(&g);
	if (_i) {
		ck_assert_int_eq(load(), -EMLINK);
		says("256 snapshots in the chain and yet another parent");
		return;
	}
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(memory->nr_sources, 256);
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), 600);
	ck_assert_str_eq(memory->source[255].name, "(parent/ x 255)/pages-1.img");
	verify_task(&g, lz_images_task(images, 0));
}
END_TEST

/* A task that is younger than the parent snapshot has no pagemap there. */
START_TEST(parent_without_task)
{
	struct imagegen g = { .nr_tasks = 1, .nr_ranges = 3, .nr_pages = 1 };

	make(&g);
	ck_assert_int_eq(mkdirat(dirfd_, "older", 0700), 0);
	relink("older");
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(lz_images_depth(images), 2);
	verify_task(&g, lz_images_task(images, 0));
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

/* ---- damage ---- */

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
	Suite *s = suite_create("files");
	TCase *t = tcase_create("files");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, read_back, 0, 2 * NR_MADE);
	tcase_add_test(t, report);
	tcase_add_test(t, sources);
	tcase_add_test(t, short_pages);
	tcase_add_loop_test(t, states, 0, 4);
	tcase_add_test(t, alive_without_memory);
	tcase_add_test(t, no_state);
	tcase_add_test(t, pids);
	tcase_add_loop_test(t, versions, 0, 4);
	tcase_add_test(t, harmless_fields);
	tcase_add_test(t, parent_nowhere);
	tcase_add_test(t, parent_no_directory);
	tcase_add_loop_test(t, parent_loop, 0, 2);
	tcase_add_loop_test(t, parent_depth, 0, 2);
	tcase_add_test(t, parent_without_task);
	tcase_add_test(t, parent_pagemap_gone);
	tcase_add_loop_test(t, damage, 0, sizeof(damaged) / sizeof(damaged[0]));
	tcase_add_loop_test(t, missing, 0, NR_NEEDED);
	tcase_add_loop_test(t, no_regular_file, 0, 2 * NR_NEEDED);
	suite_add_tcase(s, t);
	return run_suite(s);
}
