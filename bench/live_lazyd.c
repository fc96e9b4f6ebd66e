/* SPDX-License-Identifier: MIT */
/*
 * liblazyd, through its public functions only, where live_floor has a bare handler and raw_copy has
 * bare ioctls: the same tasks, the bytes in a resident file. -m drains a memory that nobody
 * touches.
 */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/drive.h"

static const char usage[] =
	"live_lazyd " LZ_TOUCH_USAGE "           [-d directory] [-m MiB [-f MiB] [-C]] [-w us]\n"
	"-d  where the pages file is made  -m  drain: contiguous, then every second page\n"
	"-f  of a file so large, again and again         -C  which is not in the page cache\n"
	"-w  looks for faults for so long before it sleeps\n";

static uint32_t file_pages;
static bool cold;

/*
 * An engine that serves @task, whose memory is the first run->pages pages of the file @fd, from its
 * start again where it ends, one every @stride bytes.
 */
static struct lazyd *engine(const struct lz_drive *run, struct lz_bench_task *task, int fd,
			    uint64_t stride)
{
	struct lazyd_options o = { .size = sizeof(o),
				   .busy_poll_ns = run->busy_poll_ns,
				   .copiers = run->touch.copiers };
	struct lazyd_memory *m;
	int r = lazyd_memory_new(&m), source;

	if (r)
		lz_drive_die(NULL, "lazyd_memory_new", r);
	source = lazyd_memory_add_file(m, dup(fd), "pages");
	if (source < 0)
		lz_drive_die(NULL, "lazyd_memory_add_file", source);
	r = lazyd_memory_add_area(m, task->base, task->len, LZ_BENCH_PAGE);
	for (uint64_t i = 0; !r && i < run->touch.pages; i++)
		r = lazyd_memory_add_piece(m, task->base + i * stride, LZ_BENCH_PAGE, source,
					   i % file_pages * LZ_BENCH_PAGE);
	if (r)
		lz_drive_die(NULL, "lazyd_memory_add_piece", r);
	return lz_drive_new(&o, m, task);
}

static void faults(struct lz_drive *run, int fd)
{
	for (uint32_t i = 0; i < run->touch.rounds; i++) {
		struct lz_bench_task task;
		struct lazyd *l;

		lz_touch_start(&run->touch, &task, i);
		l = engine(run, &task, fd, LZ_BENCH_PAGE);
		lz_drive_faults(l, &task, run->touch.sweep);
		lazyd_free(l);
		lz_touch_end(&run->touch, &task);
	}
	lz_touch_line(&run->touch, run->busy_poll_ns ? "live_lazyd_looking" : "live_lazyd");
}

static void drain(const struct lz_drive *drive, int fd, uint64_t stride, const char *layout)
{
	const struct lz_touch *run = &drive->touch;

	for (uint32_t i = 0; i < run->rounds; i++) {
		struct lz_bench_task task;
		struct lazyd *l;
		struct lazyd_stats st;
		uint64_t ns;

		lz_bench_task_start(&task, run->pages * stride, NULL, NULL);
		if (run->pinning != LZ_PIN_NONE)
			lz_bench_pin(0);
		l = engine(drive, &task, fd, stride);
		if (cold && lz_bench_cool(fd)) {
			fputs("the file stays in the page cache\n", stderr);
			exit(1);
		}
		ns = lz_drive_drain(l);
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
	struct lz_drive run;
	int c, fd;

	lz_drive_init(&run);
	while ((c = getopt(argc, argv, LZ_DRIVE_OPTIONS "f:C")) >= 0) {
		if (c == 'f') {
			file_pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		} else if (c == 'C') {
			cold = true;
		} else if (!lz_drive_option(&run, c)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	lz_touch_ready(&run.touch);
	if (!file_pages || file_pages > run.touch.pages)
		file_pages = run.touch.pages;
	fd = lz_bench_pages_file(run.dir, (uint64_t)file_pages * LZ_BENCH_PAGE, lz_touch_fill);
	if (run.drains) {
		drain(&run, fd, LZ_BENCH_PAGE, "contiguous");
		drain(&run, fd, 2 * LZ_BENCH_PAGE, "every_second");
	} else {
		faults(&run, fd);
	}
	return 0;
}
