/* SPDX-License-Identifier: MIT */
/* The framing of images: what is read back, and every way a file can end too early. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/image.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/suite.h"

/* A copy without a spare byte, so that a sanitizer sees the first byte read too far. */
static int init(struct lz_image *i, const struct imagebuf *b, size_t len, uint8_t **copy)
{
	*copy = malloc(len);
	if (len)
		memcpy(*copy, b->bytes, len);
	return lz_image_init(i, *copy, len, LZ_IMAGE_MM);
}

START_TEST(round_trip)
{
	static const char *const payload[] = { "", "a", "four", "and a longer one" };
	struct imagebuf b = { .bytes = NULL };
	struct lz_image i;
	const uint8_t *p;
	size_t len, at = 8;

	imagebuf_head(&b, LZ_IMAGE_MM);
	for (size_t n = 0; n < 4; n++)
		imagebuf_record(&b, payload[n], strlen(payload[n]));
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_MM), 0);
	for (size_t n = 0; n < 4; n++) {
		ck_assert_int_eq(lz_image_next(&i, &p, &len), 1);
		ck_assert_uint_eq(i.record, n + 1);
		ck_assert_uint_eq(i.byte, at);
		ck_assert_uint_eq(len, strlen(payload[n]));
		ck_assert_int_eq(memcmp(p, payload[n], len), 0);
		at += 4 + len;
	}
	ck_assert_int_eq(lz_image_next(&i, &p, &len), 0);
	ck_assert_int_eq(lz_image_next(&i, &p, &len), 0);
	ck_assert_uint_eq(i.record, 4);
	imagebuf_free(&b);
}
END_TEST

START_TEST(inventory_has_its_own_head)
{
	struct imagebuf b = { .bytes = NULL };
	struct lz_image i;

	imagebuf_head(&b, LZ_IMAGE_INVENTORY);
	ck_assert_uint_eq(b.len, 4);
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_INVENTORY), 0);
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_MM), -EBADMSG);
	imagebuf_free(&b);
}
END_TEST

START_TEST(wrong_magic)
{
	struct imagebuf b = { .bytes = NULL };
	struct lz_image i;

	imagebuf_head(&b, LZ_IMAGE_PAGEMAP);
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_MM), -EBADMSG);
	ck_assert_uint_eq(i.byte, 4);
	ck_assert_ptr_nonnull(strstr(i.what, "0x56084025 where 0x57492820"));
	b.bytes[0] ^= 1;
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_PAGEMAP), -EBADMSG);
	ck_assert_uint_eq(i.byte, 0);
	imagebuf_free(&b);
}
END_TEST

/* Cut off at every byte: the records before the cut are given, then the truth is told. */
START_TEST(cut_anywhere)
{
	struct imagebuf b = { .bytes = NULL };

	imagebuf_head(&b, LZ_IMAGE_MM);
	imagebuf_record(&b, "first", 5);
	imagebuf_record(&b, "second", 6);
	for (size_t cut = 0; cut <= b.len; cut++) {
		int whole = cut == 8 || cut == 17 || cut == b.len, err;
		uint64_t given = 0;
		struct lz_image i;
		const uint8_t *p;
		uint8_t *copy;
		size_t len;

		err = init(&i, &b, cut, &copy);
		if (cut < 8) {
			ck_assert_int_eq(err, -EBADMSG);
			free(copy);
			continue;
		}
		ck_assert_int_eq(err, 0);
		while ((err = lz_image_next(&i, &p, &len)) > 0)
			given++;
		ck_assert_int_eq(err, whole ? 0 : -EBADMSG);
		ck_assert_uint_eq(given, cut == b.len ? 2 : cut >= 17);
		if (!whole) {
			ck_assert_uint_eq(i.record, given + 1);
			ck_assert_uint_eq(i.byte, given ? 17 : 8);
			ck_assert_ptr_nonnull(strstr(i.what, "cut off"));
		}
		free(copy);
	}
	imagebuf_free(&b);
}
END_TEST

START_TEST(absurd_size)
{
	static const uint32_t size[] = { 0xffffffff,          0xfffffffc,
					 0x80000000,          LZ_IMAGE_RECORD_MAX + 1u,
					 LZ_IMAGE_RECORD_MAX, 6 };
	struct imagebuf b = { .bytes = NULL };
	struct lz_image i;
	const uint8_t *p;
	size_t len;

	imagebuf_head(&b, LZ_IMAGE_MM);
	imagebuf_record(&b, "five.", 5);
	lz_image_put_size(b.bytes + 8, size[_i]);
	ck_assert_int_eq(lz_image_init(&i, b.bytes, b.len, LZ_IMAGE_MM), 0);
	ck_assert_int_eq(lz_image_next(&i, &p, &len), -EBADMSG);
	ck_assert_str_ne(i.what, "");
	imagebuf_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *t = tcase_create("image");

	tcase_add_test(t, round_trip);
	tcase_add_test(t, inventory_has_its_own_head);
	tcase_add_test(t, wrong_magic);
	tcase_add_test(t, cut_anywhere);
	tcase_add_loop_test(t, absurd_size, 0, 6);
	suite_add_tcase(s, t);
	return run_suite(s);
}
