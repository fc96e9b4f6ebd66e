/* SPDX-License-Identifier: MIT */
/*
 * Cases in which the engine dies. The server is the keeper: it holds the descriptors, shares them
 * with a worker that has a memory of its own, kills that at random moments and starts another,
 * until one of them comes to the end. The task must notice nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/live/live.h"

enum { STORM_PAGES = 8192, PAGES = 16384, DEATHS_MAX = 150, LIFE_MAX_NS = 5000000 };

/* What the keeper tells the worker, and the other way round: live_shared's counters. */
enum { IS_WHOLE, IS_STARTED };

struct keeper {
	struct live *l;
	struct lazyd_state *state;
	int uffd, pidfd;
	uint64_t seed;
	unsigned nr_deaths;
};

__attribute__((noreturn)) static void work(struct keeper *k)
{
	volatile uint64_t *counter = k->l->shared->counter;
	struct live *l = k->l;
	int more = 1, found;

	struct lazyd_state *state;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* By its descriptor, as one would that has been started anew. */
	if (lazyd_state_open(&state, fcntl(lazyd_state_fd(k->state), F_DUPFD_CLOEXEC, 3)))
		live_fail(l, "no state by its descriptor");
	live_begin(l, state);
	found = lazyd_resume(l->l);
	if (found < 0)
		live_fail(l, "resume: %s", lazyd_error(l->l));
	/* None: nothing was begun, or all has come to its end. */
	if (!found)
		more = lazyd_turn(l->l, 0);
	if (!found && more && lazyd_attach(l->l, 0, k->uffd, k->pidfd) < 0)
		live_fail(l, "attach: %s", lazyd_error(l->l));
	while (more) {
		if (counter[IS_WHOLE] && !counter[IS_STARTED]) {
			live_start(l);
			counter[IS_STARTED] = 1;
		}
		more = lazyd_turn(l->l, 1000000);
		if (more < 0)
			live_fail(l, "turn: %s", lazyd_error(l->l));
	}
	_exit(0);
}

/* What the dead one had opened for itself. */
static void close_remains(struct live *l, int keep)
{
	static const char *const its[] = { "anon_inode:[io_uring]", "anon_inode:[eventfd]",
					   "anon_inode:[timerfd]", "/memfd:lazyd-state (deleted)" };
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;

	LIVE_CHECK(l, dir);
	while ((e = readdir(dir))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		link[n < 0 ? 0 : n] = '\0';
		for (size_t i = 0; i < sizeof(its) / sizeof(its[0]); i++)
			if (strcmp(link, its[i]) == 0 && atoi(e->d_name) != keep)
				(void)close(atoi(e->d_name));
	}
	(void)closedir(dir);
}

/* True when the worker has ended by itself; it is killed when its time is over. */
static bool live_and_die(struct keeper *k)
{
	struct live *l = k->l;
	/* Longer and longer: on a slow machine the first ones get nowhere. */
	uint64_t life_max_ns = LIFE_MAX_NS + k->nr_deaths * LIFE_MAX_NS / 25;
	struct timespec life = { .tv_nsec = (long)(live_random(&k->seed) % life_max_ns) };
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	struct pollfd p[] = { { .events = POLLIN }, { .fd = l->sock, .events = POLLIN } };
	int status, n;
	char byte;

	LIVE_CHECK(l, pid >= 0);
	if (!pid)
		work(k);
	p[0].fd = (int)syscall(SYS_pidfd_open, pid, 0);
	do {
		n = ppoll(p, l->shared->counter[IS_WHOLE] ? 1 : 2,
			  k->nr_deaths < DEATHS_MAX ? &life : NULL, NULL);
		if (n && p[1].revents && recv(l->sock, &byte, 1, MSG_DONTWAIT) == 1)
			l->shared->counter[IS_WHOLE] = 1;
	} while (n && !p[0].revents);
	if (!n)
		LIVE_CHECK(l, kill(pid, SIGKILL) == 0);
	LIVE_CHECK(l, waitpid(pid, &status, 0) == pid);
	(void)close(p[0].fd);
	close_remains(l, lazyd_state_fd(k->state));
	if (!status)
		return true;
	LIVE_CHECK(l, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	k->nr_deaths++;
	return false;
}

/* The sweep begins when the task has done all it does, unless it has begun. */
static void keep(struct live *l)
{
	struct keeper k = { .l = l, .seed = l->seed };

	LIVE_CHECK(l, lazyd_state_new(&k.state, lazyd_memory_pages(l->memory)) == 0);
	live_task(l);
	k.uffd = live_take(l);
	k.pidfd = (int)syscall(SYS_pidfd_open, l->task, 0);
	while (!live_and_die(&k)) {
	}
	lazyd_stats(NULL, k.state, &l->stats);
	LIVE_CHECK(l, l->stats.pages_owed == 0);
	LIVE_CHECK(l, l->stats.nr_spaces == 0);
	LIVE_CHECK(l, l->stats.resumes > 0);
	(void)snprintf(l->shared->note, sizeof(l->shared->note), " deaths=%u resumes=%llu",
		       k.nr_deaths, (unsigned long long)l->stats.resumes);
	live_end(l, 0);
	lazyd_state_free(k.state);
}

/* The sweep runs from the first worker on. */
static void keep_sweeping(struct live *l)
{
	l->shared->counter[IS_WHOLE] = 1;
	keep(l);
}

#define STORM(n)                                                                            \
	{ "worker-storm/faults-" n, STORM_PAGES, LIVE_FORK | LIVE_LONG, live_storm, keep }, \
	{                                                                                   \
		"worker-storm/sweeping-" n, STORM_PAGES, LIVE_FORK | LIVE_LONG, live_storm, \
			keep_sweeping                                                       \
	}

const struct live_case live_cases_worker[] = {
	{ "worker-dies/faults", PAGES, LIVE_LONG, live_touch_all, keep },
	{ "worker-dies/sweeping", PAGES, LIVE_LONG, live_touch_all, keep_sweeping },
	{ "worker-dies/cold", PAGES, LIVE_DISK | LIVE_LONG, live_touch_all, keep_sweeping },
	{ "worker-dies/truncated-faults", PAGES, LIVE_TRUNCATE | LIVE_POISON | LIVE_LONG,
	  live_expect_left, keep },
	{ "worker-dies/truncated-sweeping", PAGES, LIVE_TRUNCATE | LIVE_POISON | LIVE_LONG,
	  live_expect_left, keep_sweeping },
	STORM("1"),
	STORM("2"),
	STORM("3"),
	STORM("4"),
	{ NULL, 0, 0, NULL, NULL },
};
