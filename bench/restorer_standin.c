/* SPDX-License-Identifier: MIT */
/*
 * Stands in for `criu restore --lazy-pages` where images were made and not dumped: one process,
 * restorer and task at once, that maps an area, hands its userfaultfd to the daemon in the way and
 * with the messages of CRIU, and reads pages of it.
 */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"

static const char usage[] =
	"restorer_standin [-p pid] [-b base] [-l bytes] [-t touches] [-u]   in the work directory\n"
	"-p  the task's, as in the images  -t  pages read at random before the restore is finished\n"
	"-u  what was not read is unmapped then, so that there is nothing to sweep\n"
	"Says `touched` then, waits for a line of its standard input, finishes the restore, says\n"
	"`finished`, and lives until the next line.\n";

struct run {
	int32_t pid;
	uint64_t base, len, touches;
	bool unmap;
};

static int connect_to_daemon(void)
{
	static const char name[] = "lazy-pages.socket";
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, name, sizeof(name) - 1);
	if (sock < 0 ||
	    connect(sock, (void *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1)) < 0)
		lz_bench_die(name);
	return sock;
}

static void say(int sock, const void *bytes, size_t len)
{
	if (send(sock, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		lz_bench_die("send");
}

/* The descriptor goes before anything is registered: as CRIU does it. */
static void hand_over(const struct run *run, int sock)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE |
					      UFFD_FEATURE_EVENT_UNMAP };
	struct uffdio_register reg = { .range = { run->base, run->len },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *want = (void *)(uintptr_t)run->base;
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		lz_bench_skip("userfaultfd");
	if (mmap(want, run->len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != want)
		lz_bench_die("mmap");
	madvise(want, run->len, MADV_NOHUGEPAGE);
	if (ioctl(uffd, UFFDIO_API, &api) < 0)
		lz_bench_die("UFFDIO_API");
	say(sock, &run->pid, sizeof(run->pid));
	lz_bench_send(sock, dup(uffd));
	if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		lz_bench_die("UFFDIO_REGISTER");
	close(uffd);
}

static void parse(struct run *run, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "p:b:l:t:u")) >= 0) {
		if (c == 'p')
			run->pid = (int32_t)lz_bench_number(optarg, 1, INT32_MAX);
		else if (c == 'b')
			run->base = lz_bench_number(optarg, 1 << 16, UINT64_C(1) << 46);
		else if (c == 'l')
			run->len = lz_bench_number(optarg, LZ_BENCH_PAGE, UINT64_C(1) << 46);
		else if (c == 't')
			run->touches = lz_bench_number(optarg, 0, 1 << 30);
		else if (c == 'u')
			run->unmap = true;
		else {
			fputs(usage, stderr);
			exit(2);
		}
	}
}

static void wait_for_line(const char *said)
{
	printf("%s\n", said);
	fflush(stdout);
	for (int c = getchar(); c != '\n' && c != EOF;)
		c = getchar();
}

int main(int argc, char **argv)
{
	static const uint32_t finished = 0x52535446;
	struct run run = { .pid = 1000, .base = UINT64_C(0x10000000000), .len = 1 << 30 };
	uint64_t seed = 1;
	int sock;

	parse(&run, argc, argv);
	sock = connect_to_daemon();
	hand_over(&run, sock);
	for (uint64_t i = 0; i < run.touches; i++) {
		uint64_t page = lz_bench_random(&seed) % (run.len / LZ_BENCH_PAGE);

		lz_bench_use(*(volatile uint8_t *)(uintptr_t)(run.base + page * LZ_BENCH_PAGE));
	}
	wait_for_line("touched");
	if (run.unmap)
		munmap((void *)(uintptr_t)run.base, run.len);
	say(sock, &finished, sizeof(finished));
	close(sock);
	wait_for_line("finished");
	return 0;
}
