/* SPDX-License-Identifier: MIT */
/*
 * Cases in which the memory's layout changes before it is full: removed, unmapped, moved, forked,
 * ended. Each is run twice, with faults alone and with the sweep at work.
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/live/live.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum { PAGES = 4096, STEP = 8 };

/* ---- remove ---- */

/* Every other step is given back, some steps were touched before. */
static void remove_steps(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 2 * STEP) {
		if (n % (8 * STEP) == 0)
			live_expect_image(l, n, n + STEP);
		LIVE_CHECK(l, madvise(live_at(l, n), STEP * LIVE_PAGE, MADV_DONTNEED) == 0);
		live_expect(l, n, 0);
		live_expect(l, n + STEP, live_code(n + STEP));
	}
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n / STEP % 2 ? live_code(n) : 0);
}

/* What is freed may read as before or as zero, and may turn zero while one looks. */
static void free_steps(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 2 * STEP) {
		if (n % (8 * STEP) == 0)
			live_expect_image(l, n, n + STEP);
		LIVE_CHECK(l, madvise(live_at(l, n), STEP * LIVE_PAGE, MADV_FREE) == 0);
	}
	for (uint64_t n = 0; n < l->nr_pages; n++)
		if (n / STEP % 2)
			live_expect(l, n, live_code(n));
		else if (!live_is(live_at(l, n), live_code(n)))
			live_expect(l, n, 0);
}

/* ---- unmap ---- */

static void unmap(struct live *l, uint64_t first, uint64_t nr)
{
	LIVE_CHECK(l, munmap(live_at(l, first), nr * LIVE_PAGE) == 0);
}

static void map_anew(struct live *l, uint64_t first, uint64_t nr)
{
	void *at = live_at(l, first);

	LIVE_CHECK(l, mmap(at, nr * LIVE_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
}

static void unmap_steps(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 4 * STEP) {
		if (n % (16 * STEP) == 0)
			live_expect_image(l, n, n + STEP);
		unmap(l, n, STEP);
		/* New memory at an old address is nobody's but the task's, by one call or two. */
		if (n % (8 * STEP) == 0)
			map_anew(l, n, STEP);
		map_anew(l, n + 2 * STEP, STEP);
		live_expect(l, n + 2 * STEP, 0);
	}
	for (uint64_t n = 0; n < l->nr_pages; n++)
		if (n % (8 * STEP) / STEP != 4)
			live_expect(l, n, n / STEP % 2 ? live_code(n) : 0);
}

/* ---- move ---- */

static void move(struct live *l, uint64_t from, uint64_t to, uint64_t nr, int flags)
{
	size_t len = nr * LIVE_PAGE;

	LIVE_CHECK(l, mremap(live_at(l, from), len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
			     live_at(l, to)) == live_at(l, to));
}

/* All of it to the room behind, step by step, the last first; later back, but elsewhere. */
static void move_steps(struct live *l)
{
	uint64_t nr = l->nr_pages;

	for (uint64_t n = nr; n; n -= STEP)
		move(l, n - STEP, nr + n - STEP, STEP, 0);
	for (uint64_t n = 0; n < nr; n += 5)
		live_expect(l, nr + n, live_code(n));
	for (uint64_t n = 0; n < nr; n += STEP)
		move(l, nr + n, nr - STEP - n, STEP, 0);
	for (uint64_t n = 0; n < nr; n++)
		live_expect(l, nr - STEP - n / STEP * STEP + n % STEP, live_code(n));
}

/* Onto memory that is owed itself: that is unmapped by it. */
static void move_over(struct live *l)
{
	uint64_t half = l->nr_pages / 2;

	for (uint64_t n = 0; n < half; n += STEP)
		move(l, half + n, n, STEP, 0);
	for (uint64_t n = 0; n < half; n++)
		live_expect(l, n, live_code(half + n));
}

/* The old place stays, and reads as zero. */
static void move_and_keep(struct live *l)
{
	uint64_t nr = l->nr_pages;

	for (uint64_t n = 0; n < nr; n += STEP) {
		move(l, n, nr + n, STEP, MREMAP_DONTUNMAP);
		live_expect(l, n, 0);
	}
	for (uint64_t n = 0; n < nr; n++) {
		live_expect(l, nr + n, live_code(n));
		live_expect(l, n, 0);
	}
}

static void resize(struct live *l, uint64_t first, uint64_t nr, uint64_t to)
{
	LIVE_CHECK(l, mremap(live_at(l, first), nr * LIVE_PAGE, to * LIVE_PAGE, 0) ==
			      live_at(l, first));
}

static void grow_and_shrink(struct live *l)
{
	uint64_t nr = l->nr_pages;

	unmap(l, nr, nr); /* room to grow into */
	resize(l, 0, nr, nr + nr / 4);
	live_expect(l, nr + 1, 0);
	resize(l, 0, nr + nr / 4, nr - nr / 4);
	live_expect(l, nr - nr / 4 - 1, live_code(nr - nr / 4 - 1));
	resize(l, 0, nr - nr / 4, nr);
	for (uint64_t n = 0; n < nr; n++)
		live_expect(l, n, n < nr - nr / 4 ? live_code(n) : 0);
}

/* Moved by the kernel's own choice, while it grows. */
static void grow_and_move(struct live *l)
{
	uint64_t nr = l->nr_pages, before = nr / 2;
	uint8_t *at = mremap(live_at(l, 0), before * LIVE_PAGE, nr * LIVE_PAGE, MREMAP_MAYMOVE);

	LIVE_CHECK(l, at != MAP_FAILED && at != live_at(l, 0));
	for (uint64_t n = 0; n < nr; n++)
		LIVE_CHECK(l, live_is(at + n * LIVE_PAGE, n < before ? live_code(n) : 0));
	live_expect_image(l, before, nr);
}

/* ---- fork ---- */

enum { WRITTEN = 1 << 20 };

static void look(struct live *l)
{
	live_expect_image(l, 0, l->nr_pages);
}

static void look_and_fork(struct live *l)
{
	pid_t pid = live_fork(l, look);

	look(l);
	live_wait(l, pid);
}

/* What one writes after the fork is not seen by the other, whoever gets the page first. */
static void write_in_child(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 3)
		live_write(live_at(l, n), WRITTEN + n);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n % 3 ? live_code(n) : WRITTEN + n);
}

static void fork_and_write(struct live *l)
{
	pid_t pid[] = { live_fork(l, write_in_child), live_fork(l, look) };

	for (uint64_t n = 1; n < l->nr_pages; n += 3)
		live_write(live_at(l, n), 2 * WRITTEN + n);
	for (size_t i = 0; i < sizeof(pid) / sizeof(pid[0]); i++)
		live_wait(l, pid[i]);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n % 3 == 1 ? 2 * WRITTEN + n : live_code(n));
}

static void fork_of_forks(struct live *l)
{
	pid_t pid[] = { live_fork(l, look_and_fork), live_fork(l, fork_and_write),
			live_fork(l, move_steps), live_fork(l, remove_steps) };

	look(l);
	for (size_t i = 0; i < sizeof(pid) / sizeof(pid[0]); i++)
		live_wait(l, pid[i]);
}

static void leave(struct live *l)
{
	(void)l;
}

/* Children that end at once, while they are owed all. */
static void many_forks(struct live *l)
{
	for (uint64_t i = 0; i < 200; i++) {
		pid_t pid = live_fork(l, leave);

		live_expect(l, i, live_code(i));
		live_wait(l, pid);
	}
	look(l);
}

/* ---- end ---- */

/* It looks at pages that the server does not serve yet when it is killed. */
static void end_by_signal(struct live *l)
{
	live_say(l);
	live_hear(l);
	look(l);
	(void)pause();
}

static void serve_killed(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	live_say(l);
	LIVE_CHECK(l, lazyd_turn(l->l, 1000000) >= 0);
	LIVE_CHECK(l, kill(l->task, SIGKILL) == 0);
	live_start(l);
	live_fill(l);
	live_end(l, SIGKILL);
}

static void serve_ended(struct live *l)
{
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.ev_exit == 1 || l->stats.pages_gone == 0);
}

/* The first process ends; another that shares its memory needs it all the same. */
static int survive(void *arg)
{
	struct live *l = arg;

	live_hear(l); /* that it is alone */
	look(l);
	live_say(l);
	return 0;
}

static void leave_survivor(struct live *l)
{
	size_t len = 256 << 10;
	uint8_t *stack = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);

	LIVE_CHECK(l, stack != MAP_FAILED);
	LIVE_CHECK(l, clone(survive, stack + len, CLONE_VM | SIGCHLD, l) > 0);
	_exit(0);
}

static void serve_survivor(struct live *l)
{
	struct live parent = *l;

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	parent = *l;
	parent.l = NULL;
	parent.memory = NULL;
	live_end(&parent, 0);
	live_say(l);
	live_hear_serving(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_demand == live_held(l->nr_pages));
	lazyd_free(l->l);
	lazyd_memory_put(l->memory);
}

#define TWICE(name, with, task)                                          \
	{ name "/faults", PAGES, with, task, live_serve_faults },        \
	{                                                                \
		name "/sweeping", PAGES, with, task, live_serve_sweeping \
	}

const struct live_case live_cases_layout[] = {
	TWICE("remove", 0, remove_steps),
	TWICE("free", 0, free_steps),
	TWICE("unmap", 0, unmap_steps),
	TWICE("move", 0, move_steps),
	TWICE("move-over", 0, move_over),
	TWICE("move-keep", 0, move_and_keep),
	TWICE("grow-shrink", 0, grow_and_shrink),
	TWICE("grow-move", 0, grow_and_move),
	TWICE("fork", LIVE_FORK, look_and_fork),
	TWICE("fork-write", LIVE_FORK, fork_and_write),
	TWICE("fork-forks", LIVE_FORK, fork_of_forks),
	TWICE("fork-many", LIVE_FORK, many_forks),
	{ "exit", PAGES, 0, leave, serve_ended },
	{ "exit/unseen", PAGES, LIVE_UNSEEN, leave, serve_ended },
	{ "exit-killed", PAGES, 0, end_by_signal, serve_killed },
	{ "exit-killed/unseen", PAGES, LIVE_UNSEEN, end_by_signal, serve_killed },
	{ "exit-survivor", PAGES, 0, leave_survivor, serve_survivor },
	{ NULL, 0, 0, NULL, NULL },
};
