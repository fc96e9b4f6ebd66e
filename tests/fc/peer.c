/* SPDX-License-Identifier: MIT */
/*
 * Stands in for Firecracker on the socket of its page-fault handler: maps guest memory, registers
 * it, says what the version says, and then uses it as VMM and guest do, with balloon and all,
 * comparing every byte with a file that is what the memory must be.
 *
 *	peer base FILE MIB SEED			makes a memory file; every 7th page of it is a hole
 *	peer diff FILE TRUTH MIB SEED PERCENT	makes a sparse diff, and the same changes in TRUTH
 *	peer run [option...] SOCKET TRUTH	is a VM; ends with 0 when all was right
 *
 * It prints "loaded" when the load call would return and "ok ..." or "BAD ..." at the end.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, THREADS_MAX = 32 };

struct thread {
	pthread_t id;
	struct region part;
	uint64_t seed;
};

struct options o = { .api = "1.12", .nr_threads = 2, .give = "uffd", .seed = 1, .user = -1 };
struct region region[REGIONS_MAX];
unsigned nr_regions;
uint64_t page_size = PAGE;

static const uint8_t *truth;
static uint64_t truth_size;
/* A bit a page of 4 KiB: the balloon has had it. Each thread has pages of its own. */
static uint8_t *removed;
static uint64_t nr_checked, nr_removed;
/* With --time: how long each touch took, of one thread. */
static uint64_t *touch_ns;

void bad(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("BAD ");
	vprintf(format, ap);
	printf(": %s\n", strerror(errno));
	va_end(ap);
	exit(1);
}

uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 24;
}

void die_at(const char *step)
{
	if (o.die && !strcmp(o.die, step)) {
		printf("dying at %s\n", step);
		(void)fflush(stdout);
		(void)kill(getpid(), SIGKILL);
	}
}

/* ---- guest memory ---- */

/* "0+64,64+32": offset and size in MiB, in the order in which they are sent. */
static void read_layout(void)
{
	const char *at = o.layout;
	char *end;

	if (!at)
		region[nr_regions++].size = truth_size;
	while (at && *at && nr_regions < REGIONS_MAX) {
		struct region *r = &region[nr_regions++];

		r->offset = strtoull(at, &end, 10) * MIB;
		r->size = strtoull(end + 1, &end, 10) * MIB;
		at = *end == ',' ? end + 1 : end;
	}
}

/* The first region is the highest, as with a guest of 4 GiB, and there are gaps. */
static void map_regions(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, huge = o.huge ? MAP_HUGETLB : 0;
	uint64_t all = HUGE_PAGE;
	uint8_t *at;

	for (unsigned i = 0; i < nr_regions; i++)
		all += region[i].size + HUGE_PAGE;
	at = mmap(NULL, all, PROT_NONE, flags, -1, 0);
	if (at == MAP_FAILED)
		bad("mmap");
	at = (uint8_t *)(((uintptr_t)at + HUGE_PAGE) & ~(uintptr_t)(HUGE_PAGE - 1));
	for (unsigned i = nr_regions; i--; at += HUGE_PAGE) {
		region[i].at = mmap(at, region[i].size, PROT_READ | PROT_WRITE,
				    flags | huge | MAP_FIXED, -1, 0);
		if (region[i].at == MAP_FAILED)
			bad("mmap of region %u", i);
		if (o.advises && madvise(region[i].at, region[i].size, MADV_HUGEPAGE))
			bad("madvise");
		at += region[i].size;
	}
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		bad("userfaultfd");
	if (!strcmp(o.give, "unready"))
		return fd;
	if (ioctl(fd, UFFDIO_API, &api))
		bad("UFFDIO_API");
	for (unsigned i = 0; i < nr_regions; i++) {
		struct uffdio_register r = {
			.range = { (uintptr_t)region[i].at, region[i].size },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(fd, UFFDIO_REGISTER, &r))
			bad("UFFDIO_REGISTER");
	}
	return fd;
}

/* ---- the guest ---- */

static uint64_t guest_page(const struct region *r, const uint8_t *at)
{
	return (r->offset + (uint64_t)(at - r->at)) / PAGE;
}

static void check_page(const struct region *r, uint8_t *at)
{
	static const uint8_t ZEROES[PAGE];
	uint64_t n = guest_page(r, at);
	const uint8_t *want = removed[n] ? ZEROES : truth + n * PAGE;

	if (memcmp(at, want, PAGE) != 0) {
		errno = 0;
		bad("page %llu, which is %s", (unsigned long long)n,
		    removed[n] ? "the balloon's" : "the file's");
	}
	__atomic_add_fetch(&nr_checked, 1, __ATOMIC_RELAXED);
}

/* Whole pages of the size that the memory has. */
static void remove_some(const struct region *r, uint64_t *seed)
{
	uint64_t pages = r->size / page_size, from = next_random(seed) % pages;
	uint64_t nr = 1 + next_random(seed) % 32;
	uint64_t first = guest_page(r, r->at) + from * page_size / PAGE;

	if (nr > pages - from)
		nr = pages - from;
	if (madvise(r->at + from * page_size, nr * page_size, MADV_DONTNEED))
		bad("madvise");
	memset(removed + first, 1, nr * page_size / PAGE);
	__atomic_add_fetch(&nr_removed, nr, __ATOMIC_RELAXED);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Before it is compared: the first access is what waits. */
static void touch(uint64_t n, const uint8_t *at)
{
	uint64_t begun = now_ns();

	(void)*(const volatile uint8_t *)at;
	touch_ns[n] = now_ns() - begun;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_times(void)
{
	uint64_t all = 0, n = o.operations;

	for (uint64_t i = 0; i < n; i++)
		all += touch_ns[i];
	qsort(touch_ns, n, sizeof(*touch_ns), by_size);
	printf("touched=%llu set_us=%llu p50_ns=%llu p99_ns=%llu\n", (unsigned long long)n,
	       (unsigned long long)all / 1000, (unsigned long long)touch_ns[n / 2],
	       (unsigned long long)touch_ns[n * 99 / 100]);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	uint64_t pages = t->part.size / PAGE;

	for (uint64_t i = 0; i < o.operations; i++) {
		if (next_random(&t->seed) % 100 < o.remove_percent) {
			remove_some(&t->part, &t->seed);
			die_at("removing");
		} else {
			uint8_t *at = t->part.at + next_random(&t->seed) % pages * PAGE;

			if (touch_ns)
				touch(i, at);
			check_page(&t->part, at);
		}
		if (i == o.operations / 2)
			die_at("running");
	}
	/* All of it, from behind, where a sweep comes last. */
	for (uint64_t n = o.part ? 0 : pages; n--;)
		check_page(&t->part, t->part.at + n * PAGE);
	return NULL;
}

/* Each region in as many parts as there are threads, a part a thread. */
static void run_guest(void)
{
	static struct thread thread[REGIONS_MAX * THREADS_MAX];
	unsigned nr = 0;

	for (unsigned i = 0; i < nr_regions; i++) {
		uint64_t part = region[i].size / o.nr_threads & ~(page_size - 1);

		for (unsigned n = 0; n < o.nr_threads; n++) {
			struct thread *t = &thread[nr++];
			uint64_t from = n * part;

			t->seed = o.seed * 1000 + nr;
			t->part = (struct region){ .offset = region[i].offset + from,
						   .at = region[i].at + from,
						   .size = part };
			if (n == o.nr_threads - 1)
				t->part.size = region[i].size - from;
			if (pthread_create(&t->id, NULL, run_thread, t))
				bad("pthread_create");
		}
	}
	for (unsigned i = 0; i < nr; i++)
		(void)pthread_join(thread[i].id, NULL);
}

static void say(const char *text)
{
	puts(text);
	(void)fflush(stdout);
}

static int run(const char *path, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), uffd, sock;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		bad("%s", file);
	truth_size = (uint64_t)st.st_size;
	truth = mmap(NULL, truth_size, PROT_READ, MAP_SHARED, fd, 0);
	removed = calloc(truth_size / PAGE, 1);
	if (truth == MAP_FAILED || !removed)
		bad("mmap");
	page_size = o.huge ? HUGE_PAGE : PAGE;
	read_layout();
	map_regions();
	uffd = open_uffd();
	if (o.user >= 0 && (setgid((gid_t)o.user) || setuid((uid_t)o.user)))
		bad("setuid");
	sock = dial(path);
	shake_hands(sock, uffd);
	/* Without one nothing of this memory waits for anybody:
	 * it is here to be hung up on, or killed. */
	if (strcmp(o.give, "uffd") != 0)
		return recv(sock, &st, 1, 0) > 0;
	/* The VMM's own accesses, before the call returns. */
	check_page(&region[0], region[0].at);
	die_at("loading");
	say("loaded");
	if (o.pauses && read(STDIN_FILENO, &st, 1) != 1)
		bad("the pause");
	if (o.times)
		touch_ns = calloc(o.operations + 1, sizeof(*touch_ns));
	run_guest();
	if (touch_ns)
		print_times();
	printf("ok checked=%llu removed=%llu\n", (unsigned long long)nr_checked,
	       (unsigned long long)nr_removed);
	(void)fflush(stdout);
	/* A VM lives on. */
	while (o.holds && getchar() != EOF) {
	}
	return 0;
}

enum { API = 256, LAYOUT, DIE, BODY, GIVE, EXTRA, THREADS, PIECES, REMOVE, OPERATIONS, SEED, USER };
static const struct option OPTIONS[] = {
	{ "api", required_argument, NULL, API },
	{ "layout", required_argument, NULL, LAYOUT },
	{ "die", required_argument, NULL, DIE },
	{ "body", required_argument, NULL, BODY },
	{ "give", required_argument, NULL, GIVE },
	{ "extra", required_argument, NULL, EXTRA },
	{ "threads", required_argument, NULL, THREADS },
	{ "pieces", required_argument, NULL, PIECES },
	{ "remove", required_argument, NULL, REMOVE },
	{ "operations", required_argument, NULL, OPERATIONS },
	{ "seed", required_argument, NULL, SEED },
	{ "user", required_argument, NULL, USER },
	{ "huge", no_argument, NULL, 'H' },
	{ "hold", no_argument, NULL, 'h' },
	{ "advise", no_argument, NULL,
	  'v' }, /* that its memory is to have huge pages, where there are any */
	{ "leave", no_argument, NULL, 'l' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "part", no_argument, NULL, 'p' },
	{ "time", no_argument, NULL, 't' }, /* what each operation waits for, by the clock */
	{ "pause", no_argument, NULL, 'P' },
	{ NULL, 0, NULL, 0 },
};

static void take_option(int c)
{
	const char **texts[] = { &o.api, &o.layout, &o.die, &o.body, &o.give };
	unsigned *numbers[] = { &o.extra, &o.nr_threads, &o.pieces, &o.remove_percent };

	if (c >= API && c <= GIVE)
		*texts[c - API] = optarg;
	else if (c >= EXTRA && c <= REMOVE)
		*numbers[c - EXTRA] = (unsigned)strtoul(optarg, NULL, 10);
	else if (c == OPERATIONS)
		o.operations = strtoull(optarg, NULL, 10);
	else if (c == SEED)
		o.seed = strtoull(optarg, NULL, 10);
	else if (c == USER)
		o.user = atoi(optarg);
	else if (c == 'H')
		o.huge = true;
	else if (c == 'h')
		o.holds = true;
	else if (c == 'l')
		o.leaves = true;
	else if (c == 'q')
		o.quiet = true;
	else if (c == 'v')
		o.advises = true;
	else if (c == 'p') /* what it touches by chance, and not all of its memory behind that */
		o.part = true;
	else if (c == 't')
		o.times = true;
	else if (c == 'P') /* before that, until somebody says a byte */
		o.pauses = true;
	else
		exit(2);
}

int main(int argc, char **argv)
{
	int c;

	if (argc == 5 && !strcmp(argv[1], "base"))
		return make_base(argv + 2);
	if (argc == 7 && !strcmp(argv[1], "diff"))
		return make_diff(argv + 2);
	if (argc < 2 || strcmp(argv[1], "run") != 0)
		goto usage;
	optind = 2;
	while ((c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
		take_option(c);
	if (optind != argc - 2 || o.extra > EXTRA_MAX || !o.nr_threads ||
	    o.nr_threads > THREADS_MAX || (o.times && (o.nr_threads > 1 || o.layout)))
		goto usage;
	return run(argv[optind], argv[optind + 1]);
usage:
	fputs("usage: peer base FILE MIB SEED | diff FILE TRUTH MIB SEED PERCENT | run ...\n",
	      stderr);
	return 2;
}
