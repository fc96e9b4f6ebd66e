/* SPDX-License-Identifier: MIT */
/* What a service manager has kept, put back at its numbers. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/session.h"

enum { FIRST = 3, LIMIT = 40, NR_MAX = LIMIT - FIRST - 1 };

/* What was stored under a number, and where the manager has put it: at FIRST + i. */
struct kept {
	int number; /* -1: it is none of ours */
	ino_t file;
};

/* A process of its own, started as by a manager with nothing open but what it has kept. */
static void start(struct kept *kept, int nr)
{
	struct rlimit limit = { LIMIT, LIMIT };
	char names[NR_MAX * 32] = "", number[16];
	struct stat st;

	(void)close_range(FIRST, ~0U, 0);
	if (setrlimit(RLIMIT_NOFILE, &limit))
		_exit(100);
	for (int i = 0; i < nr; i++) {
		size_t len = strlen(names);

		if (memfd_create("kept", 0) != FIRST + i || fstat(FIRST + i, &st))
			_exit(101);
		kept[i].file = st.st_ino;
		(void)snprintf(names + len, sizeof(names) - len,
			       kept[i].number < 0 ? "%sa-socket" : "%slazyd-%d-%s", i ? ":" : "",
			       kept[i].number, kept[i].number == FIRST ? "session" : "task");
	}
	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", number, 1);
	(void)snprintf(number, sizeof(number), "%d", nr);
	(void)setenv("LISTEN_FDS", number, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
}

/* 0, or which of them is wrong. */
static int look(const struct kept *kept, int nr)
{
	int nr_open = 0, nr_ours = 0;
	struct stat st;

	for (int i = 0; i < nr; i++) {
		if (kept[i].number < 0)
			continue;
		nr_ours++;
		if (fstat(kept[i].number, &st) || st.st_ino != kept[i].file ||
		    fcntl(kept[i].number, F_GETFD) != FD_CLOEXEC)
			return i + 1;
	}
	for (int fd = FIRST; fd < LIMIT; fd++)
		nr_open += fcntl(fd, F_GETFD) >= 0;
	return nr_open == nr_ours ? 0 : 102;
}

static void expect_back(struct kept *kept, int nr)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		start(kept, nr);
		_exit(lz_store_take() != FIRST ? 103 : look(kept, nr));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status 0x%x", (unsigned)status);
}

/* Nearly as many as there may be: each is where another belongs, in one circle. */
START_TEST(test_circle)
{
	struct kept kept[NR_MAX];

	for (int i = 0; i < NR_MAX; i++)
		kept[i].number = FIRST + (i + 1) % NR_MAX;
	expect_back(kept, NR_MAX);
}
END_TEST

START_TEST(test_reversed)
{
	struct kept kept[NR_MAX];

	for (int i = 0; i < NR_MAX; i++)
		kept[i].number = FIRST + NR_MAX - 1 - i;
	expect_back(kept, NR_MAX);
}
END_TEST

/* Some are where they belong, some up to the limit, some nobody's. */
START_TEST(test_gaps)
{
	struct kept kept[] = { { .number = LIMIT - 1 }, { .number = 4 }, { .number = -1 },
			       { .number = LIMIT - 2 }, { .number = 3 }, { .number = -1 },
			       { .number = 5 } };

	expect_back(kept, sizeof(kept) / sizeof(kept[0]));
}
END_TEST

START_TEST(test_nothing)
{
	ck_assert_int_eq(lz_store_take(), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *t = tcase_create("store");

	tcase_add_test(t, test_circle);
	tcase_add_test(t, test_reversed);
	tcase_add_test(t, test_gaps);
	tcase_add_test(t, test_nothing);
	suite_add_tcase(s, t);
	return run_suite(s);
}
