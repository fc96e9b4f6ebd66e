/* SPDX-License-Identifier: MIT */
/*
 * A task that does everything at once and at random, beside a model of what it must see. The
 * addresses, the room behind the memory included, are dealt with in blocks of pages, so that every
 * block lies in one area whatever has happened to it. The last quarter of the image is left alone:
 * threads read it meanwhile.
 */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/live/live.h"

enum {
	BLOCK = 8,
	PAGES = 8192,
	SLOTS = 2 * PAGES,
	QUIET = PAGES / 4 * 3, /* from here on only the threads look */
	OPS = 4000,
	OPS_CHILD = 300,
	CHILDREN = 4,
	DEPTH = 3,
	THREADS = 2,
	WRITTEN = 1 << 24,
};
static const uint32_t UNMAPPED = UINT32_MAX;

struct storm {
	struct live *l;
	uint64_t seed;
	unsigned depth;
	pid_t child[CHILDREN];
	unsigned next_child;
	uint32_t nr_written;
	uint32_t code[SLOTS]; /* what each page holds */
};

static uint64_t below(struct storm *s, uint64_t n)
{
	return live_random(&s->seed) % n;
}

/* A block that may be played with. */
static uint64_t some_block(struct storm *s)
{
	uint64_t block = below(s, (QUIET + SLOTS - PAGES) / BLOCK) * BLOCK;

	return block < QUIET ? block : block + PAGES - QUIET;
}

static void look(struct storm *s, uint64_t page)
{
	if (s->code[page] != UNMAPPED)
		live_expect(s->l, page, s->code[page]);
}

static void write_page(struct storm *s, uint64_t page)
{
	if (s->code[page] == UNMAPPED)
		return;
	s->code[page] = WRITTEN + s->nr_written++;
	live_write(live_at(s->l, page), s->code[page]);
}

/* Nothing there any more, and yet kept from what is mapped without an address. */
static void reserve(struct storm *s, uint64_t block)
{
	void *at = live_at(s->l, block);

	LIVE_CHECK(s->l,
		   mmap(at, BLOCK * LIVE_PAGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == at);
	memset(s->code + block, 0xff, BLOCK * sizeof(*s->code));
}

static void give_back(struct storm *s, uint64_t block)
{
	uint64_t first = block + below(s, BLOCK), nr = 1 + below(s, block + BLOCK - first);

	if (s->code[block] == UNMAPPED)
		return;
	LIVE_CHECK(s->l, madvise(live_at(s->l, first), nr * LIVE_PAGE, MADV_DONTNEED) == 0);
	memset(s->code + first, 0, nr * sizeof(*s->code));
}

static void move(struct storm *s, uint64_t from, uint64_t to)
{
	size_t len = BLOCK * LIVE_PAGE;

	if (s->code[from] == UNMAPPED || from == to)
		return;
	LIVE_CHECK(s->l, mremap(live_at(s->l, from), len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
				live_at(s->l, to)) == live_at(s->l, to));
	memcpy(s->code + to, s->code + from, BLOCK * sizeof(*s->code));
	reserve(s, from);
}

/* Every @nth page, not in order. */
static void look_around(struct storm *s, uint64_t nth)
{
	for (uint64_t i = 0; i < SLOTS; i += nth)
		look(s, i * 5 % SLOTS);
}

static void run(struct storm *s, unsigned nr_ops);

static void fork_one(struct storm *s)
{
	pid_t *child = &s->child[s->next_child++ % CHILDREN];

	if (s->depth == DEPTH)
		return;
	if (*child)
		live_wait(s->l, *child);
	*child = live_fork(s->l, NULL);
	if (*child)
		return;
	s->depth++;
	s->seed += s->depth * 7919 + s->next_child;
	memset(s->child, 0, sizeof(s->child));
	run(s, OPS_CHILD);
	look_around(s, 7);
	_exit(0);
}

static void run(struct storm *s, unsigned nr_ops)
{
	while (nr_ops--) {
		uint64_t what = below(s, 100), block = some_block(s);

		if (what < 40)
			look(s, block + below(s, BLOCK));
		else if (what < 60)
			write_page(s, block + below(s, BLOCK));
		else if (what < 75)
			give_back(s, block);
		else if (what < 96)
			move(s, block, some_block(s));
		else if (what < 98)
			reserve(s, block);
		else if (nr_ops % 4 == 0)
			fork_one(s);
	}
	for (unsigned i = 0; i < CHILDREN; i++)
		if (s->child[i])
			live_wait(s->l, s->child[i]);
}

static void *look_quietly(void *arg)
{
	struct live *l = arg;

	live_expect_image(l, QUIET, PAGES);
	return NULL;
}

void live_storm(struct live *l)
{
	static struct storm s;
	pthread_t thread[THREADS];

	LIVE_CHECK(l, l->nr_pages == PAGES);
	s.l = l;
	s.seed = l->seed;
	for (uint64_t i = 0; i < SLOTS; i++)
		s.code[i] = i < PAGES ? (uint32_t)live_code(i) : UNMAPPED;
	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_create(&thread[i], NULL, look_quietly, l) == 0);
	run(&s, OPS);
	for (int i = 0; i < THREADS; i++)
		LIVE_CHECK(l, pthread_join(thread[i], NULL) == 0);
	look_around(&s, 1);
}

/* ---- blocks that change places ---- */

enum { SHUFFLED = 32768, LARGE_BLOCK = 2048, LARGE_BLOCKS = SHUFFLED / LARGE_BLOCK, SWAPS = 1000 };

static void move_large(struct live *l, uint64_t from, uint64_t to)
{
	size_t len = LARGE_BLOCK * LIVE_PAGE;

	LIVE_CHECK(l,
		   mremap(live_at(l, from * LARGE_BLOCK), len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  live_at(l, to * LARGE_BLOCK)) == live_at(l, to * LARGE_BLOCK));
}

/*
 * The task touches nothing, so that copiers are at work, and what lies somewhere is elsewhere a
 * moment later. A page that is placed where it was would be another's.
 */
static void shuffle(struct live *l)
{
	uint64_t place[LARGE_BLOCKS], seed = l->seed;

	LIVE_CHECK(l, l->nr_pages == SHUFFLED);
	for (uint64_t i = 0; i < LARGE_BLOCKS; i++)
		place[i] = i;
	for (int n = 0; n < SWAPS; n++) {
		uint64_t a = live_random(&seed) % LARGE_BLOCKS,
			 b = live_random(&seed) % LARGE_BLOCKS;
		uint64_t from = place[a];

		for (uint64_t wait = live_random(&seed) % 100000; wait; wait--)
			__asm__ volatile("");
		if (a == b)
			continue;
		move_large(l, a, LARGE_BLOCKS);
		move_large(l, b, a);
		move_large(l, LARGE_BLOCKS, b);
		place[a] = place[b];
		place[b] = from;
	}
	for (uint64_t i = 0; i < SHUFFLED; i++)
		live_expect(l, i,
			    live_code(place[i / LARGE_BLOCK] * LARGE_BLOCK + i % LARGE_BLOCK));
}

/* Does not return. */
static void hog(struct live *l)
{
	(void)l;
	for (;;)
		__asm__ volatile("");
}

/* How many there are, now run only while nobody else wants to. */
static unsigned slow_down_copiers(struct live *l, const cpu_set_t *cpu)
{
	const struct sched_param none = { 0 };
	DIR *dir = opendir("/proc/self/task");
	unsigned nr = 0;
	struct dirent *d;

	LIVE_CHECK(l, dir);
	while ((d = readdir(dir))) {
		char path[300], name[32] = "";
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f || !fgets(name, sizeof(name), f) || strcmp(name, "lazyd-copier\n") != 0)
			tid = 0;
		if (f)
			(void)fclose(f);
		if (!tid)
			continue;
		LIVE_CHECK(l, !sched_setscheduler(tid, SCHED_IDLE, &none));
		LIVE_CHECK(l, !sched_setaffinity(tid, sizeof(*cpu), cpu));
		nr++;
	}
	(void)closedir(dir);
	return nr;
}

/* With copiers that get at what they are given late, or never: it must be taken back in time. */
static void serve_with_slow_copiers(struct live *l)
{
	cpu_set_t all, one;
	pid_t pid;

	live_begin(l, NULL);
	LIVE_CHECK(l, !sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	for (size_t i = 0; !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	pid = live_fork(l, hog);
	LIVE_CHECK(l, !sched_setaffinity(pid, sizeof(one), &one));
	while (slow_down_copiers(l, &one) <
	       LAZYD_COPIERS_MAX) /* they take their name when they run */
		;
	live_task(l);
	live_attach(l);
	live_start(l);
	live_fill(l);
	live_end(l, 0);
	LIVE_CHECK(l, !kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid);
}

const struct live_case live_cases_storm[] = {
	{ "storm/shuffled", SHUFFLED, 0, shuffle, live_serve_sweeping },
	{ "storm/shuffled-copiers", SHUFFLED, LIVE_COPIERS, shuffle, live_serve_sweeping },
	{ "storm/shuffled-slow-copiers", SHUFFLED, LIVE_COPIERS, shuffle, serve_with_slow_copiers },
	{ "storm/faults", PAGES, LIVE_FORK, live_storm, live_serve_faults },
	{ "storm/sweeping", PAGES, LIVE_FORK, live_storm, live_serve_sweeping },
	{ NULL, 0, 0, NULL, NULL },
};
