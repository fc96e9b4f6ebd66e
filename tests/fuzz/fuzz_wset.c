/* SPDX-License-Identifier: MIT */
/*
 * Files of working sets. Each is taken as it comes, and once more with a checksum that is right,
 * behind which a fuzzer would not get otherwise; what is taken is put into a set, which has every
 * page once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/touched.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COUNTED_MAX = 1 << 16 };

static int by_place(const void *a, const void *b)
{
	const struct lz_wset_run *x = a, *y = b;

	if (x->task != y->task)
		return x->task < y->task ? -1 : 1;
	return (x->address > y->address) - (x->address < y->address);
}

static void check_set(struct lz_touched *t)
{
	uint64_t pages = 0;

	assert(t->nr <= LZ_WSET_RUNS_MAX && t->nr_pages <= LZ_WSET_PAGES_MAX);
	for (size_t i = 0; i < t->nr; i++)
		pages += t->run[i].nr_pages;
	assert(pages == t->nr_pages);
	if (!t->nr)
		return;
	qsort(t->run, t->nr, sizeof(*t->run), by_place);
	for (size_t i = 1; i < t->nr; i++)
		assert(t->run[i - 1].task != t->run[i].task ||
		       (t->run[i].address - t->run[i - 1].address) / LZ_WSET_PAGE >=
			       t->run[i - 1].nr_pages);
}

/* One that is taken comes out as it went in. */
static void write_again(const struct lz_wset *w, const uint8_t *bytes, size_t size)
{
	uint8_t *again = malloc(size);

	assert(again);
	lz_wset_put_head(again, &w->head);
	for (size_t i = 0; i < w->head.nr_runs; i++) {
		struct lz_wset_run run = lz_wset_run(w, i);

		lz_wset_put_run(again, i, &run);
	}
	lz_wset_seal(again, w->head.nr_runs);
	assert(lz_wset_size(w->head.nr_runs) == size && memcmp(again, bytes, size) == 0);
	free(again);
}

static void take(const uint8_t *bytes, size_t size)
{
	struct lz_touched t = { 0 };
	uint64_t pages = 0;
	struct lz_wset w;
	int r = lz_wset_parse(&w, bytes, size);

	if (r) {
		assert((r == -EBADMSG || r == -EPROTONOSUPPORT) && w.what[0]);
		return;
	}
	assert(!w.what[0]);
	write_again(&w, bytes, size);
	for (size_t i = 0; i < w.head.nr_runs; i++) {
		struct lz_wset_run run = lz_wset_run(&w, i);

		pages += run.nr_pages;
		if (pages > COUNTED_MAX) /* for the fuzzer's time */
			break;
		r = lz_touched_add(&t, &run);
		assert(!r || r == -ENOSPC);
	}
	check_set(&t);
	lz_touched_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1);
	size_t nr = size >= lz_wset_size(0) ? (size - lz_wset_size(0)) / 16 : 0;

	assert(bytes);
	if (size)
		memcpy(bytes, data, size);
	take(bytes, size);
	if (size >= lz_wset_size(0) && size == lz_wset_size(nr)) {
		lz_wset_seal(bytes, nr);
		take(bytes, size);
	}
	free(bytes);
	return 0;
}
