/* SPDX-License-Identifier: MIT */
/*
 * relay DEVICE PID DELAY_US MBIT: a link with a delay, for kernels without netem. Makes a tun
 * device of that name in its own network namespace and one in that of process PID, says "up", and
 * then carries packets between the two: each leaves when those before it have been sent at MBIT (0:
 * any) million bits a second, and arrives DELAY_US later. What would wait for more than 100 ms to
 * be sent is dropped.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 16384, PACKET_MAX = 2048, QUEUE_NS = 100000000, SECOND = 1000000000, BATCH = 64 };

struct packet {
	uint64_t due;
	size_t len;
	unsigned char bytes[PACKET_MAX];
};

/* One direction. */
struct way {
	int from, to;
	uint64_t free_at; /* when the link has sent what it was given */
	uint32_t head, tail;
	struct packet *slot;
};

static uint64_t delay_ns, mbit;

static void die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static int make_device(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		die("/dev/net/tun");
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		die("TUNSETIFF");
	return fd;
}

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
	close(fd);
}

static void take_in(struct way *w)
{
	static unsigned char drain[PACKET_MAX];

	for (int i = 0; i < BATCH; i++) {
		uint64_t now = now_ns();
		bool full = w->tail - w->head == SLOTS ||
			    (w->free_at > now && w->free_at - now > QUEUE_NS);
		struct packet *p = &w->slot[w->tail % SLOTS];
		ssize_t n = read(w->from, full ? drain : p->bytes, PACKET_MAX);

		if (n <= 0)
			return;
		if (full)
			continue;
		if (w->free_at < now)
			w->free_at = now;
		if (mbit)
			w->free_at += (uint64_t)n * 8000 / mbit;
		p->len = (size_t)n;
		p->due = w->free_at + delay_ns;
		w->tail++;
	}
}

/* Returns when the next is due. */
static uint64_t give_out(struct way *w)
{
	uint64_t now = now_ns();

	while (w->head != w->tail) {
		struct packet *p = &w->slot[w->head % SLOTS];

		if (p->due > now)
			return p->due;
		/* A device that is down or full loses it, as a link does. */
		if (write(w->to, p->bytes, p->len) < 0 && errno == EBADFD)
			die("write");
		w->head++;
	}
	return UINT64_MAX;
}

int main(int argc, char **argv)
{
	struct way way[2] = { { .head = 0 }, { .head = 0 } };
	struct pollfd fds[2];
	char path[64];

	if (argc != 5)
		return 2;
	delay_ns = strtoull(argv[3], NULL, 10) * 1000;
	mbit = strtoull(argv[4], NULL, 10);
	prctl(PR_SET_TIMERSLACK, 1UL);
	way[0].from = way[1].to = make_device(argv[1]);
	snprintf(path, sizeof(path), "/proc/%s/ns/net", argv[2]);
	enter(path);
	way[0].to = way[1].from = make_device(argv[1]);
	for (int i = 0; i < 2; i++) {
		way[i].slot = calloc(SLOTS, sizeof(*way[i].slot));
		if (!way[i].slot)
			die("calloc");
		fds[i] = (struct pollfd){ .fd = way[i].from, .events = POLLIN };
	}
	puts("up");
	fflush(stdout);
	for (;;) {
		uint64_t a = give_out(&way[0]), b = give_out(&way[1]), now = now_ns();
		uint64_t next = a < b ? a : b, wait = next > now ? next - now : 0;
		struct timespec t = { .tv_sec = (time_t)(wait / SECOND),
				      .tv_nsec = (long)(wait % SECOND) };

		if (ppoll(fds, 2, next == UINT64_MAX ? NULL : &t, NULL) < 0 && errno != EINTR)
			die("ppoll");
		for (int i = 0; i < 2; i++)
			if (fds[i].revents)
				take_in(&way[i]);
	}
}
