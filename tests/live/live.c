/* SPDX-License-Identifier: MIT */
/* The house of live.h: what both sides and the server use; task.c is the task's side. */
#include "tests/live/live.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/live/house.h"

enum { WORDS = LIVE_PAGE / sizeof(uint64_t) };

/* ---- both sides ---- */

void live_fail(struct live *l, const char *format, ...)
{
	char text[sizeof(l->shared->reason)];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* What failed first is the cause of what fails after it. */
	if (!l->shared->reason[0])
		memcpy(l->shared->reason, text, sizeof(text));
	_exit(1);
}

void live_skip(struct live *l, const char *reason)
{
	(void)snprintf(l->shared->reason, sizeof(l->shared->reason), "%s", reason);
	_exit(LIVE_SKIPPED);
}

uint64_t live_random(uint64_t *seed)
{
	uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void live_say(struct live *l)
{
	LIVE_CHECK(l, send(l->sock, "", 1, MSG_NOSIGNAL) == 1);
}

void live_hear(struct live *l)
{
	char byte;

	LIVE_CHECK(l, recv(l->sock, &byte, 1, 0) == 1);
}

/* Single holes and long ones, among runs shorter and longer than a slice. */
uint64_t live_code(uint64_t page)
{
	uint64_t n = page % 64;

	return n == 3 || (n >= 40 && n < 48) ? 0 : page + 1;
}

uint64_t live_held(uint64_t nr_pages)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < nr_pages; page++)
		n += live_code(page) != 0;
	return n;
}

static uint64_t word(uint64_t code, uint64_t i)
{
	uint64_t seed = code * WORDS + i;

	return code ? live_random(&seed) : 0;
}

bool live_is(const void *at, uint64_t code)
{
	const uint64_t *w = at;

	for (uint64_t i = 0; i < WORDS; i++)
		if (w[i] != word(code, i))
			return false;
	return true;
}

void live_write(void *at, uint64_t code)
{
	uint64_t *w = at;

	for (uint64_t i = 0; i < WORDS; i++)
		w[i] = word(code, i);
}

bool live_held_at(const struct live *l, uint64_t page)
{
	if (l->c->with & LIVE_HUGE)
		return page / LIVE_PER_LARGE % 4 != 3;
	return live_code(page);
}

/* An odd image does not begin where its file does; one of large pages has holes in it. */
uint64_t live_offset(const struct live *l, uint64_t n)
{
	if (l->c->with & LIVE_HUGE)
		return n * LIVE_PAGE;
	return (live_held(n) + (l->c->with & LIVE_ODD ? 3 : 0)) * LIVE_PAGE;
}

bool live_is_lost(const struct live *l, uint64_t n)
{
	return live_code(n) && live_offset(l, n) + LIVE_PAGE > l->cut;
}

/* ---- the image ---- */

static int open_file(struct live *l)
{
	struct statfs fs;
	const char *dir = getenv("TMPDIR");
	int fd;

	if (!(l->c->with & LIVE_DISK))
		return memfd_create("live", MFD_CLOEXEC);
	dir = dir && *dir ? dir : "/var/tmp";
	fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0 || fstatfs(fd, &fs))
		live_skip(l, "no unnamed file in TMPDIR or /var/tmp");
	if (fs.f_type == 0x01021994) /* tmpfs */
		live_skip(l, "TMPDIR or /var/tmp is in memory");
	return fd;
}

static void write_image(struct live *l)
{
	uint64_t page[WORDS];

	l->file = open_file(l);
	LIVE_CHECK(l, l->file >= 0);
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		if (!live_held_at(l, n))
			continue;
		live_write(page, n + 1);
		LIVE_CHECK(l, pwrite(l->file, page, sizeof(page), (off_t)live_offset(l, n)) ==
				      (ssize_t)sizeof(page));
	}
	l->cut = UINT64_MAX;
	if (l->c->with & LIVE_TRUNCATE) {
		/* In the middle of a page of the second half. */
		l->cut = live_offset(l, l->nr_pages / 2) + LIVE_PAGE / 2;
		LIVE_CHECK(l, ftruncate(l->file, (off_t)l->cut) == 0);
	}
	if (l->c->with & LIVE_DISK)
		LIVE_CHECK(l, fsync(l->file) == 0 &&
				      posix_fadvise(l->file, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

/* Does the run of pages that @n is of go on to it, from @first on? */
static bool goes_on(const struct live *l, uint64_t first, uint64_t n)
{
	if (l->c->with & LIVE_ODD && n - first == first % 5 + 1)
		return false;
	return live_house_in_place(l, n) == live_house_in_place(l, first);
}

static void describe(struct live *l)
{
	uint64_t base = (uintptr_t)l->base, nr = l->nr_pages, n, run;
	uint64_t step = l->c->with & LIVE_HUGE ? LIVE_LARGE : LIVE_PAGE;
	int file, place;

	LIVE_CHECK(l, lazyd_memory_new(&l->memory) == 0);
	file = lazyd_memory_add_file(l->memory, dup(l->file), "live");
	place = lazyd_memory_add_in_place(l->memory);
	LIVE_CHECK(l, file == 0 && place == 1);
	LIVE_CHECK(l, lazyd_memory_add_area(l->memory, base, nr * LIVE_PAGE, step) == 0);
	for (n = 0; n < nr; n += run ? run : 1) {
		for (run = 0; n + run < nr && live_held_at(l, n + run); run++)
			if (!goes_on(l, n, n + run))
				break;
		if (run)
			LIVE_CHECK(l, lazyd_memory_add_piece(
					      l->memory, base + n * LIVE_PAGE, run * LIVE_PAGE,
					      live_house_in_place(l, n) ? place : file,
					      live_offset(l, n)) == 0);
	}
}

void live_house_build(struct live *l)
{
	size_t len = 2 * l->nr_pages * LIVE_PAGE + LIVE_LARGE;

	l->base = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	LIVE_CHECK(l, l->base != MAP_FAILED);
	l->base += -(uintptr_t)l->base % LIVE_LARGE;
	write_image(l);
	if (l->c->with & (LIVE_SHARED | LIVE_HUGE))
		live_house_memfd(l);
	describe(l);
}

/* ---- the server ---- */

static void print_line(void *arg, enum lazyd_log level, const char *line)
{
	const struct live *l = arg;

	if (level == LAZYD_LOG_ERROR && getenv("LIVE_VERBOSE"))
		fprintf(stderr, "%s: %s\n", l->c->name, line);
}

void live_begin(struct live *l, struct lazyd_state *state)
{
	struct lazyd_options o = {
		.size = sizeof(o),
		.on_lost = l->c->with & LIVE_KILL ? LAZYD_LOST_KILL : LAZYD_LOST_POISON,
		.state = state,
		.log = print_line,
		.log_arg = l,
		.no_sweep = l->c->with & LIVE_NO_SWEEP,
		.copiers = l->c->with & LIVE_COPIERS ? LAZYD_COPIERS_MAX : 0,
		.record = l->c->with & LIVE_NO_SWEEP,
	};

	LIVE_CHECK(l, lazyd_new(&l->l, &o) == 0);
	LIVE_CHECK(l, lazyd_add(l->l, l->memory) == 0);
}

void live_task(struct live *l)
{
	int pair[2];

	LIVE_CHECK(l, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	l->task = fork();
	LIVE_CHECK(l, l->task >= 0);
	if (!l->task) {
		(void)close(pair[0]);
		l->sock = pair[1];
		live_house_task(l);
	}
	(void)close(pair[1]);
	l->sock = pair[0];
}

int live_take(struct live *l)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	int fd;

	LIVE_CHECK(l, recvmsg(l->sock, &msg, MSG_CMSG_CLOEXEC) == 1);
	LIVE_CHECK(l, CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

void live_attach(struct live *l)
{
	int uffd = live_take(l), pidfd = -1;

	if (!(l->c->with & LIVE_UNSEEN))
		pidfd = (int)syscall(SYS_pidfd_open, l->task, 0);
	if (lazyd_attach(l->l, 0, uffd, pidfd) < 0)
		live_fail(l, "attach: %s", lazyd_error(l->l));
}

void live_start(struct live *l)
{
	if (lazyd_start(l->l))
		live_fail(l, "start: %s", lazyd_error(l->l));
}

static void turn(struct live *l, int *more)
{
	*more = lazyd_turn(l->l, -1);
	if (*more < 0)
		live_fail(l, "turn: %s", lazyd_error(l->l));
}

void live_hear_serving(struct live *l)
{
	char byte;
	int more;

	LIVE_CHECK(l, lazyd_watch(l->l, l->sock) == 0);
	while (recv(l->sock, &byte, 1, MSG_DONTWAIT) != 1) {
		LIVE_CHECK(l, errno == EAGAIN);
		turn(l, &more);
	}
	LIVE_CHECK(l, lazyd_watch(l->l, -1) == 0);
}

void live_fill(struct live *l)
{
	int more = 1;

	while (more)
		turn(l, &more);
	lazyd_stats(l->l, NULL, &l->stats);
	LIVE_CHECK(l, l->stats.pages_owed == 0);
	LIVE_CHECK(l, l->stats.nr_spaces == 0);
	LIVE_CHECK(l, l->stats.waiting == 0);
	LIVE_CHECK(l, l->stats.pages_total == l->stats.pages_demand + l->stats.pages_neighbour +
						      l->stats.pages_replay + l->stats.pages_sweep +
						      l->stats.pages_gone + l->stats.pages_lost);
}

void live_end(struct live *l, int signal)
{
	int status;

	LIVE_CHECK(l, waitpid(l->task, &status, 0) == l->task);
	if (WIFEXITED(status) && WEXITSTATUS(status) == LIVE_SKIPPED)
		_exit(LIVE_SKIPPED);
	if (signal ? !WIFSIGNALED(status) || WTERMSIG(status) != signal : status)
		live_fail(l, "the task ended with status 0x%x", (unsigned)status);
	lazyd_free(l->l);
	lazyd_memory_put(l->memory);
}

void live_serve_sweeping(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
}

void live_serve_faults(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
}

void live_serve_sweep(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_sweep == live_held(l->nr_pages));
	LIVE_CHECK(l, l->stats.faults == 0);
	live_say(l);
	live_end(l, 0);
}
