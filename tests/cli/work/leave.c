/* SPDX-License-Identifier: MIT */
/*
 * leave FIFO SIZE_MB: a process that executes another program while its memory is still to come.
 * When told to go on, a second thread says "reading" and reads the whole area from its end; told
 * once more, the first executes "leave FIFO", which says so and ends.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SEED = 5 };

static unsigned char *area;
static uint64_t pages;

static void *reader(void *arg)
{
	work_say("reading");
	for (uint64_t p = pages; p--;)
		work_expect(area + p * WORK_PAGE, work_token(SEED, p), p, "read");
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 2 || argc > 3)
		return 2;
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	if (argc == 2) {
		work_say("ok executed");
		return 0;
	}
	/* Only the area is lazy: what an exec wants of this process is here. */
	if (mlockall(MCL_CURRENT))
		work_bad("mlockall: %s", strerror(errno));
	pages = work_number(argv[2], 1, 1 << 12) << 8;
	area = work_area(pages);
	for (uint64_t p = 0; p < pages; p++)
		work_write(area + p * WORK_PAGE, work_token(SEED, p));
	work_ready("%llu pages", (unsigned long long)pages);
	if (pthread_create(&thread, NULL, reader, NULL))
		work_bad("no thread");
	work_wait_go();
	execl("/proc/self/exe", argv[0], argv[1], (char *)NULL);
	work_bad("exec: %s", strerror(errno));
}
