/* SPDX-License-Identifier: MIT */
/* The set of page numbers of bits.h. Bits behind nr in the last word are always clear. */
#include "uffd/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t words_of(uint64_t nr)
{
	return nr / 64 + (nr % 64 != 0);
}

/* The bits of word @w that lie in [from, to). */
static uint64_t mask_of(uint64_t w, uint64_t from, uint64_t to)
{
	uint64_t m = ~UINT64_C(0);

	if (from > w * 64)
		m &= ~UINT64_C(0) << (from - w * 64);
	if (to < w * 64 + 64)
		m &= ~(~UINT64_C(0) << (to - w * 64));
	return m;
}

static void summarise(struct lz_bits *b, uint64_t w)
{
	uint64_t m = UINT64_C(1) << (w % 64);

	if (b->word[w])
		b->summary[w / 64] |= m;
	else
		b->summary[w / 64] &= ~m;
}

size_t lz_bits_size(uint64_t nr)
{
	return (size_t)words_of(nr) * sizeof(uint64_t);
}

int lz_bits_init(struct lz_bits *b, uint64_t nr, uint64_t *words)
{
	uint64_t n = words_of(nr);

	*b = (struct lz_bits){ .nr = nr, .owns_words = !words };
	b->word = words ? words : calloc((size_t)n + 1, sizeof(*b->word));
	b->summary = calloc((size_t)words_of(n) + 1, sizeof(*b->summary));
	if (!b->word || !b->summary) {
		lz_bits_fini(b);
		return -ENOMEM;
	}
	for (uint64_t w = 0; words && w < n; w++)
		summarise(b, w);
	return 0;
}

void lz_bits_fini(struct lz_bits *b)
{
	if (b->owns_words)
		free(b->word);
	free(b->summary);
	*b = (struct lz_bits){ 0 };
}

void lz_bits_copy(struct lz_bits *to, const struct lz_bits *from)
{
	uint64_t n = words_of(from->nr);

	assert(to->nr == from->nr);
	memcpy(to->word, from->word, (size_t)n * sizeof(*to->word));
	memcpy(to->summary, from->summary, (size_t)words_of(n) * sizeof(*to->summary));
}

bool lz_bits_test(const struct lz_bits *b, uint64_t i)
{
	assert(i < b->nr);
	return b->word[i / 64] >> (i % 64) & 1;
}

uint64_t lz_bits_set(struct lz_bits *b, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	assert(from <= to && to <= b->nr);
	for (uint64_t w = from / 64; w * 64 < to; w++) {
		uint64_t m = mask_of(w, from, to) & ~b->word[w];

		n += (uint64_t)__builtin_popcountll(m);
		b->word[w] |= m;
		summarise(b, w);
	}
	return n;
}

uint64_t lz_bits_clear(struct lz_bits *b, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	assert(from <= to && to <= b->nr);
	for (uint64_t w = from / 64; w * 64 < to; w++) {
		uint64_t m = mask_of(w, from, to) & b->word[w];

		n += (uint64_t)__builtin_popcountll(m);
		b->word[w] &= ~m;
		summarise(b, w);
	}
	return n;
}

uint64_t lz_bits_count(const struct lz_bits *b)
{
	uint64_t n = 0;

	for (uint64_t w = 0; w < words_of(b->nr); w++)
		n += (uint64_t)__builtin_popcountll(b->word[w]);
	return n;
}

uint64_t lz_bits_next(const struct lz_bits *b, uint64_t from)
{
	uint64_t n = words_of(b->nr), w = from / 64, v;

	if (from >= b->nr)
		return b->nr;
	v = b->word[w] & mask_of(w, from, b->nr);
	if (v)
		return w * 64 + (uint64_t)__builtin_ctzll(v);
	/* From here on by the summary: 4,096 pages a look. */
	from = w + 1;
	for (uint64_t s = from / 64; s * 64 < n; s++) {
		v = b->summary[s] & mask_of(s, from, n);
		if (v) {
			w = s * 64 + (uint64_t)__builtin_ctzll(v);
			return w * 64 + (uint64_t)__builtin_ctzll(b->word[w]);
		}
	}
	return b->nr;
}

uint64_t lz_bits_next_within(const struct lz_bits *b, uint64_t from, uint64_t to)
{
	assert(to <= b->nr);
	while (from < to) {
		uint64_t v = b->word[from / 64] & mask_of(from / 64, from, to);

		if (v)
			return from / 64 * 64 + (uint64_t)__builtin_ctzll(v);
		from = from / 64 * 64 + 64;
	}
	return to;
}

uint64_t lz_bits_prev(const struct lz_bits *b, uint64_t to)
{
	uint64_t w, v;

	assert(to <= b->nr);
	if (!to)
		return b->nr;
	w = (to - 1) / 64;
	v = b->word[w] & mask_of(w, 0, to);
	if (v)
		return w * 64 + 63 - (uint64_t)__builtin_clzll(v);
	if (!w)
		return b->nr;
	for (uint64_t s = (w - 1) / 64 + 1; s--;) {
		v = b->summary[s] & mask_of(s, 0, w);
		if (v) {
			w = s * 64 + 63 - (uint64_t)__builtin_clzll(v);
			return w * 64 + 63 - (uint64_t)__builtin_clzll(b->word[w]);
		}
	}
	return b->nr;
}

uint64_t lz_bits_next_clear(const struct lz_bits *b, uint64_t from, uint64_t to)
{
	assert(to <= b->nr);
	while (from < to) {
		uint64_t v = ~b->word[from / 64] & mask_of(from / 64, from, to);

		if (v)
			return from / 64 * 64 + (uint64_t)__builtin_ctzll(v);
		from = from / 64 * 64 + 64;
	}
	return to;
}
