/* SPDX-License-Identifier: MIT */
/*
 * bus FIFO SIZE_MB: for pages whose bytes are lost. Everything but one area is locked, so only that
 * area is restored lazily; its first bytes are told in hex when ready, so that a test can find it
 * in the image. When told to go on, all pages are read in random order: those that raise SIGBUS are
 * reported as ranges, every other one must hold its bytes. A page that raised it once must do so
 * again.
 */
#include "common.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { SEED = 3, MOST_PAGES = 1 << 18 };

static sigjmp_buf back;
static volatile sig_atomic_t reading;
static void *volatile bus_at;
static unsigned char lost[MOST_PAGES];

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	bus_at = info->si_addr;
	if (!reading)
		work_bad("signal %d outside of the area, at %p", sig, info->si_addr);
	siglongjmp(back, 1);
}

/* True: the page was read, and it is right. False: it raised SIGBUS. */
static bool read_page(const unsigned char *page, uint64_t number)
{
	if (sigsetjmp(back, 1)) {
		reading = 0;
		if ((const unsigned char *)bus_at < page ||
		    (const unsigned char *)bus_at >= page + WORK_PAGE)
			work_bad("SIGBUS of page %llu names the address %p, page is at %p",
				 (unsigned long long)number, bus_at, (const void *)page);
		return false;
	}
	reading = 1;
	work_expect(page, work_token(SEED, number), number, "read");
	reading = 0;
	return true;
}

static void report(uint64_t pages, uint64_t count)
{
	char text[512] = " ranges=";
	size_t n = strlen(text);
	uint64_t first, p = 0;

	while (p < pages && n < sizeof(text) - 64) {
		if (!lost[p]) {
			p++;
			continue;
		}
		for (first = p; p < pages && lost[p]; p++)
			continue;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%llu-%llu,",
				      (unsigned long long)first, (unsigned long long)p - 1);
	}
	work_say("ok pages=%llu lost=%llu%s", (unsigned long long)pages, (unsigned long long)count,
		 text);
}

int main(int argc, char **argv)
{
	struct sigaction bus = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	struct work_order order;
	unsigned char *area;
	uint64_t pages, first, count = 0;

	if (argc != 3)
		return 2;
	pages = work_number(argv[2], 1, MOST_PAGES >> 8) << 8;
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	sigaction(SIGBUS, &bus, NULL);
	/* Locked memory is not lazy: neither the stack nor the bytes of libraries can be lost. */
	if (mlockall(MCL_CURRENT))
		work_bad("mlockall: %s", strerror(errno));
	area = work_area(pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(SEED, p));
	memcpy(&first, area, sizeof(first));

	work_ready("%016llx", (unsigned long long)__builtin_bswap64(first));

	work_order_init(&order, pages, 9);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t p = work_order_next(&order);

		lost[p] = !read_page(area + p * WORK_PAGE, p);
		count += lost[p];
	}
	for (uint64_t p = 0; p < pages; p++)
		if (lost[p] && read_page(area + p * WORK_PAGE, p))
			work_bad("page %llu raised SIGBUS once, and then not",
				 (unsigned long long)p);
	report(pages, count);
	return 0;
}
