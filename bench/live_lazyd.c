/* SPDX-License-Identifier: MIT */
/*
 * liblazyd, through its public functions only, where live_floor has a bare handler and raw_copy has
 * bare ioctls: the same tasks, the bytes in a resident file. -m drains a memory that nobody touches.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/touch.h"
#include "uffd/lazyd.h"

static const char usage[] =
	"live_lazyd " LZ_TOUCH_USAGE "           [-d directory] [-m MiB [-f MiB] [-C]] [-w us]\n"
	"-d  where the pages file is made  -m  drain: contiguous, then every second page\n"
	"-f  of a file so large, again and again         -C  which is not in the page cache\n"
	"-w  looks for faults for so long before it sleeps\n";

static uint64_t busy_poll_ns;
static uint32_t file_pages;
static bool cold;

static _Noreturn void die(const struct lazyd *l, const char *what, int r)
{
	fprintf(stderr, "%s: %s %s\n", what, strerror(-r), l ? lazyd_error(l) : "");
	exit(1);
}

/*
 * An engine that serves @task, whose memory is the first run->pages pages of the file @fd, from its
 * start again where it ends, one every @stride bytes.
 */
static struct lazyd *engine(const struct lz_touch *run, struct lz_bench_task *task, int fd,
			    uint64_t stride)
{
	struct lazyd_options o = { .size = sizeof(o),
				   .busy_poll_ns = busy_poll_ns,
				   .copiers = run->copiers };
	struct lazyd_memory *m;
	struct lazyd *l;
	int r = lazyd_new(&l, &o), source;

	if (r)
		die(NULL, "lazyd_new", r);
	r = lazyd_memory_new(&m);
	if (r)
		die(l, "lazyd_memory_new", r);
	source = lazyd_memory_add_file(m, dup(fd), "pages");
	if (source < 0)
		die(l, "lazyd_memory_add_file", source);
	r = lazyd_memory_add_area(m, task->base, task->len, LZ_BENCH_PAGE);
	for (uint64_t i = 0; !r && i < run->pages; i++)
		r = lazyd_memory_add_piece(m, task->base + i * stride, LZ_BENCH_PAGE, source,
					   i % file_pages * LZ_BENCH_PAGE);
	if (r)
		die(l, "lazyd_memory_add_piece", r);
	r = lazyd_add(l, m);
	lazyd_memory_put(m);
	if (r >= 0)
		r = lazyd_attach(l, r, task->uffd, (int)syscall(SYS_pidfd_open, task->pid, 0));
	if (r < 0)
		die(l, "lazyd_attach", r);
	task->uffd = -1;
	return l;
}

static void start(struct lazyd *l)
{
	int r = lazyd_start(l);

	if (r)
		die(l, "lazyd_start", r);
}

/* Until nothing is owed and all is closed; or until @fd, which is watched, hangs up, unless it is -1. */
static void serve(struct lazyd *l, int fd)
{
	struct pollfd p = { .fd = fd };
	int r;

	for (unsigned n = 1;; n++) {
		r = lazyd_turn(l, -1);
		if (r < 0)
			die(l, "lazyd_turn", r);
		/* From then on each turn ends at once; a look after every one would be measured along. */
		if (!r || (fd >= 0 && n % 16 == 0 && poll(&p, 1, 0) != 0))
			return;
	}
}

static void faults(struct lz_touch *run, int fd)
{
	for (uint32_t i = 0; i < run->rounds; i++) {
		struct lz_bench_task task;
		struct lazyd *l;

		lz_touch_start(run, &task, i);
		l = engine(run, &task, fd, LZ_BENCH_PAGE);
		(void)lazyd_watch(l, task.sock);
		lz_bench_task_go(&task);
		if (run->sweep)
			start(l);
		serve(l, task.sock);
		lazyd_free(l);
		lz_touch_end(run, &task);
	}
	lz_touch_line(run, busy_poll_ns ? "live_lazyd_looking" : "live_lazyd");
}

/* In the task: its memory is there to be filled, not used. */
static void wait_only(uint8_t *area, void *unused)
{
	(void)area;
	(void)unused;
}

static void drain(const struct lz_touch *run, int fd, uint64_t stride, const char *layout)
{
	for (uint32_t i = 0; i < run->rounds; i++) {
		struct lz_bench_task task;
		struct lazyd *l;
		struct lazyd_stats st;
		uint64_t begun, ns;

		lz_bench_task_start(&task, run->pages * stride, wait_only, NULL);
		if (run->pinning != LZ_PIN_NONE)
			lz_bench_pin(0);
		l = engine(run, &task, fd, stride);
		if (cold && lz_bench_cool(fd)) {
			fputs("the file stays in the page cache\n", stderr);
			exit(1);
		}
		begun = lz_bench_now_ns();
		start(l);
		serve(l, -1);
		ns = lz_bench_now_ns() - begun;
		lazyd_stats(l, NULL, &st);
		printf("name=live_lazyd_drain layout=%s where=%s copiers=%u bytes=%llu mapped=%llu ns=%llu mb_s=%llu\n",
		       layout, cold ? "cold" : "hot", run->copiers,
		       (unsigned long long)run->pages * LZ_BENCH_PAGE,
		       (unsigned long long)st.bytes_cached, (unsigned long long)ns,
		       (unsigned long long)run->pages * LZ_BENCH_PAGE * 1000 / ns);
		fflush(stdout);
		lazyd_free(l);
		lz_bench_task_end(&task);
	}
}

int main(int argc, char **argv)
{
	const char *dir = ".";
	struct lz_touch run;
	bool drains = false;
	int c, fd;

	lz_touch_init(&run);
	while ((c = getopt(argc, argv, LZ_TOUCH_OPTIONS "d:m:w:f:C")) >= 0) {
		if (c == 'd') {
			dir = optarg;
		} else if (c == 'w') {
			busy_poll_ns = lz_bench_number(optarg, 0, 1000000) * 1000;
		} else if (c == 'm') {
			drains = true;
			run.pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		} else if (c == 'f') {
			file_pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		} else if (c == 'C') {
			cold = true;
		} else if (!lz_touch_option(&run, c)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	lz_touch_ready(&run);
	if (!file_pages || file_pages > run.pages)
		file_pages = run.pages;
	fd = lz_bench_pages_file(dir, (uint64_t)file_pages * LZ_BENCH_PAGE, lz_touch_fill);
	if (drains) {
		drain(&run, fd, LZ_BENCH_PAGE, "contiguous");
		drain(&run, fd, 2 * LZ_BENCH_PAGE, "every_second");
	} else {
		faults(&run, fd);
	}
	return 0;
}
