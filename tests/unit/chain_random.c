/* SPDX-License-Identifier: MIT */
/* Random chains of pagemaps against a model that looks up page by page. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>

#include "chain_levels.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

enum { SPACE = 64, CHAINS = 100 };

static uint64_t seed;

/* What each level says of each page; 0: nothing. */
static uint8_t says[LEVELS][SPACE];
static uint64_t offset_of[LEVELS][SPACE];
static bool in_area[SPACE];
static struct lz_seg segs[SPACE];
static size_t nr_segs;

static uint64_t pick(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

static void random_level(size_t n, uint64_t base)
{
	static const uint8_t flags[] = { 0, PRESENT, PRESENT | LAZY, PARENT | LAZY, PARENT, LAZY };
	uint64_t offset = 0;

	for (size_t at = 0; at < SPACE;) {
		size_t len = 1 + pick(pick(2) ? 3 : 20);
		uint8_t f = flags[pick(n + 1 < nr_levels ? 6 : 3)];

		len = at + len > SPACE ? SPACE - at : len;
		if (f)
			imagebuf_entry(&buf[n], base + K4(at), len, f,
				       pick(2) ? LZ_PAGEMAP_4_1 : LZ_PAGEMAP_4_2);
		for (; len; len--, at++) {
			says[n][at] = f;
			offset_of[n][at] = offset;
			offset += f & PRESENT ? K4(1) : 0;
		}
	}
}

static void random_areas(uint64_t base)
{
	nr_segs = 0;
	for (size_t at = 0; at < SPACE;) {
		size_t len = 1 + pick(12), end = at + len > SPACE ? SPACE : at + len;
		bool lazy = pick(4);

		if (lazy)
			segs[nr_segs++] = (struct lz_seg){ .start = base + K4(at),
							   .end = base + K4(end) };
		for (; at < end; at++)
			in_area[at] = lazy;
	}
}

/* The level that has page @at; LEVELS: it is absent; -1: the chain is broken there. */
static int model_of(size_t at)
{
	for (size_t n = 0; n < nr_levels; n++) {
		if (says[n][at] & PRESENT)
			return (int)n;
		if (!(says[n][at] & PARENT))
			return says[n][at] ? LEVELS : -1;
	}
	return -1;
}

static bool is_wanted(size_t at)
{
	if (chain.all)
		return says[0][at];
	return in_area[at] && says[0][at] & LAZY;
}

/* Whether it was whole. */
static bool compare(uint64_t base, bool all)
{
	struct lz_chain_piece piece;
	size_t at = 0;
	int more;

	MUST_EQ(start(segs, nr_segs), 0);
	chain.all = all;
	while ((more = lz_chain_next(&chain, &piece)) > 0) {
		uint64_t offset = piece.offset;

		while (at < SPACE && !is_wanted(at))
			at++;
		MUST_EQ(piece.start, base + K4(at));
		MUST_EQ(piece.len && !(piece.len & 0xfff), true);
		for (uint64_t n = 0; n < piece.len; n += K4(1), offset += K4(1), at++) {
			MUST_EQ(at < SPACE && is_wanted(at), true);
			MUST_EQ(model_of(at), piece.absent ? LEVELS : (int)piece.level);
			if (!piece.absent)
				MUST_EQ(offset, offset_of[piece.level][at]);
		}
	}
	while (at < SPACE && !is_wanted(at))
		at++;
	/* It stops at the end, or at the first page that the chain should have and has not. */
	if (more) {
		MUST_EQ(more, -EBADMSG);
		MUST_EQ(at < SPACE && model_of(at) == -1, true);
		return false;
	}
	MUST_EQ(at, SPACE);
	for (at = 0; at < SPACE; at++)
		if (says[0][at] && !is_wanted(at))
			chain.eager_bytes -= K4(1);
	MUST_EQ(chain.eager_bytes, 0);
	return true;
}

START_TEST(like_the_model)
{
	const uint64_t base = _i % 2 ? -K4(SPACE + 1) : 0;
	int nr_whole = 0;

	for (uint64_t n = 0; n < CHAINS; n++) {
		seed = first_seed = (uint64_t)_i * CHAINS + n;
		begin(1 + pick(LEVELS));
		for (size_t l = 0; l < nr_levels; l++)
			random_level(l, base);
		random_areas(base);
		nr_whole += compare(base, _i >= 40);
	}
	ck_assert_int_gt(nr_whole, CHAINS / 20);
	ck_assert_int_lt(nr_whole, CHAINS * 9 / 10);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chain_random");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, like_the_model, 0, 60);
	suite_add_tcase(s, t);
	return run_suite(s);
}
