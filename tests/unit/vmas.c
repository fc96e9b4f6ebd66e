/* SPDX-License-Identifier: MIT */
/* Which areas are lazy, and which descriptions of areas are refused. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/range.h"
#include "pagemap/vmas.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/suite.h"

enum { PRIVATE_ANON = 0x22, REGULAR = 1 << 0 | 1 << 9 };

static struct imagebuf buf;
static struct lz_image image;
static struct lz_seg *seg;
static size_t nr;

static int read_buf(void)
{
	int err = lz_image_init(&image, buf.bytes, buf.len, LZ_IMAGE_MM);

	return err ? err : lz_vmas_read(&image, &seg, &nr);
}

static int read_vmas(const struct imagebuf_vma *vma, size_t n)
{
	imagebuf_free(&buf);
	imagebuf_mm(&buf, vma, n);
	return read_buf();
}

static const struct {
	struct imagebuf_vma vma;
	bool lazy;
} rule[] = {
	{ { .flags = PRIVATE_ANON, .status = REGULAR }, true },
	{ { .flags = PRIVATE_ANON, .status = 0 }, true },
	{ { .flags = PRIVATE_ANON | 0x100, .status = REGULAR | 1 << 1 }, true }, /* stack */
	{ { .flags = PRIVATE_ANON, .status = REGULAR | 1 << 5 }, true },         /* heap */
	{ { .flags = PRIVATE_ANON | 0x4000, .status = REGULAR }, true },         /* noreserve */
	{ { .flags = 0x02, .status = 1 << 0 | 1 << 6 }, false },                 /* of a file */
	{ { .flags = 0x21, .status = 1 << 0 | 1 << 8 }, false },                 /* shared */
	{ { .flags = 0x20, .status = REGULAR }, false },
	{ { .flags = 0, .status = REGULAR }, false },
	{ { .flags = PRIVATE_ANON | 0x2000, .status = REGULAR }, false },  /* locked */
	{ { .flags = PRIVATE_ANON | 0x40000, .status = REGULAR }, false }, /* huge pages */
	{ { .flags = PRIVATE_ANON, .status = REGULAR | 1 << 2 }, false },  /* vsyscall */
	{ { .flags = PRIVATE_ANON, .status = REGULAR | 1 << 3 }, false },  /* vdso */
	{ { .flags = PRIVATE_ANON, .status = REGULAR | 1 << 12 }, false }, /* vvar */
	{ { .flags = PRIVATE_ANON, .status = 1 << 16 }, false },           /* guard region */
};

START_TEST(rules)
{
	struct imagebuf_vma vma = rule[_i].vma;

	vma.start = 0x1000;
	vma.end = 0x3000;
	ck_assert_int_eq(read_vmas(&vma, 1), 0);
	ck_assert_uint_eq(nr, rule[_i].lazy);
	ck_assert_int_eq(seg != NULL, rule[_i].lazy);
	if (rule[_i].lazy) {
		ck_assert_uint_eq(seg->start, 0x1000);
		ck_assert_uint_eq(seg->end, 0x3000);
		ck_assert_uint_eq(seg->identity, 0x1000);
		ck_assert_uint_eq(seg->page_shift, 12);
	}
	free(seg);
}
END_TEST

START_TEST(neighbours_stay_apart)
{
	static const struct imagebuf_vma vma[] = {
		{ 0x1000, 0x2000, PRIVATE_ANON, REGULAR },
		{ 0x2000, 0x4000, PRIVATE_ANON, REGULAR },
		/* A guard region is a note on the area that it lies in. */
		{ 0x5000, 0x9000, PRIVATE_ANON, REGULAR },
		{ 0x6000, 0x7000, PRIVATE_ANON, 1 << 16 },
		{ UINT64_MAX - 0x1fff, UINT64_MAX - 0xfff, PRIVATE_ANON, REGULAR },
	};

	ck_assert_int_eq(read_vmas(vma, 5), 0);
	ck_assert_uint_eq(nr, 4);
	ck_assert_uint_eq(seg[0].end, seg[1].start);
	ck_assert_uint_eq(seg[2].end, 0x9000);
	ck_assert_uint_eq(seg[3].end, UINT64_MAX - 0xfff);
	free(seg);
}
END_TEST

START_TEST(nothing_lazy)
{
	ck_assert_int_eq(read_vmas(NULL, 0), 0);
	ck_assert_uint_eq(nr, 0);
	ck_assert_ptr_null(seg);
}
END_TEST

static const struct {
	uint64_t area[2][2];
	const char *says;
} wrong[] = {
	{ { { 0x2000, 0x3000 }, { 0x1000, 0x2000 } }, "number 2 at 0x1000" },
	{ { { 0x1000, 0x3000 }, { 0x2000, 0x4000 } }, "number 2 at 0x2000" },
	{ { { 0x1000, 0x3000 }, { 0x1000, 0x3000 } }, "before the end of the one before" },
	{ { { 0x1000, 0x3000 }, { 0x4000, 0x4000 } }, "number 2, that is empty" },
	{ { { 0x3000, 0x1000 }, { 0x4000, 0x5000 } }, "number 1, that is empty" },
	{ { { 0x1001, 0x3000 }, { 0x4000, 0x5000 } }, "whole pages: 0x1001-0x3000" },
	{ { { 0x1000, 0x3000 }, { 0x4000, 0x5001 } }, "whole pages" },
};

START_TEST(refused)
{
	struct imagebuf_vma vma[2];

	for (size_t n = 0; n < 2; n++)
		vma[n] = (struct imagebuf_vma){ .start = wrong[_i].area[n][0],
						.end = wrong[_i].area[n][1],
						.flags = PRIVATE_ANON };
	ck_assert_int_eq(read_vmas(vma, 2), -EBADMSG);
	ck_assert_uint_eq(image.record, 1);
	ck_assert_uint_eq(image.byte, 8);
	ck_assert_msg(strstr(image.what, wrong[_i].says) != NULL, "%s", image.what);
	/* The same description of areas that are not lazy is nobody's business. */
	vma[0].flags = vma[1].flags = 0x21;
	ck_assert_int_eq(read_vmas(vma, 2), 0);
}
END_TEST

START_TEST(no_message)
{
	imagebuf_head(&buf, LZ_IMAGE_MM);
	ck_assert_int_eq(read_buf(), -EBADMSG);
	ck_assert_str_eq(image.what, "holds no record");
	imagebuf_record(&buf, "\xff\xff\xff", 3);
	ck_assert_int_eq(read_buf(), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(image.what, "no description"));
	imagebuf_free(&buf);
	/* An area that does not say what it is. */
	imagebuf_head(&buf, LZ_IMAGE_MM);
	imagebuf_record(&buf, "\x72\x04\x08\x00\x10\x01", 6);
	ck_assert_int_eq(read_buf(), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmas");
	TCase *t = tcase_create("vmas");
	int ret;

	tcase_add_loop_test(t, rules, 0, sizeof(rule) / sizeof(rule[0]));
	tcase_add_test(t, neighbours_stay_apart);
	tcase_add_test(t, nothing_lazy);
	tcase_add_loop_test(t, refused, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, no_message);
	suite_add_tcase(s, t);
	ret = run_suite(s);
	imagebuf_free(&buf);
	return ret;
}
