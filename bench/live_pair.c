/* SPDX-License-Identifier: MIT */
/*
 * liblazyd at both ends, through its public functions only, where raw_pair has a bare pair of
 * processes: a server that has the pages in a file in the page cache, and an engine that asks for
 * them over the loopback device. -m drains a memory that nobody touches.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/touch.h"
#include "uffd/lazyd.h"

static const char usage[] = "live_pair " LZ_TOUCH_USAGE
			    "          [-d directory] [-m MiB] [-w us]\n"
			    "-d  where the pages file is made  -m  drain: so much\n"
			    "-w  both ends look for so long before they sleep\n";
enum { PID = 1 };

static const uint8_t identity[LAZYD_IDENTITY_LEN] = "bench";
static uint64_t busy_poll_ns;

static _Noreturn void die(const char *what, int r)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(1);
}

static void say(void *arg, enum lazyd_log level, const char *line)
{
	(void)arg;
	if (level <= LAZYD_LOG_WARN)
		fprintf(stderr, "%s\n", line);
}

/* Of @task: its pages are in the file @fd, or with a server. */
static struct lazyd_memory *memory(const struct lz_bench_task *task, int fd)
{
	struct lazyd_memory *m;
	int r = lazyd_memory_new(&m), source;

	if (r)
		die("lazyd_memory_new", r);
	source = fd < 0 ? lazyd_memory_add_remote(m, PID)
			: lazyd_memory_add_file(m, dup(fd), "pages");
	if (source < 0)
		die("a source", source);
	r = lazyd_memory_add_area(m, task->base, task->len, LZ_BENCH_PAGE);
	if (!r)
		r = lazyd_memory_add_piece(m, task->base, task->len, source, 0);
	if (r)
		die("lazyd_memory_add_piece", r);
	return m;
}

static _Noreturn void serve(int listener, const struct lz_bench_task *task, int fd)
{
	struct lazyd_server_options o = { .size = sizeof(o),
					  .once = 1,
					  .log = say,
					  .identity = identity,
					  .busy_poll_ns = busy_poll_ns };
	struct lazyd_memory *m = memory(task, fd);
	struct lazyd_server *s;
	int r = lazyd_server_new(&s, NULL, &o, NULL);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!r)
		r = lazyd_server_add(s, PID, m);
	if (!r)
		r = lazyd_server_listen(s, listener);
	while (!r || r == 1)
		r = lazyd_server_turn(s, -1);
	_exit(0);
}

static int dial(void *arg)
{
	return lz_bench_dial(*(const int *)arg);
}

/* An engine that serves @task from the server at @listener. */
static struct lazyd *engine(struct lz_bench_task *task, int *listener)
{
	struct lazyd_remote remote = { .size = sizeof(remote),
				       .connect = dial,
				       .arg = listener,
				       .identity = identity,
				       .header = 32 };
	struct lazyd_options o = {
		.size = sizeof(o), .log = say, .remote = &remote, .busy_poll_ns = busy_poll_ns
	};
	struct lazyd_memory *m = memory(task, -1);
	struct lazyd *l;
	int r = lazyd_new(&l, &o);

	if (!r)
		r = lazyd_add(l, m);
	lazyd_memory_put(m);
	if (r >= 0)
		r = lazyd_attach(l, r, task->uffd, (int)syscall(SYS_pidfd_open, task->pid, 0));
	if (r < 0)
		die("lazyd_attach", r);
	task->uffd = -1;
	return l;
}

static void start(struct lazyd *l)
{
	int r = lazyd_start(l);

	if (r)
		die("lazyd_start", r);
}

/* Until nothing is owed; or until @fd, which is watched, hangs up, unless it is -1. */
static void fill(struct lazyd *l, int fd)
{
	struct pollfd p = { .fd = fd };
	int r;

	for (unsigned n = 1;; n++) {
		r = lazyd_turn(l, -1);
		if (r < 0)
			die("lazyd_turn", r);
		/* From then on each turn ends at once; a look after every one would be measured along. */
		if (!r || (fd >= 0 && n % 16 == 0 && poll(&p, 1, 0) != 0))
			return;
	}
}

static pid_t start_server(const struct lz_bench_task *task, int listener, int fd)
{
	pid_t pid = fork();

	if (pid < 0)
		lz_bench_die("fork");
	if (pid == 0) {
		close(task->sock);
		close(task->uffd);
		serve(listener, task, fd);
	}
	return pid;
}

/* Who has seen the end of a task has not asked for all of it: such a client is no end for a server. */
static void end_server(pid_t pid, int listener)
{
	close(listener);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void faults(struct lz_touch *run, int fd)
{
	for (uint32_t i = 0; i < run->rounds; i++) {
		int listener = lz_bench_listen();
		struct lz_bench_task task;
		struct lazyd *l;
		pid_t server;

		lz_touch_start(run, &task, i);
		server = start_server(&task, listener, fd);
		l = engine(&task, &listener);
		(void)lazyd_watch(l, task.sock);
		lz_bench_task_go(&task);
		if (run->sweep)
			start(l);
		fill(l, task.sock);
		lazyd_free(l);
		lz_touch_end(run, &task);
		end_server(server, listener);
	}
	lz_touch_line(run, busy_poll_ns ? "live_pair_looking" : "live_pair");
}

/* In the task: its memory is there to be filled, not used. */
static void wait_only(uint8_t *area, void *unused)
{
	(void)area;
	(void)unused;
}

static void drain(const struct lz_touch *run, int fd)
{
	for (uint32_t i = 0; i < run->rounds; i++) {
		uint64_t bytes = (uint64_t)run->pages * LZ_BENCH_PAGE, begun, ns;
		int listener = lz_bench_listen();
		struct lz_bench_task task;
		struct lazyd *l;
		pid_t server;

		lz_bench_task_start(&task, bytes, wait_only, NULL);
		server = start_server(&task, listener, fd);
		l = engine(&task, &listener);
		begun = lz_bench_now_ns();
		start(l);
		fill(l, -1);
		ns = lz_bench_now_ns() - begun;
		printf("name=live_pair_drain bytes=%llu ns=%llu mb_s=%llu\n",
		       (unsigned long long)bytes, (unsigned long long)ns,
		       (unsigned long long)(bytes * 1000 / ns));
		fflush(stdout);
		lazyd_free(l);
		lz_bench_task_end(&task);
		end_server(server, listener);
	}
}

int main(int argc, char **argv)
{
	const char *dir = ".";
	struct lz_touch run;
	bool drains = false;
	int c, fd;

	lz_touch_init(&run);
	while ((c = getopt(argc, argv, LZ_TOUCH_OPTIONS "d:m:w:")) >= 0) {
		if (c == 'd') {
			dir = optarg;
		} else if (c == 'w') {
			busy_poll_ns = lz_bench_number(optarg, 0, 1000000) * 1000;
		} else if (c == 'm') {
			drains = true;
			run.pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		} else if (!lz_touch_option(&run, c)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	lz_touch_ready(&run);
	fd = lz_bench_pages_file(dir, (uint64_t)run.pages * LZ_BENCH_PAGE, lz_touch_fill);
	if (drains)
		drain(&run, fd);
	else
		faults(&run, fd);
	return 0;
}
