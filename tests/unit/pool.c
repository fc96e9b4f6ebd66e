/* SPDX-License-Identifier: MIT */
/* Buffers: aligned, disjoint, writable to the last byte, gone afterwards. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "iouring/pool.h"
#include "tests/lib/suite.h"

START_TEST(buffers)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 16 * page;
	struct lz_pool p;

	ck_assert_int_eq(lz_pool_init(&p, 5, len), 0);
	for (unsigned i = 0; i < p.nr; i++) {
		ck_assert_uint_eq((uintptr_t)lz_pool_buffer(&p, i) % page, 0);
		memset(lz_pool_buffer(&p, i), (int)i + 1, len);
	}
	for (unsigned i = 0; i < p.nr; i++) {
		const unsigned char *b = lz_pool_buffer(&p, i);

		ck_assert_uint_eq(b[0], i + 1);
		ck_assert_uint_eq(b[len - 1], i + 1);
	}
	lz_pool_fini(&p);
	ck_assert_ptr_null(p.base);
}
END_TEST

START_TEST(too_much)
{
	struct lz_pool p;

	ck_assert_int_eq(lz_pool_init(&p, UINT32_MAX, (size_t)1 << 40), -ENOMEM);
	ck_assert_int_eq(lz_pool_init(&p, 1 << 20, (size_t)1 << 40), -ENOMEM);
}
END_TEST

START_TEST(behind_the_last)
{
	struct lz_pool p;

	ck_assert_int_eq(lz_pool_init(&p, 1, 65536), 0);
	lz_pool_buffer(&p, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pool");
	TCase *t = tcase_create("pool");

	tcase_add_test(t, buffers);
	tcase_add_test(t, too_much);
	tcase_add_test_raise_signal(t, behind_the_last, 6);
	suite_add_tcase(s, t);
	return run_suite(s);
}
