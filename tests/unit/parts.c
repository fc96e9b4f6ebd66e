/* SPDX-License-Identifier: MIT */
/*
 * Large pages of which several files have a part each: what is put together and what is one file's,
 * what cannot be, and that a read of one brings every byte from where it is, or says that it
 * cannot.
 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "pagemap/memory.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"
#include "uffd/sources.h"

enum { PAGE = 4096, LARGE = 2 << 20, PAGES = LARGE / PAGE, SIZE = 4 * LARGE, AT = 1 << 30 };
enum { BASE, DIFF, PARTS, NR_FILES = PARTS };

static struct lazyd_memory *memory;
static int file[NR_FILES]; /* the memory's */
static struct lz_ring ring;
static uint8_t buffer[LARGE], wanted[LARGE];

static uint8_t byte_of(int source, uint64_t page)
{
	return (uint8_t)(1 + (page * 7 + (uint64_t)source * 101) % 255);
}

static void setup(void)
{
	uint8_t page[PAGE];

	ck_assert_int_eq(lazyd_memory_new(&memory), 0);
	for (int i = 0; i < NR_FILES; i++) {
		file[i] = memfd_create("parts", MFD_CLOEXEC);
		for (uint64_t n = 0; n < SIZE / PAGE; n++) {
			memset(page, byte_of(i, n), PAGE);
			ck_assert_int_eq(pwrite(file[i], page, PAGE, (off_t)(n * PAGE)), PAGE);
		}
		ck_assert_int_eq(lazyd_memory_add_file(memory, file[i], "a file"), i);
	}
	ck_assert_int_eq(lazyd_memory_add_area(memory, AT, SIZE, LARGE), 0);
	ck_assert_int_eq(lz_ring_open(&ring, 16), 0);
}

static void teardown(void)
{
	lz_ring_close(&ring);
	lazyd_memory_put(memory);
}

/* In pages of 4 KiB, each file's at the same place in it, if not @behind. */
static int add_at(uint64_t from, uint64_t nr, int source, uint64_t behind)
{
	return lazyd_memory_add_piece(memory, AT + from * PAGE, nr * PAGE, source,
				      (from + behind) * PAGE);
}

static int add(uint64_t from, uint64_t nr, int source)
{
	return add_at(from, nr, source, 0);
}

/* Whose large page number @n is; -1: it is a hole. */
static int source_of(uint64_t n)
{
	const struct lz_memory *m = (const struct lz_memory *)memory;
	const struct lz_run *run;

	return lz_plan_page(m->plan, AT + n * LARGE, &run) < 0 ? -1 : (int)run->source;
}

static int64_t read_parts(uint64_t offset, uint64_t len)
{
	const struct lz_memory *m = (const struct lz_memory *)memory;
	struct lz_source_read r = {
		.offset = AT + offset, .to = buffer, .len = len, .generation = 1
	};
	struct lz_completion c;
	int64_t result = 0;
	int ret;

	ck_assert_int_eq(lz_sources_open(&m->source[PARTS], false, &r.source), 0);
	ck_assert(!r.source->ops->resident(r.source, r.offset, len));
	ck_assert(!r.source->ops->read_now(r.source, r.offset, buffer, len));
	ck_assert_ptr_null(r.source->ops->at(r.source, r.offset, len));
	memset(buffer, 0xee, sizeof(buffer));
	ret = r.source->ops->begin(r.source, &ring, &r);
	if (ret) {
		r.source->ops->close(r.source);
		return ret;
	}
	do {
		ck_assert_int_eq(lz_ring_wait(&ring, INT64_C(10000000000)), 0);
		ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	} while (!lz_source_completed(&r, &ring, c.res, &result));
	r.source->ops->close(r.source);
	return result;
}

/* Page @n of the wanted large page number @large is @source's; -1: zero. */
static void want(uint64_t large, uint64_t n, int source)
{
	memset(wanted + n * PAGE, source < 0 ? 0 : byte_of(source, large * PAGES + n), PAGE);
}

START_TEST(whole_pages_are_one_files)
{
	ck_assert_int_eq(add(0, 2 * PAGES, BASE), 0);
	ck_assert_int_eq(add(3 * PAGES, PAGES, DIFF), 0);
	ck_assert_int_eq(source_of(0), BASE);
	ck_assert_int_eq(source_of(1), BASE);
	ck_assert_int_eq(source_of(2), -1);
	ck_assert_int_eq(source_of(3), DIFF);
	ck_assert_uint_eq(lazyd_memory_pages(memory), 3);
	ck_assert_uint_eq(((const struct lz_memory *)memory)->nr_sources, NR_FILES);
}
END_TEST

START_TEST(others_are_put_together)
{
	ck_assert_int_eq(add(0, 2 * PAGES + 1, BASE), 0);
	ck_assert_int_eq(add(2 * PAGES + 3, PAGES, DIFF), 0);
	ck_assert_int_eq(source_of(0), BASE);
	ck_assert_int_eq(source_of(1), BASE);
	ck_assert_int_eq(source_of(2), PARTS);
	ck_assert_int_eq(source_of(3), PARTS);
	ck_assert_uint_eq(lazyd_memory_pages(memory), 4);
	for (uint64_t n = 0; n < PAGES; n++)
		want(2, n, n < 1 ? BASE : n < 3 ? -1 : DIFF);
	ck_assert_int_eq(read_parts(2 * LARGE, LARGE), LARGE);
	ck_assert_int_eq(memcmp(buffer, wanted, LARGE), 0);
	for (uint64_t n = 0; n < PAGES; n++)
		want(3, n, n < 3 ? DIFF : -1);
	ck_assert_int_eq(read_parts(3 * LARGE, LARGE), LARGE);
	ck_assert_int_eq(memcmp(buffer, wanted, LARGE), 0);
}
END_TEST

/* Every page another's than the one before it; and a part of it, as a server asks for. */
START_TEST(page_by_page)
{
	for (uint64_t n = 0; n < PAGES; n++) {
		int source = (int)(n % 3) - 1;

		want(1, n, source);
		if (source >= 0)
			ck_assert_int_eq(add(PAGES + n, 1, source), 0);
	}
	ck_assert_int_eq(read_parts(LARGE, LARGE), LARGE);
	ck_assert_int_eq(memcmp(buffer, wanted, LARGE), 0);
	ck_assert_int_eq(read_parts(LARGE + 100 * PAGE, 10 * PAGE), 10 * PAGE);
	ck_assert_int_eq(memcmp(buffer, wanted + 100 * PAGE, 10 * PAGE), 0);
	ck_assert_int_eq(buffer[10 * PAGE], 0xee);
}
END_TEST

/* A file in which large pages are not where large pages would be. */
START_TEST(not_where_they_would_be)
{
	ck_assert_int_eq(add_at(0, PAGES, BASE, 5), 0);
	ck_assert_int_eq(source_of(0), PARTS);
	for (uint64_t n = 0; n < PAGES; n++)
		want(0, n, BASE);
	ck_assert_int_eq(read_parts(0, LARGE), LARGE);
	ck_assert_int_eq(memcmp(buffer, wanted + 5 * PAGE, LARGE - 5 * PAGE), 0);
	ck_assert_uint_eq(buffer[LARGE - 1], byte_of(BASE, PAGES + 4));
}
END_TEST

START_TEST(what_cannot_be)
{
	ck_assert_int_eq(add(0, 0, BASE), -EINVAL);
	ck_assert_int_eq(add(0, PAGES, BASE), 0);
	ck_assert_int_eq(add(PAGES - 1, 2, DIFF), -EINVAL); /* a whole page is there */
	ck_assert_int_eq(add(2 * PAGES, 2, BASE), 0);
	ck_assert_int_eq(add(2 * PAGES + 1, 1, DIFF), -EINVAL); /* that part is there */
	ck_assert_int_eq(add(2 * PAGES, PAGES, DIFF), -EINVAL);
	ck_assert_int_eq(add(PAGES, 1, DIFF), -EINVAL); /* it does not ascend */
	ck_assert_int_eq(lazyd_memory_add_piece(memory, AT + 3 * LARGE + 512, PAGE, BASE, 0),
			 -EINVAL);
	ck_assert_int_eq(lazyd_memory_add_piece(memory, AT + 3 * LARGE, PAGE, PARTS, 0), -EINVAL);
	ck_assert_int_eq(add(2 * PAGES + 2, 1, DIFF), 0);
}
END_TEST

START_TEST(what_has_changed)
{
	ck_assert_int_eq(add(0, 1, BASE), 0);
	ck_assert_int_eq(add(1, 1, DIFF), 0);
	ck_assert_int_eq(read_parts(0, LARGE), LARGE);
	ck_assert_int_eq(ftruncate(file[DIFF], 0), 0);
	ck_assert_int_eq(read_parts(0, LARGE), -ESTALE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("parts");
	TCase *t = tcase_create("parts");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, whole_pages_are_one_files);
	tcase_add_test(t, others_are_put_together);
	tcase_add_test(t, page_by_page);
	tcase_add_test(t, not_where_they_would_be);
	tcase_add_test(t, what_cannot_be);
	tcase_add_test(t, what_has_changed);
	suite_add_tcase(s, t);
	return run_suite(s);
}
