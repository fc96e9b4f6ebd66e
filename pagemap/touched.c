/* SPDX-License-Identifier: MIT */
/* The set of touched.h. */
#include "pagemap/touched.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Pages of a block: 2 MiB of address space, as of one page table. */
enum { BLOCK = 512, WORDS = BLOCK / 64, SLOTS_MIN = 64, ROOM_MIN = 64 };

struct lz_touched_block {
	uint64_t number; /* address / (BLOCK * LZ_WSET_PAGE) */
	uint32_t task;
	bool used;
	uint64_t word[WORDS];
};

void lz_touched_fini(struct lz_touched *t)
{
	free(t->run);
	free(t->block);
	*t = (struct lz_touched){ 0 };
}

/* Where the block is or would be; there is a free slot. */
static struct lz_touched_block *slot_of(struct lz_touched_block *block, size_t nr_slots,
					uint32_t task, uint64_t number)
{
	uint64_t hash = (number ^ (uint64_t)task << 40) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(hash >> 32) & (nr_slots - 1);

	while (block[i].used && (block[i].task != task || block[i].number != number))
		i = (i + 1) & (nr_slots - 1);
	return &block[i];
}

static int reserve_block(struct lz_touched *t)
{
	size_t nr = t->nr_slots ? t->nr_slots * 2 : SLOTS_MIN;
	struct lz_touched_block *block;

	if (t->nr_blocks < t->nr_slots / 2)
		return 0;
	block = calloc(nr, sizeof(*block));
	if (!block)
		return -ENOMEM;
	for (size_t i = 0; i < t->nr_slots; i++)
		if (t->block[i].used)
			*slot_of(block, nr, t->block[i].task, t->block[i].number) = t->block[i];
	free(t->block);
	t->block = block;
	t->nr_slots = nr;
	return 0;
}

static int reserve_run(struct lz_touched *t)
{
	size_t room = t->room ? t->room * 2 : ROOM_MIN;
	struct lz_wset_run *run;

	if (t->nr < t->room)
		return 0;
	run = realloc(t->run, room * sizeof(*run));
	if (!run)
		return -ENOMEM;
	t->run = run;
	t->room = room;
	return 0;
}

/* Pages that are not in it. */
static int append(struct lz_touched *t, uint32_t task, uint64_t address, uint32_t nr_pages)
{
	struct lz_wset_run *last = t->nr ? &t->run[t->nr - 1] : NULL;
	int r;

	if (t->nr_pages + nr_pages > LZ_WSET_PAGES_MAX)
		return -ENOSPC;
	if (last && last->task == task &&
	    last->address + (uint64_t)last->nr_pages * LZ_WSET_PAGE == address) {
		last->nr_pages += nr_pages;
	} else {
		if (t->nr == LZ_WSET_RUNS_MAX)
			return -ENOSPC;
		r = reserve_run(t);
		if (r)
			return r;
		t->run[t->nr++] = (struct lz_wset_run){ address, nr_pages, task };
	}
	t->nr_pages += nr_pages;
	return 0;
}

static bool is_in(const struct lz_touched_block *b, uint64_t page)
{
	return b->word[page / 64] >> page % 64 & 1;
}

/* Pages [from, to) of block @number. */
static int add_to_block(struct lz_touched *t, uint32_t task, uint64_t number, uint64_t from,
			uint64_t to)
{
	struct lz_touched_block *b;
	int r = reserve_block(t);

	if (r)
		return r;
	b = slot_of(t->block, t->nr_slots, task, number);
	if (!b->used) {
		*b = (struct lz_touched_block){ .number = number, .task = task, .used = true };
		t->nr_blocks++;
	}
	while (!r && from < to) {
		uint64_t end = from;

		for (; end < to && !is_in(b, end); end++) {
		}
		if (end > from)
			r = append(t, task, (number * BLOCK + from) * LZ_WSET_PAGE,
				   (uint32_t)(end - from));
		for (uint64_t i = from; !r && i < end; i++)
			b->word[i / 64] |= UINT64_C(1) << i % 64;
		for (from = end; from < to && is_in(b, from); from++) {
		}
	}
	return r;
}

int lz_touched_add(struct lz_touched *t, const struct lz_wset_run *run)
{
	uint64_t page = run->address / LZ_WSET_PAGE, end = page + run->nr_pages;
	int r = 0;

	while (!r && page < end) {
		uint64_t next = (page / BLOCK + 1) * BLOCK;

		next = next < end ? next : end;
		r = add_to_block(t, run->task, page / BLOCK, page % BLOCK,
				 page % BLOCK + (next - page));
		page = next;
	}
	return r;
}
