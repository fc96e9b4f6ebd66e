/* SPDX-License-Identifier: MIT */
/*
 * The memory of a state as somebody else may have left it: any notes in its journal, any bits.
 * Replayed it is refused or makes an engine whose invariants hold, and which owes the same when it
 * is replayed again, from the journal as it is and from the journal restated.
 *
 * The input: a byte that says which half of the journal counts, its notes as they lie there, and,
 * where bytes are left, what is owed, over and over. Pages are small: notes of half a huge page
 * unmapped or moved, which no kernel lets happen, are not looked for in a replay.
 *
 * limits: small
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "uffd/limits.h"
#include "uffd/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 600 };

static struct lz_plan *plan;

static const struct lz_seg AREAS[] = {
	{ 0x1000, 0x9000, 0x1000, 12, 0 },
	{ 0x40000000, 0x40010000, 0x40000000, 12, 0 },
	{ 0x40600000, 0x40640000, 0x40600000, 12, 0 },
	{ 0xffffffffffff0000, 0xfffffffffffff000, 0xffffffffffff0000, 12, 0 },
};
static const struct lz_piece PIECES[] = {
	{ 0x1000, 0x7000, 0, 0, 12 },
	{ 0x40004000, 0x8000, 0x200000, 0, 12 },
	{ 0x40600000, 0x20000, 0x600000, 0, 12 },
	{ 0xffffffffffff0000, 0x8000, 0, 1, 12 },
};

static int find_memory(void *arg, uint64_t memory, struct lz_plan **p, const struct lz_seg **seg,
		       size_t *nr)
{
	(void)arg;
	if (memory)
		return -ENOENT;
	*p = plan;
	*seg = AREAS;
	*nr = sizeof(AREAS) / sizeof(AREAS[0]);
	return 0;
}

static void fill_in(struct lz_state *st, const uint8_t *data, size_t size)
{
	struct lz_journal *j = &st->journal;
	size_t len = lz_state_size(PAGES) - sizeof(*st), nr;
	uint8_t *words = (uint8_t *)lz_state_words(st, 0);

	j->active = size ? data[0] & 1 : 0;
	nr = size ? (size - 1) / sizeof(struct lz_note) : 0;
	nr = nr < LZ_JOURNAL_NOTES ? nr : LZ_JOURNAL_NOTES;
	j->nr[j->active] = nr;
	memcpy(j->note[j->active], data + (size > 0), nr * sizeof(struct lz_note));
	for (size_t i = 0; i < nr; i++)
		if (j->note[j->active][i].type == LZ_NOTE_SEG && j->note[j->active][i].uffd > 12)
			j->note[j->active][i].uffd = 12;
	data += (size > 0) + nr * sizeof(struct lz_note);
	size -= (size > 0) + nr * sizeof(struct lz_note);
	for (size_t i = 0; size && i < len; i++)
		words[i] = data[i % size];
}

static uint64_t owed(const struct lz_engine *e)
{
	uint64_t sum = 0, n = 0;
	struct lz_range r;

	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		uint64_t page = 0;

		sum = sum * 31 + lz_engine_serves(e, i);
		while (lz_engine_serves(e, i) && lz_engine_owed_range(e, i, &page, &r))
			sum = sum * 31 + r.start + r.end + ++n;
	}
	return sum;
}

/* An engine that goes on with @st, or what is said against it. */
static int rebuild(struct lz_state *st, struct lz_engine **e)
{
	struct lz_engine_options o = { .stats = &st->stats };
	struct lz_memories m = { .find = find_memory };
	int half_closed, r;

	assert(!lz_engine_new(e, &o));
	r = lz_state_replay(st, *e, &m, &half_closed);
	if (r)
		lz_engine_free(*e);
	else
		assert(half_closed < 0 || lz_engine_serves(*e, (uint32_t)half_closed));
	return r;
}

static void is_the_same(struct lz_state *st, const struct lz_engine *e)
{
	struct lz_engine *again;

	assert(!rebuild(st, &again));
	lz_engine_check(again);
	assert(owed(e) == owed(again));
	lz_engine_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lz_state *st;
	struct lz_engine *e;
	int r;

	if (!plan) {
		assert(!lz_plan_new(&plan));
		for (size_t i = 0; i < sizeof(PIECES) / sizeof(PIECES[0]); i++)
			assert(!lz_plan_add(plan, &PIECES[i]));
		lz_plan_seal(plan);
		st = malloc(lz_state_size(PAGES));
		assert(st);
	}
	memset(st, 0, lz_state_size(PAGES));
	lz_state_init(st, PAGES);
	fill_in(st, data, size);
	assert(lz_state_is_one(st, lz_state_size(PAGES)));
	r = rebuild(st, &e);
	if (r) {
		assert(r == -EBADMSG || r == -EINVAL || r == -ENOENT);
		return 0;
	}
	lz_engine_check(e);
	is_the_same(st, e);
	if (!lz_state_compact(st, e))
		is_the_same(st, e);
	lz_engine_free(e);
	return 0;
}
