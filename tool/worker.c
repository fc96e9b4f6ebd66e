/* SPDX-License-Identifier: MIT */
/*
 * The worker of `lazyd fill`: runs the engine on what the keeper hands it, until nothing is owed.
 * It may die at any moment; what it knows that matters lies in the state and the session. When it
 * is the keeper that dies, it gives its engine up and returns, to be the next keeper.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"
#include "tool/watch.h"

struct worker {
	struct lz_fill *f;
	struct lazyd *l;
	int epoll_fd;      /* readable: the keeper has called, or is dead */
	uint64_t replayed; /* bit n: the working set has been given to memory n */
	uint32_t nr_heard; /* of the session's, when the VMs were last looked at */
};

enum { KICKED, KEEPER_DIED };
/* Two seconds for a ring. */
enum { RING_TRIES = 200, RING_MS = 10 };
/* Even without anything to do a turn has an end: watch.h. */
static const int64_t TURN_NS = LZ_WATCH_MS * INT64_C(1000000);

static void log_line(void *arg, enum lazyd_log level, const char *line)
{
	lz_log_say(&((struct lz_fill *)arg)->o.service.log, (int)level, "%s", line);
}

static void tell_store(void *arg, int fd, int is_open)
{
	(void)arg;
	(is_open ? lz_store_keep : lz_store_drop)(fd, "task");
}

static void tell_keeper(const struct lz_session *s)
{
	(void)syscall(SYS_pidfd_send_signal, s->keeper_pidfd, SIGCHLD, NULL, 0);
}

static void end_guest(void *arg, int uffd, int is_gone)
{
	struct lz_session *s = ((struct lz_fill *)arg)->session;

	for (uint32_t i = 0; i < s->nr_guests; i++) {
		struct lz_guest *g = &s->guest[i];

		if (g->state != LZ_GUEST_HERE || g->uffd != uffd || g->end)
			continue;
		__atomic_store_n(&g->end, is_gone ? LZ_GUEST_GONE : LZ_GUEST_FULL,
				 __ATOMIC_RELEASE);
		tell_keeper(s);
	}
}

/* Why it cannot go on; -1. */
static int fail(struct worker *w, const char *what, const char *why)
{
	struct lz_session *s = w->f->session;

	(void)snprintf(s->reason, sizeof(s->reason), "%s: %s", what, why);
	lz_log_say(&w->f->o.service.log, LAZYD_LOG_ERROR, "event=worker-failed %s", s->reason);
	return -1;
}

static int watch(struct worker *w, int fd, uint32_t which)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = which };

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* Waits for at most @timeout_ms. True if the keeper is dead. */
static bool look(struct worker *w, int timeout_ms)
{
	struct epoll_event e[2];
	int n = epoll_wait(w->epoll_fd, e, 2, timeout_ms);
	bool died = false;
	uint64_t kicks;

	for (int i = 0; i < n; i++) {
		if (e[i].data.u32 == KICKED)
			(void)!read(w->f->session->kick_fd, &kicks, sizeof(kicks));
		died = died || e[i].data.u32 == KEEPER_DIED;
	}
	return died;
}

/*
 * Where little memory may be locked: that of a dead worker's ring counts until the kernel has taken
 * the ring down, which is a moment after the death.
 */
static int start_engine(struct worker *w, const struct lazyd_options *o)
{
	int r = lazyd_new(&w->l, o);

	for (unsigned n = 0; r == -ENOMEM && n < RING_TRIES && !look(w, RING_MS); n++)
		r = lazyd_new(&w->l, o);
	return r;
}

/* There are as many memories as VMs may have sizes, and few of them have a VM:
 * a working set is given to those. */
static int replay_for_guest(struct worker *w, const struct lz_guest *g)
{
	uint64_t bit;
	int memory;

	(void)lz_guest_memory(w->f, &g->regions, &memory);
	bit = UINT64_C(1) << memory;
	if (w->replayed & bit)
		return 0;
	w->replayed |= bit;
	return lz_record_replay(w->f, w->l, memory);
}

/* What is known already. */
static int replay(struct worker *w)
{
	const struct lz_session *s = w->f->session;
	int r = 0;

	if (!w->f->o.vm.socket)
		return lz_record_replay(w->f, w->l, -1);
	for (uint32_t i = 0; !r && i < s->nr_guests; i++)
		if (s->guest[i].state == LZ_GUEST_HERE && s->guest[i].attached)
			r = replay_for_guest(w, &s->guest[i]);
	return r;
}

static int open_engine(struct worker *w)
{
	struct lz_fill *f = w->f;
	struct lazyd_options o = { .size = sizeof(o),
				   .on_lost = f->o.on_lost,
				   .state = f->state,
				   .log = log_line,
				   .log_arg = f,
				   .busy_poll_ns = f->o.service.busy_poll_us * UINT64_C(1000),
				   .copiers = f->o.copiers,
				   .descriptor = tell_store,
				   .no_sweep = f->o.no_sweep,
				   .record = f->o.record != NULL,
				   .record_ns = f->o.record_window_s * UINT64_C(1000000000),
				   .closed = end_guest,
				   .closed_arg = f,
				   .stays = f->o.vm.socket != NULL,
				   .remote = f->remote.size ? &f->remote : NULL };
	int r;

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0 || watch(w, f->session->kick_fd, KICKED) ||
	    watch(w, f->session->keeper_pidfd, KEEPER_DIED))
		return fail(w, "epoll", strerror(errno));
	r = start_engine(w, &o);
	if (r)
		return fail(w, "the engine cannot start",
			    r == -EPERM ? "io_uring is forbidden here (see `lazyd check`)"
					: strerror(-r));
	for (int i = 0; i < f->nr_memories; i++)
		if (lazyd_add(w->l, f->memory[i]) < 0)
			return fail(w, "images", lazyd_error(w->l));
	if (replay(w))
		return fail(w, "replay", lazyd_error(w->l));
	r = lazyd_resume(w->l);
	if (r < 0)
		return fail(w, "resume", lazyd_error(w->l));
	if (f->session->stopped_ns)
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
			   "event=resumed spaces=%d pause_ms=%.1f", r,
			   (double)(lz_out_now() - f->session->stopped_ns) / 1e6);
	f->session->stopped_ns = 0;
	(void)lazyd_watch(w->l, w->epoll_fd);
	w->nr_heard = f->session->nr_heard - 1; /* to be looked at once, whoever was seen before */
	return 0;
}

static void attach_guest(struct worker *w, struct lz_guest *g)
{
	const struct lz_regions *m = &g->regions;
	int memory, r;

	(void)lz_guest_memory(w->f, m, &memory);
	if (replay_for_guest(w, g))
		lz_log_say(&w->f->o.service.log, LAZYD_LOG_WARN, "event=replay-failed error=\"%s\"",
			   lazyd_error(w->l));
	r = lazyd_attach_at(w->l, memory, g->uffd, g->pidfd, m->place, m->nr);
	g->attached = 1;
	/* -EEXIST: attached by a worker that died before it could note it. */
	if (r >= 0 || r == -EEXIST)
		return;
	lz_log_say(&w->f->o.service.log, LAZYD_LOG_ERROR, "event=attach pid=%d error=\"%s\"",
		   (int)g->pid, lazyd_error(w->l));
	__atomic_store_n(&g->end, LZ_GUEST_FAILED, __ATOMIC_RELEASE);
	tell_keeper(w->f->session);
}

static void attend_guests(struct worker *w)
{
	struct lz_session *s = w->f->session;
	uint32_t nr = __atomic_load_n(&s->nr_heard, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; nr != w->nr_heard && i < s->nr_guests; i++) {
		struct lz_guest *g = &s->guest[i];

		if (__atomic_load_n(&g->state, __ATOMIC_ACQUIRE) == LZ_GUEST_HERE && !g->attached)
			attach_guest(w, g);
	}
	w->nr_heard = nr;
}

/* What the keeper has put into the session since the last look. 1: more to do, 0: nothing is owed,
 * -1: failed. */
static int attend(struct worker *w)
{
	struct lz_session *s = w->f->session;
	/* First: all that came before it is seen below, or the end would come without the last. */
	uint32_t phase = __atomic_load_n(&s->phase, __ATOMIC_ACQUIRE);
	uint32_t nr = __atomic_load_n(&s->nr_said, __ATOMIC_ACQUIRE);
	int64_t n;

	for (; s->nr_attended < nr; s->nr_attended++) {
		const struct lz_said *m = &s->said[s->nr_attended];
		int r;

		if (m->type != LZ_SAID_UFFD)
			continue;
		r = lazyd_attach(w->l, w->f->task[m->task].memory, m->uffd, m->pidfd);
		/* -EEXIST: attached by a worker that died before it could count it. */
		if (r < 0 && r != -EEXIST)
			return fail(w, "attach", lazyd_error(w->l));
	}
	attend_guests(w);
	/* A VM is whole when it comes, and served like that. */
	if ((phase == LZ_FILL_RUNNING || w->f->o.vm.socket) && !s->started) {
		if (lazyd_start(w->l))
			return fail(w, "start", lazyd_error(w->l));
		s->started = 1;
	}
	if (s->nr_terms)
		lazyd_sweep(w->l);
	if (phase == LZ_FILL_RUNNING)
		lazyd_finish(w->l);
	if (phase != LZ_FILL_ABANDON)
		return 1;
	n = lazyd_abandon(w->l);
	if (n < 0)
		return fail(w, "abandon", strerror((int)-n));
	lz_log_say(&w->f->o.service.log, n ? LAZYD_LOG_ERROR : LAZYD_LOG_INFO,
		   "event=abandoned pages_lost=%lld", (long long)n);
	return 0;
}

/* Until nothing is owed (0), the keeper is dead (1), or it cannot go on (-1). */
static int work(struct worker *w)
{
	int r;

	do {
		if (look(w, 0))
			return 1;
		r = attend(w);
		if (r <= 0)
			return r;
		r = lazyd_turn(w->l, TURN_NS);
		w->f->session->turns++;
	} while (r > 0);
	return r < 0 ? fail(w, "turn", lazyd_error(w->l)) : 0;
}

void lz_worker_run(struct lz_fill *f)
{
	/* A terminal's ^C reaches both; what it means is the keeper's to say. */
	static const int KEEPERS[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct lz_session *s = f->session;
	struct worker w = { .f = f, .epoll_fd = -1 };
	int r;

	for (size_t i = 0; i < sizeof(KEEPERS) / sizeof(KEEPERS[0]); i++)
		(void)signal(KEEPERS[i], SIG_IGN);
	r = open_engine(&w);
	if (!r)
		r = work(&w);
	if (!r) {
		/* Stays until that has been reported, and would do it itself. */
		s->filled = 1;
		tell_keeper(s);
		while (!look(&w, -1)) {
		}
	} else if (r < 0 && (w.epoll_fd < 0 || !look(&w, 0))) {
		_exit(LZ_EXIT_FAILED);
	}
	if (s->over)
		_exit(LZ_EXIT_OK);
	/* As if it had been killed: the state is enough. */
	lazyd_free(w.l);
	(void)close(w.epoll_fd);
}
