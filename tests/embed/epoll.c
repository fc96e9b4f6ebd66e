/* SPDX-License-Identifier: MIT */
/*
 * An engine in somebody's own event loop: epoll, with a clock that must go on ticking and a thread
 * that says through a pipe when it has looked at everything. No turn ever waits.
 */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "tests/embed/own.h"

enum { PAGES = 8192, SEED = 3, TICK_NS = 1000000 };

struct looker {
	uint8_t *at;
	int tells;
};

static void *look(void *arg)
{
	const struct looker *k = arg;

	for (uint64_t i = 0; i < PAGES; i++)
		own_look(k->at, i * 4093 % PAGES, SEED);
	OWN_MUST(write(k->tells, "", 1) == 1);
	return NULL;
}

static void add(int epoll, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	OWN_MUST(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev));
}

int main(void)
{
	struct lazyd_options options = { .size = sizeof(options) };
	struct itimerspec tick = { .it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS };
	int epoll = epoll_create1(EPOLL_CLOEXEC), clock, uffd, tells[2], r, more = 1, looked = 0;
	struct lazyd_memory *memory;
	struct epoll_event ev;
	struct looker k;
	uint64_t ticks = 0, n;
	pthread_t thread;
	struct lazyd *l;

	k.at = own_memory(PAGES, &uffd);
	memory = own_image(k.at, PAGES, SEED);
	clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	OWN_MUST(!pipe2(tells, O_CLOEXEC) && !timerfd_settime(clock, 0, &tick, NULL));
	k.tells = tells[1];
	OWN_MUST(!lazyd_new(&l, &options));
	r = lazyd_add(l, memory);
	OWN_MUST(r >= 0 && lazyd_attach(l, r, uffd, -1) >= 0);
	add(epoll, lazyd_fd(l));
	add(epoll, tells[0]);
	add(epoll, clock);
	OWN_MUST(!pthread_create(&thread, NULL, look, &k));
	while (more || !looked || !ticks) {
		OWN_MUST(epoll_wait(epoll, &ev, 1, -1) == 1);
		if (ev.data.fd == clock) {
			/* The sweep only now: before, every page was asked for. */
			if (!ticks++)
				OWN_MUST(!lazyd_start(l));
			OWN_MUST(read(clock, &n, sizeof(n)) == sizeof(n));
			more = more ? lazyd_turn(l, 0) : 0;
		} else if (ev.data.fd == tells[0]) {
			looked = read(tells[0], &n, 1) == 1;
		} else {
			more = lazyd_turn(l, 0);
			if (!more)
				OWN_MUST(!epoll_ctl(epoll, EPOLL_CTL_DEL, lazyd_fd(l), NULL));
		}
		OWN_MUST(more >= 0);
	}
	OWN_MUST(!pthread_join(thread, NULL));
	lazyd_free(l);
	lazyd_memory_put(memory);
	return 0;
}
