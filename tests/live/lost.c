/* SPDX-License-Identifier: MIT */
/* Cases in which bytes cannot be had: no page of them is ever zero, and nobody waits for ever. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/live/live.h"

enum { PAGES = 2048, FEW_PAGES = 64, TOUCHED = 3, WAITERS = 4 };
/* UFFDIO_POISON's last two bytes, which Debian 12's header (Linux 6.1) does not know. */
enum { POISON_NR = 0xaa08 };

static uint64_t nr_lost(const struct live *l)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < l->nr_pages; page++)
		n += live_is_lost(l, page);
	return n;
}

/* ---- a truncated file ---- */

void live_expect_left(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		/* Not in order: the lost ones are to be asked for among the others. */
		uint64_t page = n * 5 % l->nr_pages;

		LIVE_CHECK(l, live_can_read(l, page) == !live_is_lost(l, page));
		if (!live_is_lost(l, page))
			live_expect(l, page, live_code(page));
	}
}

static void look_when_told(struct live *l)
{
	live_hear(l);
	live_expect_left(l);
}

static void check_lost(struct live *l)
{
	LIVE_CHECK(l, nr_lost(l) > 0);
	LIVE_CHECK(l, l->stats.pages_lost == nr_lost(l));
	LIVE_CHECK(l, l->stats.pages_gone == 0);
}

static void serve_faults(struct live *l)
{
	live_serve_faults(l);
	check_lost(l);
}

static void serve_sweeping(struct live *l)
{
	live_serve_sweeping(l);
	check_lost(l);
}

static void serve_before(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	live_say(l);
	live_end(l, 0);
	check_lost(l);
}

/*
 * The file loses its end when the engine has it open, and mapped: it has been written to, so that
 * pages before the new end may be lost as well, but none is another.
 */
static void serve_shrinking(struct live *l)
{
	l->cut = live_offset(l, l->nr_pages / 2) + LIVE_PAGE / 2;
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	LIVE_CHECK(l, ftruncate(l->file, (off_t)l->cut) == 0);
	live_say(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
	LIVE_CHECK(l, l->stats.pages_lost >= nr_lost(l));
	LIVE_CHECK(l, l->stats.pages_gone == 0);
	LIVE_CHECK(l, l->stats.files_changed == 1);
}

static void look_then_expect(struct live *l)
{
	/* The pages around the new end, for the engine to have them mapped. */
	l->cut = live_offset(l, l->nr_pages / 2) + LIVE_PAGE / 2;
	live_expect(l, l->nr_pages / 2 - 1, live_code(l->nr_pages / 2 - 1));
	live_say(l);
	live_hear(l);
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		uint64_t page = n * 5 % l->nr_pages;

		if (!live_can_read(l, page))
			continue;
		LIVE_CHECK(l, !live_is_lost(l, page));
		live_expect(l, page, live_code(page));
	}
}

/* ---- killed rather than poisoned ---- */

static void serve_kill(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	live_end(l, SIGKILL);
	LIVE_CHECK(l, l->stats.pages_lost > 0);
	LIVE_CHECK(l, l->stats.ev_exit >= 1);
}

static void wait_in_child(struct live *l)
{
	(void)signal(SIGBUS, SIG_DFL); /* a sanitizer has its own */
	live_expect_image(l, 0, l->nr_pages);
	live_fail(l, "a child has seen pages that are lost");
}

/* Whichever of the two is killed first, the child ends too: killed, or by its access. */
static void fork_and_touch(struct live *l)
{
	(void)live_fork(l, wait_in_child);
	for (;;)
		(void)pause();
}

/* Outlives its parent, and is then nobody that can be found from there. */
static void outlive(struct live *l)
{
	(void)prctl(PR_SET_PDEATHSIG, 0);
	live_say(l);
	live_hear(l); /* that it is alone */
	wait_in_child(l);
}

static void leave_orphan(struct live *l)
{
	(void)live_fork(l, outlive);
	(void)pause();
}

static void serve_orphan(struct live *l, int how)
{
	siginfo_t info;
	char byte;

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	LIVE_CHECK(l, kill(l->task, SIGKILL) == 0);
	LIVE_CHECK(l, waitid(P_PID, (id_t)l->task, &info, WEXITED | how) == 0);
	live_say(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_lost > 0);
	LIVE_CHECK(l, recv(l->sock, &byte, 1, 0) == 0); /* it has ended */
	lazyd_free(l->l);
	lazyd_memory_put(l->memory);
}

/* Its parent has been waited for. */
static void serve_reaped(struct live *l)
{
	serve_orphan(l, 0);
}

static void serve_zombie(struct live *l)
{
	serve_orphan(l, WNOWAIT);
}

/* Its parent ends too; it must be killed for itself. */
static void touch_alone(struct live *l)
{
	(void)prctl(PR_SET_PDEATHSIG, 0);
	wait_in_child(l);
}

static void *fork_as_thread(void *arg)
{
	struct live *l = arg;

	l->shared->counter[0] = (uint64_t)live_fork(l, touch_alone);
	for (;;)
		(void)pause();
	return NULL;
}

static void fork_in_thread(struct live *l)
{
	pthread_t thread;

	LIVE_CHECK(l, pthread_create(&thread, NULL, fork_as_thread, l) == 0);
	for (;;)
		(void)pause();
}

/* The child is found, before what it waits for is poisoned, whichever thread forked it. */
static void serve_kill_kin(struct live *l)
{
	siginfo_t info = { .si_pid = 0 };
	int status;

	LIVE_CHECK(l, prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	/* Only what the child touches is asked for. */
	while (!info.si_pid) {
		LIVE_CHECK(l, lazyd_turn(l->l, 10000000) >= 0);
		LIVE_CHECK(l,
			   waitid(P_PID, (id_t)l->task, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
	}
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, waitpid((pid_t)l->shared->counter[0], &status, 0) > 0);
	LIVE_CHECK(l, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	live_end(l, SIGKILL);
}

/* ---- a child too many ---- */

/* From here on the kernel is one before Linux 6.6, for this process. */
static void forget_poison(struct live *l)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffff),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, POISON_NR, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	LIVE_CHECK(l, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	LIVE_CHECK(l, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

/* Attaches as many spaces as there can be:
 * this process, again and again, which is never owed anything because the sweep never begins. */
static void fill_up(struct live *l)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct rlimit files;
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY), r;

	LIVE_CHECK(l, getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	LIVE_CHECK(l, setrlimit(RLIMIT_NOFILE, &files) == 0);
	LIVE_CHECK(l, uffd >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0);
	do {
		int another = dup(uffd);

		if (another < 0 && errno == EMFILE)
			live_skip(l, "too few descriptors may be open here (ulimit -n)");
		LIVE_CHECK(l, another >= 0);
		r = lazyd_attach(l->l, 0, another, -1);
		if (r < 0)
			(void)close(another);
	} while (r >= 0);
	LIVE_CHECK(l, r == -ENOSPC);
	(void)close(uffd);
}

/* The task has not forked yet. */
static void begin_full(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	fill_up(l);
}

static void end_full(struct live *l)
{
	lazyd_stats(l->l, NULL, &l->stats);
	LIVE_CHECK(l, l->stats.pages_lost == live_held(l->nr_pages));
	live_end(l, 0);
}

static void expect_none(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		LIVE_CHECK(l, live_can_read(l, n) == !live_code(n));
		if (!live_code(n))
			live_expect(l, n, 0);
	}
}

/* Whatever becomes of the child, the parent goes on. */
static void fork_too_many(struct live *l)
{
	live_hear(l);
	live_wait(l, live_fork(l, expect_none));
	live_expect_image(l, 0, l->nr_pages);
}

static void serve_full(struct live *l)
{
	begin_full(l);
	live_say(l);
	live_hear_serving(l);
	end_full(l);
}

static void fork_to_be_killed(struct live *l)
{
	int status;
	pid_t pid;

	live_hear(l);
	pid = live_fork(l, wait_in_child);
	LIVE_CHECK(l, waitpid(pid, &status, 0) == pid);
	LIVE_CHECK(l, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	live_expect_image(l, 0, l->nr_pages);
}

static void serve_full_unpoisoned(struct live *l)
{
	begin_full(l);
	forget_poison(l);
	live_say(l);
	live_hear_serving(l);
	end_full(l);
}

/* Nobody knows where to look for the child. It waits, and does until the test kills it. */
static void serve_full_unseen(struct live *l)
{
	struct pollfd p = { .events = POLLIN };

	begin_full(l);
	forget_poison(l);
	p.fd = dup(l->sock); /* the number that the child's userfaultfd will have */
	(void)close(p.fd);
	live_say(l);
	do
		LIVE_CHECK(l, lazyd_turn(l->l, 1000000) >= 0);
	while (poll(&p, 1, 0) == 1 && p.revents & POLLNVAL);
	LIVE_CHECK(l, poll(&p, 1, -1) == 1 && p.revents == POLLIN);
	LIVE_CHECK(l, !l->shared->reason[0]);
	while (!*(volatile uint64_t *)l->shared->counter)
		LIVE_CHECK(l, lazyd_turn(l->l, 1000000) >= 0);
	LIVE_CHECK(l, kill((pid_t)l->shared->counter[0], SIGKILL) == 0);
	live_hear_serving(l);
	end_full(l);
	(void)close(p.fd);
}

static void fork_and_tell(struct live *l)
{
	int status;
	pid_t pid;

	live_hear(l);
	pid = live_fork(l, wait_in_child);
	*(volatile uint64_t *)l->shared->counter = (uint64_t)pid;
	LIVE_CHECK(l, waitpid(pid, &status, 0) == pid);
	LIVE_CHECK(l, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	live_expect_image(l, 0, l->nr_pages);
}

/* ---- given up ---- */

static void *wait_for_page(void *arg)
{
	volatile uint8_t *at = arg;

	return (void *)(uintptr_t)(*at + 1u);
}

static void expect_given_up(struct live *l)
{
	for (uint64_t n = 0; n < TOUCHED; n++)
		live_expect(l, n, live_code(n));
	live_say(l);
	live_hear(l);
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		bool had = n < TOUCHED || !live_code(n);

		LIVE_CHECK(l, live_can_read(l, n) == had);
		if (had)
			live_expect(l, n, live_code(n));
	}
}

static void serve_abandoned(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	LIVE_CHECK(l, lazyd_abandon(l->l) == (int64_t)(live_held(l->nr_pages) - TOUCHED));
	live_say(l);
	live_end(l, 0);
}

/* Threads that wait when it is given up get their signal. */
static void wait_and_die(struct live *l)
{
	pthread_t thread[WAITERS];

	(void)signal(SIGBUS, SIG_DFL); /* a sanitizer has its own */
	live_say(l);
	for (uint64_t i = 0; i < WAITERS; i++)
		LIVE_CHECK(l, pthread_create(&thread[i], NULL, wait_for_page, live_at(l, i)) == 0);
	(void)pause();
}

static void serve_waiting(struct live *l)
{
	struct pollfd p = { .events = POLLIN };

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear(l);
	/* Of what it touches the engine has not been told yet. */
	p.fd = lazyd_fd(l->l);
	LIVE_CHECK(l, poll(&p, 1, -1) == 1);
	LIVE_CHECK(l, lazyd_abandon(l->l) > 0);
	live_end(l, SIGBUS);
}

const struct live_case live_cases_lost[] = {
	{ "truncated/faults", PAGES, LIVE_POISON | LIVE_TRUNCATE, live_expect_left, serve_faults },
	{ "truncated/sweeping", PAGES, LIVE_POISON | LIVE_TRUNCATE, live_expect_left,
	  serve_sweeping },
	{ "truncated/swept", PAGES, LIVE_POISON | LIVE_TRUNCATE, look_when_told, serve_before },
	{ "truncated/odd", PAGES + 1, LIVE_POISON | LIVE_TRUNCATE | LIVE_ODD, live_expect_left,
	  serve_sweeping },
	{ "truncated/cold", PAGES, LIVE_POISON | LIVE_TRUNCATE | LIVE_DISK, live_expect_left,
	  serve_sweeping },
	{ "shrinking", PAGES, LIVE_POISON, look_then_expect, serve_shrinking },
	{ "kill", PAGES, LIVE_TRUNCATE | LIVE_KILL, live_touch_all, serve_kill },
	{ "kill/child", PAGES, LIVE_TRUNCATE | LIVE_KILL | LIVE_FORK, fork_and_touch, serve_kill },
	{ "kill/thread", PAGES, LIVE_POISON | LIVE_TRUNCATE | LIVE_KILL | LIVE_FORK, fork_in_thread,
	  serve_kill_kin },
	{ "kill/orphan", PAGES, LIVE_POISON | LIVE_TRUNCATE | LIVE_KILL | LIVE_FORK, leave_orphan,
	  serve_reaped },
	{ "kill/zombie", PAGES, LIVE_POISON | LIVE_TRUNCATE | LIVE_KILL | LIVE_FORK, leave_orphan,
	  serve_zombie },
	{ "child-lost/poisoned", FEW_PAGES, LIVE_POISON | LIVE_FORK, fork_too_many, serve_full },
	{ "child-lost/killed", FEW_PAGES, LIVE_FORK, fork_to_be_killed, serve_full_unpoisoned },
	{ "child-lost/waits", FEW_PAGES, LIVE_FORK | LIVE_UNSEEN, fork_and_tell,
	  serve_full_unseen },
	{ "abandon", PAGES, LIVE_POISON, expect_given_up, serve_abandoned },
	{ "abandon/waiting", PAGES, LIVE_POISON, wait_and_die, serve_waiting },
	{ NULL, 0, 0, NULL, NULL },
};
