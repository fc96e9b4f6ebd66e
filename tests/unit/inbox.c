/* SPDX-License-Identifier: MIT */
/*
 * A keeper that is killed while it takes what the restorer sends, after any number of instructions:
 * it runs step by step under ptrace, in a process that shares its descriptors. Who goes on
 * afterwards must have every message once, each descriptor under the task it is of, and no
 * connection lost.
 *
 * INBOX_STRIDE=1 kills after every single instruction of both.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fds.h"
#include "tests/lib/restorer.h"
#include "tests/lib/suite.h"
#include "tool/session.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

enum { A = 100, B = 300, DEAD = 200, NR_SAID = 6 };
/* What one who dies may leave open until all is over: a pidfd or two, never a userfaultfd. */
enum { LEFT_MAX = 2 };
/* Of each kind; INBOX_STRIDE=1 dies after every instruction, for minutes. */
enum { DEATHS = 40 };
/* How time is counted: by instructions, or by the begins and ends of system calls, each of them. */
static const enum __ptrace_request STEP[] = { PTRACE_SINGLESTEP, PTRACE_SYSCALL };
enum { NR_STEPS = 2 };

static struct lz_fill f;
static struct lz_fill_task tasks[3];
static struct lazyd_memory *memory[2];
static ino_t ino[2]; /* of what stands for the userfaultfds of A and B */
static char dir[] = "/tmp/lazyd-inbox.XXXXXX";

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(lazyd_memory_new(&memory[0]), 0);
	ck_assert_int_eq(lazyd_memory_new(&memory[1]), 0);
}

static void tear_down(void)
{
	lazyd_memory_put(memory[0]);
	lazyd_memory_put(memory[1]);
	(void)unlink("lazy-pages.socket");
	ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- the restorer ---- */

static void say(int sock, int32_t value)
{
	ck_assert_int_eq(restorer_say(sock, value), 0);
}

static void give(int sock, unsigned which)
{
	int fd = memfd_create("userfaultfd", MFD_CLOEXEC);
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ino[which] = st.st_ino;
	ck_assert_int_eq(restorer_give(sock, fd), 0);
	(void)close(fd);
}

static void say_all(int sock)
{
	say(sock, A);
	give(sock, 0);
	say(sock, B);
	give(sock, 1);
	say(sock, -DEAD);
	say(sock, RESTORER_FINISHED);
}

/* ---- one keeper, and the next ---- */

static void begin(void)
{
	f = (struct lz_fill){ .task = tasks, .nr_tasks = 3, .memory = memory, .nr_memories = 2 };
	tasks[0] = (struct lz_fill_task){ .pid = A, .memory = 0 };
	tasks[1] = (struct lz_fill_task){ .pid = DEAD, .dead = true, .memory = -1 };
	tasks[2] = (struct lz_fill_task){ .pid = B, .memory = 1 };
	ck_assert_int_eq(lz_session_new(&f.session), 0);
}

static void end(void)
{
	struct lz_session *s = f.session;

	(void)close(s->kick_fd);
	(void)close(s->session_fd);
	for (uint32_t i = 0; i < s->nr_said; i++) {
		if (s->said[i].type != LZ_SAID_UFFD)
			continue;
		(void)close(s->said[i].uffd);
		(void)close(s->said[i].pidfd);
		(void)close(s->said[i].own);
	}
	lz_restorer_hang_up(&f);
	lz_restorer_unlisten(&f);
	(void)munmap(s, sizeof(*s));
}

/*
 * Runs @what in a keeper that dies after *steps of @how, and shares its descriptors (@flags:
 * CLONE_FILES) or takes them with it. False if it was over before that: after *steps then.
 */
static bool dies(int (*what)(struct lz_fill *), int how, unsigned long *steps, unsigned long flags)
{
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		(void)what(&f);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSTOPPED(status));
	for (unsigned long n = 0; n < *steps; n++) {
		ck_assert_int_eq(ptrace(STEP[how], pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			*steps = n;
			return false;
		}
		ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	}
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return true;
}

/* Of a test that has killed at all. */
static unsigned least_deaths(int how)
{
	return STEP[how] == PTRACE_SYSCALL ? 4 : DEATHS / 2;
}

static void is_uffd(const struct lz_said *m, uint32_t task, unsigned which)
{
	struct stat st;

	ck_assert_uint_eq(m->type, LZ_SAID_UFFD);
	ck_assert_uint_eq(m->task, task);
	ck_assert_int_eq(fstat(m->uffd, &st), 0);
	ck_assert_uint_eq(st.st_ino, ino[which]);
	ck_assert_int_eq(fcntl(m->pidfd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(m->own, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(m->own, m->pidfd);
}

static void is_complete(void)
{
	const struct lz_said *m = f.session->said;

	ck_assert_uint_eq(f.session->nr_said, NR_SAID);
	ck_assert(m[0].type == LZ_SAID_TASK && m[0].task == 0);
	is_uffd(&m[1], 0, 0);
	ck_assert(m[2].type == LZ_SAID_TASK && m[2].task == 2);
	is_uffd(&m[3], 2, 1);
	ck_assert(m[4].type == LZ_SAID_DEAD && m[4].task == 1);
	ck_assert_uint_eq(m[5].type, LZ_SAID_FINISHED);
	ck_assert_uint_eq(f.nr_reported, 3);
}

/* So many steps between the deaths of a program of @length of them. */
static unsigned long stride(int how, unsigned long length)
{
	const char *given = getenv("INBOX_STRIDE");

	if (STEP[how] == PTRACE_SYSCALL)
		return 1;
	return given ? strtoul(given, NULL, 10) : length / DEATHS + 1;
}

/* All that the restorer has to say is in the socket. Its end, to be closed. */
static int begin_connected(void)
{
	int pair[2], one = 1;

	begin();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(pair[0], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	f.session->restorer_fd = pair[0];
	say_all(pair[1]);
	return pair[1];
}

/* What was left, away: the next one is to be counted from @before. */
static void close_from(unsigned before)
{
	for (int fd = (int)before; fd < (int)before + 64; fd++)
		(void)close(fd);
}

START_TEST(killed_while_it_receives)
{
	unsigned long length = 0, step = 0;
	unsigned before = fds_count(), deaths = 0;

	/* The first one lives, and tells how long that is. */
	for (unsigned n = 0; n == 0 || (n - 1) * step <= length; n++) {
		unsigned long steps = n ? (n - 1) * step : ULONG_MAX;
		int sock = begin_connected();

		deaths += dies(lz_restorer_receive, _i, &steps, CLONE_FILES);
		lz_restorer_succeed(&f);
		ck_assert_int_eq(lz_restorer_receive(&f), 1);
		is_complete();
		end();
		(void)close(sock);
		ck_assert_uint_le(fds_count(), before + LEFT_MAX);
		close_from(before);
		length = n ? length : steps;
		step = stride(_i, length);
	}
	ck_assert_uint_gt(deaths, least_deaths(_i));
}
END_TEST

/* ---- with all that they had, but for what a service manager has been told to keep ---- */

/* Out of the way of the numbers that are to be used again. */
static int move_up(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	ck_assert_int_ge(up, 100);
	(void)close(fd);
	return up;
}

static int open_manager(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock = move_up(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	char name[64];

	(void)snprintf(name, sizeof(name), "@lazyd-inbox-%d", (int)getpid());
	memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
	return sock;
}

/* What it has been given, at the numbers that it had; not what is not to be kept any more. */
static void restore_kept(int manager)
{
	struct lz_control control = { 0 };
	char text[128];
	struct iovec v = { text, sizeof(text) - 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct lz_parcel p;
	ssize_t n;
	int number;

	while ((n = recvmsg(manager, &m, MSG_CMSG_CLOEXEC)) >= 0) {
		text[n] = '\0';
		lz_parcel_open(&control, &p);
		if (p.uffd >= 0)
			p.uffd = move_up(p.uffd);
		if (sscanf(text, "FDSTORE=1\nFDNAME=lazyd-%d-", &number) == 1 && p.uffd >= 0)
			ck_assert_int_eq(dup3(p.uffd, number, O_CLOEXEC), number);
		if (sscanf(text, "FDSTOREREMOVE=1\nFDNAME=lazyd-%d-", &number) == 1)
			(void)close(number);
		if (p.uffd >= 0)
			(void)close(p.uffd);
		memset(&control, 0, sizeof(control));
		m.msg_controllen = sizeof(control);
	}
}

START_TEST(killed_with_all_its_descriptors)
{
	unsigned long length = 0, step = 0;
	int manager = open_manager();
	unsigned before = fds_count() - 1, deaths = 0;

	for (unsigned n = 0; n == 0 || (n - 1) * step <= length; n++) {
		unsigned long steps = n ? (n - 1) * step : ULONG_MAX;
		int sock = begin_connected();

		deaths += dies(lz_restorer_receive, _i, &steps, 0);
		restore_kept(manager);
		lz_inbox_lose_descriptors(&f.session->inbox, f.session->nr_said);
		lz_restorer_succeed(&f);
		ck_assert_int_eq(lz_restorer_receive(&f), 1);
		is_complete();
		end();
		(void)close(sock);
		while (recv(manager, &(char){ 0 }, 1, 0) >= 0) {
		}
		ck_assert_uint_le(fds_count(), before + 1 + LEFT_MAX);
		close_from(before);
		length = n ? length : steps;
		step = stride(_i, length);
	}
	ck_assert_uint_gt(deaths, least_deaths(_i));
	(void)close(manager);
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
}
END_TEST

static int accept_one(struct lz_fill *of)
{
	return lz_restorer_accept(of);
}

START_TEST(killed_while_it_accepts)
{
	unsigned long length = 0, step = 0;
	unsigned before = fds_count(), deaths = 0;

	for (unsigned n = 0; n == 0 || (n - 1) * step <= length; n++) {
		unsigned long steps = n ? (n - 1) * step : ULONG_MAX;
		int sock;

		begin();
		ck_assert_int_eq(lz_restorer_listen(&f), 0);
		sock = restorer_connect();
		ck_assert_int_ge(sock, 0);
		say_all(sock);
		deaths += dies(accept_one, _i, &steps, CLONE_FILES);
		lz_restorer_succeed(&f);
		if (f.session->restorer_fd < 0)
			ck_assert_int_eq(lz_restorer_accept(&f), 0);
		ck_assert_int_lt(f.session->listen_fd, 0);
		ck_assert_int_ne(access("lazy-pages.socket", F_OK), 0);
		ck_assert_int_eq(lz_restorer_receive(&f), 1);
		is_complete();
		/* Finished: whoever comes now finds the connection closed, noted or not. */
		f.session->phase = LZ_FILL_RUNNING;
		f.session->restorer_fd = -1;
		lz_restorer_succeed(&f);
		end();
		(void)close(sock);
		ck_assert_uint_eq(fds_count(), before);
		length = n ? length : steps;
		step = stride(_i, length);
	}
	ck_assert_uint_gt(deaths, least_deaths(_i));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inbox");
	TCase *t = tcase_create("killed");

	tcase_set_timeout(t, 600);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, killed_while_it_receives, 0, NR_STEPS);
	tcase_add_loop_test(t, killed_with_all_its_descriptors, 0, NR_STEPS);
	tcase_add_loop_test(t, killed_while_it_accepts, 0, NR_STEPS);
	suite_add_tcase(s, t);
	return run_suite(s);
}
