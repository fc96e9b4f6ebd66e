/* SPDX-License-Identifier: MIT */
/*
 * Several engines in one process, each in a thread of its own, that serve memory of this very
 * process to other threads of it: what each looks at is what its image has. Two of the engines
 * share a memory; one is stopped by another thread; all but one have copiers. For ThreadSanitizer
 * above all.
 */
#include <pthread.h>

#include "tests/embed/own.h"

enum { ENGINES = 4, PAGES = 2048 };

struct one {
	uint8_t *at;
	uint64_t seed;
	int uffd;
	unsigned copiers;
	struct lazyd_memory *memory;
	struct lazyd *l;
	pthread_barrier_t is_made;
	pthread_t serves, looks;
	struct lazyd_stats stats;
};

/*
 * The engine belongs to this thread from its first call on. Nothing of what it touches is lazy: not
 * its stack, not its heap.
 */
static void *serve(void *arg)
{
	struct one *o = arg;
	struct lazyd_options options = { .size = sizeof(options), .copiers = o->copiers };
	int r;

	OWN_MUST(!lazyd_new(&o->l, &options));
	r = lazyd_add(o->l, o->memory);
	OWN_MUST(r >= 0);
	if (o->uffd >= 0)
		OWN_MUST(lazyd_attach(o->l, r, o->uffd, -1) >= 0);
	OWN_MUST(!lazyd_start(o->l));
	(void)pthread_barrier_wait(&o->is_made);
	while ((r = lazyd_turn(o->l, -1)) > 0)
		;
	OWN_MUST(!r);
	lazyd_stats(o->l, NULL, &o->stats);
	return NULL;
}

static void *look(void *arg)
{
	const struct one *o = arg;

	for (uint64_t i = 0; i < PAGES; i++)
		own_look(o->at, i * 1021 % PAGES, o->seed);
	return NULL;
}

static void begin(struct one *o)
{
	OWN_MUST(!pthread_barrier_init(&o->is_made, NULL, 2));
	OWN_MUST(!pthread_create(&o->serves, NULL, serve, o));
	(void)pthread_barrier_wait(&o->is_made);
}

static void end(struct one *o)
{
	OWN_MUST(!pthread_join(o->serves, NULL));
	lazyd_free(o->l); /* nobody uses it any more, so any thread may */
	OWN_MUST(!pthread_barrier_destroy(&o->is_made));
}

int main(void)
{
	static struct one one[ENGINES], idle;

	for (uint64_t i = 0; i < ENGINES; i++) {
		one[i].seed = i * 7919;
		one[i].copiers = (unsigned)i;
		one[i].at = own_memory(PAGES, &one[i].uffd);
		one[i].memory = own_image(one[i].at, PAGES, one[i].seed);
		begin(&one[i]);
		OWN_MUST(!pthread_create(&one[i].looks, NULL, look, &one[i]));
	}
	/* It has the memory of another and no space to serve: done at once. */
	idle.memory = one[0].memory;
	idle.uffd = -1;
	begin(&idle);
	end(&idle);
	for (uint64_t i = 0; i < ENGINES; i++) {
		lazyd_stop(one[i].l); /* it only makes a turn return */
		OWN_MUST(!pthread_join(one[i].looks, NULL));
		end(&one[i]);
		OWN_MUST(one[i].stats.pages_lost == 0 && one[i].stats.pages_owed == 0);
		OWN_MUST(one[i].stats.pages_total == PAGES / 8 * 7);
		lazyd_memory_put(one[i].memory);
		look(&one[i]);
		(void)munmap(one[i].at, (size_t)PAGES * OWN_PAGE);
	}
	return 0;
}
