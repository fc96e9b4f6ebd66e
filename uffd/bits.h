/* SPDX-License-Identifier: MIT */
/*
 * A set of page numbers: one bit a page, and one bit above each 64 of them that says whether any is
 * set, so that finding the next one in 100 GiB looks at a few hundred words. Pure.
 */
#ifndef LZ_BITS_H
#define LZ_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lz_bits {
	uint64_t *word;
	uint64_t *summary;
	uint64_t nr;
	bool owns_words;
};

/* Bytes that @nr bits take in words handed to init(). */
size_t lz_bits_size(uint64_t nr);
/*
 * @words: room of lz_bits_size(nr) for the bits, kept by the caller as long as the set lives; the
 * bits in it are taken as they are. NULL: the set's own, all clear.
 */
int lz_bits_init(struct lz_bits *b, uint64_t nr, uint64_t *words);
void lz_bits_fini(struct lz_bits *b);
/* Overwrites @to, of the same size, with @from. */
void lz_bits_copy(struct lz_bits *to, const struct lz_bits *from);

bool lz_bits_test(const struct lz_bits *b, uint64_t i);
/* [from, to); both return how many bits changed. */
uint64_t lz_bits_set(struct lz_bits *b, uint64_t from, uint64_t to);
uint64_t lz_bits_clear(struct lz_bits *b, uint64_t from, uint64_t to);
uint64_t lz_bits_count(const struct lz_bits *b);

/* The first set bit at or after @from; nr if there is none. */
uint64_t lz_bits_next(const struct lz_bits *b, uint64_t from);
/* The first set bit in [from, to), @to if there is none: for a stretch of a few words. */
uint64_t lz_bits_next_within(const struct lz_bits *b, uint64_t from, uint64_t to);
/* The last set bit before @to; nr if there is none. */
uint64_t lz_bits_prev(const struct lz_bits *b, uint64_t to);
/* The first clear bit at or after @from, at most @to. */
uint64_t lz_bits_next_clear(const struct lz_bits *b, uint64_t from, uint64_t to);

#endif
