/* SPDX-License-Identifier: MIT */
/*
 * The threads of copiers.h. Each COPY is in a slot, whose word the loop and a copier change by
 * turns:
 *
 *   FREE -> ASKED     the loop: there is something to do
 *   ASKED -> TAKEN    a copier
 *   ASKED -> FREE     the loop, which takes it back
 *   TAKEN -> DONE     the copier
 *   TAKEN -> AWAITED  the loop, which goes to sleep: DONE then wakes it
 *   DONE -> FREE      the loop
 *
 * And each copier has a word of its own:
 *
 *   AWAKE -> ASLEEP   the copier, which has looked in vain; and then looks once more
 *   ASLEEP -> AWAKE   the loop, after ASKED, and wakes it; or the copier, which has found something
 *   any -> QUIT       the loop, at the end; nothing is under way then
 */
#include "uffd/copiers.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "uffd/uffd.h"

enum { FREE, ASKED, TAKEN, AWAITED, DONE };
enum { AWAKE, ASLEEP, QUIT };
/* From one slice of a sweep to the next it is some microseconds; where a window of a file is
 * mapped, 30. */
#define LOOK_NS UINT64_C(50000)
/* A stretch takes 80 us, 120 beside another; after this its thread is not running, and who spins
 * may keep the CPU from it. */
#define WAIT_NS UINT64_C(200000)
/* Looks between two looks at the clock. */
enum { LOOKS = 32 };
/* Needs next to none; what a sanitizer puts there is the most. */
enum { STACK_BYTES = 256 << 10 };

struct lz_copy_slot {
	uint32_t word;           /* atomic */
	struct lz_copy copy;     /* the loop's while FREE or DONE, the copier's while TAKEN */
} __attribute__((aligned(128))); /* two cache lines: a CPU fetches pairs */

struct lz_copier {
	uint32_t word; /* atomic */
	unsigned nr_slots;
	struct lz_copy_slot *slot; /* all copiers' */
	pthread_t thread;
} __attribute__((aligned(128)));

/* Sequentially consistent: who falls asleep has said so before it looks for the last time, and who
 * asks has asked before it looks for sleepers. */
static uint32_t look(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool change(uint32_t *word, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static void sleep_while(uint32_t *word, uint32_t value)
{
	while (look(word) == value)
		(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL);
}

static void wake(uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
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

/* How long who waits awake goes on looking; the clock is not looked at each time. */
struct patience {
	uint64_t until_ns;
	unsigned looks;
};

static bool may_look_on(struct patience *p)
{
	relax();
	return ++p->looks % LOOKS || lz_ring_now() < p->until_ns;
}

/* ---- a copier ---- */

/* One that is asked for, from @from on: they are begun in the order in which they were given. */
static struct lz_copy_slot *find(const struct lz_copier *c, unsigned from)
{
	for (unsigned i = 0; i < c->nr_slots; i++) {
		struct lz_copy_slot *s = &c->slot[(from + i) % c->nr_slots];

		if (look(&s->word) == ASKED && change(&s->word, ASKED, TAKEN))
			return s;
	}
	return NULL;
}

static struct lz_copy_slot *find_soon(const struct lz_copier *c, unsigned from)
{
	struct patience p = { .until_ns = lz_ring_now() + LOOK_NS };
	struct lz_copy_slot *s;

	do
		s = find(c, from);
	while (!s && look(&c->word) != QUIT && may_look_on(&p));
	return s;
}

static void *run(void *arg)
{
	struct lz_copier *c = arg;
	unsigned from = 0;

	(void)prctl(PR_SET_NAME, "lazyd-copier", 0, 0, 0);
	for (;;) {
		struct lz_copy_slot *s = find_soon(c, from);

		if (!s && change(&c->word, AWAKE, ASLEEP)) {
			s = find(c, from);
			if (!s)
				sleep_while(&c->word, ASLEEP);
			else
				(void)change(&c->word, ASLEEP, AWAKE);
		}
		if (!s && look(&c->word) == QUIT)
			return NULL;
		if (!s)
			continue;
		from = (unsigned)(s - c->slot) + 1;
		s->copy.res = lz_uffd_copy(s->copy.fd, s->copy.dst, s->copy.src);
		if (change(&s->word, TAKEN, DONE))
			continue;
		__atomic_store_n(&s->word, DONE, __ATOMIC_SEQ_CST);
		wake(&s->word);
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

/* ---- the loop ---- */

int lz_copiers_open(struct lz_copiers *c, unsigned nr)
{
	int r = 0;

	*c = (struct lz_copiers){ 0 };
	if (!nr)
		return 0;
	nr = nr < LZ_COPIERS_MAX ? nr : LZ_COPIERS_MAX;
	c->nr_slots = nr * LZ_COPIERS_GIVEN;
	c->slot = aligned_alloc(_Alignof(struct lz_copy_slot), c->nr_slots * sizeof(*c->slot));
	c->copier = aligned_alloc(_Alignof(struct lz_copier), nr * sizeof(*c->copier));
	if (!c->slot || !c->copier)
		r = -ENOMEM;
	for (unsigned i = 0; !r && i < c->nr_slots; i++)
		c->slot[i] = (struct lz_copy_slot){ .word = FREE };
	for (; !r && c->nr < nr; c->nr += !r) {
		c->copier[c->nr] = (struct lz_copier){ .word = AWAKE,
						       .slot = c->slot,
						       .nr_slots = c->nr_slots };
		r = start(&c->copier[c->nr]);
	}
	return r;
}

void lz_copiers_close(struct lz_copiers *c)
{
	for (unsigned i = 0; i < c->nr; i++) {
		__atomic_store_n(&c->copier[i].word, QUIT, __ATOMIC_SEQ_CST);
		wake(&c->copier[i].word);
		(void)pthread_join(c->copier[i].thread, NULL);
	}
	free(c->copier);
	free(c->slot);
	*c = (struct lz_copiers){ 0 };
}

static bool is_anybody_awake(const struct lz_copiers *c)
{
	for (unsigned i = 0; i < c->nr; i++)
		if (look(&c->copier[i].word) == AWAKE)
			return true;
	return false;
}

static void wake_one(struct lz_copiers *c)
{
	for (unsigned i = 0; i < c->nr; i++)
		if (change(&c->copier[i].word, ASLEEP, AWAKE)) {
			wake(&c->copier[i].word);
			return;
		}
}

bool lz_copiers_give(struct lz_copiers *c, const struct lz_copy *copy)
{
	struct lz_copy_slot *s = c->nr ? &c->slot[c->next] : NULL;

	if (!s || look(&s->word) != FREE)
		return false;
	if (lz_range_len(copy->dst) < LZ_COPIERS_BYTES && c->declined < LZ_COPIERS_SHORT &&
	    !is_anybody_awake(c)) {
		c->declined++;
		return false;
	}
	s->copy = *copy;
	__atomic_store_n(&s->word, ASKED, __ATOMIC_SEQ_CST);
	wake_one(c);
	c->next = (c->next + 1) % c->nr_slots;
	c->nr_given++;
	return true;
}

/* Waits until it is no longer under way. */
static void await(struct lz_copy_slot *s)
{
	struct patience p = { .until_ns = lz_ring_now() + WAIT_NS };

	while (look(&s->word) == TAKEN && may_look_on(&p))
		;
	if (change(&s->word, TAKEN, AWAITED))
		sleep_while(&s->word, AWAITED);
}

/* The slot that was given longest ago is the next to be given, or after it. */
bool lz_copiers_take(struct lz_copiers *c, enum lz_copiers_how how, struct lz_copy *copy)
{
	struct lz_copy_slot *s = NULL;

	for (unsigned i = 0; c->nr_given && i < c->nr_slots && !s; i++) {
		s = &c->slot[(c->next + i) % c->nr_slots];
		if (look(&s->word) == FREE || (how == LZ_COPIERS_ENDED && look(&s->word) != DONE))
			s = NULL;
	}
	if (!s && how != LZ_COPIERS_ENDED)
		c->declined = 0;
	if (!s)
		return false;
	if (change(&s->word, ASKED, FREE)) {
		s->copy.res = how == LZ_COPIERS_CANCEL
				      ? LZ_COPY_CANCELLED
				      : lz_uffd_copy(s->copy.fd, s->copy.dst, s->copy.src);
	} else {
		await(s);
		(void)change(&s->word, DONE, FREE);
	}
	*copy = s->copy;
	c->nr_given--;
	return true;
}
