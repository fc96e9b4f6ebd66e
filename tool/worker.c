/* SPDX-License-Identifier: MIT */
/*
 * The worker of `lazyd fill`: runs the engine on what the keeper hands it, until nothing is owed.
 * It may die at any moment; what it knows that matters lies in the state and the session.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/session.h"
#include "tool/tool.h"

static void log_line(void *arg, enum lazyd_log level, const char *line)
{
	lz_log_say(&((struct lz_fill *)arg)->o.service.log, (int)level, "%s", line);
}

__attribute__((noreturn)) static void fail(struct lz_fill *f, const char *what, const char *why)
{
	(void)snprintf(f->session->reason, sizeof(f->session->reason), "%s: %s", what, why);
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=worker-failed %s",
		   f->session->reason);
	_exit(LZ_EXIT_FAILED);
}

static struct lazyd *engine(struct lz_fill *f)
{
	struct lazyd_options o = { .size = sizeof(o),
				   .on_lost = f->o.on_lost,
				   .state = f->state,
				   .log = log_line,
				   .log_arg = f,
				   .remote = f->remote.size ? &f->remote : NULL };
	struct lazyd *l;
	int r = lazyd_new(&l, &o);

	if (r)
		fail(f, "the engine cannot start",
		     r == -EPERM ? "io_uring is forbidden here (see `lazyd check`)" : strerror(-r));
	for (int i = 0; i < f->nr_memories; i++)
		if (lazyd_add(l, f->memory[i]) < 0)
			fail(f, "images", lazyd_error(l));
	r = lazyd_resume(l);
	if (r < 0)
		fail(f, "resume", lazyd_error(l));
	if (r > 0)
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=resumed spaces=%d", r);
	(void)lazyd_watch(l, f->kick_fd);
	return l;
}

/* What the keeper has put into the session since the last look. */
static void attend(struct lz_fill *f, struct lazyd *l)
{
	struct lz_session *s = f->session;
	uint32_t nr = __atomic_load_n(&s->nr_arrivals, __ATOMIC_ACQUIRE);
	uint64_t kicks;

	(void)!read(f->kick_fd, &kicks, sizeof(kicks));
	for (; s->nr_attached < nr; s->nr_attached++) {
		const struct lz_arrival *a = &s->arrival[s->nr_attached];
		int r = lazyd_attach(l, a->memory, a->uffd, a->pidfd);

		/* -EEXIST: attached by a worker that died before it could count it. */
		if (r < 0 && r != -EEXIST)
			fail(f, "attach", lazyd_error(l));
	}
	if (s->phase == LZ_FILL_RUNNING && !s->started) {
		if (lazyd_start(l))
			fail(f, "start", lazyd_error(l));
		s->started = 1;
	}
	if (s->phase == LZ_FILL_ABANDON) {
		int64_t n = lazyd_abandon(l);

		if (n < 0)
			fail(f, "abandon", strerror((int)-n));
		lz_log_say(&f->o.service.log, n ? LAZYD_LOG_ERROR : LAZYD_LOG_INFO,
			   "event=abandoned pages_lost=%lld", (long long)n);
		_exit(LZ_EXIT_OK);
	}
}

void lz_worker_run(struct lz_fill *f)
{
	struct lazyd *l;
	int r;

	/* A terminal's ^C reaches both; what it means is the keeper's to say. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	l = engine(f);
	do {
		attend(f, l);
		/* A second's timeout, for the one thing that sends no event: the keeper's death. */
		r = lazyd_turn(l, 1000000000);
		f->session->turns++;
		if (getppid() != f->keeper && f->session->phase == LZ_FILL_RESTORING) {
			lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
				   "event=keeper-died while tasks were being restored");
			f->session->phase = LZ_FILL_ABANDON;
		}
	} while (r > 0);
	if (r < 0)
		fail(f, "turn", lazyd_error(l));
	_exit(LZ_EXIT_OK);
}
