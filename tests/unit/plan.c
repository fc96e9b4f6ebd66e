/* SPDX-License-Identifier: MIT */
/*
 * The plan: random ones against a list of their pages, and what lies at the ends of the numbers.
 * Memory's keeping of segments and descriptors is tried here too.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "pagemap/memory.h"
#include "pagemap/plan.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

#define K4(n) ((uint64_t)(n) << 12)

static uint64_t first_seed;

static struct lz_plan *new_plan(void)
{
	struct lz_plan *p;

	ck_assert_int_eq(lz_plan_new(&p), 0);
	return p;
}

static int add(struct lz_plan *p, uint64_t identity, uint64_t len, uint32_t source, uint64_t offset)
{
	return lz_plan_add(p, &(struct lz_piece){ .identity = identity,
						  .len = len,
						  .source = source,
						  .offset = offset,
						  .page_shift = 12 });
}

START_TEST(empty)
{
	struct lz_plan *p = new_plan();

	lz_plan_seal(p);
	lz_plan_seal(p);
	ck_assert_uint_eq(lz_plan_nr_pages(p), 0);
	ck_assert_uint_eq(lz_plan_nr_runs(p), 0);
	ck_assert_int_eq(lz_plan_page(p, 0, NULL), -1);
	ck_assert_int_eq(lz_plan_page(p, UINT64_MAX, NULL), -1);
	ck_assert_uint_eq(lz_plan_page_from(p, 0), 0);
	lz_plan_put(p);
	lz_plan_put(NULL);
}
END_TEST

static const struct lz_piece refused[] = {
	{ .identity = K4(9), .len = 0, .page_shift = 12 },
	{ .identity = K4(9) + 1, .len = K4(1), .page_shift = 12 },
	{ .identity = K4(9), .len = K4(1) + 1, .page_shift = 12 },
	{ .identity = K4(9), .len = K4(1), .offset = 512, .page_shift = 12 },
	{ .identity = K4(9), .len = K4(1), .page_shift = 11 },
	{ .identity = 0, .len = UINT64_C(1) << 63, .page_shift = 63 },
	{ .identity = K4(9), .len = K4(1), .page_shift = 64 },
	{ .identity = K4(9), .len = K4(1), .page_shift = 13 },
	{ .identity = -K4(1), .len = K4(1), .page_shift = 12 },
	{ .identity = K4(9), .len = -K4(9), .page_shift = 12 },
	{ .identity = K4(9), .len = K4(2), .offset = -K4(1), .page_shift = 12 },
	{ .identity = K4(5), .len = K4(1), .page_shift = 12 },
	{ .identity = K4(7), .len = K4(1), .page_shift = 12 },
	{ .identity = 0, .len = K4(1), .page_shift = 12 },
};

START_TEST(refuses)
{
	struct lz_plan *p = new_plan();

	ck_assert_int_eq(add(p, K4(6), K4(2), 0, 0), 0);
	ck_assert_int_eq(lz_plan_add(p, &refused[_i]), -EINVAL);
	ck_assert_uint_eq(lz_plan_nr_pages(p), 2);
	ck_assert_uint_eq(lz_plan_nr_runs(p), 1);
	ck_assert_int_eq(add(p, K4(9), K4(1), 0, 0), 0);
	lz_plan_put(p);
}
END_TEST

START_TEST(joins)
{
	struct lz_plan *p = new_plan();

	ck_assert_int_eq(add(p, K4(10), K4(2), 1, K4(5)), 0);
	ck_assert_int_eq(add(p, K4(12), K4(3), 1, K4(7)), 0); /* goes on */
	ck_assert_uint_eq(lz_plan_nr_runs(p), 1);
	ck_assert_int_eq(add(p, K4(15), K4(1), 2, K4(10)), 0); /* another source */
	ck_assert_int_eq(add(p, K4(16), K4(1), 2, K4(12)), 0); /* a gap in the file */
	ck_assert_int_eq(add(p, K4(18), K4(1), 2, K4(13)), 0); /* a gap in memory */
	ck_assert_uint_eq(lz_plan_nr_runs(p), 4);
	ck_assert_uint_eq(lz_plan_nr_pages(p), 8);
	/* An extent may jump the gap in memory, but not the one in the file. */
	ck_assert_uint_eq(lz_plan_extent(p, 0, 100), 5);
	ck_assert_uint_eq(lz_plan_extent(p, 3, 1), 1);
	ck_assert_uint_eq(lz_plan_extent(p, 5, 100), 1);
	ck_assert_uint_eq(lz_plan_extent(p, 6, 100), 2);
	ck_assert_uint_eq(lz_plan_extent(p, 6, 2), 2);
	lz_plan_put(p);
}
END_TEST

START_TEST(ends_of_numbers)
{
	const uint64_t huge = UINT64_C(1) << 32;
	struct lz_plan *p = new_plan();
	const struct lz_run *run = NULL;

	ck_assert_int_eq(add(p, 0, K4(huge), 0, 0), 0);
	ck_assert_int_eq(add(p, K4(huge) + K4(1), K4(huge), 0, K4(huge)), 0);
	ck_assert_int_eq(add(p, -K4(3), K4(2), 1, UINT64_MAX - 0xfff - K4(2)), 0);
	lz_plan_seal(p);
	ck_assert_uint_eq(lz_plan_nr_pages(p), 2 * huge + 2);
	ck_assert_int_eq(lz_plan_page(p, K4(huge) - 1, &run), (int64_t)huge - 1);
	ck_assert_uint_eq(run->identity, 0);
	ck_assert_int_eq(lz_plan_page(p, K4(huge), NULL), -1);
	ck_assert_uint_eq(lz_plan_page_from(p, K4(huge)), huge);
	ck_assert_int_eq(lz_plan_page(p, K4(huge) + K4(1), NULL), (int64_t)huge);
	ck_assert_int_eq(lz_plan_page(p, -K4(2), &run), (int64_t)(2 * huge + 1));
	ck_assert_uint_eq(lz_plan_identity(run, 2 * huge + 1), -K4(2));
	ck_assert_int_eq(lz_plan_page(p, -K4(1), NULL), -1);
	ck_assert_int_eq(lz_plan_page(p, UINT64_MAX, NULL), -1);
	ck_assert_uint_eq(lz_plan_page_from(p, UINT64_MAX), 2 * huge + 2);
	ck_assert_uint_eq(lz_plan_extent(p, 5, UINT64_MAX), 2 * huge - 5);
	ck_assert_ptr_eq(lz_plan_run(p, 2 * huge - 1), lz_plan_runs(p) + 1);
	lz_plan_put(p);
}
END_TEST

/* Three small pages from the second on, and two large ones. */
START_TEST(has_others)
{
	const uint64_t large = UINT64_C(2) << 20;
	struct lz_plan *p = new_plan();

	ck_assert(!lz_plan_has_others(p, 0, 4 * large, 12));
	ck_assert_int_eq(add(p, K4(1), K4(3), 0, 0), 0);
	ck_assert_int_eq(lz_plan_add(p, &(struct lz_piece){ .identity = large,
							    .len = 2 * large,
							    .page_shift = 21 }),
			 0);
	ck_assert(!lz_plan_has_others(p, 0, K4(1), 21));
	ck_assert(lz_plan_has_others(p, 0, K4(2), 21));
	ck_assert(lz_plan_has_others(p, K4(3), K4(9), 21));
	ck_assert(!lz_plan_has_others(p, K4(4), large - K4(4), 21));
	ck_assert(!lz_plan_has_others(p, 0, large, 12));
	ck_assert(lz_plan_has_others(p, 0, large + K4(1), 12));
	ck_assert(lz_plan_has_others(p, 2 * large, large, 12));
	ck_assert(!lz_plan_has_others(p, large, 9 * large, 21));
	ck_assert(!lz_plan_has_others(p, 3 * large, large, 12));
	lz_plan_put(p);
}
END_TEST

START_TEST(a_million_runs)
{
	struct lz_plan *p = new_plan();
	const uint64_t nr = 1000000;

	for (uint64_t n = 0; n < nr; n++)
		MUST_EQ(add(p, K4(2 * n + 1), K4(1), 0, K4(n)), 0);
	lz_plan_seal(p);
	ck_assert_uint_eq(lz_plan_nr_runs(p), nr);
	for (uint64_t n = 0; n < nr; n++) {
		const struct lz_run *run = lz_plan_run(p, n);

		if (lz_plan_page(p, K4(2 * n + 1) + 4095, NULL) != (int64_t)n ||
		    lz_plan_page(p, K4(2 * n), NULL) != -1 ||
		    lz_plan_page_from(p, K4(2 * n)) != n || run->identity != K4(2 * n + 1))
			ck_abort_msg("page %lu is lost", (unsigned long)n);
	}
	ck_assert_uint_eq(lz_plan_extent(p, 0, nr), nr);
	lz_plan_put(p);
}
END_TEST

/* ---- random plans against a list of their pages ---- */

enum { SPACE = 160, MODELS = 50 };

struct model_page {
	uint64_t identity, offset;
	uint32_t source, page_shift;
};

struct model {
	struct model_page page[SPACE];
	size_t nr;
};

static uint64_t seed;

static uint64_t pick(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

static struct lz_plan *random_plan(struct model *m, uint64_t base)
{
	struct lz_plan *p = new_plan();
	uint64_t offset[2] = { 0, K4(4) };

	m->nr = 0;
	for (uint64_t at = pick(4); at < SPACE - 16; at += pick(3) ? 0 : pick(9)) {
		uint32_t shift = pick(6) ? 12 : 13, source = (uint32_t)pick(2);
		uint64_t pages = 1 + pick(4), step = UINT64_C(1) << (shift - 12);

		at = (at + step - 1) & ~(step - 1);
		offset[source] = (offset[source] + K4(pick(4) ? 0 : 2) + K4(step) - 1) &
				 ~(K4(step) - 1);
		MUST_EQ(lz_plan_add(p, &(struct lz_piece){ .identity = base + K4(at),
							   .len = pages << shift,
							   .offset = offset[source],
							   .source = source,
							   .page_shift = shift }),
			0);
		for (uint64_t n = 0; n < pages; n++) {
			m->page[m->nr++] = (struct model_page){ base + K4(at), offset[source],
								source, shift };
			at += step;
			offset[source] += K4(step);
		}
	}
	lz_plan_seal(p);
	return p;
}

static bool goes_on(const struct model_page *a, const struct model_page *b)
{
	return a->source == b->source && a->page_shift == b->page_shift &&
	       a->offset + (UINT64_C(1) << a->page_shift) == b->offset;
}

static void compare_page(const struct lz_plan *p, const struct model *m, size_t n)
{
	const struct model_page *page = &m->page[n];
	const struct lz_run *run = lz_plan_run(p, n);
	uint64_t wanted = 1;

	MUST_EQ(n >= run->first && n - run->first < lz_plan_run_pages(p, run), true);
	MUST_EQ(lz_plan_identity(run, n), page->identity);
	MUST_EQ(run->offset + ((n - run->first) << run->page_shift), page->offset);
	MUST_EQ(run->source, page->source);
	MUST_EQ(run->page_shift, page->page_shift);
	while (n + wanted < m->nr && goes_on(&m->page[n + wanted - 1], &m->page[n + wanted]))
		wanted++;
	MUST_EQ(lz_plan_extent(p, n, SPACE), wanted);
	MUST_EQ(lz_plan_extent(p, n, 3), wanted < 3 ? wanted : 3);
}

static void compare_address(const struct lz_plan *p, const struct model *m, uint64_t addr)
{
	const struct lz_run *run = NULL;
	int64_t wanted = -1;
	size_t from = 0;

	while (from < m->nr &&
	       m->page[from].identity + (UINT64_C(1) << m->page[from].page_shift) - 1 < addr)
		from++;
	if (from < m->nr && m->page[from].identity <= addr)
		wanted = (int64_t)from;
	MUST_EQ(lz_plan_page(p, addr, &run), wanted);
	MUST_EQ(lz_plan_page_from(p, addr), from);
	if (wanted >= 0)
		MUST_EQ(run, lz_plan_run(p, from));
}

static void compare(uint64_t base)
{
	struct model m;
	struct lz_plan *p = random_plan(&m, base);

	MUST_EQ(lz_plan_nr_pages(p), m.nr);
	for (size_t n = 0; n < m.nr; n++)
		compare_page(p, &m, n);
	for (uint64_t n = 0; n <= SPACE; n++) {
		compare_address(p, &m, base + K4(n));
		compare_address(p, &m, base + K4(n) + 4095);
	}
	lz_plan_put(p);
}

START_TEST(like_the_model)
{
	for (int n = 0; n < MODELS; n++) {
		seed = first_seed = (uint64_t)(_i * MODELS + n);
		compare(0);
		compare(-K4(SPACE + 16)); /* the last pages are right below 2^64 */
	}
}
END_TEST

/* ---- memory ---- */

START_TEST(memory_keeps_descriptors)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct lz_memory *m;

	ck_assert_int_eq(lz_memory_new(&m), 0);
	ck_assert_int_eq(lz_memory_add_source(m, -1, "nothing"), -EBADF);
	ck_assert_int_eq(lz_memory_add_source(m, fd, "null"), 0);
	ck_assert_int_eq(lz_memory_add_source(m, dup(fd), "again"), 1);
	ck_assert_str_eq(m->source[1].name, "again");
	lz_memory_put(lz_memory_get(m));
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	lz_memory_put(m);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	lz_memory_put(NULL);
}
END_TEST

static int add_seg(struct lz_memory *m, uint64_t start, uint64_t end)
{
	return lz_memory_add_seg(
		m, &(struct lz_seg){
			   .start = start, .end = end, .identity = start, .page_shift = 12 });
}

START_TEST(memory_sorts_segments)
{
	struct lz_memory *m;

	ck_assert_int_eq(lz_memory_new(&m), 0);
	ck_assert_int_eq(add_seg(m, K4(10), K4(12)), 0);
	ck_assert_int_eq(add_seg(m, K4(20), K4(22)), 0);
	ck_assert_int_eq(add_seg(m, K4(12), K4(20)), 0);
	ck_assert_int_eq(add_seg(m, K4(1), K4(2)), 0);
	ck_assert_int_eq(add_seg(m, K4(9), K4(11)), -EINVAL);
	ck_assert_int_eq(add_seg(m, K4(21), K4(30)), -EINVAL);
	ck_assert_int_eq(add_seg(m, 0, K4(40)), -EINVAL);
	ck_assert_int_eq(add_seg(m, K4(15), K4(16)), -EINVAL);
	ck_assert_int_eq(add_seg(m, K4(30), K4(30)), -EINVAL);
	ck_assert_int_eq(add_seg(m, K4(30) + 1, K4(31)), -EINVAL);
	ck_assert_int_eq(
		lz_memory_add_seg(
			m, &(struct lz_seg){ .start = K4(30), .end = K4(31), .page_shift = 12 }),
		-EINVAL);
	ck_assert_uint_eq(m->nr_segs, 4);
	for (size_t n = 1; n < m->nr_segs; n++)
		ck_assert_uint_le(m->seg[n - 1].end, m->seg[n].start);
	lz_memory_put(m);
}
END_TEST

/* ---- a remote source ---- */

START_TEST(memory_has_one_remote)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), second = dup(fd);
	struct lz_memory_range range;
	struct lz_memory *m;

	ck_assert_int_eq(lz_memory_new(&m), 0);
	ck_assert_uint_eq(lz_plan_remote(m->plan), UINT32_MAX);
	ck_assert_int_eq(lz_memory_add_source(m, fd, "null"), 0);
	ck_assert_int_eq(lz_memory_add_remote(m, 77, "server"), 1);
	ck_assert_uint_eq(lz_plan_remote(m->plan), 1);
	ck_assert_int_eq(lz_memory_add_remote(m, 78, "server"), -EEXIST);
	ck_assert_int_eq(lz_memory_add_source(m, second, "null"), 2);
	ck_assert_uint_eq(lz_plan_remote(m->plan), 1);
	ck_assert(m->source[1].kind == LZ_FROM_REMOTE && m->source[0].kind == LZ_FROM_FILE &&
		  m->source[2].kind == LZ_FROM_FILE);
	ck_assert_uint_eq(m->source[1].pid, 77);
	ck_assert_int_eq(m->source[1].fd, -1);
	ck_assert_uint_eq(m->source[1].size, INT64_MAX);
	ck_assert_str_eq(m->source[1].name, "server");
	/* Nothing is nowhere; and the last page there can be is somewhere. */
	ck_assert_uint_eq(lz_memory_ranges(m, 0, 0, &range, 1), 0);
	ck_assert_int_eq(add(m->plan, 0, -K4(1), 1, 0), 0);
	lz_plan_seal(m->plan);
	ck_assert_uint_eq(lz_memory_ranges(m, -K4(2), K4(1), &range, 1), 1);
	ck_assert_uint_eq(range.start, -K4(2));
	ck_assert_uint_eq(range.nr_pages, 1);
	ck_assert_uint_eq(lz_memory_ranges(m, 0, -K4(1), &range, 1), 1);
	ck_assert_uint_eq(range.nr_pages, (UINT64_C(1) << 52) - 1);
	lz_memory_put(m);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_int_lt(fcntl(second, F_GETFD), 0);
}
END_TEST

/* Where each page is, by its number, and whether it is remote. */
static struct lz_memory *random_memory(struct model *m, uint64_t base)
{
	struct lz_memory *memory;
	uint64_t at = pick(4);

	MUST_EQ(lz_memory_new(&memory), 0);
	MUST_EQ(lz_memory_add_remote(memory, 1, "server"), 0);
	for (m->nr = 0; at < SPACE - 16; at += pick(3) ? 0 : pick(9)) {
		uint32_t source = pick(4) ? 0 : 1;
		uint64_t pages = 1 + pick(pick(2) ? 2 : 9), offset = source ? K4(at) : K4(m->nr);

		MUST_EQ(add(memory->plan, base + K4(at), K4(pages), source, offset), 0);
		for (uint64_t n = 0; n < pages; n++, at++)
			m->page[m->nr++] = (struct model_page){
				.identity = base + K4(at),
				.source = source,
			};
	}
	lz_plan_seal(memory->plan);
	return memory;
}

/* Every extent of remote pages, and every part of one, as ranges. */
static void compare_ranges(const struct lz_memory *memory, const struct model *m, size_t first)
{
	struct lz_memory_range range[SPACE];
	size_t most = 1, max = 1 + pick(SPACE);

	while (first + most < m->nr && !m->page[first + most].source)
		most++;
	/* Holes in the addresses do not end it, pages that are not remote do. */
	MUST_EQ(lz_plan_extent(memory->plan, first, SPACE), most);
	for (size_t len = 1; len <= most; len++) {
		size_t nr = lz_memory_ranges(memory, K4(first), K4(len), range, max), page = first;

		for (size_t n = 0; n < nr; n++) {
			MUST_EQ(n && range[n].start <=
						range[n - 1].start + K4(range[n - 1].nr_pages),
				false);
			MUST_EQ(range[n].nr_pages > 0, true);
			for (uint64_t k = 0; k < range[n].nr_pages; k++, page++)
				MUST_EQ(range[n].start + K4(k), m->page[page].identity);
		}
		if (nr < max)
			MUST_EQ(page, first + len);
		MUST_EQ(page <= first + len && nr <= max && nr <= len, true);
	}
}

START_TEST(ranges_like_the_model)
{
	struct model m;

	for (int n = 0; n < MODELS; n++) {
		struct lz_memory *memory;

		seed = first_seed = (uint64_t)(_i * MODELS + n);
		memory = random_memory(&m, _i % 2 ? -K4(SPACE + 16) : 0);
		for (size_t page = 0; page < m.nr; page++)
			if (!m.page[page].source)
				compare_ranges(memory, &m, page);
		lz_memory_put(memory);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plan");
	TCase *t = tcase_create("plan");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, empty);
	tcase_add_loop_test(t, refuses, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(t, joins);
	tcase_add_test(t, ends_of_numbers);
	tcase_add_test(t, has_others);
	tcase_add_test(t, a_million_runs);
	tcase_add_loop_test(t, like_the_model, 0, 20);
	tcase_add_test(t, memory_keeps_descriptors);
	tcase_add_test(t, memory_sorts_segments);
	tcase_add_test(t, memory_has_one_remote);
	tcase_add_loop_test(t, ranges_like_the_model, 0, 20);
	suite_add_tcase(s, t);
	return run_suite(s);
}
