/* SPDX-License-Identifier: MIT */
/*
 * set FIFO SIZE_MB PART GO: one area of memory. From the moment that the file GO is there, for
 * which it looks every millisecond, it reads one page in PART of it, in a random order that is
 * always the same, compares every byte, and says how long that took. So it begins as soon as it is
 * restored, where the file is there by then. "absent" in the result is how many of all pages had
 * not arrived at the end.
 */
#include "common.h"

#include <time.h>
#include <unistd.h>

enum { SEED = 6, ORDER = 9 };

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct work_order order;
	unsigned char *area;
	uint64_t pages, touched, t0;

	if (argc != 5)
		return 2;
	pages = work_number(argv[2], 1, 1 << 20) << 8;
	touched = pages / work_number(argv[3], 1, 1 << 20);
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	area = work_area(pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(SEED, p));

	work_say("ready %d %llu pages", (int)getpid(), (unsigned long long)pages);

	while (access(argv[4], F_OK))
		(void)nanosleep(&pause, NULL);
	work_order_init(&order, pages, ORDER);
	t0 = work_ns();
	for (uint64_t i = 0; i < touched; i++) {
		uint64_t p = work_order_next(&order);

		work_expect(area + p * WORK_PAGE, work_token(SEED, p), p, "read");
	}
	t0 = work_ns() - t0;
	work_say("ok pages=%llu touched=%llu set_us=%llu absent=%llu", (unsigned long long)pages,
		 (unsigned long long)touched, (unsigned long long)(t0 / 1000),
		 (unsigned long long)work_absent(area, pages));
	return 0;
}
