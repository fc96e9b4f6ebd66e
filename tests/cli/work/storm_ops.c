/* SPDX-License-Identifier: MIT */
/* The operations of storm.h. Not here: what chooses them, and forks. */
#include "storm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Where the kernel puts nothing by itself: neither below the stack nor above the program. */
static unsigned char *const window = (unsigned char *)0x100000000000;

uint64_t *model;
uint64_t window_pages, next_token, rnd;
unsigned int self;
struct seen *seen;

void *page_at(uint64_t page)
{
	return window + page * WORK_PAGE;
}

uint64_t below(uint64_t bound)
{
	return work_rand(&rnd) % bound;
}

uint64_t token_of(unsigned int seed, uint64_t page)
{
	return work_token(seed + self * SEEDS, page);
}

void note_longest(atomic_ullong *longest, uint64_t ns)
{
	unsigned long long was = atomic_load(longest);

	while (ns > was && !atomic_compare_exchange_weak(longest, &was, ns))
		continue;
}

void expect(const void *page, uint64_t token, uint64_t number, const char *when)
{
	uint64_t t0 = work_ns();

	(void)*(const volatile unsigned char *)page;
	note_longest(&seen->access_ns, work_ns() - t0);
	work_expect(page, token, number, when);
}

void set(uint64_t first, uint64_t count, uint64_t token)
{
	for (uint64_t p = first; p < first + count; p++)
		model[p] = token;
}

bool is_mapped(uint64_t page)
{
	unsigned char present;

	if (mincore(page_at(page), WORK_PAGE, &present) == 0)
		return true;
	if (errno != ENOMEM)
		work_bad("mincore: %s", strerror(errno));
	return false;
}

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

void op_move(void)
{
	move(false, false);
}

void op_resize(void)
{
	move(false, true);
}

void op_onto(void)
{
	move(true, below(2));
}

void op_leave(void)
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

void op_shrink(void)
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

void op_grow(void)
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

void op_unmap(void)
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

void op_map(void)
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

void op_drop(void)
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

void op_split(void)
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

void op_join(void)
{
	uint64_t count, first = pick_mapped(4096, &count);

	if (mprotect(page_at(first), count * WORK_PAGE, PROT_READ | PROT_WRITE) && errno != ENOMEM)
		work_bad("mprotect: %s", strerror(errno));
	if (munlock(page_at(first), count * WORK_PAGE) && errno != ENOMEM)
		work_bad("munlock: %s", strerror(errno));
}

void op_write(void)
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

void op_read(void)
{
	uint64_t count, page = pick_mapped(1, &count);

	expect(page_at(page), model[page], page, "read");
}
