/* SPDX-License-Identifier: MIT */
/* Room in the descriptor table, as /proc says how large that is. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/fds.h"

/* How many descriptors the table has room for. */
static unsigned room(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned nr = 0;
	char line[256];

	ck_assert_ptr_nonnull(f);
	while (!nr && fgets(line, sizeof(line), f))
		(void)sscanf(line, "FDSize: %u", &nr);
	(void)fclose(f);
	ck_assert_uint_gt(nr, 0);
	return nr;
}

static void count(void *arg, int fd, const char *link)
{
	(void)fd;
	(void)link;
	++*(unsigned *)arg;
}

static unsigned nr_open(void)
{
	unsigned nr = 0;

	ck_assert_int_eq(lz_fds_each(count, &nr), 0);
	return nr;
}

static void limit(rlim_t nr)
{
	struct rlimit l;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	ck_assert_uint_ge(l.rlim_max, nr);
	l.rlim_cur = nr;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

START_TEST(test_reserve)
{
	unsigned was_open = nr_open();

	limit(1000);
	ck_assert_uint_lt(room(), 900);
	lz_fds_reserve(1, 900);
	ck_assert_uint_ge(room(), 900);
	ck_assert_uint_eq(nr_open(), was_open);
}
END_TEST

/* What the limit allows, more or less. */
START_TEST(test_reserve_above_the_limit)
{
	unsigned was_open = nr_open();

	limit(1000);
	lz_fds_reserve(1, 1500);
	ck_assert_uint_ge(room(), 750);
	ck_assert_uint_eq(nr_open(), was_open);
	lz_fds_reserve(-1, 1500);
	ck_assert_uint_eq(nr_open(), was_open);
}
END_TEST

START_TEST(test_raise_limit)
{
	struct rlimit l;

	limit(100);
	lz_fds_raise_limit();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	ck_assert_uint_eq(l.rlim_cur, l.rlim_max);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fds");
	TCase *t = tcase_create("fds");

	tcase_add_test(t, test_reserve);
	tcase_add_test(t, test_reserve_above_the_limit);
	tcase_add_test(t, test_raise_limit);
	suite_add_tcase(s, t);
	return run_suite(s);
}
