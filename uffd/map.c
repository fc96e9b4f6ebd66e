/* SPDX-License-Identifier: MIT */
/* The segments of map.h: two sorted vectors, since there are as many as VMAs, not as pages. */
#include "uffd/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t len_of(const struct lz_seg *s)
{
	return s->end - s->start;
}

/* Index of the first segment that ends after @addr. */
static size_t lower(const struct lz_map *m, uint64_t addr)
{
	size_t lo = 0, hi = m->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->seg[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t lower_identity(const struct lz_map *m, uint64_t identity)
{
	size_t lo = 0, hi = m->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->by_identity[mid].identity + (len_of(&m->by_identity[mid]) - 1) < identity)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int reserve(struct lz_map *m, size_t more)
{
	size_t cap = m->cap ? m->cap : 8;
	struct lz_seg *p;

	while (cap < m->nr + more)
		cap *= 2;
	if (cap == m->cap)
		return 0;
	p = realloc(m->seg, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	m->seg = p;
	p = realloc(m->by_identity, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	m->by_identity = p;
	m->cap = cap;
	return 0;
}

static int compare_identity(const void *a, const void *b)
{
	const struct lz_seg *x = a, *y = b;

	return x->identity < y->identity ? -1 : x->identity > y->identity;
}

static bool is_sound(const struct lz_map *m)
{
	for (size_t i = 0; i < m->nr; i++) {
		const struct lz_seg *s = &m->seg[i], *t = &m->by_identity[i];

		if (s->start >= s->end || s->identity + (len_of(s) - 1) < s->identity)
			return false;
		if (i && s[-1].end > s->start)
			return false;
		if (i && t[-1].identity + (len_of(&t[-1]) - 1) >= t->identity)
			return false;
	}
	return true;
}

int lz_map_init(struct lz_map *m, const struct lz_seg *seg, size_t nr)
{
	int r;

	*m = (struct lz_map){ 0 };
	r = reserve(m, nr);
	if (r) {
		lz_map_fini(m);
		return r;
	}
	if (nr) {
		memcpy(m->seg, seg, nr * sizeof(*seg));
		memcpy(m->by_identity, seg, nr * sizeof(*seg));
		qsort(m->by_identity, nr, sizeof(*seg), compare_identity);
	}
	m->nr = nr;
	if (!is_sound(m)) {
		lz_map_fini(m);
		return -EINVAL;
	}
	return 0;
}

int lz_map_copy(struct lz_map *to, const struct lz_map *from)
{
	int r;

	*to = (struct lz_map){ 0 };
	r = reserve(to, from->nr);
	if (r) {
		lz_map_fini(to);
		return r;
	}
	if (from->nr) {
		memcpy(to->seg, from->seg, from->nr * sizeof(*to->seg));
		memcpy(to->by_identity, from->by_identity, from->nr * sizeof(*to->seg));
	}
	to->nr = from->nr;
	return 0;
}

void lz_map_fini(struct lz_map *m)
{
	free(m->seg);
	free(m->by_identity);
	*m = (struct lz_map){ 0 };
}

/* Splits so that no segment straddles @addr, for which there must be room;
 * its index by position. */
static size_t split(struct lz_map *m, uint64_t addr)
{
	size_t i = lower(m, addr), k;
	struct lz_seg head, tail;

	if (i == m->nr || m->seg[i].start >= addr)
		return i;
	assert(m->nr < m->cap);
	head = tail = m->seg[i];
	head.end = tail.start = addr;
	tail.identity += addr - head.start;
	k = lower_identity(m, head.identity);
	memmove(m->seg + i + 1, m->seg + i, (m->nr - i) * sizeof(tail));
	memmove(m->by_identity + k + 1, m->by_identity + k, (m->nr - k) * sizeof(tail));
	m->seg[i] = m->by_identity[k] = head;
	m->seg[i + 1] = m->by_identity[k + 1] = tail;
	m->nr++;
	return i + 1;
}

/* Drops the segments that lie in @r, to whose ends the map has been split. */
static void drop(struct lz_map *m, struct lz_range r)
{
	size_t a = lower(m, r.start), b = lower(m, r.end), n = 0;

	if (a == b)
		return;
	memmove(m->seg + a, m->seg + b, (m->nr - b) * sizeof(*m->seg));
	for (size_t i = 0; i < m->nr; i++) {
		const struct lz_seg *s = &m->by_identity[i];

		if (s->start < r.start || s->start >= r.end)
			m->by_identity[n++] = *s;
	}
	m->nr -= b - a;
	assert(n == m->nr);
}

int lz_map_cut(struct lz_map *m, struct lz_range r)
{
	int ret = reserve(m, 2);

	if (ret)
		return ret;
	split(m, r.start);
	split(m, r.end);
	drop(m, r);
	return 0;
}

static void reverse(struct lz_seg *s, size_t from, size_t to)
{
	while (from + 1 < to) {
		struct lz_seg t = s[from];

		s[from++] = s[--to];
		s[to] = t;
	}
}

/* Takes the block [from, to) to where its positions, changed already, belong. */
static void resort(struct lz_map *m, size_t from, size_t to)
{
	size_t at = from;

	if (from == to)
		return;
	while (at > 0 && m->seg[at - 1].start > m->seg[from].start)
		at--;
	if (at < from) {
		reverse(m->seg, at, from);
		reverse(m->seg, from, to);
		reverse(m->seg, at, to);
		return;
	}
	at = to;
	while (at < m->nr && m->seg[at].start < m->seg[from].start)
		at++;
	reverse(m->seg, from, to);
	reverse(m->seg, to, at);
	reverse(m->seg, from, at);
}

/* Joins neighbours that are one in both position and identity: moves must not pile up seams. */
static void join(struct lz_map *m, uint64_t addr)
{
	size_t i = lower(m, addr), k;
	struct lz_seg *a, *b;

	if (i == m->nr || m->seg[i].start != addr || !i)
		return;
	a = &m->seg[i - 1];
	b = &m->seg[i];
	if (a->end != b->start || a->identity + len_of(a) != b->identity ||
	    a->page_shift != b->page_shift)
		return;
	k = lower_identity(m, a->identity);
	a->end = b->end;
	m->by_identity[k] = *a;
	memmove(m->seg + i, m->seg + i + 1, (m->nr - i - 1) * sizeof(*a));
	memmove(m->by_identity + k + 1, m->by_identity + k + 2, (m->nr - k - 2) * sizeof(*a));
	m->nr--;
}

int lz_map_move(struct lz_map *m, struct lz_range from, uint64_t to)
{
	struct lz_range target = { to, to + lz_range_len(from) };
	size_t first, last;
	int r = reserve(m, 6);

	if (r)
		return r;
	split(m, from.start);
	split(m, from.end);
	split(m, target.start);
	split(m, target.end);
	drop(m, target);
	first = lower(m, from.start);
	last = lower(m, from.end);
	/* The order of identities stays as it is. */
	for (size_t i = 0; i < m->nr; i++)
		for (int k = 0; k < 2; k++) {
			struct lz_seg *s = k ? &m->by_identity[i] : &m->seg[i];

			if (s->start >= from.start && s->start < from.end) {
				uint64_t at = s->start - from.start + to;

				s->end = at + len_of(s);
				s->start = at;
			}
		}
	resort(m, first, last);
	join(m, target.start);
	join(m, target.end);
	return 0;
}

const struct lz_seg *lz_map_from(const struct lz_map *m, uint64_t addr)
{
	size_t i = lower(m, addr);

	return i < m->nr ? &m->seg[i] : NULL;
}

const struct lz_seg *lz_map_at(const struct lz_map *m, uint64_t addr)
{
	const struct lz_seg *s = lz_map_from(m, addr);

	return s && s->start <= addr ? s : NULL;
}

bool lz_map_where(const struct lz_map *m, uint64_t identity, uint64_t len, struct lz_range *out)
{
	size_t i = lower_identity(m, identity);
	const struct lz_seg *s = &m->by_identity[i];
	uint64_t left;

	if (i == m->nr || s->identity > identity)
		return false;
	left = len_of(s) - (identity - s->identity);
	out->start = s->start + (identity - s->identity);
	out->end = out->start + (len < left ? len : left);
	return true;
}

void lz_map_check(const struct lz_map *m)
{
	uint64_t a = 0, b = 0;

	assert(is_sound(m));
	for (size_t i = 0; i < m->nr; i++) {
		const struct lz_seg *s = lz_map_at(m, m->by_identity[i].start);

		assert(s && !memcmp(s, &m->by_identity[i], sizeof(*s)));
		a += m->seg[i].start * 31 + m->seg[i].identity;
		b += m->by_identity[i].start * 31 + m->by_identity[i].identity;
	}
	assert(a == b);
}
