/* SPDX-License-Identifier: MIT */
/*
 * liblazyd at both ends, through its public functions only, where raw_pair has a bare pair of
 * processes: a server that has the pages in a file in the page cache, and an engine that asks for
 * them over the loopback device. -m drains a memory that nobody touches.
 */
#define _GNU_SOURCE 1
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/drive.h"

static const char usage[] = "live_pair " LZ_TOUCH_USAGE
			    "          [-d directory] [-m MiB] [-w us]\n"
			    "-d  where the pages file is made  -m  drain: so much\n"
			    "-w  both ends look for so long before they sleep\n";
enum { PID = 1 };

static const uint8_t identity[LAZYD_IDENTITY_LEN] = "bench";
static uint64_t busy_poll_ns;

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
		lz_drive_die(NULL, "lazyd_memory_new", r);
	source = fd < 0 ? lazyd_memory_add_remote(m, PID)
			: lazyd_memory_add_file(m, dup(fd), "pages");
	if (source < 0)
		lz_drive_die(NULL, "a source", source);
	r = lazyd_memory_add_area(m, task->base, task->len, LZ_BENCH_PAGE);
	if (!r)
		r = lazyd_memory_add_piece(m, task->base, task->len, source, 0);
	if (r)
		lz_drive_die(NULL, "lazyd_memory_add_piece", r);
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

	return lz_drive_new(&o, memory(task, -1), task);
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

/* Who has seen the end of a task has not asked for all of it:
 * such a client is no end for a server. */
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
		lz_drive_faults(l, &task, run->sweep);
		lazyd_free(l);
		lz_touch_end(run, &task);
		end_server(server, listener);
	}
	lz_touch_line(run, busy_poll_ns ? "live_pair_looking" : "live_pair");
}

static void drain(const struct lz_touch *run, int fd)
{
	for (uint32_t i = 0; i < run->rounds; i++) {
		uint64_t bytes = (uint64_t)run->pages * LZ_BENCH_PAGE, ns;
		int listener = lz_bench_listen();
		struct lz_bench_task task;
		struct lazyd *l;
		pid_t server;

		lz_bench_task_start(&task, bytes, NULL, NULL);
		server = start_server(&task, listener, fd);
		l = engine(&task, &listener);
		ns = lz_drive_drain(l);
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
	struct lz_drive run;
	int c, fd;

	lz_drive_init(&run);
	while ((c = getopt(argc, argv, LZ_DRIVE_OPTIONS)) >= 0) {
		if (!lz_drive_option(&run, c)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	lz_touch_ready(&run.touch);
	busy_poll_ns = run.busy_poll_ns;
	fd = lz_bench_pages_file(run.dir, (uint64_t)run.touch.pages * LZ_BENCH_PAGE, lz_touch_fill);
	if (run.drains)
		drain(&run.touch, fd);
	else
		faults(&run.touch, fd);
	return 0;
}
