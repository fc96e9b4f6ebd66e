/* SPDX-License-Identifier: MIT */
/*
 * A state by its descriptor: what one handle writes the other sees, an engine resumes from it, and
 * what is no state of this version, or could become shorter under its mapping, is refused.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "uffd/lazyd.h"
#include "uffd/shared.h"

enum { PAGES = 1000 };

static struct lazyd_state *state, *other;

static void set_up(void)
{
	ck_assert_int_eq(lazyd_state_new(&state, PAGES), 0);
}

static void tear_down(void)
{
	lazyd_state_free(state);
}

static int copy_of(const struct lazyd_state *s)
{
	int fd = fcntl(lazyd_state_fd(s), F_DUPFD_CLOEXEC, 3);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void is_refused(void)
{
	int fd = copy_of(state);

	ck_assert_int_eq(lazyd_state_open(&other, fd), -EPROTO);
	ck_assert_int_eq(close(fd), 0); /* it is untouched */
}

START_TEST(both_are_the_same)
{
	struct stat st;

	ck_assert_int_eq(lazyd_state_open(&other, copy_of(state)), 0);
	state->state->stats.n.faults = 77;
	ck_assert_uint_eq(other->state->stats.n.faults, 77);
	ck_assert_int_eq(fstat(lazyd_state_fd(other), &st), 0);
	ck_assert_int_eq(fcntl(lazyd_state_fd(other), F_GETFD), FD_CLOEXEC);
	/* Nothing of it is used before it is written. */
	ck_assert_int_lt(st.st_blocks * 512, st.st_size / 16);
	lazyd_state_free(other);
}
END_TEST

START_TEST(an_engine_resumes)
{
	struct lazyd_options o = { .size = sizeof(o), .state = state };
	struct lazyd *l;

	ck_assert_int_eq(lazyd_new(&l, &o), 0);
	ck_assert_int_eq(lazyd_start(l), 0);
	lazyd_free(l);
	ck_assert_int_eq(lazyd_state_open(&other, copy_of(state)), 0);
	o.state = other;
	ck_assert_int_eq(lazyd_new(&l, &o), 0);
	ck_assert_int_eq(lazyd_resume(l), 0);
	ck_assert_int_eq(lazyd_turn(l, 0), 0); /* was started, and owes nothing */
	lazyd_free(l);
	lazyd_state_free(other);
}
END_TEST

START_TEST(others_are_refused)
{
	struct lz_state *st = state->state;

	st->magic++;
	is_refused();
	st->magic--;
	st->version++;
	is_refused();
	st->version--;
	st->head++;
	is_refused();
	st->head--;
	st->pages += 64;
	is_refused();
	st->pages = UINT64_MAX;
	is_refused();
	st->pages = PAGES;
	st->journal.active = 2;
	is_refused();
	st->journal.active = 0;
	st->journal.nr[0] = LZ_JOURNAL_NOTES + 1;
	is_refused();
	st->journal.nr[0] = 0;
	ck_assert_int_eq(lazyd_state_open(&other, copy_of(state)), 0);
	lazyd_state_free(other);
}
END_TEST

START_TEST(what_can_shrink_is_refused)
{
	int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, (off_t)state->len), 0);
	ck_assert_int_eq(pwrite(fd, state->state, sizeof(*state->state), 0),
			 (ssize_t)sizeof(*state->state));
	ck_assert_int_eq(lazyd_state_open(&other, fd), -EPROTO);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	ck_assert_int_eq(lazyd_state_open(&other, fd), 0);
	lazyd_state_free(other);
	ck_assert_int_eq(lazyd_state_open(&other, null), -EPROTO);
	ck_assert_int_eq(close(null), 0);
	ck_assert_int_eq(lazyd_state_open(&other, null), -EBADF);
}
END_TEST

START_TEST(a_limit_of_files_is_none)
{
	struct rlimit limit = { 4096, 4096 };

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(lazyd_state_new(&other, PAGES), 0);
	ck_assert_int_eq(lazyd_state_fd(other), -EFBIG);
	other->state->stats.n.faults = 1;
	lazyd_state_free(other);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state_fd");
	TCase *t = tcase_create("descriptor");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, both_are_the_same);
	tcase_add_test(t, an_engine_resumes);
	tcase_add_test(t, others_are_refused);
	tcase_add_test(t, what_can_shrink_is_refused);
	tcase_add_test(t, a_limit_of_files_is_none);
	suite_add_tcase(s, t);
	return run_suite(s);
}
