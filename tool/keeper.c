/* SPDX-License-Identifier: MIT */
/*
 * The keeper of `lazyd fill`: holds every descriptor, speaks with the restorer, watches the worker
 * and starts another when it dies, shows how far things are. It does no work that could kill it.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

enum {
	/* Workers that die without having got anything done, in a row: then it is no accident. */
	DEATHS_MAX = 5,
	/* ... and of those that somebody killed: it may be before their first turn ends. */
	KILLS_MAX = 100,
	/* How often the progress is looked at. */
	LOOK_MS = 100,
};

struct keeper {
	struct lz_fill *f;
	struct lz_progress progress;
	bool shows;        /* progress on standard error */
	unsigned nr_terms; /* SIGTERM and SIGINT so far */
	unsigned nr_deaths;
	uint32_t turns;    /* the session's, at the last death */
	uint64_t heard_ns; /* when the restorer was last heard of, or waited for from */
	int status;        /* LZ_EXIT_X, once it is known that the end will be a bad one */
	bool ended;        /* the worker has, and no other is needed */
};

static void kick(const struct lz_fill *f)
{
	(void)!write(f->kick_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void set_phase(struct keeper *k, enum lz_fill_phase phase)
{
	k->f->session->phase = phase;
	kick(k->f);
}

static void abandon(struct keeper *k, int status)
{
	k->status = status;
	set_phase(k, LZ_FILL_ABANDON);
}

/* ---- the worker ---- */

static int start_worker(struct keeper *k)
{
	/* As fork() does it, but with one descriptor table for both: DESIGN.md, "A handler that can
	 * die". */
	long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return -errno;
	if (!pid) {
		(void)sigprocmask(SIG_SETMASK, &k->f->old_signals, NULL);
		lz_worker_run(k->f);
	}
	k->f->worker = (pid_t)pid;
	return 0;
}

/* What the dead worker had opened for itself stays open in the shared table: its ring, its timers. */
static void sweep_descriptors(const struct lz_fill *f)
{
	static const char *const ITS[] = { "anon_inode:[io_uring]", "anon_inode:[eventfd]",
					   "anon_inode:[timerfd]" };
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		int fd = (int)strtol(e->d_name, NULL, 10);

		link[n < 0 ? 0 : n] = '\0';
		for (size_t i = 0; i < sizeof(ITS) / sizeof(ITS[0]); i++)
			if (strcmp(link, ITS[i]) == 0 && fd != f->kick_fd && fd > 2)
				(void)close(fd);
	}
	if (d)
		(void)closedir(d);
}

/* Nobody can serve the tasks any more: end them rather than let them read zeros or hang. */
static void kill_tasks(struct keeper *k)
{
	struct lz_fill *f = k->f;
	unsigned n = 0;

	for (uint32_t i = 0; i < f->nr_tasks; i++)
		if (f->task[i].pidfd >= 0 &&
		    !syscall(SYS_pidfd_send_signal, f->task[i].pidfd, SIGKILL, NULL, 0))
			n++;
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=killed-tasks count=%u reason=\"%s\"",
		   n, f->session->reason[0] ? f->session->reason : "the worker cannot live");
	k->status = LZ_EXIT_LOST;
	k->ended = true;
}

static void worker_died(struct keeper *k, int status)
{
	struct lz_fill *f = k->f;
	unsigned most;
	int r;

	if (WIFEXITED(status) && WEXITSTATUS(status) == LZ_EXIT_OK) {
		k->ended = true;
		return;
	}
	k->nr_deaths = f->session->turns == k->turns ? k->nr_deaths + 1 : 1;
	k->turns = f->session->turns;
	lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=worker-died %s=%d",
		   WIFSIGNALED(status) ? "signal" : "status",
		   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	sweep_descriptors(f);
	most = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? KILLS_MAX : DEATHS_MAX;
	r = k->nr_deaths < most ? start_worker(k) : -ECHILD;
	if (r)
		kill_tasks(k);
	kick(f);
}

/* ---- what happens ---- */

static void on_signals(struct keeper *k)
{
	struct signalfd_siginfo si;
	int status;

	while (read(k->f->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGCHLD) {
			k->nr_terms++;
			lz_log_say(&k->f->o.service.log, LAZYD_LOG_WARN,
				   "event=signal number=%u %s", si.ssi_signo,
				   k->nr_terms == 1 ? "filling all that is owed; once more: give up"
						    : "giving up");
		}
	}
	while (k->f->worker > 0 && waitpid(k->f->worker, &status, WNOHANG) == k->f->worker)
		worker_died(k, status);
	if (k->nr_terms > 1 && k->f->session->phase != LZ_FILL_ABANDON)
		abandon(k, LZ_EXIT_LOST);
}

static void on_restorer(struct keeper *k)
{
	struct lz_fill *f = k->f;
	int r = lz_restorer_receive(f);

	k->heard_ns = lz_out_now();
	if (!r)
		return;
	(void)close(f->restorer_fd);
	f->restorer_fd = -1;
	if (r < 0) {
		abandon(k, LZ_EXIT_FAILED);
		return;
	}
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=restore-finished");
	set_phase(k, LZ_FILL_RUNNING);
}

static bool is_restoring(const struct lz_fill *f)
{
	return f->session->phase == LZ_FILL_RESTORING;
}

static void check_patience(struct keeper *k)
{
	struct lz_fill *f = k->f;
	uint64_t limit = (uint64_t)f->o.restore_timeout_s * UINT64_C(1000000000);

	if (!is_restoring(f))
		return;
	if (k->nr_terms && f->listen_fd >= 0) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
			   "event=stopped before any restore came");
		lz_restorer_unlisten(f);
		set_phase(k, LZ_FILL_ABANDON); /* of nothing */
	} else if (limit && lz_out_now() - k->heard_ns > limit) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			f->listen_fd >= 0
				? "event=restore-never-came waited_s=%u (--restore-timeout; 0: for ever)"
				: "event=restore-stalled waited_s=%u (--restore-timeout; 0: for ever)",
			f->o.restore_timeout_s);
		lz_restorer_unlisten(f);
		abandon(k, LZ_EXIT_FAILED);
	}
}

static void show(struct keeper *k, bool last)
{
	struct lazyd_stats s;

	if (!k->shows || !k->f->started_ns)
		return;
	lazyd_stats(NULL, k->f->state, &s);
	lz_progress_update(&k->progress, &s);
	if (last)
		lz_progress_end(&k->progress);
}

static void look(struct keeper *k)
{
	struct lz_fill *f = k->f;
	struct pollfd p[] = {
		{ .fd = f->signal_fd, .events = POLLIN },
		{ .fd = f->listen_fd, .events = POLLIN },
		{ .fd = f->restorer_fd, .events = POLLIN },
	};
	bool showing = f->started_ns && k->shows;
	int timeout = showing ? LOOK_MS : is_restoring(f) ? 200 : -1;

	if (poll(p, 3, timeout) < 0 && errno != EINTR)
		abandon(k, LZ_EXIT_FAILED);
	if (p[0].revents)
		on_signals(k);
	if (p[1].revents && lz_restorer_accept(f))
		abandon(k, LZ_EXIT_FAILED);
	/* Who is turned away is not a sign of life. */
	if (p[1].revents && f->restorer_fd >= 0)
		k->heard_ns = lz_out_now();
	if (p[2].revents)
		on_restorer(k);
	check_patience(k);
	show(k, false);
}

int lz_keeper_hold_signals(struct lz_fill *f)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, &f->old_signals);
	(void)signal(SIGPIPE, SIG_IGN);
	f->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signal_fd < 0 ? -errno : 0;
}

int lz_keeper_run(struct lz_fill *f)
{
	struct keeper k = { .f = f, .heard_ns = lz_out_now() };
	struct lazyd_stats s;
	int r;

	f->keeper = getpid();
	r = start_worker(&k);
	if (r) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=start-worker error=\"%s\"",
			   strerror(-r));
		return LZ_EXIT_FAILED;
	}
	k.shows = !f->o.service.no_progress && !f->o.service.daemon;
	lz_progress_begin(&k.progress, stderr);
	while (!k.ended)
		look(&k);
	show(&k, true);
	lazyd_stats(NULL, f->state, &s);
	if (k.status)
		return k.status;
	return s.pages_lost ? LZ_EXIT_LOST : LZ_EXIT_OK;
}
