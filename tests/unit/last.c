/* SPDX-License-Identifier: MIT */
/* The last resort: who is killed, and for whom the descriptors are held. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/session.h"
#include "tool/tool.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { PAGE = 4096, SOMEWHERE = 0x10000, TASK = 0, CHILD, GRANDCHILD, NR };

/* Said by processes that share it. */
static struct {
	volatile pid_t pid[NR];
	volatile int is_there;
} * shared;

static void set_up(void)
{
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

static void expect_killed(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- killing ---- */

__attribute__((noreturn)) static void be(int who)
{
	shared->pid[who] = getpid();
	for (;;)
		(void)pause();
}

static void *fork_two(void *arg)
{
	if (!fork()) {
		if (!fork())
			be(GRANDCHILD);
		be(CHILD);
	}
	return arg;
}

/* A thread's child is not in the list of the first thread. */
static pid_t start_task(void)
{
	pid_t pid = fork();
	pthread_t thread;

	if (!pid) {
		(void)pthread_create(&thread, NULL, fork_two, NULL);
		be(TASK);
	}
	ck_assert_int_gt(pid, 0);
	for (int i = 0; i < NR; i++)
		while (!shared->pid[i])
			(void)sched_yield();
	return pid;
}

START_TEST(kills_all_below)
{
	int pidfd = (int)syscall(SYS_pidfd_open, start_task(), 0);

	ck_assert_int_ge(pidfd, 0);
	ck_assert_uint_eq(lz_last_kill_tree(pidfd), NR);
	for (int i = 0; i < NR; i++)
		expect_killed(shared->pid[i]);
	/* Nobody is there any more, and the number may be anybody's. */
	ck_assert_uint_eq(lz_last_kill_tree(pidfd), 0);
	ck_assert_int_eq(close(pidfd), 0);
}
END_TEST

START_TEST(kills_the_tasks_of_the_session)
{
	static struct lz_session s;
	struct lz_fill f = { .session = &s, .o.service.log.fd = -1 };
	pid_t pid = start_task();

	s.said[0] = (struct lz_said){ .type = LZ_SAID_DEAD, .own = -1 };
	s.said[1] = (struct lz_said){ .type = LZ_SAID_UFFD, .own = -1 };
	s.said[2] = (struct lz_said){ .type = LZ_SAID_UFFD,
				      .own = (int)syscall(SYS_pidfd_open, pid, 0) };
	s.nr_said = 3;
	lz_last_kill(&f, "test");
	for (int i = 0; i < NR; i++)
		expect_killed(shared->pid[i]);
	ck_assert_int_eq(s.status, LZ_EXIT_LOST);
	ck_assert_int_eq(close(s.said[2].own), 0);
}
END_TEST

/* ---- holding ---- */

/* Its memory is registered with a userfaultfd that is open in this descriptor table;
 * ends by itself and well, or when it is killed. */
__attribute__((noreturn)) static void wait_for_page(int told)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .range = { SOMEWHERE, PAGE },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	void *page = mmap((void *)SOMEWHERE, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	unsigned char vec = 1;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || page == MAP_FAILED ||
	    ioctl(fd, UFFDIO_REGISTER, &r))
		_exit(3);
	shared->is_there = 1;
	if (read(told, &vec, 1) != 1 || mincore(page, PAGE, &vec))
		_exit(2);
	_exit(vec & 1);
}

static bool has_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	return fd >= 0 && !close(fd);
}

static pid_t start_waiting(int told)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	int status;

	if (!pid)
		wait_for_page(told);
	ck_assert_int_gt(pid, 0);
	while (!shared->is_there)
		ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	return pid;
}

/* And looking changes nothing, even where memory begins. */
START_TEST(counts_the_living)
{
	int told[2], status;
	pid_t pid;

	ck_assert_uint_eq(lz_last_count(), 0);
	ck_assert_int_eq(pipe(told), 0);
	pid = start_waiting(told[0]);
	ck_assert_uint_eq(lz_last_count(), 1);
	ck_assert_int_eq(write(told[1], "", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(lz_last_count(), 0);
}
END_TEST

/* Not even the list of descriptors can be opened. */
START_TEST(counts_whom_it_cannot_see)
{
	struct rlimit was, none;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_uint_gt(lz_last_count(), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	ck_assert_uint_eq(lz_last_count(), 0);
}
END_TEST

/* Ends @pid once the log says that it is waited for. */
__attribute__((noreturn)) static void end_when_told(int log, pid_t pid)
{
	char text[512] = "";
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && !strstr(text, "event=holding count=1 ")) {
		n = read(log, text + len, sizeof(text) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	(void)kill(pid, SIGKILL);
	_exit(n <= 0);
}

START_TEST(holds_until_the_last_has_ended)
{
	struct lz_fill f = { .o.service.log.level = LAZYD_LOG_ERROR };
	int told[2], log[2], status;
	pid_t pid, helper;

	ck_assert_int_eq(pipe(told), 0);
	ck_assert_int_eq(pipe(log), 0);
	f.o.service.log.fd = log[1];
	pid = start_waiting(told[0]);
	helper = fork();
	if (!helper)
		end_when_told(log[0], pid);
	lz_last_hold(&f);
	expect_killed(pid);
	ck_assert_int_eq(waitpid(helper, &status, 0), helper);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("last");
	TCase *t = tcase_create("core");

	if (!has_userfaultfd()) {
		puts("skipped: no userfaultfd to be had");
		return 77;
	}
	tcase_add_checked_fixture(t, set_up, NULL);
	tcase_add_test(t, kills_all_below);
	tcase_add_test(t, kills_the_tasks_of_the_session);
	tcase_add_test(t, counts_the_living);
	tcase_add_test(t, counts_whom_it_cannot_see);
	tcase_add_test(t, holds_until_the_last_has_ended);
	suite_add_tcase(s, t);
	return run_suite(s);
}
