/* SPDX-License-Identifier: MIT */
/*
 * tree FIFO SIZE_MB: five processes, each with memory of its own:
 *
 *	0 -- 1 -- 2 -- 3
 *	 `-- 4
 *
 * When told to go on, each forks while its memory is still arriving: a child that reads all of it
 * and forks a grandchild that reads half of it, one that exits at once, one that exits half-way
 * through. Processes 3 and 4 end as soon as they have read their own; the others wait for everybody
 * below them. Each compares every byte that it reads.
 */
#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_EARLY = 40, EXIT_HALF = 41 };

static unsigned char *area;
static uint64_t pages, self;

static void read_some(uint64_t count, uint64_t seed, const char *when)
{
	struct work_order order;

	work_order_init(&order, pages, seed);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t p = work_order_next(&order);

		work_expect(area + p * WORK_PAGE, work_token(10 + self, p), p, when);
	}
}

static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		work_bad("fork: %s", strerror(errno));
	return pid;
}

static void fork_and_read(void)
{
	pid_t full, early, half, inner;

	full = fork_or_die();
	if (full == 0) {
		inner = fork_or_die();
		if (inner == 0) {
			read_some(pages / 2, 3, "grandchild");
			_exit(0);
		}
		read_some(pages, 4, "child");
		work_expect_exit(inner, 0);
		_exit(0);
	}
	early = fork_or_die();
	if (early == 0)
		_exit(EXIT_EARLY);
	half = fork_or_die();
	if (half == 0) {
		read_some(pages / 2, 5, "half child");
		_exit(EXIT_HALF);
	}
	for (uint64_t p = pages; p-- > 0;)
		work_expect(area + p * WORK_PAGE, work_token(10 + self, p), p, "own");
	work_expect_exit(early, EXIT_EARLY);
	work_expect_exit(half, EXIT_HALF);
	work_expect_exit(full, 0);
}

/* The whole life of process `number`. */
static void be(uint64_t number) __attribute__((noreturn));
static void be(uint64_t number)
{
	static const signed char children[5][2] = {
		{ 1, 4 }, { 2, -1 }, { 3, -1 }, { -1, -1 }, { -1, -1 }
	};
	uint64_t absent, t0;
	pid_t below[2];
	int count = 0;

	self = number;
	area = work_area(pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(10 + self, p));
	while (count < 2 && children[number][count] >= 0) {
		below[count] = work_child();
		if (below[count] == 0) {
			munmap(area, pages * WORK_PAGE);
			be((uint64_t)children[number][count]);
		}
		count++;
	}
	work_ready("5 processes of %llu pages", (unsigned long long)pages);

	t0 = work_ns();
	absent = work_absent(area, pages);
	for (int i = 0; i < count; i++)
		work_wake(below[i]);
	if (count == 0)
		read_some(pages, 6, "leaf");
	else
		fork_and_read();
	for (int i = 0; i < count; i++)
		work_expect_exit(below[i], 0);
	if (number == 0)
		work_say("ok processes=5 forks=12 pages=%llu absent=%llu verify_ms=%llu",
			 (unsigned long long)(5 * pages), (unsigned long long)absent,
			 (unsigned long long)((work_ns() - t0) / 1000000));
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	pages = work_number(argv[2], 1, 1 << 16) << 8;
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	be(0);
}
