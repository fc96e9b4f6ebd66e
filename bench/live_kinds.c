/* SPDX-License-Identifier: MIT */
/*
 * liblazyd upon kinds of memory: private, shared into which pages are copied, shared in which they
 * are in place, and hugetlb. Of each the latency of faults in random order before the start, and
 * the rate at which all of it is filled when nobody touches it. The memory is this process's own
 * and a thread of its touches it; the bytes are in a resident file, or in place.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/bench.h"
#include "uffd/lazyd.h"

enum { LARGE = 2 << 20, LEN = 256 << 20, TOUCHES = 4096 };

struct kind {
	const char *name;
	size_t page;
	int flags; /* of mmap() */
	bool in_place;
};

static const struct kind kinds[] = {
	{ "private", LZ_BENCH_PAGE, MAP_PRIVATE | MAP_ANONYMOUS, false },
	{ "shared", LZ_BENCH_PAGE, MAP_SHARED, false },
	{ "in_place", LZ_BENCH_PAGE, MAP_SHARED, true },
	{ "huge", LARGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, false },
	{ "huge_shared", LARGE, MAP_SHARED, false },
	{ "huge_in_place", LARGE, MAP_SHARED, true },
};

struct one {
	const struct kind *kind;
	uint8_t *at;
	int uffd, memfd, done[2];
	struct lazyd *l;
	struct lz_bench_samples *samples;
	uint32_t *order;
};

static void must(bool is_true, const char *what)
{
	if (!is_true)
		lz_bench_die(what);
}

static void fill(uint8_t *page, uint64_t n)
{
	memset(page, 0x5a, LZ_BENCH_PAGE);
	memcpy(page, &n, sizeof(n));
}

/* False where the kernel has no such pages to give. */
static bool map(struct one *o)
{
	const struct kind *k = o->kind;

	o->memfd = -1;
	if (k->flags & MAP_SHARED) {
		o->memfd = memfd_create("kind", MFD_CLOEXEC | (k->page == LARGE ? MFD_HUGETLB : 0));
		must(o->memfd >= 0 && !ftruncate(o->memfd, LEN), "memfd");
	}
	o->at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, k->flags, o->memfd, 0);
	if (o->at == MAP_FAILED && k->page == LARGE)
		return false;
	must(o->at != MAP_FAILED, "mmap");
	if (k->page != LARGE)
		(void)madvise(o->at, LEN, MADV_NOHUGEPAGE);
	return true;
}

/* Through another mapping, as somebody else would have put it there. */
static void put_in_place(const struct one *o)
{
	uint8_t *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, o->memfd, 0);

	must(at != MAP_FAILED, "mmap");
	for (uint64_t n = 0; n < LEN / LZ_BENCH_PAGE; n++)
		fill(at + n * LZ_BENCH_PAGE, n);
	(void)munmap(at, LEN);
}

static void register_it(struct one *o)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .range = { (uintptr_t)o->at, LEN },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (o->kind->in_place) {
		api.features = o->kind->page == LARGE ? UFFD_FEATURE_MINOR_HUGETLBFS
						      : UFFD_FEATURE_MINOR_SHMEM;
		r.mode |= UFFDIO_REGISTER_MODE_MINOR;
	}
	o->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (o->uffd < 0 || ioctl(o->uffd, UFFDIO_API, &api))
		lz_bench_skip("userfaultfd");
	must(!ioctl(o->uffd, UFFDIO_REGISTER, &r), "UFFDIO_REGISTER");
}

static void serve_by(struct one *o, int file)
{
	struct lazyd_options options = { .size = sizeof(options) };
	struct lazyd_memory *m;
	int source, r = lazyd_memory_new(&m);

	must(!r, "lazyd_memory_new");
	must(!lazyd_new(&o->l, &options), "lazyd_new");
	source = o->kind->in_place ? lazyd_memory_add_in_place(m)
				   : lazyd_memory_add_file(m, dup(file), "pages");
	must(source >= 0, "source");
	must(!lazyd_memory_add_area(m, (uintptr_t)o->at, LEN, o->kind->page), "area");
	must(!lazyd_memory_add_piece(m, (uintptr_t)o->at, LEN, source, 0), "piece");
	r = lazyd_add(o->l, m);
	lazyd_memory_put(m);
	must(r >= 0 && lazyd_attach(o->l, r, o->uffd, -1) >= 0, "attach");
}

static void *touch(void *arg)
{
	struct one *o = arg;
	size_t pages = LEN / o->kind->page;

	lz_bench_pin(1);
	for (size_t i = 0; i < pages && i < TOUCHES; i++) {
		const volatile uint64_t *at = (void *)(o->at + o->order[i] * o->kind->page);
		uint64_t begun = lz_bench_now_ns(), value = *at;

		lz_bench_samples_add(o->samples, lz_bench_now_ns() - begun);
		must(value == o->order[i] * (o->kind->page / LZ_BENCH_PAGE), "wrong page");
	}
	(void)close(o->done[1]);
	return NULL;
}

static void turn_until(struct one *o, int fd)
{
	struct pollfd p = { .fd = fd };
	int r;

	do {
		r = lazyd_turn(o->l, -1);
		must(r >= 0, "lazyd_turn");
	} while (r && (fd < 0 || poll(&p, 1, 0) == 0));
}

static void faults(struct one *o)
{
	pthread_t thread;

	must(!pipe(o->done), "pipe");
	must(!lazyd_watch(o->l, o->done[0]), "lazyd_watch");
	must(!pthread_create(&thread, NULL, touch, o), "thread");
	turn_until(o, o->done[0]);
	must(!pthread_join(thread, NULL) && !lazyd_watch(o->l, -1), "thread");
	(void)close(o->done[0]);
	lz_bench_line("live_kinds", o->samples, "layout=%s cpus=different", o->kind->name);
}

static void drain(struct one *o)
{
	uint64_t begun = lz_bench_now_ns(), ns;

	must(!lazyd_start(o->l), "lazyd_start");
	turn_until(o, -1);
	ns = lz_bench_now_ns() - begun;
	printf("name=live_kinds_drain layout=%s bytes=%d ns=%llu mb_s=%llu\n", o->kind->name, LEN,
	       (unsigned long long)ns, (unsigned long long)LEN * 1000 / ns);
	fflush(stdout);
}

static void measure(const struct kind *k, int file, uint64_t seed)
{
	struct one o = { .kind = k };

	o.order = lz_bench_order((uint32_t)(LEN / k->page), seed);
	o.samples = lz_bench_samples_new(TOUCHES);
	/* Twice, for what has been touched is not there to be filled. */
	for (int drains = 0; drains < 2; drains++) {
		if (!map(&o)) {
			printf("name=failed why=\"no %s pages: vm.nr_overcommit_hugepages\"\n",
			       k->name);
			break;
		}
		if (k->in_place)
			put_in_place(&o);
		register_it(&o);
		serve_by(&o, file);
		(drains ? drain : faults)(&o);
		lazyd_free(o.l);
		if (!drains) /* still owed: nobody touches it again */
			(void)close(o.uffd);
		(void)munmap(o.at, LEN);
		(void)close(o.memfd);
	}
	free(o.order);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? lz_bench_number(argv[1], 0, UINT64_MAX) : 1;
	int file = lz_bench_pages_file(argc > 2 ? argv[2] : ".", LEN, fill);

	lz_bench_pin(0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(&kinds[i], file, seed);
	return 0;
}
