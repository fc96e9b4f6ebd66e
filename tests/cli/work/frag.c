/* SPDX-License-Identifier: MIT */
/*
 * frag FIFO PAGES: every second page of an area twice as large is populated, so that an image of it
 * has as many ranges as pages. When told to go on, all are read in random order: the populated ones
 * must hold their bytes and the holes between them zeros.
 */
#include "common.h"

enum { SEED = 2 };

int main(int argc, char **argv)
{
	struct work_order order;
	unsigned char *area;
	uint64_t pages, absent, t0;

	if (argc != 3)
		return 2;
	pages = work_number(argv[2], 1, 1 << 28);
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	area = work_area(2 * pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + 2 * p * WORK_PAGE, work_token(SEED, p));

	work_ready("%llu pages", (unsigned long long)pages);

	absent = work_absent(area, 2 * pages) - pages;
	t0 = work_ns();
	work_order_init(&order, 2 * pages, 5);
	for (uint64_t i = 0; i < 2 * pages; i++) {
		uint64_t p = work_order_next(&order);

		if (p & 1)
			work_expect(area + p * WORK_PAGE, 0, p, "hole");
		else
			work_expect(area + p * WORK_PAGE, work_token(SEED, p / 2), p, "page");
	}
	work_say("ok pages=%llu holes=%llu absent=%llu verify_ms=%llu", (unsigned long long)pages,
		 (unsigned long long)pages, (unsigned long long)absent,
		 (unsigned long long)((work_ns() - t0) / 1000000));
	return 0;
}
