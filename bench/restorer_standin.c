/* SPDX-License-Identifier: MIT */
/*
 * Stands in for `criu restore --lazy-pages` where images were made and not dumped: a process for
 * each task, which maps an area, hands its userfaultfd to the daemon in the way and with the
 * messages of CRIU, and reads pages of it, each access timed.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/lib/restorer.h"

static const char usage[] =
	"restorer_standin [-p pid] [-b base] [-l bytes] [-P processes] [-T threads] [-t touches]\n"
	"                 [-o random|sequential|strided] [-s] [-u]   in the work directory\n"
	"-p  the first task's, as in the images    -l  of each process, all from base on\n"
	"-t  pages read, by all threads of all processes together\n"
	"-o  in which order each thread reads its own: strided is every eighth page\n"
	"-s  the restore is finished first, so that the rest is filled meanwhile\n"
	"-u  what was not read is unmapped then, so that there is nothing to sweep\n"
	"Says `touched` and what it met, waits for a line of its standard input, finishes the restore,\n"
	"says `finished`, and lives until the next line.\n";

enum { STRIDE = 8, PROCESSES_MAX = 64, THREADS_MAX = 64 };
enum order { RANDOM, SEQUENTIAL, STRIDED, NR_ORDERS };
static const char *const order_name[NR_ORDERS] = { "random", "sequential", "strided" };

static struct run {
	int32_t pid;
	uint64_t base, len, touches;
	uint32_t processes, threads;
	enum order order;
	bool first, unmap;
} run = {
	.pid = 1000, .base = UINT64_C(0x10000000000), .len = 1 << 30, .processes = 1, .threads = 1
};

/* Shared by all processes. */
static struct stage {
	sem_t done, touch, leave;
} * stage;
/* Each thread's own, those of a process together. */
static struct lz_bench_samples *samples[PROCESSES_MAX * THREADS_MAX];

/* @result of what was said to the daemon. */
static int must(const char *what, int result)
{
	errno = -result;
	if (result < 0)
		lz_bench_die(what);
	return result;
}

/* The descriptor goes before anything is registered: as CRIU does it. */
static void hand_over(int sock, int32_t pid)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE |
					      UFFD_FEATURE_EVENT_UNMAP };
	struct uffdio_register reg = { .range = { run.base, run.len },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *want = (void *)(uintptr_t)run.base;
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		lz_bench_skip("userfaultfd");
	if (mmap(want, run.len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != want)
		lz_bench_die("mmap");
	madvise(want, run.len, MADV_NOHUGEPAGE);
	if (ioctl(uffd, UFFDIO_API, &api) < 0)
		lz_bench_die("UFFDIO_API");
	must("pid", restorer_say(sock, pid));
	must("userfaultfd", restorer_give(sock, uffd));
	if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		lz_bench_die("UFFDIO_REGISTER");
	close(uffd);
}

/* The @n-th page of a thread that has @share pages, counted from its first. */
static uint64_t page_of(uint64_t n, uint64_t share, uint64_t *random)
{
	if (run.order == RANDOM)
		return lz_bench_random(random) % share;
	return n * (run.order == STRIDED ? STRIDE : 1);
}

/* What is there already is no fault; that it is asked is not timed. */
static void *touch(void *arg)
{
	uint64_t number = (uint64_t)((struct lz_bench_samples **)arg - samples);
	uint64_t share = run.len / LZ_BENCH_PAGE / run.threads, random = number + 1;
	uint64_t from = run.base + number % run.threads * share * LZ_BENCH_PAGE;
	struct lz_bench_samples *own = samples[number];

	for (uint64_t n = 0; n < own->max; n++) {
		void *at = (void *)(uintptr_t)(from + page_of(n, share, &random) * LZ_BENCH_PAGE);
		unsigned char present = 0;
		uint64_t begun;

		mincore(at, LZ_BENCH_PAGE, &present);
		begun = lz_bench_now_ns();
		lz_bench_use(*(volatile uint8_t *)at);
		if (!(present & 1))
			lz_bench_samples_add(own, lz_bench_now_ns() - begun);
	}
	return NULL;
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s))
		continue;
}

static _Noreturn void be_task(uint32_t number, int sock)
{
	pthread_t thread[THREADS_MAX];

	/* Whoever ends the stand-in ends its tasks. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hand_over(sock, run.pid + (int32_t)number);
	close(sock);
	sem_post(&stage->done);
	wait_for(&stage->touch);
	for (uint32_t t = 0; t < run.threads; t++)
		if (pthread_create(&thread[t], NULL, touch, &samples[number * run.threads + t]))
			lz_bench_die("pthread_create");
	for (uint32_t t = 0; t < run.threads; t++)
		pthread_join(thread[t], NULL);
	sem_post(&stage->done);
	wait_for(&stage->leave);
	if (run.unmap)
		munmap((void *)(uintptr_t)run.base, run.len);
	sem_post(&stage->done);
	for (;;)
		pause();
}

/* All tasks are told to go on, and have done so. */
static void all(sem_t *next)
{
	for (uint32_t n = 0; n < run.processes; n++)
		sem_post(next);
	for (uint32_t n = 0; n < run.processes; n++)
		wait_for(&stage->done);
}

static void say_touched(uint64_t ns)
{
	struct lz_bench_samples *sum = lz_bench_samples_new(run.touches + 1);

	for (uint32_t t = 0; t < run.processes * run.threads; t++)
		for (size_t n = 0; n < samples[t]->nr; n++)
			lz_bench_samples_add(sum, samples[t]->ns[n]);
	/* The line begins with what is waited for. */
	printf("touched ");
	lz_bench_line("faults", sum,
		      "order=%s threads=%u processes=%u sweep=%d touched=%llu touch_ns=%llu",
		      order_name[run.order], run.threads, run.processes, run.first,
		      (unsigned long long)run.touches, (unsigned long long)ns);
}

static void wait_for_line(void)
{
	for (int c = getchar(); c != '\n' && c != EOF;)
		c = getchar();
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "p:b:l:P:T:t:o:su")) >= 0) {
		if (c == 'p')
			run.pid = (int32_t)lz_bench_number(optarg, 1, INT32_MAX - PROCESSES_MAX);
		else if (c == 'b')
			run.base = lz_bench_number(optarg, 1 << 16, UINT64_C(1) << 46);
		else if (c == 'l')
			run.len = lz_bench_number(optarg, LZ_BENCH_PAGE, UINT64_C(1) << 46);
		else if (c == 'P')
			run.processes = (uint32_t)lz_bench_number(optarg, 1, PROCESSES_MAX);
		else if (c == 'T')
			run.threads = (uint32_t)lz_bench_number(optarg, 1, THREADS_MAX);
		else if (c == 't')
			run.touches = lz_bench_number(optarg, 0, 1 << 30);
		else if (c == 's')
			run.first = true;
		else if (c == 'u')
			run.unmap = true;
		else if (c == 'o')
			for (run.order = RANDOM; run.order < NR_ORDERS; run.order++)
				if (!strcmp(optarg, order_name[run.order]))
					break;
		if (!strchr("pblPTtosu", c) || run.order == NR_ORDERS) {
			fputs(usage, stderr);
			exit(2);
		}
	}
}

/* As many touches for each thread, of a share of the pages that is its own. */
static void prepare(void)
{
	uint64_t all_threads = run.processes * run.threads, each = run.touches / all_threads;

	if (each * (run.order == STRIDED ? STRIDE : 1) > run.len / LZ_BENCH_PAGE / run.threads) {
		fputs("restorer_standin: more touches than pages\n", stderr);
		exit(2);
	}
	run.touches = each * all_threads;
	stage = lz_bench_shared(sizeof(*stage));
	if (sem_init(&stage->done, 1, 0) || sem_init(&stage->touch, 1, 0) ||
	    sem_init(&stage->leave, 1, 0))
		lz_bench_die("sem_init");
	for (uint64_t t = 0; t < all_threads; t++)
		samples[t] = lz_bench_samples_new(each);
}

int main(int argc, char **argv)
{
	uint64_t begun;
	int sock;

	parse(argc, argv);
	prepare();
	sock = must("lazy-pages.socket", restorer_connect());
	for (uint32_t n = 0; n < run.processes; n++) {
		pid_t pid = fork();

		if (pid < 0)
			lz_bench_die("fork");
		if (pid == 0)
			be_task(n, sock);
		wait_for(&stage->done);
	}
	if (run.first)
		must("finished", restorer_say(sock, RESTORER_FINISHED));
	begun = lz_bench_now_ns();
	all(&stage->touch);
	say_touched(lz_bench_now_ns() - begun);
	wait_for_line();
	all(&stage->leave);
	if (!run.first)
		must("finished", restorer_say(sock, RESTORER_FINISHED));
	close(sock);
	puts("finished");
	fflush(stdout);
	wait_for_line();
	return 0;
}
