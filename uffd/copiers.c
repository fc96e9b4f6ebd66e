/* SPDX-License-Identifier: MIT */
/*
 * The threads of copiers.h, each with a word of its own that it and the loop change by turns:
 *
 *   FREE -> ASKED     the loop: there is a part
 *   ASKED -> TAKEN    the copier
 *   ASKED -> FREE     the loop, which has come to it first
 *   TAKEN -> DONE     the copier
 *   TAKEN -> AWAITED  the loop, which goes to sleep: DONE then wakes it
 *   DONE -> FREE      the loop
 *   FREE -> ASLEEP    the copier, which has looked in vain
 *   ASLEEP -> FREE    the loop, and wakes it
 *   any -> QUIT       the loop, at the end; none is under way then
 */
#include "uffd/copiers.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "uffd/uffd.h"

enum { FREE, ASKED, TAKEN, AWAITED, DONE, ASLEEP, QUIT };
enum { PART_BYTES = LZ_COPIERS_BYTES / 2 };
/* From one slice of a sweep to the next it is some microseconds; where a window of a file is mapped, 30. */
#define LOOK_NS UINT64_C(50000)
/* A part takes 12 us; after this its thread is not running, and who spins may keep the CPU from it. */
#define WAIT_NS UINT64_C(100000)
/* Looks between two looks at the clock. */
enum { LOOKS = 32 };
/* Needs next to none; what a sanitizer puts there is the most. */
enum { STACK_BYTES = 256 << 10 };

struct lz_copier {
	uint32_t word; /* atomic */
	/* The part: the loop's while FREE, the copier's while TAKEN. */
	int fd;
	const void *src;
	struct lz_copied part;
	pthread_t thread;
} __attribute__((aligned(128))); /* two cache lines: a CPU fetches pairs */

static uint32_t look(const struct lz_copier *c)
{
	return __atomic_load_n(&c->word, __ATOMIC_ACQUIRE);
}

static bool change(struct lz_copier *c, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&c->word, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static void sleep_while(struct lz_copier *c, uint32_t word)
{
	while (look(c) == word)
		(void)syscall(SYS_futex, &c->word, FUTEX_WAIT_PRIVATE, word, NULL);
}

static void wake(struct lz_copier *c)
{
	(void)syscall(SYS_futex, &c->word, FUTEX_WAKE_PRIVATE, 1);
}

/* To a CPU: another thread of its core may have the better of it. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Looks until it is no longer @word, for @ns at most. True if it is not. */
static bool look_while(const struct lz_copier *c, uint32_t word, uint64_t ns)
{
	uint64_t until = lz_ring_now() + ns;

	do {
		for (unsigned i = 0; i < LOOKS; i++) {
			if (look(c) != word)
				return true;
			relax();
		}
	} while (lz_ring_now() < until);
	return false;
}

static void *run(void *arg)
{
	struct lz_copier *c = arg;

	(void)prctl(PR_SET_NAME, "lazyd-copier", 0, 0, 0);
	for (;;) {
		if (!look_while(c, FREE, LOOK_NS) && change(c, FREE, ASLEEP))
			sleep_while(c, ASLEEP);
		if (look(c) == QUIT)
			return NULL;
		if (!change(c, ASKED, TAKEN))
			continue;
		c->part.res = lz_uffd_copy(c->fd, c->part.dst, c->src);
		if (change(c, TAKEN, DONE))
			continue;
		__atomic_store_n(&c->word, DONE, __ATOMIC_RELEASE);
		wake(c);
	}
}

/* No signal of the program's is ever handled on such a thread. */
static int start(struct lz_copier *c)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return -r;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&c->thread, &attr, run, c);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -r;
}

int lz_copiers_open(struct lz_copiers *c, unsigned nr)
{
	int r = 0;

	*c = (struct lz_copiers){ 0 };
	if (!nr)
		return 0;
	nr = nr < LZ_COPIERS_MAX ? nr : LZ_COPIERS_MAX;
	c->copier = aligned_alloc(_Alignof(struct lz_copier), nr * sizeof(*c->copier));
	if (!c->copier)
		return -ENOMEM;
	for (; !r && c->nr < nr; c->nr += !r) {
		c->copier[c->nr] = (struct lz_copier){ .word = FREE };
		r = start(&c->copier[c->nr]);
	}
	return r;
}

void lz_copiers_close(struct lz_copiers *c)
{
	for (unsigned i = 0; i < c->nr; i++) {
		__atomic_store_n(&c->copier[i].word, QUIT, __ATOMIC_RELEASE);
		wake(&c->copier[i]);
		(void)pthread_join(c->copier[i].thread, NULL);
	}
	free(c->copier);
	*c = (struct lz_copiers){ 0 };
}

/* False if it is asleep; then it is woken, for the next time. */
static bool ask(struct lz_copier *c, int fd, struct lz_range dst, const void *src)
{
	if (change(c, ASLEEP, FREE)) {
		wake(c);
		return false;
	}
	c->fd = fd;
	c->src = src;
	c->part.dst = dst;
	return change(c, FREE, ASKED);
}

static struct lz_copied finish(struct lz_copier *c)
{
	if (change(c, ASKED, FREE))
		return (struct lz_copied){ c->part.dst, lz_uffd_copy(c->fd, c->part.dst, c->src) };
	if (!look_while(c, TAKEN, WAIT_NS) && change(c, TAKEN, AWAITED))
		sleep_while(c, AWAITED);
	(void)change(c, DONE, FREE);
	return c->part;
}

unsigned lz_copiers_copy(struct lz_copiers *c, int fd, struct lz_range dst, const void *src,
			 uint64_t page, struct lz_copied out[LZ_COPIERS_MAX + 1])
{
	uint64_t len = lz_range_len(dst), parts = c->nr + 1, end = dst.end, n;
	struct lz_copier *busy[LZ_COPIERS_MAX];
	unsigned nr = 0;

	parts = parts < len / PART_BYTES ? parts : len / PART_BYTES;
	n = parts ? len / parts / page * page : 0;
	/* The last part first: what is not handed out is the loop's, from the beginning on. */
	for (unsigned i = 0; n && i + 1 < parts; i++) {
		struct lz_range part = { end - n, end };

		if (!ask(&c->copier[i], fd, part, (const uint8_t *)src + (part.start - dst.start)))
			continue;
		busy[nr++] = &c->copier[i];
		end = part.start;
	}
	out[0].dst = (struct lz_range){ dst.start, end };
	out[0].res = lz_uffd_copy(fd, out[0].dst, src);
	for (unsigned i = 0; i < nr; i++)
		out[nr - i] = finish(busy[i]);
	return nr + 1;
}
