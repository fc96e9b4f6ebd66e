/* SPDX-License-Identifier: MIT */
/* Cases of the engine's calls themselves: stopping, embedding, refusing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/live/live.h"

enum { PAGES = 2048, MANY = 8192 };
/* What a turn may bring when its caller is called: until it looks four stretches of 64 pages are
 * placed, or eight slices of 16, and then as many again. */
enum { CALLED_PAGES = 2 * 4 * 64, CALLED_TURNS = 3 };

static void touch_when_told(struct live *l)
{
	live_hear(l);
	live_touch_all(l);
}

/* ---- stop ---- */

static void *stop(void *arg)
{
	struct live *l = arg;

	lazyd_stop(l->l);
	return NULL;
}

/* A turn without end comes back, whether it is stopped before or while it waits. */
static void serve_stopped(struct live *l)
{
	pthread_t thread;

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	lazyd_stop(l->l);
	LIVE_CHECK(l, lazyd_turn(l->l, -1) == 1);
	LIVE_CHECK(l, pthread_create(&thread, NULL, stop, l) == 0);
	LIVE_CHECK(l, lazyd_turn(l->l, -1) == 1);
	LIVE_CHECK(l, pthread_join(thread, NULL) == 0);
	live_say(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
}

/* However much there is to do, who has something to say is heard soon:
 * perhaps threads wait for it. */
static void serve_called(struct live *l)
{
	int pipe_fd[2];
	char byte;

	LIVE_CHECK(l, pipe2(pipe_fd, O_CLOEXEC) == 0);
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	LIVE_CHECK(l, lazyd_watch(l->l, pipe_fd[0]) == 0);
	LIVE_CHECK(l, write(pipe_fd[1], "c", 1) == 1);
	for (uint64_t n = 1; n <= CALLED_TURNS; n++) { /* and again, for it has not been read */
		LIVE_CHECK(l, lazyd_turn(l->l, -1) == 1);
		lazyd_stats(l->l, NULL, &l->stats);
		LIVE_CHECK(l, l->stats.pages_sweep && l->stats.pages_sweep <= n * CALLED_PAGES);
	}
	LIVE_CHECK(l, read(pipe_fd[0], &byte, 1) == 1);
	LIVE_CHECK(l, lazyd_watch(l->l, -1) == 0);
	live_fill(l);
	live_say(l);
	live_end(l, 0);
}

/* ---- a loop of one's own ---- */

/* The task has touched half before the start, and the rest while the sweep runs. */
static void touch_halves(struct live *l)
{
	live_expect_image(l, 0, l->nr_pages / 2);
	live_say(l);
	live_touch_all(l);
}

static void serve_polled(struct live *l)
{
	struct pollfd p[] = { { .events = POLLIN }, { .events = POLLIN } };

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	p[0].fd = lazyd_fd(l->l);
	p[1].fd = l->sock;
	while (!p[1].revents) {
		LIVE_CHECK(l, lazyd_turn(l->l, 0) == 1);
		LIVE_CHECK(l, poll(p, 2, -1) > 0);
	}
	live_start(l);
	while (lazyd_turn(l->l, 0) == 1)
		LIVE_CHECK(l, poll(p, 1, -1) == 1);
	live_fill(l);
	live_end(l, 0);
}

/* ---- refusals ---- */

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Places that are no pages of the memory, more of them than there can be, or one over the other. */
static void serve_misplaced(struct live *l, int uffd, int pidfd)
{
	const uint64_t base = (uintptr_t)l->base, page = LIVE_PAGE;
	const struct lazyd_place bad[] = {
		{ base, 0, base },
		{ base + 1, page, base },
		{ base, page + 1, base },
		{ base, page, base + 1 },
		{ base - page, page, base },
		{ base, (l->nr_pages + 1) * page, base },
		{ base, page, UINT64_MAX & ~(page - 1) },
	};
	const struct lazyd_place twice[] = { { base, page, base }, { base, page, base + page } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		LIVE_CHECK(l, lazyd_attach_at(l->l, 0, uffd, pidfd, &bad[i], 1) == -EINVAL);
	LIVE_CHECK(l, lazyd_attach_at(l->l, 0, uffd, pidfd, twice, 0) == -EINVAL);
	LIVE_CHECK(l,
		   lazyd_attach_at(l->l, 0, uffd, pidfd, twice, LAZYD_PLACES_MAX + 1) == -EINVAL);
	LIVE_CHECK(l, lazyd_attach_at(l->l, 0, uffd, pidfd, twice, 2) == -EINVAL);
	LIVE_CHECK(l, lazyd_attach_at(l->l, 1, uffd, pidfd, twice, 1) == -EINVAL);
}

static void serve_in_too_small_a_state(struct live *l, int uffd, int pidfd)
{
	struct lazyd_options o = { .size = sizeof(o) };
	struct lazyd *small;

	LIVE_CHECK(l, lazyd_state_new(&o.state, 1) == 0 && lazyd_new(&small, &o) == 0);
	LIVE_CHECK(l, lazyd_add(small, l->memory) == 0);
	LIVE_CHECK(l, lazyd_attach(small, 0, uffd, pidfd) == -EINVAL);
	LIVE_CHECK(l, strstr(lazyd_error(small), "and the state room for 1"));
	lazyd_free(small);
	lazyd_state_free(o.state);
}

/* What is refused is untouched, and the engine serves on. */
static void serve_refusing(struct live *l)
{
	int uffd, pidfd, flags;

	live_begin(l, NULL);
	live_task(l);
	uffd = live_take(l);
	pidfd = (int)syscall(SYS_pidfd_open, l->task, 0);
	LIVE_CHECK(l, lazyd_attach(l->l, 1, uffd, pidfd) == -EINVAL && *lazyd_error(l->l));
	LIVE_CHECK(l, lazyd_attach(l->l, -1, uffd, pidfd) == -EINVAL);
	LIVE_CHECK(l, lazyd_attach(l->l, 0, -1, pidfd) == -EBADF);
	LIVE_CHECK(l, lazyd_attach(l->l, 0, pidfd, uffd) == -EINVAL);
	LIVE_CHECK(l, strstr(lazyd_error(l->l), "is no userfaultfd"));
	flags = fcntl(uffd, F_GETFL);
	LIVE_CHECK(l, fcntl(uffd, F_SETFL, flags & ~O_NONBLOCK) == 0);
	LIVE_CHECK(l, lazyd_attach(l->l, 0, uffd, pidfd) == -EINVAL);
	LIVE_CHECK(l, fcntl(uffd, F_SETFL, flags) == 0);
	serve_misplaced(l, uffd, pidfd);
	serve_in_too_small_a_state(l, uffd, pidfd);
	LIVE_CHECK(l, is_open(uffd) && is_open(pidfd));
	LIVE_CHECK(l, lazyd_attach(l->l, 0, uffd, pidfd) == 0);
	LIVE_CHECK(l, lazyd_attach(l->l, 0, uffd, pidfd) == -EEXIST);
	LIVE_CHECK(l, is_open(uffd) && is_open(pidfd));
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, !is_open(uffd) && !is_open(pidfd));
	live_end(l, 0);
}

/* Nothing to serve: that is done at once, started or given up. */
static void serve_nothing(struct live *l)
{
	live_begin(l, NULL);
	LIVE_CHECK(l, lazyd_turn(l->l, 0) == 1);
	LIVE_CHECK(l, lazyd_resume(l->l) == 0);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, lazyd_abandon(l->l) == 0);
	lazyd_free(l->l);
	lazyd_memory_put(l->memory);
}

const struct live_case live_cases_api[] = {
	{ "stop", PAGES, 0, touch_when_told, serve_stopped },
	{ "called", MANY, 0, touch_when_told, serve_called },
	{ "polled", PAGES, 0, touch_halves, serve_polled },
	{ "refusals", PAGES, 0, live_touch_all, serve_refusing },
	{ "nothing", PAGES, 0, live_touch_all, serve_nothing },
	{ NULL, 0, 0, NULL, NULL },
};
