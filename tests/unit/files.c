/* SPDX-License-Identifier: MIT */
/*
 * Directories of images that are as they should be: what was made is read back byte for byte,
 * through parents too. What is wrong with others is in files_wrong.c.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_dir.h"
#include "tests/lib/fds.h"
#include "tests/lib/suite.h"

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
	tcase_add_test(t, harmless_fields);
	tcase_add_loop_test(t, parent_depth, 0, 2);
	tcase_add_test(t, parent_without_task);
	suite_add_tcase(s, t);
	return run_suite(s);
}
