/* SPDX-License-Identifier: MIT */
/*
 * storm FIFO SIZE_MB OPERATIONS [SEED [PROCESSES [NAME,NAME...]]]: a process that changes the
 * layout of its lazy memory without end, while a second thread reads another area that stays where
 * it is. The storm happens in a window of addresses four times as large as what is populated, so
 * that addresses are used again and again, also by memory moved onto memory that is still there. A
 * flat model says of every page of the window what it must hold: nothing mapped, zeros, or the
 * bytes of a token. Forked children (and theirs) read and change their copy under their copy of the
 * model. At the end every page is compared. PROCESSES are dumped, each the child of the one before
 * it and with a storm and SIZE_MB of its own; the first one tells what they and all their children
 * have done, and the longest that one access and one operation took. The names pick operations (see
 * the table), to find out which one hurts.
 */
#include "storm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_PROCESSES = 9, MOST_CHILDREN = 3, MOST_DEPTH = 2 };

static unsigned char *still;
static uint64_t start_pages, still_pages;
static unsigned int depth, children;
static atomic_bool stop_reading;

static void run(uint64_t operations);

static void compare_all(const char *when)
{
	struct work_order order;

	work_order_init(&order, window_pages, work_rand(&rnd));
	for (uint64_t i = 0; i < window_pages; i++) {
		uint64_t page = work_order_next(&order);

		if (model[page] != UNMAPPED)
			expect(page_at(page), model[page], page, when);
		else if (depth == 0 && is_mapped(page))
			work_bad("%s: page %llu is mapped and should not be", when,
				 (unsigned long long)page);
	}
}

static void reap(int flags)
{
	int status;
	pid_t pid;

	while (children > 0) {
		pid = waitpid(-1, &status, flags);
		if (pid == 0)
			return;
		if (pid < 0)
			work_bad("waitpid: %s", strerror(errno));
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			work_bad("child %d ended with status 0x%x", (int)pid, (unsigned int)status);
		children--;
	}
}

static void op_fork(void)
{
	pid_t pid;

	reap(WNOHANG);
	if (depth >= MOST_DEPTH || children >= MOST_CHILDREN)
		return;
	pid = fork();
	if (pid < 0)
		work_bad("fork: %s", strerror(errno));
	if (pid > 0) {
		children++;
		return;
	}
	/* The storm must not outlive its parent when a test ends it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	depth++;
	children = 0;
	rnd ^= (uint64_t)getpid() << 32;
	next_token = (uint64_t)getpid() << 32;
	switch (below(4)) {
	case 0:
		_exit(0);
	case 1:
		compare_all("child");
		break;
	default:
		run(200);
		if (below(2))
			compare_all("child");
	}
	reap(0);
	_exit(0);
}

static struct {
	const char *name;
	void (*run)(void);
	unsigned int weight;
} table[] = {
	{ "move", op_move, 12 },   { "resize", op_resize, 6 }, { "onto", op_onto, 4 },
	{ "leave", op_leave, 4 },  { "shrink", op_shrink, 6 }, { "grow", op_grow, 10 },
	{ "unmap", op_unmap, 8 },  { "map", op_map, 8 },       { "drop", op_drop, 8 },
	{ "split", op_split, 12 }, { "join", op_join, 4 },     { "write", op_write, 12 },
	{ "read", op_read, 30 },   { "fork", op_fork, 1 },
};

enum { TABLE = sizeof(table) / sizeof(table[0]) };

static void run(uint64_t operations)
{
	unsigned int total = 0;

	for (unsigned int i = 0; i < TABLE; i++)
		total += table[i].weight;
	while (operations-- > 0) {
		uint64_t at = below(total), t0;
		unsigned int i = 0;

		while (at >= table[i].weight)
			at -= table[i++].weight;
		t0 = work_ns();
		table[i].run();
		note_longest(&seen->operation_ns, work_ns() - t0);
		seen->done[i]++;
	}
}

static void choose(char *names)
{
	bool wanted[TABLE] = { false };

	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		unsigned int i = 0;

		while (i < TABLE && strcmp(table[i].name, name))
			i++;
		if (i == TABLE)
			exit(2);
		wanted[i] = true;
	}
	for (unsigned int i = 0; i < TABLE; i++)
		if (!wanted[i])
			table[i].weight = 0;
}

static void *read_still(void *arg)
{
	uint64_t state = 99;

	(void)arg;
	while (!atomic_load(&stop_reading)) {
		uint64_t p = work_rand(&state) % still_pages;

		expect(still + p * WORK_PAGE, token_of(SEED_STILL, p), p, "still area");
		seen->reads++;
	}
	return NULL;
}

/* The window, the model of it and the still area, as they are at the dump. */
static void populate(void)
{
	window_pages = 4 * start_pages;
	still_pages = start_pages / 4;
	model = work_area(window_pages * sizeof(*model) / WORK_PAGE);
	set(0, window_pages, UNMAPPED);
	if (mmap(page_at(start_pages), start_pages * WORK_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != page_at(start_pages))
		work_bad("cannot map in the window");
	madvise(page_at(start_pages), start_pages * WORK_PAGE, MADV_NOHUGEPAGE);
	/* Every 61st page is never touched before the dump: a hole in the image. */
	for (uint64_t p = start_pages; p < 2 * start_pages; p++) {
		model[p] = p % 61 ? token_of(SEED, p) : 0;
		if (model[p])
			work_write(page_at(p), model[p]);
	}
	still = work_area(still_pages);
	for (uint64_t p = 0; p < still_pages; p++)
		work_write(still + p * WORK_PAGE, token_of(SEED_STILL, p));
}

static void tell(uint64_t absent, uint64_t storm_ns, uint64_t verify_ns)
{
	char text[1024];
	int n = 0;

	for (unsigned int i = 0; i < TABLE; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s=%llu", table[i].name,
			      atomic_load(&seen->done[i]));
	work_say("ok absent=%llu storm_ms=%llu verify_ms=%llu access_us=%llu operation_us=%llu "
		 "refused=%llu reads=%llu%s",
		 (unsigned long long)absent, (unsigned long long)(storm_ns / 1000000),
		 (unsigned long long)(verify_ns / 1000000), atomic_load(&seen->access_ns) / 1000,
		 atomic_load(&seen->operation_ns) / 1000, atomic_load(&seen->refused),
		 atomic_load(&seen->reads), text);
}

int main(int argc, char **argv)
{
	uint64_t operations, processes, absent, t0, storm_ns;
	pthread_t thread;
	pid_t next = 0;

	if (argc < 4 || argc > 7)
		return 2;
	start_pages = work_number(argv[2], 1, 1 << 16) << 8;
	operations = work_number(argv[3], 0, UINT32_MAX);
	rnd = argc > 4 ? work_number(argv[4], 0, UINT64_MAX) : 1;
	processes = argc > 5 ? work_number(argv[5], 1, MOST_PROCESSES) : 1;
	if (argc > 6)
		choose(argv[6]);
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	seen = mmap(NULL, WORK_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		work_bad("mmap: %s", strerror(errno));

	while (next == 0 && self + 1 < processes) {
		next = work_child();
		if (next == 0)
			self++;
		else
			children++;
	}
	rnd += self;
	populate();
	work_ready("%llu pages", (unsigned long long)(processes * (start_pages + still_pages)));
	if (next > 0)
		work_wake(next);

	absent = work_absent(page_at(start_pages), start_pages);
	t0 = work_ns();
	if (pthread_create(&thread, NULL, read_still, NULL))
		work_bad("no thread");
	run(operations);
	storm_ns = work_ns() - t0;
	reap(0);
	atomic_store(&stop_reading, true);
	pthread_join(thread, NULL);
	compare_all("at the end");
	for (uint64_t p = 0; p < still_pages; p++)
		expect(still + p * WORK_PAGE, token_of(SEED_STILL, p), p, "still area at the end");
	if (self == 0)
		tell(absent, storm_ns, work_ns() - t0);
	return 0;
}
