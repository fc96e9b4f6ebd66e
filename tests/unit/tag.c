/* SPDX-License-Identifier: MIT */
/* Tags: what is packed comes back, and no two tags are one number. */
#include <check.h>

#include "iouring/tag.h"
#include "tests/lib/suite.h"

static const struct lz_tag tags[] = {
	{ .kind = LZ_TAG_NONE },
	{ .kind = LZ_TAG_UFFD },
	{ .kind = LZ_TAG_STOP, .generation = 1 },
	{ .kind = LZ_TAG_READ, .id = 1 },
	{ .kind = LZ_TAG_READ, .id = 1, .generation = 1 },
	{ .kind = LZ_TAG_READ, .id = UINT32_MAX },
	{ .kind = LZ_TAG_READ, .generation = UINT16_MAX },
	{ .kind = LZ_TAG_READ, .id = UINT32_MAX, .generation = UINT16_MAX },
	{ .kind = UINT16_MAX, .id = UINT32_MAX, .generation = UINT16_MAX },
};
enum { NR_TAGS = sizeof(tags) / sizeof(tags[0]) };

START_TEST(round_trip)
{
	struct lz_tag t = lz_tag_unpack(lz_tag_pack(tags[_i]));

	ck_assert_uint_eq(t.id, tags[_i].id);
	ck_assert_uint_eq(t.generation, tags[_i].generation);
	ck_assert_uint_eq(t.kind, tags[_i].kind);
}
END_TEST

START_TEST(distinct)
{
	for (int i = 0; i < NR_TAGS; i++)
		if (i != _i)
			ck_assert(lz_tag_pack(tags[i]) != lz_tag_pack(tags[_i]));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tag");
	TCase *t = tcase_create("tag");

	tcase_add_loop_test(t, round_trip, 0, NR_TAGS);
	tcase_add_loop_test(t, distinct, 0, NR_TAGS);
	suite_add_tcase(s, t);
	return run_suite(s);
}
