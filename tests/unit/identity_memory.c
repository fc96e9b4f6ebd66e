/* SPDX-License-Identifier: MIT */
/*
 * The identity of a memory in files: what is hashed, that a sampled page, a diff's extent and an
 * area count, and that neither the holes of the first file nor the size of pages do.
 */
#include <check.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "identity_hash.h"
#include "pagemap/memory.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

enum { PAGE = 4096, LARGE = 2 << 20, PAGES = 2048, SIZE = PAGES * PAGE, AT = 64 << 20 };

static struct lazyd_memory *memory;
static int base, diff; /* the files, which are the memory's */
static struct lazyd_why why;

static void put_byte(int fd, uint64_t at, uint8_t byte)
{
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static int new_file(void)
{
	int fd = memfd_create("identity", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	return fd;
}

/* An area at 0 and one at AT, half of the files each. */
static void make(uint64_t page_size)
{
	ck_assert_int_eq(lazyd_memory_new(&memory), 0);
	base = new_file();
	diff = new_file();
	for (uint64_t n = 0; n < PAGES; n++)
		put_byte(base, n * PAGE + n, (uint8_t)(n % 255 + 1));
	ck_assert_int_eq(lazyd_memory_add_file(memory, base, "base"), 0);
	ck_assert_int_eq(lazyd_memory_add_file(memory, diff, "diff"), 1);
	ck_assert_int_eq(lazyd_memory_add_area(memory, 0, SIZE / 2, page_size), 0);
	ck_assert_int_eq(lazyd_memory_add_area(memory, AT, SIZE / 2, page_size), 0);
}

static void add(uint64_t start, uint64_t len, int file, uint64_t offset)
{
	ck_assert_int_eq(lazyd_memory_add_piece(memory, start, len, file, offset), 0);
}

/* Of the diff one stretch of 2 MiB in the second area, and a hole of as much behind it. */
static void fill_in(void)
{
	add(0, SIZE / 2, 0, 0);
	add(AT, LARGE, 1, SIZE / 2);
}

static void teardown(void)
{
	lazyd_memory_put(memory);
}

static struct hash identity(void)
{
	struct hash h;

	ck_assert_msg(!lazyd_memory_identity(memory, h.bytes, &why), "%s", why.text);
	ck_assert_str_eq(why.text, "");
	return h;
}

static uint64_t sampled(unsigned n)
{
	return (uint64_t)n * (PAGES - 1) / (LZ_IDENTITY_SAMPLES - 1);
}

struct text {
	uint8_t bytes[4096 + LZ_IDENTITY_SAMPLES * PAGE];
	size_t len;
};

static void put_le(struct text *t, uint64_t number, size_t bytes)
{
	for (size_t n = 0; n < bytes; n++)
		t->bytes[t->len++] = (uint8_t)(number >> 8 * n);
}

START_TEST(layout)
{
	static struct text t;
	struct hash wanted;

	make(PAGE);
	fill_in();
	memcpy(t.bytes, "lazyd-identity-m", 16);
	t.len = 16;
	put_le(&t, 0, 8);
	put_le(&t, SIZE / 2, 8);
	put_le(&t, AT, 8);
	put_le(&t, SIZE / 2, 8);
	put_le(&t, AT, 8);
	put_le(&t, LARGE, 8);
	put_le(&t, 1, 4);
	for (unsigned n = 0; n < LZ_IDENTITY_SAMPLES; n++, t.len += PAGE) {
		uint64_t at = sampled(n) * PAGE;

		if (at < SIZE / 2)
			ck_assert_int_eq(pread(base, t.bytes + t.len, PAGE, (off_t)at), PAGE);
	}
	ck_assert_int_eq(gnutls_hash_fast(GNUTLS_DIG_SHA256, t.bytes, t.len, wanted.bytes), 0);
	ck_assert(same(identity(), wanted));
	teardown();
}
END_TEST

/* What counts of the files' bytes is what is in the memory; of that, what is sampled. */
START_TEST(bytes)
{
	struct hash before;

	make(PAGE);
	fill_in();
	before = identity();
	for (unsigned n = 0; n < LZ_IDENTITY_SAMPLES; n += 73) {
		uint64_t at = sampled(n) * PAGE + n * 8;
		bool is_base = at < SIZE / 2, is_hole = at >= SIZE / 2 + LARGE;

		put_byte(is_base ? diff : base, at, 0xff);
		ck_assert(same(identity(), before));
		put_byte(is_base ? base : diff, at, 0xff);
		ck_assert_int_eq(same(identity(), before), is_hole);
		before = identity();
	}
	put_byte(base, 1 * PAGE, 0xff); /* between the first sample and the second */
	ck_assert(same(identity(), before));
	teardown();
}
END_TEST

static struct hash with_pieces(uint64_t page_size, const uint64_t (*piece)[3], unsigned nr)
{
	struct hash h;

	make(page_size);
	for (unsigned n = 0; n < nr; n++)
		add(piece[n][0], piece[n][1], (int)piece[n][2], piece[n][0] % AT);
	h = identity();
	teardown();
	return h;
}

START_TEST(extents)
{
	static const uint64_t one[][3] = { { 0, LARGE, 0 }, { AT, LARGE, 1 } };
	static const uint64_t parts[][3] = { { 0, LARGE, 0 },
					     { AT, PAGE, 1 },
					     { AT + PAGE, LARGE - PAGE, 1 } };
	static const uint64_t longer[][3] = { { 0, LARGE, 0 }, { AT, LARGE + PAGE, 1 } };
	static const uint64_t elsewhere[][3] = { { 0, LARGE, 0 }, { AT + PAGE, LARGE, 1 } };
	struct hash h = with_pieces(PAGE, one, 2);

	ck_assert(same(with_pieces(PAGE, parts, 3), h));
	ck_assert(same(with_pieces(LARGE, one, 2), h));
	/* A diff's page has bytes although they are zeros, as here. */
	ck_assert(!same(with_pieces(PAGE, longer, 2), h));
	ck_assert(!same(with_pieces(PAGE, elsewhere, 2), h));
	ck_assert(!same(with_pieces(PAGE, one, 1), h));
}
END_TEST

/* The first file's holes may be pieces of zeros, or none. */
START_TEST(holes)
{
	static uint8_t zeros[LARGE];
	struct hash h;

	make(PAGE);
	ck_assert_int_eq(pwrite(base, zeros, LARGE, LARGE), LARGE);
	add(0, SIZE / 2, 0, 0);
	h = identity();
	teardown();
	make(PAGE);
	add(0, LARGE, 0, 0);
	ck_assert(same(identity(), h));
	teardown();
}
END_TEST

static int64_t ask(void *arg, const struct lazyd_ask *a)
{
	(void)arg;
	(void)a;
	return -EIO;
}

START_TEST(none)
{
	struct hash h;

	make(PAGE);
	ck_assert_int_eq(lazyd_memory_add_callback(memory, ask, NULL, 0), 2);
	add(0, PAGE, 2, 0);
	ck_assert_int_eq(lazyd_memory_identity(memory, h.bytes, &why), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(why.text, "a callback"));
	teardown();
	make(PAGE);
	fill_in();
	ck_assert_int_eq(ftruncate(base, SIZE / 4), 0);
	ck_assert_int_eq(lazyd_memory_identity(memory, h.bytes, &why), -ENODATA);
	ck_assert_ptr_nonnull(strstr(why.text, "base"));
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("identity of a memory");
	TCase *t = tcase_create("memory");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, layout);
	tcase_add_test(t, bytes);
	tcase_add_test(t, extents);
	tcase_add_test(t, holes);
	tcase_add_test(t, none);
	suite_add_tcase(s, t);
	return run_suite(s);
}
