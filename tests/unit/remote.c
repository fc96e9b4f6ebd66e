/* SPDX-License-Identifier: MIT */
/*
 * Memories that come from a page server, in part or all of them: which page is whose, and under
 * which number. And the other end: what there is to be served of images, and how CRIU spoke when it
 * made them.
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
#include "tests/lib/fds.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

enum { LEVELS = 5, MANY = 4096 };

static char dir[] = "/tmp/lazyd-remote.XXXXXX";
static int dirfd_;
static struct lz_why why;
static struct lz_images *images;
static struct lz_memory *memory;
static struct lz_task_report report;

static void setup(void)
{
	dirfd_ = scratch_open(dir);
}

static void teardown(void)
{
	lz_memory_put(memory);
	lz_images_close(images);
	scratch_close(dir, dirfd_);
}

static void make(const struct imagegen *g)
{
	ck_assert_msg(!imagegen_make(dirfd_, g, &why), "%s", why.text);
}

static void open_images(bool remote)
{
	ck_assert_msg(!lz_images_open(&images, dirfd_, &why), "%s", why.text);
	if (remote)
		lz_images_set_remote(images);
}

/* The memory of task 1000, told twice: with and without opening anything. */
static void load(void)
{
	struct lz_task_report again = { .depth = 77 };

	ck_assert_msg(!lz_images_memory(images, 1000, &memory, &report, &why), "%s", why.text);
	ck_assert_str_eq(why.text, "");
	ck_assert_int_eq(lz_images_memory(images, 1000, NULL, &again, &why), 0);
	ck_assert_mem_eq(&again, &report, sizeof(report));
	ck_assert_uint_eq(report.lazy_bytes, lz_plan_nr_pages(memory->plan) * IMAGEGEN_PAGE);
}

static void says(const char *text)
{
	ck_assert_msg(strstr(why.text, text) != NULL, "'%s' is not in: %s", text, why.text);
}

static void remove_pages(uint32_t level)
{
	char name[64] = "pages-1.img";

	if (level)
		snprintf(name, sizeof(name), "snapshot-%" PRIu32 "/pages-1.img", level);
	ck_assert_int_eq(unlinkat(dirfd_, name, 0), 0);
}

static void verify_bytes(const struct lz_run *run, uint64_t vaddr)
{
	const struct lz_memory_source *source = &memory->source[run->source];
	uint8_t bytes[IMAGEGEN_PAGE];

	if (pread(source->fd, bytes, sizeof(bytes), (off_t)(run->offset + vaddr - run->identity)) !=
		    IMAGEGEN_PAGE ||
	    !imagegen_is(1000, vaddr, bytes))
		ck_abort_msg("page 0x%" PRIx64 " of %s is another", vaddr, source->name);
}

/* Page number @page of the plan is at @vaddr, and here or with the server. */
static void verify_page(uint64_t page, uint64_t vaddr, bool remote)
{
	const struct lz_run *run = NULL;
	struct lz_memory_range range;

	if (lz_plan_page(memory->plan, vaddr, &run) != (int64_t)page ||
	    (memory->source[run->source].kind == LZ_FROM_REMOTE) != remote)
		ck_abort_msg("page 0x%" PRIx64 " is not number %" PRIu64 " or not %s", vaddr, page,
			     remote ? "remote" : "here");
	if (!remote) {
		verify_bytes(run, vaddr);
		return;
	}
	if (run->source != lz_plan_remote(memory->plan) ||
	    run->offset + vaddr - run->identity != page << 12 ||
	    lz_memory_ranges(memory, page << 12, IMAGEGEN_PAGE, &range, 1) != 1 ||
	    range.start != vaddr || range.nr_pages != 1)
		ck_abort_msg("page 0x%" PRIx64 " is not asked for rightly", vaddr);
}

/* ---- all of it is elsewhere ---- */

/* A live dump leaves no page behind; a copy without pages files has none either. */
static const struct imagegen elsewhere[] = {
	{ .nr_tasks = 1, .nr_ranges = 40, .nr_pages = 3, .gap_pages = 2, .absent_every = 1 },
	{ .nr_tasks = 1, .nr_ranges = 40, .nr_pages = 3, .gap_pages = 2 },
	{ .nr_tasks = 1, .nr_ranges = 40, .nr_pages = 3, .gap_pages = 2, .absent_every = 3 },
	{ .nr_tasks = 1, .nr_ranges = 40, .nr_pages = 3, .absent_every = 7, .area_pages = 8 },
};

START_TEST(all_remote)
{
	struct imagegen g = elsewhere[_i / 2];
	struct lz_memory_range range[40];
	uint64_t page = 0;
	unsigned before;

	g.format = LZ_PAGEMAP_4_2;
	make(&g);
	if (_i % 2)
		remove_pages(0);
	open_images(true);
	before = fds_count();
	load();
	ck_assert_uint_eq(fds_count(), before);
	ck_assert_uint_eq(memory->nr_sources, 1);
	ck_assert_uint_eq(memory->source[0].pid, 1000);
	for (uint64_t n = 0; n < g.nr_ranges; n++)
		for (uint64_t p = 0; p < g.nr_pages; p++)
			verify_page(page++, imagegen_range(&g, n) + p * IMAGEGEN_PAGE, true);
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), page);
	/* One behind the other, whatever holes there are. */
	ck_assert_uint_eq(lz_plan_extent(memory->plan, 0, MANY), page);
	ck_assert_uint_eq(lz_memory_ranges(memory, 0, page << 12, range, 40), g.gap_pages ? 40 : 1);
	ck_assert_uint_eq(report.remote_bytes, page << 12);
	ck_assert_uint_eq(report.parent_bytes, 0);
	ck_assert_uint_eq(report.absent_bytes,
			  g.absent_every ? 40 / g.absent_every * 3 * IMAGEGEN_PAGE : 0);
}
END_TEST

START_TEST(not_without_being_told)
{
	make(&elsewhere[_i]);
	open_images(false);
	if (_i == 1) {
		load();
		ck_assert_uint_eq(lz_plan_remote(memory->plan), UINT32_MAX);
		ck_assert_uint_eq(report.remote_bytes, 0);
		return;
	}
	ck_assert_int_eq(lz_images_memory(images, 1000, &memory, NULL, &why), -ENODATA);
	says("they come from its page server");
}
END_TEST

/* ---- chains, whose parents' pages are here or not ---- */

static void verify_extents(void)
{
	const struct lz_run *run = lz_plan_runs(memory->plan);
	size_t nr = lz_plan_nr_runs(memory->plan);

	for (size_t n = 0; n < nr; n++) {
		uint64_t pages = 0;

		if (memory->source[run[n].source].kind != LZ_FROM_REMOTE)
			continue;
		for (size_t k = n; k < nr && memory->source[run[k].source].kind == LZ_FROM_REMOTE;
		     k++)
			pages += lz_plan_run_pages(memory->plan, &run[k]);
		ck_assert_uint_eq(lz_plan_extent(memory->plan, run[n].first, MANY), pages);
	}
}

/* Every subset of the five pages files is missing. */
START_TEST(half_here)
{
	struct imagegen g = { .nr_tasks = 1,
			      .nr_ranges = 97,
			      .nr_pages = 2,
			      .gap_pages = 1,
			      .nr_levels = LEVELS,
			      .absent_every = 11,
			      .eager_every = 6,
			      .format = LZ_PAGEMAP_4_1 };
	uint64_t page = 0, nr_remote = 0;

	make(&g);
	for (uint32_t level = 0; level < LEVELS; level++)
		if (_i & 1 << level)
			remove_pages(level);
	open_images(true);
	load();
	for (uint64_t n = 0; n < g.nr_ranges; n++) {
		uint64_t level = n % LEVELS;
		bool absent = n % 11 == 10, remote = absent || !level || _i & 1 << level;

		if (n % 6 == 5 && !absent)
			continue; /* eager */
		for (uint64_t p = 0; p < g.nr_pages; p++) {
			verify_page(page++, imagegen_range(&g, n) + p * IMAGEGEN_PAGE, remote);
			nr_remote += remote;
		}
	}
	verify_extents();
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), page);
	ck_assert_uint_eq(report.remote_bytes, nr_remote << 12);
	ck_assert_uint_eq(report.parent_bytes, (page - nr_remote) << 12);
	ck_assert_uint_eq(report.depth, LEVELS);
	ck_assert_uint_eq(memory->nr_sources,
			  1 + LEVELS - 1 - (unsigned)__builtin_popcount((unsigned)_i & ~1u));
}
END_TEST

/* A file that is there and cannot be read is not one that is missing. */
START_TEST(no_regular_file)
{
	struct imagegen g = { .nr_tasks = 1, .nr_ranges = 6, .nr_pages = 1, .nr_levels = 2 };

	make(&g);
	remove_pages(1);
	ck_assert_int_eq(mkdirat(dirfd_, "snapshot-1/pages-1.img", 0700), 0);
	open_images(true);
	ck_assert_int_eq(lz_images_memory(images, 1000, &memory, NULL, &why), -EISDIR);
	says("parent/pages-1.img");
}
END_TEST

struct record {
	uint64_t range;
	uint32_t flags;
};

/* Rewrites the pagemap of a level, without pages. */
static void rewrite(const struct imagegen *g, uint32_t level, const struct record *record,
		    size_t nr)
{
	int fd = level ? openat(dirfd_, "snapshot-1", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		       : dup(dirfd_);
	struct lz_writer *w;

	ck_assert_int_eq(lz_writer_open(&w, fd, 1000, 1, LZ_PAGEMAP_4_2, &why), 0);
	for (size_t n = 0; n < nr; n++)
		ck_assert_int_eq(lz_writer_add(w, imagegen_range(g, record[n].range), g->nr_pages,
					       record[n].flags, NULL, &why),
				 0);
	ck_assert_int_eq(lz_writer_close(w, &why), 0);
	close(fd);
}

static const struct imagegen two_levels = { .nr_tasks = 1,
					    .nr_ranges = 6,
					    .nr_pages = 2,
					    .gap_pages = 1,
					    .nr_levels = 2,
					    .format = LZ_PAGEMAP_4_2 };

START_TEST(nothing_remote)
{
	static const struct record top[] = {
		{ 0, LZ_PAGE_PRESENT },
		{ 1, LZ_PAGE_PARENT | LZ_PAGE_LAZY },
		{ 3, LZ_PAGE_PARENT | LZ_PAGE_LAZY },
	};

	make(&two_levels);
	rewrite(&two_levels, 0, top, 3);
	open_images(true);
	load();
	ck_assert_uint_eq(lz_plan_remote(memory->plan), UINT32_MAX);
	ck_assert_uint_eq(memory->nr_sources, 1);
	ck_assert_uint_eq(report.remote_bytes, 0);
	ck_assert_uint_eq(report.parent_bytes, 4 * IMAGEGEN_PAGE);
	verify_page(0, imagegen_range(&two_levels, 1), false);
}
END_TEST

/* The parent's pages are here, but not this one. */
START_TEST(absent_in_a_parent)
{
	static const struct record top[] = {
		{ 1, LZ_PAGE_PARENT | LZ_PAGE_LAZY },
		{ 2, LZ_PAGE_PARENT | LZ_PAGE_LAZY },
		{ 3, LZ_PAGE_PARENT | LZ_PAGE_LAZY },
	};
	static const struct record parent[] = {
		{ 1, LZ_PAGE_LAZY },
		{ 2, LZ_PAGE_PRESENT },
		{ 3, LZ_PAGE_LAZY },
	};

	make(&two_levels);
	rewrite(&two_levels, 0, top, 3);
	rewrite(&two_levels, 1, parent, 3);
	open_images(true);
	load();
	verify_page(0, imagegen_range(&two_levels, 1), true);
	verify_page(4, imagegen_range(&two_levels, 3), true);
	ck_assert_uint_eq(lz_plan_run(memory->plan, 2)->offset, 0);
	ck_assert_uint_eq(report.remote_bytes, 4 * IMAGEGEN_PAGE);
	ck_assert_uint_eq(report.absent_bytes, 4 * IMAGEGEN_PAGE);
	verify_extents();
}
END_TEST

/* ---- the other end: what can be served ---- */

static const struct imagegen served[] = {
	{ .nr_tasks = 1, .nr_ranges = 30, .nr_pages = 2, .gap_pages = 1 },
	{ .nr_tasks = 1, .nr_ranges = 30, .nr_pages = 2, .eager_every = 3, .nr_levels = LEVELS },
	{ .nr_tasks = 1, .nr_ranges = 30, .nr_pages = 2, .eager_every = 1, .absent_every = 4 },
	{ .nr_tasks = 1, .nr_ranges = 30, .nr_pages = 2, .absent_every = 1 },
};

START_TEST(pages)
{
	struct imagegen g = served[_i / 4];
	uint64_t page = 0;

	g.format = _i % 2 ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;
	make(&g);
	if (_i % 4 > 1)
		ck_assert_int_eq(unlinkat(dirfd_, "mm-1000.img", 0), 0);
	open_images(_i % 2);
	ck_assert_msg(!lz_images_pages(images, 1000, &memory, &why), "%s", why.text);
	ck_assert_str_eq(why.text, "");
	ck_assert_uint_eq(memory->nr_segs, 0);
	for (uint64_t n = 0; n < g.nr_ranges; n++) {
		if (g.absent_every && n % g.absent_every == g.absent_every - 1)
			continue;
		for (uint64_t p = 0; p < g.nr_pages; p++)
			verify_page(page++, imagegen_range(&g, n) + p * IMAGEGEN_PAGE, false);
	}
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), page);
	ck_assert_uint_eq(lz_plan_remote(memory->plan), UINT32_MAX);
}
END_TEST

START_TEST(pages_of_nobody)
{
	struct imagegen g = { .nr_tasks = 2, .nr_ranges = 5, .nr_pages = 1, .dead_last = true };
	unsigned before;

	make(&g);
	open_images(false);
	ck_assert_int_eq(lz_images_pages(images, 7, &memory, &why), -ESRCH);
	ck_assert_int_eq(lz_images_pages(images, 1001, &memory, &why), 0);
	ck_assert_uint_eq(lz_plan_nr_pages(memory->plan), 0);
	lz_memory_put(memory);
	memory = NULL;
	remove_pages(0);
	before = fds_count();
	ck_assert_int_eq(lz_images_pages(images, 1000, &memory, &why), -ENOENT);
	says("pages-1.img is missing");
	ck_assert_ptr_null(memory);
	ck_assert_uint_eq(fds_count(), before);
	ck_assert_int_eq(imagegen_hurt(dirfd_, "pagemap-1000.img", IMAGEGEN_REPEAT), 0);
	ck_assert_int_lt(lz_images_pages(images, 1000, &memory, &why), 0);
}
END_TEST

/* ---- how CRIU spoke ---- */

START_TEST(header)
{
	struct imagegen g = { .nr_tasks = 3, .nr_ranges = 2, .nr_pages = 1 };

	g.format = _i ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;
	make(&g);
	open_images(_i);
	ck_assert_int_eq(lz_images_header(images), _i ? 32 : 24);
	/* The first that says it is believed, not one without entries or that cannot be read. */
	rewrite(&g, 0, NULL, 0);
	ck_assert_int_eq(lz_images_header(images), _i ? 32 : 24);
	ck_assert_int_eq(unlinkat(dirfd_, "pagemap-1000.img", 0), 0);
	ck_assert_int_eq(lz_images_header(images), _i ? 32 : 24);
	ck_assert_int_eq(imagegen_hurt(dirfd_, "pagemap-1001.img", IMAGEGEN_SIZE), 0);
	ck_assert_int_eq(lz_images_header(images), _i ? 32 : 24);
	ck_assert_int_eq(unlinkat(dirfd_, "pagemap-1002.img", 0), 0);
	ck_assert_int_eq(lz_images_header(images), 32);
}
END_TEST

/* ---- pages of 2 MiB ---- */

/* Asked for by pages of 4 KiB, from anywhere within; of one size they are, all of them. */
START_TEST(large_pages)
{
	const uint64_t mib = 1 << 20, at = 16 * mib, small = 64 * mib;
	struct lz_memory_range r[4];
	struct lazyd_memory *m;

	ck_assert_int_eq(lazyd_memory_new(&m), 0);
	memory = (struct lz_memory *)m;
	ck_assert_int_eq(lazyd_memory_add_remote(m, 7), 0);
	ck_assert_int_eq(lazyd_memory_add_area(m, 0, 8 * mib, 2 * mib), 0);
	ck_assert_int_eq(lazyd_memory_add_area(m, at, 4 * mib, 2 * mib), 0);
	ck_assert_int_eq(lazyd_memory_add_area(m, small, mib, 4096), 0);
	if (_i) { /* whichever was first */
		ck_assert_int_eq(lazyd_memory_add_piece(m, 0, 2 * mib, 0, 0), 0);
		ck_assert_int_eq(lazyd_memory_add_piece(m, small, 4096, 0, 0), -EINVAL);
	}
	ck_assert_int_eq(lazyd_memory_add_piece(m, 2 * mib, 2 * mib, 0, 0), 0);
	ck_assert_int_eq(lazyd_memory_add_piece(m, at, 4 * mib, 0, 0), 0);
	ck_assert_int_eq(lazyd_memory_add_piece(m, small, 4096, 0, 0), -EINVAL);
	ck_assert_uint_eq(lazyd_memory_pages(m), _i ? 4 : 3);
	ck_assert_uint_eq(lz_memory_ranges(memory, 0, 2 * mib, r, 4), 1);
	ck_assert_uint_eq(r[0].start, _i ? 0 : 2 * mib);
	ck_assert_uint_eq(r[0].nr_pages, 512);
	/* The last pages of one, and the first ones of the next, which is elsewhere. */
	ck_assert_uint_eq(lz_memory_ranges(memory, (_i ? 4 : 2) * mib - 8192, 5 * 4096, r, 4), 2);
	ck_assert_uint_eq(r[0].start, 4 * mib - 8192);
	ck_assert_uint_eq(r[0].nr_pages, 2);
	ck_assert_uint_eq(r[1].start, at);
	ck_assert_uint_eq(r[1].nr_pages, 3);
	ck_assert_uint_eq(lz_memory_ranges(memory, (_i ? 4 : 2) * mib - 8192, 5 * 4096, r, 1), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("remote");
	TCase *t = tcase_create("remote");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, all_remote, 0, 8);
	tcase_add_loop_test(t, not_without_being_told, 0, 4);
	tcase_add_loop_test(t, half_here, 0, 1 << LEVELS);
	tcase_add_test(t, no_regular_file);
	tcase_add_test(t, nothing_remote);
	tcase_add_test(t, absent_in_a_parent);
	tcase_add_loop_test(t, pages, 0, 16);
	tcase_add_test(t, pages_of_nobody);
	tcase_add_loop_test(t, header, 0, 2);
	tcase_add_loop_test(t, large_pages, 0, 2);
	suite_add_tcase(s, t);
	return run_suite(s);
}
