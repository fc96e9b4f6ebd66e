/* SPDX-License-Identifier: MIT */
/*
 * The reads that wait for pages of a page server: what is missing of each, a bit a page, what of
 * that has been asked for, and on a connection which request asked. A read may take several
 * requests: what a plain peer left out and what was lost with a connection is asked for by requests
 * of its own. One of more pages than there are bits, as of a page of 2 MiB, is kept in parts, and
 * ends when the last of them has come.
 */
#include "iouring/stream_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lz_stream_source {
	struct lz_source source;
	struct lz_stream *stream;
	uint32_t pid;
	lz_stream_ranges *ranges;
	void *memory;
};

_Static_assert((int)LZ_STREAM_PAGES_MAX <= (int)LZ_HELLO_PAGES_MIN,
	       "a read is one request to every lazyd");

static uint64_t bits(uint64_t first, uint64_t nr)
{
	assert(nr > 0 && first + nr <= LZ_STREAM_PAGES_MAX);
	return UINT64_MAX >> (64 - nr) << first;
}

/* ---- the source ---- */

static int begin(struct lz_source *source, struct lz_ring *ring, struct lz_source_read *r)
{
	(void)ring;
	return lz_stream_read_begin(((struct lz_stream_source *)source)->stream, r);
}

static bool read_now(struct lz_source *source, uint64_t offset, void *to, size_t len)
{
	(void)source, (void)offset, (void)to, (void)len;
	return false;
}

static bool resident(struct lz_source *source, uint64_t offset, size_t len)
{
	(void)source, (void)offset, (void)len;
	return false;
}

static const void *at(struct lz_source *source, uint64_t offset, size_t len)
{
	(void)source, (void)offset, (void)len;
	return NULL;
}

static void close_source(struct lz_source *source)
{
	free(source);
}

static const struct lz_source_ops ops = {
	.begin = begin, .read_now = read_now, .resident = resident, .at = at, .close = close_source
};

int lz_stream_source(struct lz_stream *s, uint32_t pid, lz_stream_ranges *ranges, void *memory,
		     struct lz_source **out)
{
	struct lz_stream_source *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	*source = (struct lz_stream_source){ { &ops }, s, pid, ranges, memory };
	*out = &source->source;
	return 0;
}

/* ---- the queues ---- */

static void push(struct lz_stream *s, uint16_t i)
{
	struct lz_stream_queue *q = &s->queue[s->read[i].r->urgent];

	if (s->read[i].queued)
		return;
	s->read[i].queued = true;
	q->read[(q->head + q->nr++) % LZ_STREAM_READS_MAX] = i;
}

static void pop(struct lz_stream *s, struct lz_stream_queue *q)
{
	s->read[q->read[q->head]].queued = false;
	q->head = (q->head + 1) % LZ_STREAM_READS_MAX;
	q->nr--;
}

/* ---- the table ---- */

void lz_stream_read_init(struct lz_stream *s)
{
	for (unsigned i = 0; i < LZ_STREAM_READS_MAX; i++)
		s->slot[i] = (uint16_t)(LZ_STREAM_READS_MAX - 1 - i);
	s->nr_slots = LZ_STREAM_READS_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int lz_stream_read_begin(struct lz_stream *s, struct lz_source_read *r)
{
	uint64_t pages = r->len / LZ_PS_PAGE, nr;

	if (r->have || !r->len || r->len % LZ_PS_PAGE || r->offset % LZ_PS_PAGE ||
	    r->len > LZ_STREAM_READ_MAX)
		return -EINVAL;
	if (lz_stream_is_over(s) || s->said_close)
		return -ETIMEDOUT;
	if (s->nr_slots < (pages + LZ_STREAM_PAGES_MAX - 1) / LZ_STREAM_PAGES_MAX)
		return -EBUSY;
	for (uint64_t first = 0; first < pages; first += nr) {
		uint16_t i = s->slot[--s->nr_slots];

		nr = least(pages - first, LZ_STREAM_PAGES_MAX);
		s->read[i] = (struct lz_stream_read){ .r = r,
						      .first = (uint32_t)first,
						      .missing = bits(0, nr),
						      .unasked = bits(0, nr) };
		push(s, i);
	}
	return 0;
}

/* The first part of @r from slot @i on, if it has more than that of slot @one;
 * LZ_STREAM_READS_MAX: no more. */
static uint16_t next_part(const struct lz_stream *s, uint16_t one, uint16_t i)
{
	const struct lz_source_read *r = s->read[one].r;

	if (r->len <= LZ_STREAM_PAGES_MAX * LZ_PS_PAGE)
		return i <= one ? one : LZ_STREAM_READS_MAX;
	while (i < LZ_STREAM_READS_MAX && s->read[i].r != r)
		i++;
	return i;
}

static void end(struct lz_stream *s, uint16_t one, int64_t result)
{
	struct lz_source_read *r = s->read[one].r;
	uint16_t next = 0, i;

	while ((i = next_part(s, one, next)) < LZ_STREAM_READS_MAX) {
		next = (uint16_t)(i + 1);
		s->slot[s->nr_slots++] = i;
		if (i != one)
			s->read[i].r = NULL;
	}
	s->read[one].r = NULL;
	if (s->nr_slots == LZ_STREAM_READS_MAX)
		s->waiting = false;
	s->o.ended(s->o.arg, r, result);
}

/* The part of slot @one has all of its answers: so may the read. */
static void end_if_all(struct lz_stream *s, uint16_t one)
{
	uint64_t have = s->read[one].r->len / LZ_PS_PAGE;
	uint16_t i;

	for (i = 0; (i = next_part(s, one, i)) < LZ_STREAM_READS_MAX; i++) {
		const struct lz_stream_read *part = &s->read[i];

		if (part->missing)
			return;
		if (part->lost)
			have = least(have, part->first + (uint64_t)__builtin_ctzll(part->lost));
	}
	end(s, one, have ? (int64_t)(have * LZ_PS_PAGE) : -EIO);
}

/* The first stretch of pages that are to be asked for. */
static uint64_t next_pages(const struct lz_stream_read *read, unsigned *first)
{
	uint64_t from;

	*first = (unsigned)__builtin_ctzll(read->unasked);
	from = read->unasked >> *first;
	return from == UINT64_MAX ? LZ_STREAM_PAGES_MAX : (uint64_t)__builtin_ctzll(~from);
}

/* One request for some of what is unasked. False if it does not fit. */
static bool ask(struct lz_stream *s, struct lz_stream_link *l, uint16_t i, uint8_t *out,
		size_t room, size_t *len)
{
	struct lz_stream_read *read = &s->read[i];
	const struct lz_stream_source *source = (const struct lz_stream_source *)read->r->source;
	struct lz_ps_range range[LZ_STREAM_PAGES_MAX];
	unsigned first;
	uint64_t nr;
	int64_t n;
	size_t nr_ranges;
	uint16_t tag;

	if (!l->nr_tags)
		return false;
	nr = next_pages(read, &first);
	nr_ranges = source->ranges(source->memory,
				   read->r->offset + (read->first + first) * LZ_PS_PAGE,
				   nr * LZ_PS_PAGE, range, LZ_STREAM_PAGES_MAX);
	tag = l->tag[l->nr_tags - 1];
	n = lz_asker_ask(&l->asker, tag, source->pid, range, nr_ranges, out, room);
	if (n < 0)
		return false;
	*len = (size_t)n;
	l->nr_tags--;
	l->ask[tag] = (struct lz_stream_ask){ .read = i,
					      .base = (uint8_t)first,
					      .left = (uint8_t)nr };
	read->unasked &= ~bits(first, nr);
	return true;
}

size_t lz_stream_read_ask(struct lz_stream *s, struct lz_stream_link *l, bool urgent, uint8_t *out,
			  size_t room)
{
	struct lz_stream_queue *q = &s->queue[urgent];
	size_t at = 0, len;

	while (q->nr) {
		uint16_t i = q->read[q->head];

		if (!ask(s, l, i, out + at, room - at, &len))
			break;
		at += len;
		if (!s->read[i].unasked)
			pop(s, q);
	}
	return at;
}

uint8_t *lz_stream_read_page(const struct lz_stream *s, const struct lz_stream_link *l,
			     uint16_t tag, uint64_t page)
{
	const struct lz_stream_ask *a = &l->ask[tag];
	const struct lz_stream_read *read = &s->read[a->read];

	return read->r->to + (read->first + a->base + page) * LZ_PS_PAGE;
}

void lz_stream_read_had(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			uint64_t first, uint64_t nr)
{
	const struct lz_stream_ask *a = &l->ask[tag];

	s->read[a->read].missing &= ~bits(a->base + first, nr);
}

void lz_stream_read_lost(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			 uint64_t first, uint64_t nr)
{
	const struct lz_stream_ask *a = &l->ask[tag];

	s->read[a->read].lost |= bits(a->base + first, nr);
	lz_stream_read_had(s, l, tag, first, nr);
}

void lz_stream_read_again(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			  uint64_t first, uint64_t nr)
{
	const struct lz_stream_ask *a = &l->ask[tag];

	s->read[a->read].unasked |= bits(a->base + first, nr);
	push(s, a->read);
}

void lz_stream_read_answered(struct lz_stream *s, struct lz_stream_link *l, uint16_t tag,
			     uint64_t nr)
{
	struct lz_stream_ask *a = &l->ask[tag];

	assert(nr <= a->left);
	a->left = (uint8_t)(a->left - nr);
	if (a->left)
		return;
	l->tag[l->nr_tags++] = tag;
	if (!s->read[a->read].missing)
		end_if_all(s, a->read);
}

void lz_stream_read_requeue(struct lz_stream *s)
{
	for (uint16_t i = 0; i < LZ_STREAM_READS_MAX; i++)
		if (s->read[i].r && s->read[i].missing) {
			s->read[i].unasked = s->read[i].missing;
			push(s, i);
		}
}

void lz_stream_read_end_all(struct lz_stream *s, int result)
{
	memset(s->queue, 0, sizeof(s->queue));
	for (uint16_t i = 0; i < LZ_STREAM_READS_MAX; i++)
		if (s->read[i].r)
			end(s, i, result);
}
