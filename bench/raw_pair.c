/* SPDX-License-Identifier: MIT */
/*
 * The ceiling over drains from a page server, and with -f the floor under its faults: a pair of
 * processes, one of which has the pages in the page cache and sends what is asked for, while the
 * other one asks, receives into a buffer and does UFFDIO_COPY, over the loopback device. No
 * protocol but offset and length, no second connection, nothing kept of what was asked.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/touch.h"

static const char usage[] = "raw_pair [-m MiB] [-r rounds] [-k KiB a piece]... [-d directory]\n"
			    "raw_pair -f " LZ_TOUCH_USAGE "         [-d directory] [-w us]\n"
			    "-d  where the pages file is made: its filesystem matters\n"
			    "-w  both ends look for so long before they sleep\n";
enum { PIECES_MAX = 8 };

struct request {
	uint64_t offset, len;
};

struct run {
	struct lz_touch touch;
	const char *dir;
	uint64_t piece[PIECES_MAX], look_ns;
	unsigned nr_pieces;
	bool faults;
	int file;
	const uint8_t *pages; /* the file's, for who sends from a mapping; NULL: by sendfile() */
};

/* All of @len; false where the other end has closed. It is looked for before it is waited for. */
static bool receive(const struct run *run, int sock, void *to, size_t len)
{
	uint64_t until = run->look_ns ? lz_bench_now_ns() + run->look_ns : 0;
	ssize_t n = -1;

	while (n < 0 && until) {
		n = recv(sock, to, len, MSG_DONTWAIT);
		if (n < 0 && (errno != EAGAIN || lz_bench_now_ns() > until))
			break;
		if (n < 0)
			sched_yield();
	}
	if (n < 0 || (n > 0 && (size_t)n < len)) {
		size_t have = n > 0 ? (size_t)n : 0;

		n = recv(sock, (uint8_t *)to + have, len - have, MSG_WAITALL);
		n = n > 0 ? n + (ssize_t)have : n;
	}
	if (n < 0)
		lz_bench_die("recv");
	return (size_t)n == len;
}

static void send_pages(const struct run *run, int sock, struct request r)
{
	off_t at = (off_t)r.offset;

	while (r.len) {
		ssize_t n = run->pages ? send(sock, run->pages + at, r.len, 0)
				       : sendfile(sock, run->file, &at, r.len);

		if (n <= 0)
			lz_bench_die("sending");
		at += run->pages ? n : 0;
		r.len -= (uint64_t)n;
	}
}

/* The other process, until its connection ends. */
static pid_t start_sender(const struct run *run, int *sock)
{
	int listener = lz_bench_listen();
	struct request r;
	pid_t pid;

	*sock = lz_bench_dial(listener);
	pid = fork();
	if (pid < 0)
		lz_bench_die("fork");
	if (pid == 0) {
		int own = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (own < 0)
			lz_bench_die("accept4");
		lz_bench_no_delay(own);
		close(*sock);
		while (receive(run, own, &r, sizeof(r)))
			send_pages(run, own, r);
		_exit(0);
	}
	close(listener);
	return pid;
}

static void end_sender(pid_t pid, int sock)
{
	close(sock);
	lz_bench_wait(pid);
}

static void ask(int sock, uint64_t offset, uint64_t len)
{
	struct request r = { offset, len };

	if (send(sock, &r, sizeof(r), 0) != sizeof(r))
		lz_bench_die("send");
}

static void drain(const struct run *run, uint64_t piece, const char *how)
{
	uint64_t bytes = (uint64_t)run->touch.pages * LZ_BENCH_PAGE, begun, ns;
	uint8_t *buffer = lz_bench_shared(piece);
	struct lz_bench_task t;
	int sock;
	pid_t sender;

	lz_bench_task_start(&t, bytes, NULL, NULL);
	sender = start_sender(run, &sock);
	begun = lz_bench_now_ns();
	ask(sock, 0, bytes);
	for (uint64_t at = 0; at < bytes; at += piece) {
		if (!receive(run, sock, buffer, piece))
			lz_bench_die("the sender has ended");
		if (lz_bench_copy(&t, t.base + at, buffer, piece) != piece)
			exit(3);
	}
	ns = lz_bench_now_ns() - begun;
	printf("name=raw_pair by=%s piece=%llu bytes=%llu ns=%llu mb_s=%llu\n", how,
	       (unsigned long long)piece, (unsigned long long)bytes, (unsigned long long)ns,
	       (unsigned long long)(bytes * 1000 / ns));
	fflush(stdout);
	end_sender(sender, sock);
	lz_bench_task_end(&t);
	munmap(buffer, piece);
}

/* ---- faults ---- */

static void answer_faults(const struct run *run, const struct lz_bench_task *t, int sock)
{
	uint8_t page[LZ_BENCH_PAGE];
	struct uffd_msg msg;

	while (read(t->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint64_t at = msg.arg.pagefault.address & ~(LZ_BENCH_PAGE - 1ULL);

		ask(sock, at - t->base, sizeof(page));
		if (!receive(run, sock, page, sizeof(page)))
			lz_bench_die("the sender has ended");
		lz_bench_copy(t, at, page, sizeof(page));
	}
}

/* Until the task has ended. */
static void serve(const struct run *run, const struct lz_bench_task *t, int sock)
{
	struct pollfd p[] = { { .fd = t->uffd, .events = POLLIN }, { .fd = t->sock } };

	for (;;) {
		uint64_t until = lz_bench_now_ns() + run->look_ns;
		int n;

		while (!(n = poll(p, 2, 0)) && lz_bench_now_ns() < until)
			sched_yield();
		if (!n)
			n = poll(p, 2, -1);
		if (n < 0)
			lz_bench_die("poll");
		if (p[0].revents & POLLIN)
			answer_faults(run, t, sock);
		else if (p[1].revents)
			return;
	}
}

static void faults(struct run *run)
{
	for (uint32_t i = 0; i < run->touch.rounds; i++) {
		struct lz_bench_task t;
		int sock;
		pid_t sender = start_sender(run, &sock);

		lz_touch_start(&run->touch, &t, i);
		lz_bench_task_go(&t);
		serve(run, &t, sock);
		lz_touch_end(&run->touch, &t);
		end_sender(sender, sock);
	}
	lz_touch_line(&run->touch, run->look_ns ? "raw_pair_looking" : "raw_pair_faults");
}

static void parse(struct run *run, int argc, char **argv)
{
	int c;

	lz_touch_init(&run->touch);
	while ((c = getopt(argc, argv, LZ_TOUCH_OPTIONS "d:m:k:w:f")) >= 0) {
		if (c == 'd')
			run->dir = optarg;
		else if (c == 'm')
			run->touch.pages = (uint32_t)lz_bench_number(optarg, 1, 1 << 16) << 8;
		else if (c == 'k' && run->nr_pieces < PIECES_MAX)
			run->piece[run->nr_pieces++] = lz_bench_number(optarg, 4, 1024) << 10;
		else if (c == 'w')
			run->look_ns = lz_bench_number(optarg, 0, 1000000) * 1000;
		else if (c == 'f')
			run->faults = true;
		else if (!lz_touch_option(&run->touch, c)) {
			fputs(usage, stderr);
			exit(2);
		}
	}
	lz_touch_ready(&run->touch);
	if (!run->nr_pieces)
		run->piece[run->nr_pieces++] = LZ_BENCH_SLICE;
}

int main(int argc, char **argv)
{
	struct run run = { .dir = "." };
	uint64_t bytes;
	const void *map;

	parse(&run, argc, argv);
	bytes = (uint64_t)run.touch.pages * LZ_BENCH_PAGE;
	run.file = lz_bench_pages_file(run.dir, bytes, lz_touch_fill);
	if (run.faults) {
		faults(&run);
		return 0;
	}
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, run.file, 0);
	if (map == MAP_FAILED)
		lz_bench_die("mmap");
	for (uint32_t i = 0; i < run.touch.rounds; i++) {
		for (unsigned n = 0; n < run.nr_pieces; n++) {
			run.pages = NULL;
			drain(&run, run.piece[n], "sendfile");
			run.pages = map;
			drain(&run, run.piece[n], "send");
		}
	}
	return 0;
}
