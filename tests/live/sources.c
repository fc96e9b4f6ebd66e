/* SPDX-License-Identifier: MIT */
/*
 * Cases of where bytes come from, other than one file: a callback that answers at once or later,
 * another process, layers, and a server of such memories. What each has of a page is what the image
 * has.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/live/live.h"

enum { SMALL = 512, MIDDLE = 8192, LAYERS = 6, ASKED_MAX = 64 };

static const uint8_t IDENTITY[LAZYD_IDENTITY_LEN] = { 7, 7, 7 };

/* A memory like the image's, all of whose pieces are of the source that @add adds. */
static void describe(struct live *l, struct lazyd_memory **out,
		     int (*add)(struct live *l, struct lazyd_memory *m))
{
	uint64_t base = (uintptr_t)l->base, n, run;
	int source;

	LIVE_CHECK(l, lazyd_memory_new(out) == 0);
	source = add(l, *out);
	LIVE_CHECK(l, source >= 0);
	LIVE_CHECK(l, lazyd_memory_add_area(*out, base, l->nr_pages * LIVE_PAGE, LIVE_PAGE) == 0);
	for (n = 0; n < l->nr_pages; n += run ? run : 1) {
		for (run = 0; n + run < l->nr_pages && live_code(n + run); run++)
			;
		if (run)
			LIVE_CHECK(l, lazyd_memory_add_piece(*out, base + n * LIVE_PAGE,
							     run * LIVE_PAGE, source, 0) == 0);
	}
}

static void use(struct live *l, int (*add)(struct live *l, struct lazyd_memory *m))
{
	lazyd_memory_put(l->memory);
	describe(l, &l->memory, add);
}

/* ---- a callback ---- */

static int64_t give(const struct live *l, const struct lazyd_ask *ask)
{
	uint64_t first = (ask->start - (uintptr_t)l->base) / LIVE_PAGE;

	for (uint64_t i = 0; i < ask->len / LIVE_PAGE; i++)
		live_write((uint8_t *)ask->to + i * LIVE_PAGE, live_code(first + i));
	return (int64_t)ask->len;
}

/* Now and then not all of it, or nothing yet. */
static int64_t give_at_once(void *arg, const struct lazyd_ask *ask)
{
	struct live *l = arg;
	int64_t len = give(l, ask);

	l->shared->counter[0]++;
	if (live_random(&l->seed) % 16 == 0)
		return -EAGAIN;
	if (ask->len > LIVE_PAGE && live_random(&l->seed) % 8 == 0)
		return (int64_t)(live_random(&l->seed) % ask->len);
	return len;
}

static int add_at_once(struct live *l, struct lazyd_memory *m)
{
	return lazyd_memory_add_callback(m, give_at_once, l, 0);
}

static void serve_at_once(struct live *l)
{
	use(l, add_at_once);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->shared->counter[0] > 0 && l->stats.pages_lost == 0);
}

static struct {
	struct lazyd_ask ask[ASKED_MAX];
	unsigned nr;
} later;

static int64_t give_later(void *arg, const struct lazyd_ask *ask)
{
	struct live *l = arg;

	LIVE_CHECK(l, later.nr < ASKED_MAX);
	later.ask[later.nr++] = *ask;
	return -EINPROGRESS;
}

static int add_later(struct live *l, struct lazyd_memory *m)
{
	return lazyd_memory_add_callback(m, give_later, l, 0);
}

/* In any order; each once: who answers again is told so. */
static void answer_one(struct live *l)
{
	unsigned i = (unsigned)(live_random(&l->seed) % later.nr);
	struct lazyd_ask ask = later.ask[i];
	int64_t len = give(l, &ask);

	later.ask[i] = later.ask[--later.nr];
	LIVE_CHECK(l, lazyd_answer(l->l, ask.token, len + 1) == -EINVAL);
	LIVE_CHECK(l, lazyd_answer(l->l, ask.token, len) == 0);
	LIVE_CHECK(l, lazyd_answer(l->l, ask.token, len) == -ESTALE);
}

static void serve_later(struct live *l)
{
	int more = 1;

	use(l, add_later);
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	while (more > 0) {
		more = lazyd_turn(l->l, later.nr ? 0 : -1);
		if (later.nr)
			answer_one(l);
	}
	LIVE_CHECK(l, more == 0);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0 && l->stats.pages_demand > 0);
	LIVE_CHECK(l, lazyd_answer(l->l, 1 << 20, 0) == -ESTALE);
	live_end(l, 0);
}

/* Every tenth page cannot be had, by its number in the image. */
static int64_t give_some(void *arg, const struct lazyd_ask *ask)
{
	const struct live *l = arg;
	uint64_t first = (ask->start - (uintptr_t)l->base) / LIVE_PAGE;

	for (uint64_t n = first; n < first + ask->len / LIVE_PAGE; n++)
		if (n % 10 == 0)
			return -EIO;
	return give(l, ask);
}

static int add_some(struct live *l, struct lazyd_memory *m)
{
	return lazyd_memory_add_callback(m, give_some, l, 0);
}

static void expect_some(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++) {
		bool is_lost = live_code(n) && n % 10 == 0;

		LIVE_CHECK(l, live_can_read(l, n) == !is_lost);
		if (!is_lost)
			live_expect(l, n, live_code(n));
	}
}

static void serve_some(struct live *l)
{
	use(l, add_some);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_lost > 0);
}

/* What has never been answered is given up like all the rest. */
static void serve_given_up(struct live *l)
{
	use(l, add_later);
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	while (!later.nr)
		LIVE_CHECK(l, lazyd_turn(l->l, -1) == 1);
	LIVE_CHECK(l, lazyd_abandon(l->l) == (int64_t)live_held(l->nr_pages));
	LIVE_CHECK(l, lazyd_answer(l->l, later.ask[0].token, 0) == -ESTALE);
	live_say(l);
	live_end(l, 0);
}

static void find_all_lost(struct live *l)
{
	live_hear(l);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		LIVE_CHECK(l, live_can_read(l, n) == !live_code(n));
}

/* ---- into the memory itself ---- */

static int64_t put_in_place(void *arg, const struct lazyd_ask *ask)
{
	const struct live *l = arg;
	uint64_t first = (ask->start - (uintptr_t)l->base) / LIVE_PAGE;
	uint64_t page[LIVE_PAGE / sizeof(uint64_t)];

	if (ask->to)
		return -EINVAL;
	for (uint64_t n = first; n < first + ask->len / LIVE_PAGE; n++) {
		live_write(page, live_code(n));
		if (pwrite(l->memfd, page, LIVE_PAGE, (off_t)(n * LIVE_PAGE)) != LIVE_PAGE)
			return -errno;
	}
	return (int64_t)ask->len;
}

static int add_in_place(struct live *l, struct lazyd_memory *m)
{
	/* What the house has put there must not be what is seen. */
	LIVE_CHECK(l, ftruncate(l->memfd, 0) == 0 &&
			      ftruncate(l->memfd, (off_t)(l->nr_pages * LIVE_PAGE)) == 0);
	return lazyd_memory_add_callback(m, put_in_place, l, 1);
}

static void serve_in_place(struct live *l)
{
	use(l, add_in_place);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0);
}

/* ---- another process ---- */

/* The same memory at the same place, in a process that stands still. Returns its /proc/PID/mem. */
static int add_process(struct live *l, struct lazyd_memory *m)
{
	size_t len = l->nr_pages * LIVE_PAGE;
	char path[64];
	int status, fd;
	pid_t pid = fork();

	LIVE_CHECK(l, pid >= 0);
	if (!pid) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (mmap(l->base, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != l->base)
			_exit(1);
		for (uint64_t n = 0; n < l->nr_pages; n++)
			if (live_code(n))
				live_write(l->base + n * LIVE_PAGE, live_code(n));
		/* A page that is gone when it is asked for. */
		if (l->c->with & LIVE_POISON)
			(void)munmap(l->base + LIVE_PAGE, LIVE_PAGE);
		(void)raise(SIGSTOP);
		_exit(0);
	}
	LIVE_CHECK(l, waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		live_skip(l, "no process may read another's memory here");
	return lazyd_memory_add_process(m, fd, path);
}

static void serve_process(struct live *l)
{
	use(l, add_process);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0 && l->stats.bytes_read > 0);
}

static void serve_torn(struct live *l)
{
	use(l, add_process);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_lost == 1);
}

static void expect_torn(struct live *l)
{
	LIVE_CHECK(l, !live_can_read(l, 1));
	live_expect(l, 0, live_code(0));
	live_expect_image(l, 2, l->nr_pages);
}

/* ---- layers ---- */

/* Page @n was written last in this layer, and in some before it. */
static int newest(uint64_t n)
{
	uint64_t seed = n / 3;

	return (int)(live_random(&seed) % LAYERS);
}

static void add_layers(struct live *l, struct lazyd_memory *m)
{
	int source[LAYERS];
	uint64_t page[LIVE_PAGE / sizeof(uint64_t)];
	uint64_t skip = 5 * LIVE_PAGE, len = l->nr_pages * LIVE_PAGE;

	for (int i = 0; i < LAYERS; i++) {
		int fd = memfd_create("layer", MFD_CLOEXEC);

		LIVE_CHECK(l, ftruncate(fd, (off_t)(skip + len)) == 0);
		for (uint64_t n = 0; n < l->nr_pages; n++) {
			if (!live_code(n) || i > newest(n) || (i < newest(n) && n % 2))
				continue;
			live_write(page, live_code(n) + (i < newest(n) ? 1000000 : 0));
			LIVE_CHECK(l, pwrite(fd, page, LIVE_PAGE, (off_t)(skip + n * LIVE_PAGE)) ==
					      LIVE_PAGE);
		}
		source[i] = lazyd_memory_add_file(m, fd, "layer");
		LIVE_CHECK(l, source[i] == i);
	}
	LIVE_CHECK(l, lazyd_memory_add_area(m, (uintptr_t)l->base, len, LIVE_PAGE) == 0);
	LIVE_CHECK(l, lazyd_memory_add_layers(m, (uintptr_t)l->base, len + LIVE_PAGE, source,
					      LAYERS, skip) == -ENODATA);
	LIVE_CHECK(l,
		   lazyd_memory_add_layers(m, (uintptr_t)l->base, len, source, 0, skip) == -EINVAL);
	LIVE_CHECK(l,
		   lazyd_memory_add_layers(m, (uintptr_t)l->base, len, source, LAYERS, skip) == 0);
	LIVE_CHECK(l, lazyd_memory_pages(m) == live_held(l->nr_pages));
}

static void serve_layers(struct live *l)
{
	lazyd_memory_put(l->memory);
	LIVE_CHECK(l, lazyd_memory_new(&l->memory) == 0);
	add_layers(l, l->memory);
	live_serve_sweeping(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0);
}

/* ---- a server of such a memory ---- */

static int port;

static int connect_to(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	(void)close(fd);
	return -ECONNREFUSED;
}

static int64_t give_whole(void *arg, const struct lazyd_ask *ask)
{
	return give(arg, ask);
}

static int add_whole(struct live *l, struct lazyd_memory *m)
{
	return lazyd_memory_add_callback(m, give_whole, l, 0);
}

static int add_remote(struct live *l, struct lazyd_memory *m)
{
	(void)l;
	return lazyd_memory_add_remote(m, 77);
}

/* In a process of its own: serves task 77 until its client has had all. */
static pid_t start_server(struct live *l, int (*add)(struct live *l, struct lazyd_memory *m))
{
	struct lazyd_server_options o = { .size = sizeof(o), .once = 1, .identity = IDENTITY };
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 1;
	struct lazyd_memory *m;
	struct lazyd_server *s;
	pid_t pid;

	LIVE_CHECK(l, !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 8) &&
			      !getsockname(fd, (struct sockaddr *)&at, &len));
	port = ntohs(at.sin_port);
	describe(l, &m, add);
	pid = fork();
	LIVE_CHECK(l, pid >= 0);
	if (!pid) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		LIVE_CHECK(l, lazyd_server_new(&s, NULL, &o, NULL) == 0);
		LIVE_CHECK(l, lazyd_server_add(s, 77, m) == 0);
		LIVE_CHECK(l, lazyd_server_add(s, 77, m) == -EEXIST);
		lazyd_memory_put(m);
		LIVE_CHECK(l, lazyd_server_listen(s, fd) == 0);
		while (r == 1)
			r = lazyd_server_turn(s, -1);
		lazyd_server_free(s);
		_exit(r ? 1 : 0);
	}
	(void)close(fd);
	lazyd_memory_put(m);
	return pid;
}

static void serve_remote(struct live *l, int (*add)(struct live *l, struct lazyd_memory *m))
{
	struct lazyd_remote remote = {
		.size = sizeof(remote), .connect = connect_to, .identity = IDENTITY, .header = 32
	};
	struct lazyd_options o = { .size = sizeof(o), .remote = &remote };
	pid_t server = start_server(l, add);
	int status;

	use(l, add_remote);
	LIVE_CHECK(l, lazyd_new(&l->l, &o) == 0);
	LIVE_CHECK(l, lazyd_add(l->l, l->memory) == 0);
	LIVE_CHECK(l, lazyd_memory_add_remote(l->memory, 78) == -EBUSY);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0);
	LIVE_CHECK(l, l->stats.bytes_wire == live_held(l->nr_pages) * LIVE_PAGE);
	live_end(l, 0);
	LIVE_CHECK(l, waitpid(server, &status, 0) == server && !status);
}

static void serve_served_callback(struct live *l)
{
	serve_remote(l, add_whole);
}

static void serve_served_process(struct live *l)
{
	serve_remote(l, add_process);
}

const struct live_case live_cases_sources[] = {
	{ "callback/at-once", MIDDLE, 0, live_touch_all, serve_at_once },
	{ "callback/later", MIDDLE, 0, live_touch_all, serve_later },
	{ "callback/lost", MIDDLE, LIVE_POISON, expect_some, serve_some },
	{ "callback/given-up", SMALL, LIVE_POISON, find_all_lost, serve_given_up },
	{ "callback/in-place", MIDDLE, LIVE_SHARED | LIVE_MINOR, live_touch_all, serve_in_place },
	{ "process", MIDDLE, 0, live_touch_all, serve_process },
	{ "process/torn", SMALL, LIVE_POISON, expect_torn, serve_torn },
	{ "layers", MIDDLE, 0, live_touch_all, serve_layers },
	{ "served/callback", MIDDLE, 0, live_touch_all, serve_served_callback },
	{ "served/process", MIDDLE, 0, live_touch_all, serve_served_process },
	{ NULL, 0, 0, NULL, NULL },
};
