/* SPDX-License-Identifier: MIT */
/*
 * storm FIFO SIZE_MB OPERATIONS [SEED [PROCESSES [NAME,NAME...]]]: a process that changes the
 * layout of its lazy memory without end, while a second thread reads another area that stays where
 * it is. The storm happens in a window of addresses four times as large as what is populated, so
 * that addresses are used again and again, also by memory moved onto memory that is still there. A
 * flat model says of every page of the window what it must hold: nothing mapped, zeros, or the
 * bytes of a token. Forked children (and theirs) read and change their copy under their copy of the
 * model. At the end every page is compared. PROCESSES are dumped, each the child of the one before
 * it and with a storm and SIZE_MB of its own; the first one tells what they and all their children
 * have done, and the longest that one access and one operation took. The names pick operations (see
 * the table), to find out which one hurts.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED = 20, SEED_STILL = 21, SEED_NEW = 22, SEEDS = 3 };
enum { MOST_PROCESSES = 9, MOST_CHILDREN = 3, MOST_DEPTH = 2 };

#define UNMAPPED UINT64_MAX

/* Where the kernel puts nothing by itself: neither below the stack nor above the program. */
static unsigned char *const window = (unsigned char *)0x100000000000;
static unsigned char *still;
static uint64_t *model; /* a token a page of the window, or UNMAPPED */
static uint64_t window_pages, start_pages, still_pages, next_token, rnd;
static unsigned int self, depth, children;
static atomic_bool stop_reading;

/* Of all processes, in memory that they share and that is never lazy. */
struct seen {
	atomic_ullong access_ns, operation_ns; /* the longest */
	atomic_ullong reads, refused;
	atomic_ullong done[]; /* by place in the table */
};
static struct seen *seen;

static void *page_at(uint64_t page)
{
	return window + page * WORK_PAGE;
}

static uint64_t below(uint64_t bound)
{
	return work_rand(&rnd) % bound;
}

static uint64_t token_of(unsigned int seed, uint64_t page)
{
	return work_token(seed + self * SEEDS, page);
}

static void note_longest(atomic_ullong *longest, uint64_t ns)
{
	unsigned long long was = atomic_load(longest);

	while (ns > was && !atomic_compare_exchange_weak(longest, &was, ns))
		continue;
}

static void expect(const void *page, uint64_t token, uint64_t number, const char *when)
{
	uint64_t t0 = work_ns();

	(void)*(const volatile unsigned char *)page;
	note_longest(&seen->access_ns, work_ns() - t0);
	work_expect(page, token, number, when);
}

static void set(uint64_t first, uint64_t count, uint64_t token)
{
	for (uint64_t p = first; p < first + count; p++)
		model[p] = token;
}

static bool is_mapped(uint64_t page)
{
	unsigned char present;

	if (mincore(page_at(page), WORK_PAGE, &present) == 0)
		return true;
	if (errno != ENOMEM)
		work_bad("mincore: %s", strerror(errno));
	return false;
}

static void op_map(void);

/* A mapped page, and in *count how many from there on are mapped, `most` at most. */
static uint64_t pick_mapped(uint64_t most, uint64_t *count)
{
	uint64_t first = below(window_pages), n = 0;

	while (model[first] == UNMAPPED) {
		first = first + 1 < window_pages ? first + 1 : 0;
		/* All of it has been unmapped. */
		if (++n == window_pages)
			op_map();
	}
	most = 1 + below(most);
	for (n = 1; n < most && first + n < window_pages && model[first + n] != UNMAPPED; n++)
		continue;
	*count = n;
	return first;
}

/* The start of `count` pages that are free, or UNMAPPED if a few looks found none. */
static uint64_t pick_free(uint64_t count)
{
	for (int tries = 0; tries < 20; tries++) {
		uint64_t first = below(window_pages - count), n;

		for (n = 0; n < count && model[first + n] == UNMAPPED; n++)
			continue;
		if (n == count)
			return first;
	}
	return UNMAPPED;
}

/*
 * A move over several areas can fail with some of it done: newer kernels move area by area, and all
 * unmap the target first. What is mapped now tells, page by page, how far it went.
 */
static void find_out(uint64_t src, uint64_t count, uint64_t dst, uint64_t dst_count)
{
	bool at_src, at_dst;

	seen->refused++;
	for (uint64_t i = 0; i < count || i < dst_count; i++) {
		at_src = i < count && is_mapped(src + i);
		at_dst = i < dst_count && is_mapped(dst + i);
		if (i < dst_count && !at_dst)
			model[dst + i] = UNMAPPED;
		else if (i < count && i < dst_count && !at_src)
			model[dst + i] = model[src + i];
		if (i < count && !at_src)
			model[src + i] = UNMAPPED;
	}
}

static bool apart(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
	return a + na <= b || b + nb <= a;
}

static void *try_mremap(uint64_t src, uint64_t count, uint64_t new_count, int flags, uint64_t dst)
{
	return mremap(page_at(src), count * WORK_PAGE, new_count * WORK_PAGE, flags, page_at(dst));
}

/* Moves, to free addresses or (onto) to ones in use; the size may change on the way. */
static void move(bool onto, bool resize)
{
	uint64_t count, new_count, dst, src = pick_mapped(onto ? 64 : 1024, &count);

	new_count = resize ? 1 + below(2 * count) : count;
	if (onto)
		dst = below(window_pages - new_count);
	else
		dst = pick_free(new_count);
	if (dst == UNMAPPED || !apart(src, count, dst, new_count))
		return;
	/*
	 * Locked memory that grows as it moves hangs in any userfaultfd with EVENT_REMAP: mremap
	 * faults the new pages in before it sends the event, and until that has been read every
	 * UFFDIO_COPY and UFFDIO_ZEROPAGE says EAGAIN (do_mremap, Linux 6.18).
	 */
	if (new_count > count && munlock(page_at(src), count * WORK_PAGE))
		return;
	if (try_mremap(src, count, new_count, MREMAP_MAYMOVE | MREMAP_FIXED, dst) == MAP_FAILED) {
		if (errno != EFAULT && errno != ENOMEM)
			work_bad("mremap: %s", strerror(errno));
		find_out(src, count, dst, new_count);
		return;
	}
	set(dst, new_count, 0);
	memcpy(model + dst, model + src, (count < new_count ? count : new_count) * sizeof(*model));
	set(src, count, UNMAPPED);
}

static void op_move(void)
{
	move(false, false);
}

static void op_resize(void)
{
	move(false, true);
}

static void op_onto(void)
{
	move(true, below(2));
}

/* The pages go, the old place stays mapped and empty. */
static void op_leave(void)
{
	uint64_t count, dst, src = pick_mapped(256, &count);

	dst = pick_free(count);
	if (dst == UNMAPPED)
		return;
	if (try_mremap(src, count, count, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, dst) ==
	    MAP_FAILED) {
		seen->refused++;
		if (errno != EFAULT && errno != ENOMEM && errno != EINVAL)
			work_bad("mremap dontunmap: %s", strerror(errno));
		for (uint64_t i = 0; i < count; i++) {
			if (!is_mapped(dst + i))
				continue;
			model[dst + i] = model[src + i];
			model[src + i] = 0;
		}
		return;
	}
	memcpy(model + dst, model + src, count * sizeof(*model));
	set(src, count, 0);
}

static void op_shrink(void)
{
	uint64_t count, keep, src = pick_mapped(16, &count);

	keep = count > 1 ? 1 + below(count - 1) : 1;
	if (try_mremap(src, count, keep, 0, src) == MAP_FAILED) {
		if (errno != EFAULT && errno != ENOMEM)
			work_bad("mremap shrink: %s", strerror(errno));
		find_out(src + keep, count - keep, src, 0);
		return;
	}
	set(src + keep, count - keep, UNMAPPED);
}

static void op_grow(void)
{
	uint64_t count, more, n, src = pick_mapped(1024, &count);

	more = 1 + below(64);
	for (n = 0;
	     n < more && src + count + n < window_pages && model[src + count + n] == UNMAPPED; n++)
		continue;
	if (n == 0)
		return;
	if (try_mremap(src, count, count + n, 0, src) == MAP_FAILED) {
		seen->refused++;
		if (errno != EFAULT && errno != ENOMEM)
			work_bad("mremap grow: %s", strerror(errno));
		return;
	}
	set(src + count, n, 0);
}

static void op_unmap(void)
{
	uint64_t count, first = pick_mapped(48, &count);

	if (munmap(page_at(first), count * WORK_PAGE)) {
		if (errno != ENOMEM)
			work_bad("munmap: %s", strerror(errno));
		seen->refused++;
		return;
	}
	set(first, count, UNMAPPED);
}

/* Fresh memory, on free addresses or over what is there; not lazy, but in between. */
static void op_map(void)
{
	uint64_t count = 1 + below(48), first = below(window_pages - count);

	if (mmap(page_at(first), count * WORK_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		if (errno != ENOMEM)
			work_bad("mmap: %s", strerror(errno));
		find_out(first, 0, first, count);
		return;
	}
	set(first, count, 0);
}

static void op_drop(void)
{
	uint64_t count, first = pick_mapped(48, &count);

	if (madvise(page_at(first), count * WORK_PAGE, MADV_DONTNEED) &&
	    /* EINVAL: some of it is locked. */
	    (errno != EINVAL || munlock(page_at(first), count * WORK_PAGE) ||
	     madvise(page_at(first), count * WORK_PAGE, MADV_DONTNEED)))
		work_bad("madvise dontneed: %s", strerror(errno));
	set(first, count, 0);
	expect(page_at(first + below(count)), 0, first, "just dropped");
}

/* Changes that split an area without a word to a userfaultfd. */
static void op_split(void)
{
	uint64_t count, page = pick_mapped(1, &count);
	int ret;

	switch (below(4)) {
	case 0:
		ret = mlock(page_at(page), WORK_PAGE);
		break;
	case 1:
		ret = madvise(page_at(page), WORK_PAGE, below(2) ? MADV_SEQUENTIAL : MADV_NORMAL);
		break;
	default:
		ret = mprotect(page_at(page), WORK_PAGE, PROT_READ);
	}
	/* ENOMEM: too many areas. EINVAL and EPERM: mlock beyond what is allowed. */
	if (ret && errno != ENOMEM && errno != EPERM && errno != EAGAIN)
		work_bad("split: %s", strerror(errno));
	expect(page_at(page), model[page], page, "split");
}

static void op_join(void)
{
	uint64_t count, first = pick_mapped(4096, &count);

	if (mprotect(page_at(first), count * WORK_PAGE, PROT_READ | PROT_WRITE) && errno != ENOMEM)
		work_bad("mprotect: %s", strerror(errno));
	if (munlock(page_at(first), count * WORK_PAGE) && errno != ENOMEM)
		work_bad("munlock: %s", strerror(errno));
}

static void op_write(void)
{
	uint64_t count, page = pick_mapped(1, &count);

	if (mprotect(page_at(page), WORK_PAGE, PROT_READ | PROT_WRITE)) {
		if (errno != ENOMEM)
			work_bad("mprotect: %s", strerror(errno));
		seen->refused++;
		return;
	}
	if (below(2))
		expect(page_at(page), model[page], page, "before write");
	model[page] = token_of(SEED_NEW, next_token++);
	work_write(page_at(page), model[page]);
}

static void op_read(void)
{
	uint64_t count, page = pick_mapped(1, &count);

	expect(page_at(page), model[page], page, "read");
}

static void run(uint64_t operations);

static void compare_all(const char *when)
{
	struct work_order order;

	work_order_init(&order, window_pages, work_rand(&rnd));
	for (uint64_t i = 0; i < window_pages; i++) {
		uint64_t page = work_order_next(&order);

		if (model[page] != UNMAPPED)
			expect(page_at(page), model[page], page, when);
		else if (depth == 0 && is_mapped(page))
			work_bad("%s: page %llu is mapped and should not be", when,
				 (unsigned long long)page);
	}
}

static void reap(int flags)
{
	int status;
	pid_t pid;

	while (children > 0) {
		pid = waitpid(-1, &status, flags);
		if (pid == 0)
			return;
		if (pid < 0)
			work_bad("waitpid: %s", strerror(errno));
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			work_bad("child %d ended with status 0x%x", (int)pid, (unsigned int)status);
		children--;
	}
}

static void op_fork(void)
{
	pid_t pid;

	reap(WNOHANG);
	if (depth >= MOST_DEPTH || children >= MOST_CHILDREN)
		return;
	pid = fork();
	if (pid < 0)
		work_bad("fork: %s", strerror(errno));
	if (pid > 0) {
		children++;
		return;
	}
	/* The storm must not outlive its parent when a test ends it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	depth++;
	children = 0;
	rnd ^= (uint64_t)getpid() << 32;
	next_token = (uint64_t)getpid() << 32;
	switch (below(4)) {
	case 0:
		_exit(0);
	case 1:
		compare_all("child");
		break;
	default:
		run(200);
		if (below(2))
			compare_all("child");
	}
	reap(0);
	_exit(0);
}

static struct {
	const char *name;
	void (*run)(void);
	unsigned int weight;
} table[] = {
	{ "move", op_move, 12 },   { "resize", op_resize, 6 }, { "onto", op_onto, 4 },
	{ "leave", op_leave, 4 },  { "shrink", op_shrink, 6 }, { "grow", op_grow, 10 },
	{ "unmap", op_unmap, 8 },  { "map", op_map, 8 },       { "drop", op_drop, 8 },
	{ "split", op_split, 12 }, { "join", op_join, 4 },     { "write", op_write, 12 },
	{ "read", op_read, 30 },   { "fork", op_fork, 1 },
};

enum { TABLE = sizeof(table) / sizeof(table[0]) };

static void run(uint64_t operations)
{
	unsigned int total = 0;

	for (unsigned int i = 0; i < TABLE; i++)
		total += table[i].weight;
	while (operations-- > 0) {
		uint64_t at = below(total), t0;
		unsigned int i = 0;

		while (at >= table[i].weight)
			at -= table[i++].weight;
		t0 = work_ns();
		table[i].run();
		note_longest(&seen->operation_ns, work_ns() - t0);
		seen->done[i]++;
	}
}

static void choose(char *names)
{
	bool wanted[TABLE] = { false };

	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		unsigned int i = 0;

		while (i < TABLE && strcmp(table[i].name, name))
			i++;
		if (i == TABLE)
			exit(2);
		wanted[i] = true;
	}
	for (unsigned int i = 0; i < TABLE; i++)
		if (!wanted[i])
			table[i].weight = 0;
}

static void *read_still(void *arg)
{
	uint64_t state = 99;

	(void)arg;
	while (!atomic_load(&stop_reading)) {
		uint64_t p = work_rand(&state) % still_pages;

		expect(still + p * WORK_PAGE, token_of(SEED_STILL, p), p, "still area");
		seen->reads++;
	}
	return NULL;
}

/* The window, the model of it and the still area, as they are at the dump. */
static void populate(void)
{
	window_pages = 4 * start_pages;
	still_pages = start_pages / 4;
	model = work_area(window_pages * sizeof(*model) / WORK_PAGE);
	set(0, window_pages, UNMAPPED);
	if (mmap(page_at(start_pages), start_pages * WORK_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != page_at(start_pages))
		work_bad("cannot map in the window");
	madvise(page_at(start_pages), start_pages * WORK_PAGE, MADV_NOHUGEPAGE);
	/* Every 61st page is never touched before the dump: a hole in the image. */
	for (uint64_t p = start_pages; p < 2 * start_pages; p++) {
		model[p] = p % 61 ? token_of(SEED, p) : 0;
		if (model[p])
			work_write(page_at(p), model[p]);
	}
	still = work_area(still_pages);
	for (uint64_t p = 0; p < still_pages; p++)
		work_write(still + p * WORK_PAGE, token_of(SEED_STILL, p));
}

static void tell(uint64_t absent, uint64_t storm_ns, uint64_t verify_ns)
{
	char text[1024];
	int n = 0;

	for (unsigned int i = 0; i < TABLE; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s=%llu", table[i].name,
			      atomic_load(&seen->done[i]));
	work_say("ok absent=%llu storm_ms=%llu verify_ms=%llu access_us=%llu operation_us=%llu "
		 "refused=%llu reads=%llu%s",
		 (unsigned long long)absent, (unsigned long long)(storm_ns / 1000000),
		 (unsigned long long)(verify_ns / 1000000), atomic_load(&seen->access_ns) / 1000,
		 atomic_load(&seen->operation_ns) / 1000, atomic_load(&seen->refused),
		 atomic_load(&seen->reads), text);
}

int main(int argc, char **argv)
{
	uint64_t operations, processes, absent, t0, storm_ns;
	pthread_t thread;
	pid_t next = 0;

	if (argc < 4 || argc > 7)
		return 2;
	start_pages = work_number(argv[2], 1, 1 << 16) << 8;
	operations = work_number(argv[3], 0, UINT32_MAX);
	rnd = argc > 4 ? work_number(argv[4], 0, UINT64_MAX) : 1;
	processes = argc > 5 ? work_number(argv[5], 1, MOST_PROCESSES) : 1;
	if (argc > 6)
		choose(argv[6]);
	WORK_SETTLE_STACK();
	work_start(argv[1]);
	seen = mmap(NULL, WORK_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		work_bad("mmap: %s", strerror(errno));

	while (next == 0 && self + 1 < processes) {
		next = work_child();
		if (next == 0)
			self++;
		else
			children++;
	}
	rnd += self;
	populate();
	work_ready("%llu pages", (unsigned long long)(processes * (start_pages + still_pages)));
	if (next > 0)
		work_wake(next);

	absent = work_absent(page_at(start_pages), start_pages);
	t0 = work_ns();
	if (pthread_create(&thread, NULL, read_still, NULL))
		work_bad("no thread");
	run(operations);
	storm_ns = work_ns() - t0;
	reap(0);
	atomic_store(&stop_reading, true);
	pthread_join(thread, NULL);
	compare_all("at the end");
	for (uint64_t p = 0; p < still_pages; p++)
		expect(still + p * WORK_PAGE, token_of(SEED_STILL, p), p, "still area at the end");
	if (self == 0)
		tell(absent, storm_ns, work_ns() - t0);
	return 0;
}
