/* SPDX-License-Identifier: MIT */
/* Every limit of the engine, each with the sentence that justifies it, and what holds to one. */
#ifndef LZ_LIMITS_H
#define LZ_LIMITS_H

#include <stdint.h>

#ifndef LZ_LIMITS_SMALL
enum {
	/* Tasks of a restore and the children they fork while it lasts; a slot costs address space
	 * only. A fork past the limit is failed closed: what the child is owed is poisoned. */
	LZ_SPACES_MAX = 4096,
	/* Reads in flight: a long fat link wants megabytes of them, of a slice each. */
	LZ_REQS_MAX = 256,
	/* The same where all sources are local. A disk is kept busy by 32; the rest is headroom so
	 * that a demanded page finds a free one while others wait for a slow file. */
	LZ_REQS_LOCAL = 64,
	/* Kept for faults, whatever runs ahead. */
	LZ_REQS_FAULT = 32,
	/* What runs ahead in local sources: the sweep, and with it the neighbours of faults. */
	LZ_REQS_SWEEP = 16,
	LZ_REQS_AHEAD = 32,
	/* A quarter of all, and of the sweep, is kept from any one source:
	 * a slow one delays its own pages only. */
	/* One read and one COPY at most: 64 KiB is where COPY stops getting faster, and about 25 us
	 * that a fault may have to wait. */
	LZ_SLICE_BYTES = 64 << 10,
	/* Pages of a slice at most, for the smallest page. */
	LZ_SLICE_PAGES = LZ_SLICE_BYTES >> 12,
	/* The sweep's while no faults come, where its bytes are mapped:
	 * what each slice costs beside its copy, 3 us, is then a thirtieth of it. */
	LZ_STRETCH_BYTES = 256 << 10,
	LZ_STRETCH_PAGES = LZ_STRETCH_BYTES >> 12,
	/*
	 * What the sweep has brought into memory at a time while no faults come, where so much lies
	 * together: the kernel reads it as one huge page if it can, at more than twice the rate of
	 * small ones. A fault that comes meanwhile waits behind it, for a millisecond on a disk of
	 * 2 GB/s.
	 */
	LZ_BLOCK_BYTES = 2 << 20,
	/* Of any one source: the next one comes while one is placed. And of all. */
	LZ_BLOCKS_SOURCE = 2,
	LZ_BLOCKS_MAX = 8,
	/*
	 * Reads of the sweep from any one source while faults come: what is on its way stands
	 * before them in the disk's queue. But whoever has faulted so often will go on, and gets
	 * along faster with all of it.
	 */
	LZ_REQS_PRESSED = 1,
	LZ_STORM_FAULTS = 1024,
	/* So many are a storm where nothing is waited for but copies. */
	LZ_STORM_BEGINS = 16,
	/*
	 * So many in a row far from one another, and what lies around the last is no likelier to be
	 * touched than any other: the sweep goes on where it was, for what lies together costs
	 * less.
	 */
	LZ_ASTRAY_FAULTS = 32,
	/* A larger page is a slice of its own, and its buffer a larger one. With pages of 1 GiB a
	 * fault would wait for half a second behind the one that is being placed. */
	LZ_PAGE_BYTES_MAX = 2 << 20,
	/* Faults noted and not yet answered; a thread past them is woken when they are. */
	LZ_FAULTS_MAX = 1024,
	/* Wakes owed to threads; each is served before anything else, so a turn's worth is enough.
	 * Past them the next wake of that space covers all of it. */
	LZ_WAKES_MAX = 64,
	/* Hints for neighbours; the oldest is forgotten, they are hints. */
	LZ_HINTS_MAX = 16,
	/* Neighbours read, or zeroed, behind a fault of a sequential stream, in pages. */
	LZ_WINDOW_MAX = 64,
	/* ... that comes backward, or in strides; which are no longer than this many pages. */
	LZ_WINDOW_OTHER = 16,
	LZ_STRIDE_MAX = 64,
	/* Messages one read of a userfaultfd takes. */
	LZ_BATCH_MAX = 16,
	/* Layout notes in one half of the journal; it is compacted into the other half when full.
	 * 64 bytes each, taken only when written. */
	LZ_JOURNAL_NOTES = 1 << 20,
	/* Memories an engine serves: one a task. */
	LZ_MEMORIES_MAX = 4096,
	/* Runs of pages in a record, 16 bytes each, taken only when written:
	 * 1 GiB where no two pages that were touched lie together. A file of them has no more. */
	LZ_TOUCHES_MAX = 1 << 18,
	/* Runs that can be wanted before all others: a whole file of them, and where the image has
	 * them in pieces as many again. One list of them does for all spaces. */
	LZ_WANTED_MAX = 1 << 19,
	/* Runs of them that are passed before faults are looked for again: 40 us at 10 ns each. */
	LZ_PASSED_MAX = 4096,
	/* Bytes of them that are on their way from a disk at a time, as many as the sweep's:
	 * a fault's read is behind them in the disk's queue. */
	LZ_WANTED_BYTES = LZ_REQS_SWEEP * LZ_SLICE_BYTES,
	/* Beside the loop: what it does for each COPY takes a fifth of one. */
	LZ_COPIERS_MAX = 3,
	/* COPYs given to each that have not been taken back:
	 * enough to let it go on while the loop copies too. */
	LZ_COPIERS_GIVEN = 4,
	/* To wake somebody for a shorter one is worth it from so many on,
	 * that come without a pause. */
	LZ_COPIERS_BYTES = 32 << 10,
	LZ_COPIERS_SHORT = 16,
};
#else
/* So small that the property suite meets every one of them; for tests only. */
enum {
	LZ_SPACES_MAX = 8,
	LZ_REQS_MAX = 8,
	LZ_REQS_LOCAL = 5,
	LZ_REQS_FAULT = 2,
	LZ_REQS_SWEEP = 2,
	LZ_REQS_AHEAD = 3,
	LZ_SLICE_BYTES = 16 << 10,
	LZ_SLICE_PAGES = LZ_SLICE_BYTES >> 12,
	LZ_STRETCH_BYTES = 24 << 10,
	LZ_STRETCH_PAGES = LZ_STRETCH_BYTES >> 12,
	LZ_BLOCK_BYTES = 32 << 10,
	LZ_BLOCKS_SOURCE = 2,
	LZ_BLOCKS_MAX = 3,
	LZ_REQS_PRESSED = 1,
	LZ_STORM_FAULTS = 6,
	LZ_STORM_BEGINS = 5,
	LZ_ASTRAY_FAULTS = 3,
	LZ_PAGE_BYTES_MAX = LZ_SLICE_BYTES,
	LZ_FAULTS_MAX = 3,
	LZ_WAKES_MAX = 1,
	LZ_HINTS_MAX = 2,
	LZ_WINDOW_MAX = 8,
	LZ_WINDOW_OTHER = 8,
	LZ_STRIDE_MAX = 8,
	LZ_BATCH_MAX = 4,
	LZ_JOURNAL_NOTES = 256,
	LZ_MEMORIES_MAX = 8,
	LZ_TOUCHES_MAX = 24,
	LZ_WANTED_MAX = 12,
	LZ_PASSED_MAX = 3,
	LZ_WANTED_BYTES = LZ_REQS_SWEEP * LZ_SLICE_BYTES,
};
#endif

/* A fill that said EAGAIN is tried again after this long, twice as long each time up to the second
 * figure: the kernel's flag falls when the thread that changes the layout runs again (up to 3 ms
 * seen), and no event tells. */
#define LZ_RETRY_MIN_NS UINT64_C(50000)
#define LZ_RETRY_MAX_NS UINT64_C(2000000)
/* So long after the last fault the sweep takes whole slices again,
 * and copiers have a part in it. */
#define LZ_CALM_NS UINT64_C(5000000)

/* A number and what limits it: the smaller. */
static inline uint64_t lz_limits_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
