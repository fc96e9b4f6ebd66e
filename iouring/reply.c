/* SPDX-License-Identifier: MIT */
/*
 * Pages on their way from a source to a client: a request is cut into replies of a buffer each,
 * these are read, looked at for zeros, given their headers and sent. A reply may lose its buffer to
 * somebody who can use it better, and is read again then: what has been said of it stays said.
 * Knows nothing of connections' lives.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "iouring/server_priv.h"

enum { PAGE = LZ_PS_PAGE };
/* Reads through the ring before it is looked again whether they are for nothing:
 * a miss is as dear as a few. */
enum { COLD_READS = 32 };
_Static_assert(LZ_REPLY_PAGES == 16 && LZ_CLIENT_REPLIES == 32, "four and five bits of a tag's id");

static bool lz_reply_promise(struct lz_client *c, struct lz_asked *a);
static struct lz_reply *lz_reply_cut(struct lz_client *c, struct lz_asked *a);
static void lz_reply_extend(struct lz_reply *r, struct lz_source *source, uint64_t offset,
			    unsigned nr);
static void lz_reply_read(struct lz_client *c, struct lz_reply *r);
static bool lz_reply_reads(struct lz_client *c, struct lz_reply *r, unsigned i);
static bool lz_reply_has_now(struct lz_client *c, const struct lz_source_read *rd);
static bool lz_reply_goes_on(struct lz_client *c, struct lz_reply *r, struct lz_source_read *rd,
			     int64_t result);
static void lz_reply_settle(struct lz_client *c, struct lz_reply *r);
static void lz_reply_describe(struct lz_client *c, struct lz_reply *r);
static uint32_t lz_reply_kind(const struct lz_client *c, const struct lz_reply *r, unsigned page);
static uint32_t lz_reply_needed(const struct lz_reply *r);
static size_t lz_reply_vectors(const struct lz_client *c, const struct lz_reply *r,
			       struct iovec *iov);

bool lz_reply_wanted(const struct lz_client *c)
{
	return c->nr_bare || (c->nr_asked && c->nr_replies < LZ_CLIENT_REPLIES);
}

unsigned lz_reply_begin(struct lz_client *c, int buffer)
{
	struct lz_asked *a = &c->asked[c->asked_at];
	struct lz_reply *r = NULL;

	if (c->nr_bare) {
		TAILQ_FOREACH(r, &c->replies, link)
		if (r->state == LZ_REPLY_BARE)
			break;
		c->nr_bare--;
	} else if (c->giver.lazyd || a->promised || lz_reply_promise(c, a)) {
		r = lz_reply_cut(c, a);
	}
	if (!r) {
		lz_server_give_buffer(c->server, buffer);
		return 0;
	}
	r->buffer = buffer;
	c->nr_held++;
	lz_reply_read(c, r);
	return r->nr_pages;
}

void lz_reply_completed(struct lz_client *c, uint32_t id, int32_t res)
{
	struct lz_reply *r = &c->reply[id >> 4 & 31];
	struct lz_source_read *rd = &r->read[id & 15];
	int64_t result;

	if (!lz_source_completed(rd, &c->server->ring, res, &result))
		return;
	if (c->state != LZ_CLIENT_GONE && lz_reply_goes_on(c, r, rd, result))
		return;
	c->nr_reading--;
	c->server->nr_reading--;
	r->nr_reading--;
	c->active_ns = c->server->now;
	if (r->nr_reading)
		return;
	if (c->state == LZ_CLIENT_GONE)
		lz_reply_free(c, r);
	else
		lz_reply_settle(c, r);
}

/* What is half sent comes first of all;
 * replies of one request follow one another, to a plain client all. */
size_t lz_reply_gather(struct lz_client *c, struct iovec *iov, size_t max, struct lz_reply **of,
		       unsigned *nr_of)
{
	const struct lz_reply *unready = NULL;
	struct lz_reply *r;
	size_t n = 0;

	*nr_of = 0;
	TAILQ_FOREACH(r, &c->replies, link)
	{
		if (n + 2 * LZ_REPLY_PAGES > max)
			break;
		if (r->state != LZ_REPLY_READY) {
			if (!c->giver.lazyd || r->sent)
				break;
			unready = r;
		} else if (!unready || unready->serial != r->serial) {
			n += lz_reply_vectors(c, r, iov + n);
			of[(*nr_of)++] = r;
		}
	}
	return n;
}

void lz_reply_sent(struct lz_client *c, struct lz_reply **of, unsigned nr_of, size_t len)
{
	for (unsigned i = 0; i < nr_of && len; i++) {
		struct lz_reply *r = of[i];
		size_t n = len < r->len - r->sent ? len : r->len - r->sent;

		r->sent += n;
		len -= n;
		if (r->sent == r->len) {
			unsigned lost = (unsigned)__builtin_popcount(r->lost);
			unsigned bytes = (unsigned)__builtin_popcount(lz_reply_needed(r));

			c->pages += bytes;
			c->server->stats.pages += bytes;
			c->server->stats.pages_lost += lost;
			c->server->stats.pages_zero += r->nr_pages - bytes - lost;
			lz_reply_free(c, r);
		} else {
			TAILQ_REMOVE(&c->replies, r, link);
			TAILQ_INSERT_HEAD(&c->replies, r, link);
		}
	}
}

void lz_reply_free(struct lz_client *c, struct lz_reply *r)
{
	assert(!r->nr_reading);
	if (r->buffer >= 0) {
		lz_server_give_buffer(c->server, r->buffer);
		c->nr_held--;
	}
	if (r->state == LZ_REPLY_BARE)
		c->nr_bare--;
	r->state = LZ_REPLY_FREE;
	TAILQ_REMOVE(&c->replies, r, link);
	c->nr_replies--;
}

void lz_reply_cancel(struct lz_client *c)
{
	struct lz_reply *r;

	TAILQ_FOREACH(r, &c->replies, link)
	for (unsigned i = 0; r->nr_reading && i < r->nr_extents; i++)
		lz_ring_cancel(&c->server->ring,
			       (struct lz_tag){ .kind = LZ_TAG_READ, .id = r->read[i].request });
}

/*
 * A plain client is told in one header how much it gets, before the first page has been read: as
 * many of the pages as are in the images one behind the other. It asks for the others again.
 */
static bool lz_reply_promise(struct lz_client *c, struct lz_asked *a)
{
	const struct lz_server_options *o = &c->server->o;
	struct lz_ps_range *range = &c->range[c->range_at];
	uint64_t max = range->nr_pages, n = 0;

	if (max > LZ_CLIENT_PLAIN_PAGES)
		max = LZ_CLIENT_PLAIN_PAGES;
	while (n < max) {
		struct lz_source *source;
		uint64_t offset;
		int64_t got = o->find(o->arg, a->pid, range->vaddr + n * PAGE, max - n, &source,
				      &offset);

		if (got <= 0)
			break;
		n += (uint64_t)got < max - n ? (uint64_t)got : max - n;
	}
	if (!n) {
		lz_client_fail(c,
			       "it asked for a page of task %" PRIu32 " at %#" PRIx64
			       " that is not in the images",
			       a->pid, range->vaddr);
		return false;
	}
	a->promised = a->nr_pages = range->nr_pages = n;
	return true;
}

/* As much of the oldest request as fits into a buffer. */
static struct lz_reply *lz_reply_cut(struct lz_client *c, struct lz_asked *a)
{
	const struct lz_server_options *o = &c->server->o;
	struct lz_reply *r = c->reply;

	while (r->state != LZ_REPLY_FREE)
		r++;
	*r = (struct lz_reply){ .state = LZ_REPLY_READS,
				.serial = a->serial,
				.pid = a->pid,
				.dst_id = a->dst_id,
				.vaddr = c->range[c->range_at].vaddr,
				.first = a->first,
				.promised = a->first ? 0 : a->promised };
	while (r->nr_pages < LZ_REPLY_PAGES && a->nr_pages) {
		struct lz_ps_range *range = &c->range[c->range_at];
		uint64_t max = LZ_REPLY_PAGES - r->nr_pages, offset;
		struct lz_source *source;
		int64_t got;
		unsigned n = 1;

		if (max > range->nr_pages)
			max = range->nr_pages;
		got = o->find(o->arg, a->pid, range->vaddr, max, &source, &offset);
		if (got > 0) {
			n = (uint64_t)got < max ? (unsigned)got : (unsigned)max;
			lz_reply_extend(r, source, offset, n);
		} else {
			r->lost |= 1U << r->nr_pages;
		}
		r->nr_pages += n;
		a->first += n;
		a->nr_pages -= n;
		range->vaddr += (uint64_t)n * PAGE;
		range->nr_pages -= n;
		if (!range->nr_pages) {
			c->range_at = (c->range_at + 1) % LZ_CLIENT_RANGES;
			c->nr_ranges--;
		}
	}
	if (!a->nr_pages) {
		c->asked_at = (c->asked_at + 1) % LZ_CLIENT_REQUESTS;
		c->nr_asked--;
	}
	TAILQ_INSERT_TAIL(&c->replies, r, link);
	c->nr_replies++;
	return r;
}

/* Pages apart in memory are often neighbours in the file: one read then. */
static void lz_reply_extend(struct lz_reply *r, struct lz_source *source, uint64_t offset,
			    unsigned nr)
{
	struct lz_reply_extent *last = r->nr_extents ? &r->extent[r->nr_extents - 1] : NULL;

	if (last && last->source == source && last->first + last->nr == r->nr_pages &&
	    last->offset + (uint64_t)last->nr * PAGE == offset)
		last->nr += nr;
	else
		r->extent[r->nr_extents++] = (struct lz_reply_extent){
			.source = source, .offset = offset, .first = r->nr_pages, .nr = nr
		};
}

static void lz_reply_read(struct lz_client *c, struct lz_reply *r)
{
	r->state = LZ_REPLY_READS;
	for (unsigned i = 0; i < r->nr_extents; i++) {
		bool reads = lz_reply_reads(c, r, i);

		r->nr_reading += reads;
		c->nr_reading += reads;
		c->server->nr_reading += reads;
	}
	if (!r->nr_reading)
		lz_reply_settle(c, r);
}

/* True if that takes time. */
static bool lz_reply_reads(struct lz_client *c, struct lz_reply *r, unsigned i)
{
	const struct lz_reply_extent *e = &r->extent[i];
	struct lz_source_read *rd = &r->read[i];
	int ret;

	*rd = (struct lz_source_read){
		.source = e->source,
		.offset = e->offset,
		.to = lz_reply_bytes(c, r) + (size_t)e->first * PAGE,
		.len = (size_t)e->nr * PAGE,
		.request = c->net.number << 9 | (uint32_t)(r - c->reply) << 4 | i,
		.urgent = c->demand,
	};
	if (lz_reply_has_now(c, rd))
		return false;
	ret = e->source->ops->begin(e->source, &c->server->ring, rd);
	return ret == 0 || lz_reply_goes_on(c, r, rd, ret);
}

/*
 * The cheapest way for what is in memory. For what is not, the look itself begins to read it:
 * alone, so that a disk, or the host that has it, is woken for each page. Through the ring many
 * begin together.
 */
static bool lz_reply_has_now(struct lz_client *c, const struct lz_source_read *rd)
{
	if (c->nr_cold && c->cold == rd->source) {
		c->nr_cold--;
		return false;
	}
	if (rd->source->ops->read_now(rd->source, rd->offset, rd->to, rd->len))
		return true;
	c->cold = rd->source;
	c->nr_cold = COLD_READS;
	return false;
}

/*
 * A read has ended with @result. What the source does not have is lost: the page that failed, or
 * all behind the source's end; the pages behind a failed one may be good. True if these are being
 * read. What failed for want of something here is not said to be lost.
 */
static bool lz_reply_goes_on(struct lz_client *c, struct lz_reply *r, struct lz_source_read *rd,
			     int64_t result)
{
	const struct lz_server_options *o = &c->server->o;

	while (result != (int64_t)rd->len) {
		unsigned good = (unsigned)(rd->have / PAGE), nr = (unsigned)(rd->len / PAGE);
		unsigned page = (unsigned)(rd->to - lz_reply_bytes(c, r)) / PAGE + good;
		size_t skip = (size_t)(good + 1) * PAGE;
		int ret;

		if (result == -EAGAIN || result == -EBUSY || result == -EINTR ||
		    result == -ENOMEM) {
			r->state = LZ_REPLY_LAME;
			lz_client_fail(c, "reading failed: %s", strerror((int)-result));
		} else if (o->lost) {
			o->lost(o->arg, rd->source, rd->offset + good * (uint64_t)PAGE, result);
		}
		r->lost |= 1U << page;
		if (result >= 0)
			r->lost |= ((1U << (nr - good)) - 1) << page;
		if (result >= 0 || good + 1 == nr)
			break;
		rd->offset += skip;
		rd->to += skip;
		rd->len -= skip;
		rd->have = 0;
		rd->retries = 0;
		ret = rd->source->ops->begin(rd->source, &c->server->ring, rd);
		if (ret == 0)
			return true;
		result = ret;
	}
	return false;
}

/* All of its reads have ended. */
static void lz_reply_settle(struct lz_client *c, struct lz_reply *r)
{
	if (r->state == LZ_REPLY_LAME)
		return;
	if (!r->nr_runs)
		lz_reply_describe(c, r);
	r->state = LZ_REPLY_READY;
	if (c->giver.lazyd && r->lost && !c->told_lost) {
		c->told_lost = true;
		lz_server_log(c->server, LZ_SERVER_LOG_WARN,
			      "event=pages-lost peer=%s pid=%" PRIu32 " vaddr=%#" PRIx64, c->peer,
			      r->pid, r->vaddr);
	}
	if (r->lost & lz_reply_needed(r)) {
		r->state = LZ_REPLY_LAME;
		lz_client_fail(c, "pages of task %" PRIu32 " at %#" PRIx64 " cannot be read",
			       r->pid, r->vaddr);
	}
	lz_client_wake(c);
}

/* Gives the pages their headers: a plain client wants bytes, a lazyd the fewest of them. */
static void lz_reply_describe(struct lz_client *c, struct lz_reply *r)
{
	uint32_t kind[LZ_REPLY_PAGES];

	if (!c->giver.lazyd) {
		struct lz_reply_run *run = &r->run[r->nr_runs++];

		*run = (struct lz_reply_run){ .bytes = true, .nr = r->nr_pages };
		if (r->promised)
			run->header_len = (uint8_t)lz_giver_reply(&c->giver, r->dst_id,
								  LZ_PS_PRESENT, r->vaddr, 0,
								  r->promised, run->header);
		r->len = run->header_len + (size_t)run->nr * PAGE;
		return;
	}
	for (unsigned page = 0; page < r->nr_pages; page++)
		kind[page] = lz_reply_kind(c, r, page);
	for (unsigned page = 0, nr; page < r->nr_pages; page += nr) {
		struct lz_reply_run *run = &r->run[r->nr_runs++];

		for (nr = 1; page + nr < r->nr_pages && kind[page + nr] == kind[page];)
			nr++;
		*run = (struct lz_reply_run){ .bytes = kind[page] == LZ_PS_PRESENT,
					      .first = page,
					      .nr = nr };
		run->header_len = (uint8_t)lz_giver_reply(&c->giver, r->dst_id, kind[page], 0,
							  r->first + page, nr, run->header);
		r->len += run->header_len + (run->bytes ? (size_t)nr * PAGE : 0);
	}
}

static uint32_t lz_reply_kind(const struct lz_client *c, const struct lz_reply *r, unsigned page)
{
	const uint8_t *bytes = lz_reply_bytes(c, r) + (size_t)page * PAGE;
	uint64_t word;

	if (r->lost >> page & 1)
		return LZ_PS_LOST;
	memcpy(&word, bytes, sizeof(word));
	if (word || memcmp(bytes, bytes + sizeof(word), PAGE - sizeof(word)))
		return LZ_PS_PRESENT;
	return LZ_PS_ZERO;
}

/* The pages whose bytes are sent. */
static uint32_t lz_reply_needed(const struct lz_reply *r)
{
	uint32_t needed = 0;

	for (unsigned i = 0; i < r->nr_runs; i++)
		if (r->run[i].bytes)
			needed |= ((1U << r->run[i].nr) - 1) << r->run[i].first;
	return needed;
}

static size_t lz_reply_vectors(const struct lz_client *c, const struct lz_reply *r,
			       struct iovec *iov)
{
	size_t skip = r->sent, n = 0;

	for (unsigned i = 0; i < r->nr_runs; i++) {
		const struct lz_reply_run *run = &r->run[i];
		/* Only read from, whatever the type of an iovec says. */
		struct iovec part[2] = {
			{ (void *)(uintptr_t)run->header, run->header_len },
			{ lz_reply_bytes(c, r) + (size_t)run->first * PAGE,
			  run->bytes ? (size_t)run->nr * PAGE : 0 },
		};

		for (unsigned k = 0; k < 2; k++) {
			size_t over = skip < part[k].iov_len ? skip : part[k].iov_len;

			skip -= over;
			if (part[k].iov_len == over)
				continue;
			iov[n].iov_base = (uint8_t *)part[k].iov_base + over;
			iov[n++].iov_len = part[k].iov_len - over;
		}
	}
	return n;
}
