/* SPDX-License-Identifier: MIT */
/*
 * sparse FIFO SIZE_MB HOLE_GB: an area as that of `fill` and one of HOLE_GB at a fixed address that
 * is never written: a test puts pages of zeros for it into the image. When told to go on, all of
 * the first is read in random order. Told by SIGUSR2 before, all of the second is read too; else it
 * is unmapped first.
 */
#include "common.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { SEED = 4 };
/* Below everything else, so that its pages come first in the image. */
static void *const hole_at = (void *)0x10000000000;

int main(int argc, char **argv)
{
	struct work_order order;
	unsigned char *area, *hole;
	uint64_t pages, hole_pages, absent, t0;
	sigset_t set;

	if (argc != 4)
		return 2;
	pages = work_number(argv[2], 1, 1 << 16) << 8;
	hole_pages = work_number(argv[3], 1, 1 << 10) << 18;
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	hole = mmap(hole_at, hole_pages * WORK_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (hole != hole_at)
		work_bad("mmap: %s", strerror(errno));
	madvise(hole, hole_pages * WORK_PAGE, MADV_NOHUGEPAGE);
	area = work_area(pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(SEED, p));

	work_ready("%llu pages", (unsigned long long)pages);

	sigpending(&set);
	if (!sigismember(&set, SIGUSR2)) {
		munmap(hole, hole_pages * WORK_PAGE);
		hole_pages = 0;
	}
	absent = work_absent(area, pages);
	t0 = work_ns();
	work_order_init(&order, pages, 8);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t p = work_order_next(&order);

		work_expect(area + p * WORK_PAGE, work_token(SEED, p), p, "read");
	}
	for (uint64_t p = 0; p < hole_pages; p++)
		work_expect(hole + p * WORK_PAGE, 0, p, "hole");
	work_say("ok pages=%llu hole_pages=%llu absent=%llu verify_ms=%llu",
		 (unsigned long long)pages, (unsigned long long)hole_pages,
		 (unsigned long long)absent, (unsigned long long)((work_ns() - t0) / 1000000));
	return 0;
}
