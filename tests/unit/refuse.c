/* SPDX-License-Identifier: MIT */
/*
 * A restore that is given up while the restorer speaks: nothing more can be said, and of what was
 * said and not heard no task goes on that has sent a userfaultfd: it would read zeros.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fds.h"
#include "tests/lib/restorer.h"
#include "tests/lib/suite.h"
#include "tool/session.h"

enum { A = 100, B = 200 };

static struct lz_fill f;
static struct lz_fill_task tasks[2];
static struct lazyd_memory *memory[2];
static char dir[] = "/tmp/lazyd-refuse.XXXXXX";
static unsigned before;

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	before = fds_count();
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(lazyd_memory_new(&memory[i]), 0);
	f = (struct lz_fill){ .task = tasks, .nr_tasks = 2, .memory = memory, .nr_memories = 2 };
	tasks[0] = (struct lz_fill_task){ .pid = A, .memory = 0 };
	tasks[1] = (struct lz_fill_task){ .pid = B, .memory = 1 };
	ck_assert_int_eq(lz_session_new(&f.session), 0);
	ck_assert_int_eq(lz_restorer_listen(&f), 0);
}

static void tear_down(void)
{
	struct lz_session *s = f.session;

	(void)close(s->kick_fd);
	(void)close(s->session_fd);
	(void)munmap(s, sizeof(*s));
	ck_assert_uint_eq(fds_count(), before);
	lazyd_memory_put(memory[0]);
	lazyd_memory_put(memory[1]);
	ck_assert_int_ne(access("lazy-pages.socket", F_OK), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* A task that says who it is, gives what stands for its userfaultfd if it @gives, and waits. */
static pid_t task(int sock, int32_t pid, bool gives)
{
	int told[2];
	pid_t child;
	char byte;

	ck_assert_int_eq(pipe(told), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		int fd = memfd_create("userfaultfd", MFD_CLOEXEC);
		bool ok = !restorer_say(sock, pid) && (!gives || !restorer_give(sock, fd));

		_exit(ok && write(told[1], "", 1) == 1 ? pause() : 1);
	}
	(void)close(told[1]);
	ck_assert_int_eq(read(told[0], &byte, 1), 1);
	(void)close(told[0]);
	return child;
}

/* It may take the kernel a moment; no longer than the suite's patience. */
static bool was_killed(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

static void end(pid_t child)
{
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

static int connected(void)
{
	int sock = restorer_connect();

	ck_assert_int_ge(sock, 0);
	return sock;
}

START_TEST(what_was_not_heard)
{
	int sock = connected();
	pid_t a, b;

	ck_assert_int_eq(lz_restorer_attend(&f, true, false), 0);
	a = task(sock, A, true);
	b = task(sock, B, true);
	lz_restorer_refuse(&f);
	ck_assert(was_killed(a));
	ck_assert(was_killed(b));
	ck_assert_int_eq(f.session->restorer_fd, -1);
	ck_assert_int_eq(restorer_say(sock, RESTORER_FINISHED), -EPIPE);
	(void)close(sock);
}
END_TEST

/* Not even that somebody has come. */
START_TEST(who_was_not_accepted)
{
	int sock = connected();
	pid_t a = task(sock, A, true);

	lz_restorer_refuse(&f);
	ck_assert(was_killed(a));
	ck_assert_int_eq(f.session->listen_fd, -1);
	(void)close(sock);
}
END_TEST

/* What has been noted is the worker's; who has given nothing is not killed. */
START_TEST(not_those_that_were_heard)
{
	int sock = connected();
	pid_t a, b;

	ck_assert_int_eq(lz_restorer_attend(&f, true, false), 0);
	a = task(sock, A, true);
	ck_assert_int_eq(lz_restorer_attend(&f, false, true), 0);
	ck_assert_uint_eq(f.session->nr_said, 2);
	b = task(sock, B, false);
	lz_restorer_refuse(&f);
	end(a);
	end(b);
	(void)close(f.session->said[1].uffd);
	(void)close(f.session->said[1].pidfd);
	(void)close(f.session->said[1].own);
	(void)close(sock);
}
END_TEST

START_TEST(nobody_at_all)
{
	lz_restorer_refuse(&f);
	ck_assert_int_eq(f.session->listen_fd, -1);
	ck_assert_int_eq(restorer_connect(), -ENOENT);
	lz_restorer_refuse(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("refuse");
	TCase *t = tcase_create("refused");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, what_was_not_heard);
	tcase_add_test(t, who_was_not_accepted);
	tcase_add_test(t, not_those_that_were_heard);
	tcase_add_test(t, nobody_at_all);
	suite_add_tcase(s, t);
	return run_suite(s);
}
