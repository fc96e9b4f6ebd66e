/* SPDX-License-Identifier: MIT */
/*
 * The keeper of `lazyd fill`: holds every descriptor, speaks with the restorer, watches the worker
 * and starts another when it dies, shows how far things are. It does no work that could kill it;
 * and where it dies all the same, the worker goes on as keeper.
 */
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

#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"
#include "tool/watch.h"

enum {
	/* Workers that die without having got anything done, in a row: then it is no accident. Five
	 * are enough, or a hundred that somebody killed: it may be before their first turn ends. */
	DEATHS_MAX = 100,
	DEATH = 20,
	KILL = 1,
	/* Keepers in a row that have died before they had looked around once. */
	EARLY_MAX = 100,
	/* Ten seconds in all: for want of memory or processes there is no worker, for now. */
	UNBORN_MAX = 100,
	/* How often the progress is looked at. */
	LOOK_MS = 100,
	/* A program that has not said by then that it could go on cannot. */
	CHECK_S = 60,
	/* Ten seconds in all: a worker that is at a disk takes its time to die. */
	END_TRIES = 5000,
	END_MS = 2,
};

/* What a successor does not need. */
struct keeper {
	struct lz_fill *f;
	struct lz_progress progress;
	struct lz_watch watch; /* of the worker */
	bool shows;            /* progress on standard error */
	bool ended;            /* nothing is owed, or nobody can go on */
	unsigned nr_unborn;    /* workers in a row that could not be started */
	pid_t checker;         /* the program that might replace this one; 0: there is none */
	uint64_t checked_ns;
};

static void set_phase(struct lz_session *s, enum lz_fill_phase phase)
{
	__atomic_store_n(&s->phase, phase, __ATOMIC_RELEASE);
	lz_session_kick(s);
}

/* Nobody else comes: the worker gives up what is owed by then, and would not look for more. */
static void abandon(struct lz_fill *f, int status)
{
	f->session->status = status;
	(f->o.vm.socket ? lz_firecracker_end : lz_restorer_refuse)(f);
	set_phase(f->session, LZ_FILL_ABANDON);
}

/* ---- the worker ---- */

/* 0; LZ_KEEPER_CHILD in the worker; -errno. */
static int start_worker(struct keeper *k)
{
	/* As fork() does it, but with one descriptor table for both: DESIGN.md, "A handler that can
	 * die". */
	long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return -errno;
	k->nr_unborn = 0;
	k->f->worker = (pid_t)pid;
	if (!pid) {
		(void)sigprocmask(SIG_SETMASK, &k->f->old_signals, NULL);
		return LZ_KEEPER_CHILD;
	}
	lz_watch_begin(&k->watch, k->f->session->turns, lz_out_now());
	return 0;
}

/* Another may leave what there was none of. False: this is final. */
static bool waits_for_worker(struct keeper *k, int r)
{
	if ((r != -EAGAIN && r != -ENOMEM) || k->nr_unborn == UNBORN_MAX)
		return false;
	if (!k->nr_unborn++)
		lz_log_say(&k->f->o.service.log, LAZYD_LOG_WARN,
			   "event=no-worker error=\"%s\" trying again", strerror(-r));
	(void)poll(NULL, 0, LOOK_MS);
	return true;
}

static void close_if_its(void *arg, int fd, const char *link)
{
	static const char *const ITS[] = { "anon_inode:[io_uring]", "anon_inode:[eventfd]",
					   "anon_inode:[timerfd]", "anon_inode:[eventpoll]",
					   "/proc/" };
	const struct lz_session *s = arg;

	for (size_t i = 0; i < sizeof(ITS) / sizeof(ITS[0]); i++)
		if (strncmp(link, ITS[i], strlen(ITS[i])) == 0 && fd != s->kick_fd)
			(void)close(fd);
}

/*
 * What the dead one had opened for itself stays open in the shared table: a worker's ring, timers,
 * what it was reading of /proc.
 */
static void sweep_descriptors(struct lz_session *s)
{
	(void)lz_fds_each(close_if_its, s);
}

static void give_up(struct keeper *k, const char *why)
{
	const char *reason = k->f->session->reason;

	lz_last_kill(k->f, *reason ? reason : why);
	k->ended = true;
}

/* Who got stuck has got nothing done, unless it got on for longer than it was then waited for. */
static bool has_done_nothing(const struct keeper *k)
{
	const struct lz_session *s = k->f->session;

	return k->watch.is_stuck ? k->watch.nr_good <= k->f->o.stuck_timeout_s
				 : s->turns == s->turns_then;
}

static void worker_died(struct keeper *k, int status)
{
	struct lz_session *s = k->f->session;
	bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !k->watch.is_stuck;
	uint32_t weight = was_killed ? KILL : DEATH;

	k->f->worker = 0;
	if (s->filled) /* it was only waiting for the end */
		return;
	s->deaths = has_done_nothing(k) ? s->deaths + weight : weight;
	s->turns_then = s->turns;
	lz_log_say(&k->f->o.service.log, LAZYD_LOG_WARN, "event=worker-died %s=%d",
		   WIFSIGNALED(status) ? "signal" : "status",
		   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	s->stopped_ns = lz_out_now();
	sweep_descriptors(s);
	if (s->deaths >= DEATHS_MAX)
		give_up(k, k->watch.is_stuck ? "no worker gets on" : "the worker cannot live");
	lz_session_kick(s);
}

/* It lives, but may not get on. */
static void watch_worker(struct keeper *k)
{
	struct lz_fill *f = k->f;
	uint32_t limit = f->o.stuck_timeout_s;

	/* A SIGCHLD tells that it has ended its work, but it may not have come to sending one. */
	k->ended = k->ended || f->session->filled;
	if (!f->worker || k->ended)
		return;
	switch (lz_watch_look(&k->watch, f->session->turns, limit, lz_out_now())) {
	case LZ_WATCH_FINE:
		break;
	case LZ_WATCH_STUCK:
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=worker-stuck worker=%d looks=%u (--stuck-timeout; 0: never) killing it",
			(int)f->worker, limit);
		(void)kill(f->worker, SIGKILL);
		break;
	case LZ_WATCH_UNDYING:
		f->worker = 0; /* the kernel has it */
		lz_last_kill(f, "the worker does not get on and does not die");
		k->ended = true;
		break;
	}
}

/* For another, or for good. False if it does not die. */
static bool end_worker(struct lz_fill *f)
{
	pid_t r = 0;

	if (!f->worker)
		return true;
	(void)kill(f->worker, SIGKILL);
	for (unsigned n = 0; !r && n < END_TRIES; n++) {
		r = waitpid(f->worker, NULL, WNOHANG);
		if (!r)
			(void)poll(NULL, 0, END_MS);
	}
	if (r)
		f->worker = 0;
	return r;
}

/* ---- another program in its place ---- */

static void begin_upgrade(struct keeper *k)
{
	struct lz_fill *f = k->f;
	pid_t pid = k->checker ? -EALREADY : lz_upgrade_check(f);

	if (pid < 0) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
			   "event=upgrade-refused path=%s error=\"%s\" going on as before", f->exe,
			   strerror(-pid));
		return;
	}
	k->checker = pid;
	k->checked_ns = lz_out_now();
}

/* From here to the new program's worker the tasks wait. */
static void upgrade(struct keeper *k, int status)
{
	struct lz_fill *f = k->f;
	struct lz_session *s = f->session;
	int r;

	if (s->understood != k->checker || status) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=upgrade-refused path=%s status=0x%x going on as before: it cannot take this fill over",
			f->exe, (unsigned)status);
		return;
	}
	if (s->filled)
		return;
	s->stopped_ns = lz_out_now();
	r = -EBUSY;
	if (end_worker(f)) {
		sweep_descriptors(s);
		r = lz_upgrade_exec(f);
	}
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
		   "event=upgrade-failed path=%s error=\"%s\" going on as before", f->exe,
		   strerror(-r));
}

static void check_checker(struct keeper *k)
{
	pid_t pid = k->checker;
	int status;

	if (!pid)
		return;
	if (lz_out_now() - k->checked_ns > CHECK_S * UINT64_C(1000000000))
		(void)kill(pid, SIGKILL);
	if (waitpid(pid, &status, WNOHANG) == pid) {
		upgrade(k, status);
		k->checker = 0;
	}
}

/* ---- what happens ---- */

static void on_signal(struct keeper *k, uint32_t number)
{
	struct lz_session *s = k->f->session;

	if (number == SIGUSR2) {
		begin_upgrade(k);
	} else if (number != SIGCHLD) {
		s->nr_terms++;
		lz_session_kick(s); /* it may have been told not to sweep until now */
		lz_log_say(&k->f->o.service.log, LAZYD_LOG_WARN, "event=signal number=%u %s",
			   number,
			   s->nr_terms == 1 ? "filling all that is owed; once more: give up"
					    : "giving up");
	}
}

static void on_signals(struct keeper *k)
{
	struct lz_session *s = k->f->session;
	struct signalfd_siginfo si;
	int status;

	while (read(s->signal_fd, &si, sizeof(si)) == sizeof(si))
		on_signal(k, si.ssi_signo);
	if (k->f->worker && waitpid(k->f->worker, &status, WNOHANG) == k->f->worker)
		worker_died(k, status);
	if (s->nr_terms > 1 && s->phase != LZ_FILL_ABANDON)
		abandon(k->f, LZ_EXIT_LOST);
}

static bool is_restoring(const struct lz_fill *f)
{
	return f->session->phase == LZ_FILL_RESTORING;
}

static void attend_restorer(struct lz_fill *f, bool connects, bool speaks)
{
	int r = is_restoring(f) ? lz_restorer_attend(f, connects, speaks) : 0;

	if (r < 0) {
		abandon(f, r == -ECANCELED ? LZ_EXIT_OK : LZ_EXIT_FAILED);
	} else if (r) {
		set_phase(f->session, LZ_FILL_RUNNING);
		lz_restorer_hang_up(f);
	}
}

static void attend_guests(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	int r = lz_firecracker_attend(f);

	if (r < 0 && is_restoring(f))
		abandon(f, r == -ENOLINK ? LZ_EXIT_LOST : LZ_EXIT_FAILED);
	else if (r && is_restoring(f))
		set_phase(s, LZ_FILL_RUNNING);
}

static void show(struct keeper *k, bool last)
{
	struct lazyd_stats s;

	if (!k->shows || !k->f->session->started_ns)
		return;
	lazyd_stats(NULL, k->f->state, &s);
	lz_progress_update(&k->progress, &s);
	if (last)
		lz_progress_end(&k->progress);
}

static void look(struct keeper *k)
{
	struct lz_fill *f = k->f;
	struct lz_session *s = f->session;
	bool serves_vms = f->o.vm.socket, showing = s->started_ns && k->shows;
	struct pollfd p[1 + LZ_FIRECRACKER_POLLS] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->listen_fd, .events = POLLIN },
		{ .fd = s->restorer_fd, .events = POLLIN },
	};
	bool waits = !serves_vms && is_restoring(f);
	int rest = f->o.stuck_timeout_s ? LZ_WATCH_MS : -1, most = -1;
	unsigned nr = 3;
	int timeout = showing ? LOOK_MS : waits || k->checker ? 200 : rest;

	if (serves_vms)
		nr = 1 + lz_firecracker_poll(f, p + 1, &most);
	if (most >= 0 && (timeout < 0 || most < timeout))
		timeout = most;
	if (poll(p, nr, timeout) < 0 && errno != EINTR) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=poll error=\"%s\"",
			   strerror(errno));
		abandon(f, LZ_EXIT_FAILED);
	}
	if (p[0].revents)
		on_signals(k);
	if (serves_vms)
		attend_guests(f);
	else
		attend_restorer(f, p[1].revents, p[2].revents);
	watch_worker(k);
	check_checker(k);
	lz_record_attend(f);
	show(k, false);
	s->nr_early = 0;
}

/* ---- from the beginning to the end ---- */

int lz_keeper_hold_signals(struct lz_fill *f)
{
	static const int OURS[] = { SIGINT, SIGTERM, SIGCHLD, SIGUSR2 };
	struct lz_session *s = f->session;
	sigset_t signals;

	(void)sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(OURS) / sizeof(OURS[0]); i++)
		(void)sigaddset(&signals, OURS[i]);
	(void)sigprocmask(SIG_BLOCK, &signals, &f->old_signals);
	/* A program that goes on in the place of another finds them blocked. */
	for (size_t i = 0; i < sizeof(OURS) / sizeof(OURS[0]); i++)
		(void)sigdelset(&f->old_signals, OURS[i]);
	/* As a worker it has ignored some. */
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* It gives whoever reads it that process's own signals: a successor goes on with it. */
	if (s->signal_fd < 0)
		s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? -errno : 0;
}

static int run(struct keeper *k)
{
	struct lz_fill *f = k->f;
	struct lazyd_stats s;
	int r;

	k->shows = !f->o.service.no_progress && !f->o.service.daemon;
	lz_progress_begin(&k->progress, stderr);
	while (!k->ended) {
		r = f->worker ? 0 : start_worker(k);
		if (r == LZ_KEEPER_CHILD)
			return r;
		if (r && !waits_for_worker(k, r)) {
			lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
				   "event=start-worker error=\"%s\"", strerror(-r));
			give_up(k, strerror(-r));
			break;
		}
		look(k);
	}
	show(k, true);
	if (f->o.vm.socket)
		lz_firecracker_end(f); /* who has not been heard to the end is not to be held */
	lz_last_hold(f);
	lazyd_stats(NULL, f->state, &s);
	if (f->session->status)
		return f->session->status;
	return s.pages_lost || s.files_changed ? LZ_EXIT_LOST : LZ_EXIT_OK;
}

int lz_keeper_run(struct lz_fill *f)
{
	struct keeper k = { .f = f };
	struct lz_session *s = f->session;

	s->keeper_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (s->keeper_pidfd < 0) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=pidfd error=\"%s\"",
			   strerror(errno));
		return LZ_EXIT_FAILED;
	}
	return run(&k);
}

/* Nobody sees this process die before it has a worker: nothing here needs to be noted first. */
int lz_keeper_succeed(struct lz_fill *f, const char *event)
{
	struct keeper k = { .f = f };
	struct lz_session *s = f->session;
	int r = lz_keeper_hold_signals(f);

	(void)signal(SIGHUP, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	s->stopped_ns = s->stopped_ns ? s->stopped_ns : lz_out_now();
	lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=%s", event);
	if (s->keeper_pidfd >= 0)
		(void)close(s->keeper_pidfd);
	s->keeper_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	sweep_descriptors(s);
	(f->o.vm.socket ? lz_firecracker_succeed : lz_restorer_succeed)(f);
	/* What is in the inbox does not make the socket readable. */
	if (!f->o.vm.socket)
		attend_restorer(f, false, s->restorer_fd >= 0);
	lz_store_ready();
	f->worker = 0;
	if (r || s->keeper_pidfd < 0 || ++s->nr_early > EARLY_MAX)
		give_up(&k, "the keeper cannot live");
	if (f->o.service.daemon && f->o.service.pidfile &&
	    lz_service_pidfile(&f->o.service, getpid()))
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=pidfile file=%s error=\"%s\"",
			   f->o.service.pidfile, strerror(errno));
	return run(&k);
}

void lz_keeper_end(struct lz_fill *f)
{
	f->session->over = 1;
	(void)end_worker(f);
}
