/* SPDX-License-Identifier: MIT */
/*
 * The asking end: a probe, a hello where a lazyd answers, then requests out and replies in. Every
 * byte the peer sends is checked against what it was asked; whatever does not fit ends the
 * connection with a sentence. What a tag stands for is the caller's business.
 */
#include "proto/asker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STATUS = 4 };

static int broken(struct lz_asker *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void lz_asker_init(struct lz_asker *a, const struct lz_asker_options *o)
{
	assert(o->layout == LZ_PS_24 || o->layout == LZ_PS_32);
	memset(a, 0, sizeof(*a));
	a->options = *o;
}

bool lz_asker_is_open(const struct lz_asker *a)
{
	return a->state == LZ_ASKER_PLAIN || a->state == LZ_ASKER_LAZYD;
}

/* ---- what is said ---- */

static enum lz_ps_layout layout(const struct lz_asker *a)
{
	return a->is_lazyd ? LZ_PS_32 : a->options.layout;
}

size_t lz_asker_say(struct lz_asker *a, uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX])
{
	struct lz_ps_header probe = { .cmd = LZ_PS_PARENT, .dst_id = LZ_PS_PROBE };
	bool probes = a->state == LZ_ASKER_PROBING && !a->probed;
	bool greets = !a->greeted &&
		      (a->state == LZ_ASKER_GREETING || (probes && a->options.known));
	size_t len = 0;

	if (probes) {
		len += lz_ps_put(a->options.layout, &probe, out);
		a->probed = true;
	}
	if (greets) {
		len += lz_hello_put(&a->options.hello, out + len);
		a->greeted = true;
	}
	return len;
}

static size_t ask_lazyd(struct lz_asker *a, uint16_t tag, uint32_t pid,
			const struct lz_ps_range *range, size_t nr, uint64_t nr_pages, uint8_t *out)
{
	struct lz_ps_header h = {
		.cmd = LZ_PS_GET,
		.flags = nr > 1 ? LZ_PS_VECTOR : 0,
		.nr_pages = nr_pages,
		.vaddr = nr > 1 ? nr : range->vaddr,
		.dst_id = (uint64_t)tag << 32 | pid,
	};
	size_t len = lz_ps_put(LZ_PS_32, &h, out);

	assert(!a->reply[tag].used && nr_pages <= a->welcome.max_request_pages);
	for (size_t n = 0; nr > 1 && n < nr; n++)
		len += lz_ps_put_range(&range[n], out + len);
	a->reply[tag] = (struct lz_asker_reply){
		.tag = tag, .used = true, .pid = pid, .nr = nr_pages
	};
	a->nr_replies++;
	return len;
}

static size_t ask_plain(struct lz_asker *a, uint16_t tag, uint32_t pid, uint64_t first,
			const struct lz_ps_range *range, uint8_t *out)
{
	struct lz_ps_header h = {
		.cmd = LZ_PS_GET,
		.nr_pages = range->nr_pages,
		.vaddr = range->vaddr,
		.dst_id = pid,
	};

	a->reply[(a->head + a->nr_replies++) % LZ_ASKER_REPLIES] = (struct lz_asker_reply){
		.tag = tag,
		.used = true,
		.pid = pid,
		.vaddr = range->vaddr,
		.first = first,
		.nr = range->nr_pages,
	};
	return lz_ps_put(a->options.layout, &h, out);
}

int64_t lz_asker_ask(struct lz_asker *a, uint16_t tag, uint32_t pid,
		     const struct lz_ps_range *range, size_t nr, uint8_t *out, size_t room)
{
	size_t len = 0, wanted = (size_t)layout(a) * (a->is_lazyd ? 1 : nr);
	uint64_t nr_pages = 0;

	assert(lz_asker_is_open(a) && tag < LZ_ASKER_TAGS);
	assert(nr && nr <= LZ_PS_RANGES_MAX);
	if (a->is_lazyd && nr > 1)
		wanted += nr * LZ_PS_RANGE_BYTES;
	if (wanted > room || (!a->is_lazyd && nr > LZ_ASKER_REPLIES - a->nr_replies))
		return -ENOSPC;
	for (size_t n = 0; n < nr; n++) {
		assert(range[n].nr_pages && range[n].vaddr % LZ_PS_PAGE == 0);
		if (!a->is_lazyd)
			len += ask_plain(a, tag, pid, nr_pages, &range[n], out + len);
		nr_pages += range[n].nr_pages;
	}
	if (a->is_lazyd)
		len = ask_lazyd(a, tag, pid, range, nr, nr_pages, out);
	assert(len == wanted);
	return (int64_t)len;
}

size_t lz_asker_close(struct lz_asker *a, uint8_t out[LZ_PS_HEADER_MAX])
{
	struct lz_ps_header h = { .cmd = LZ_PS_CLOSE };

	assert(lz_asker_is_open(a) && !a->nr_replies && !a->rests);
	a->state = LZ_ASKER_CLOSING;
	return lz_ps_put(layout(a), &h, out);
}

/* ---- what is heard ---- */

static int broken(struct lz_asker *a, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(a->why, sizeof(a->why), format, args);
	va_end(args);
	if (len >= 0 && (size_t)len < sizeof(a->why))
		snprintf(a->why + len, sizeof(a->why) - (size_t)len, ", at byte %" PRIu64,
			 a->at - a->have);
	a->state = LZ_ASKER_BROKEN;
	return -EBADMSG;
}

/* Bytes of what comes next, as far as that is known; 0: nothing may come. */
static int64_t wanted(struct lz_asker *a)
{
	int64_t len;

	switch (a->state) {
	case LZ_ASKER_PROBING:
		return a->probed ? (int64_t)sizeof(LZ_PS_ANSWER) : 0;
	case LZ_ASKER_GREETING:
		len = lz_hello_frame(a->part, a->have);
		return !a->greeted ? 0 : len ? len : LZ_HELLO_LENGTH;
	case LZ_ASKER_PLAIN:
	case LZ_ASKER_LAZYD:
		return a->nr_replies ? (int64_t)layout(a) : 0;
	case LZ_ASKER_CLOSING:
		return STATUS;
	default:
		return 0;
	}
}

static int probed(struct lz_asker *a, struct lz_asker_event *ev)
{
	static const uint8_t no[4] = { 0 }, yes[4] = { 1 };

	if (!memcmp(a->part, LZ_PS_ANSWER, sizeof(LZ_PS_ANSWER))) {
		a->state = LZ_ASKER_GREETING;
		return 0;
	}
	if (memcmp(a->part, no, sizeof(no)) && memcmp(a->part, yes, sizeof(yes)))
		return broken(
			a,
			"the server answers the probe with %02x %02x %02x %02x: it is neither "
			"a lazyd nor a CRIU page server",
			a->part[0], a->part[1], a->part[2], a->part[3]);
	if (a->greeted)
		return broken(a, "the server was a lazyd and answers the probe as a CRIU does");
	a->state = LZ_ASKER_PLAIN;
	ev->type = LZ_ASKER_OPEN;
	return 0;
}

static int welcomed(struct lz_asker *a, struct lz_asker_event *ev)
{
	struct lz_welcome *w = &a->welcome;
	uint32_t page_size = a->options.hello.page_size;
	int err = lz_hello_get_welcome(a->part + LZ_HELLO_LENGTH, a->have - LZ_HELLO_LENGTH, w);

	if (err == -ENOMEM)
		return broken(a, "there is no memory for the server's welcome");
	if (err)
		return broken(a, "the server answers hello with what is no welcome");
	if (w->refusal[0])
		return broken(a, "the server refuses: %s", w->refusal);
	if (w->version != LZ_HELLO_VERSION)
		return broken(a, "the server speaks version %" PRIu32 " of the protocol, not %d",
			      w->version, LZ_HELLO_VERSION);
	if (w->page_size != page_size)
		return broken(
			a, "the server has pages of %" PRIu32 " bytes where %" PRIu32 " are wanted",
			w->page_size, page_size);
	if (w->max_request_pages < LZ_HELLO_PAGES_MIN)
		return broken(a, "the server takes requests of %" PRIu32 " pages, it must take %d",
			      w->max_request_pages, LZ_HELLO_PAGES_MIN);
	a->state = LZ_ASKER_LAZYD;
	a->is_lazyd = true;
	ev->type = LZ_ASKER_OPEN;
	return 0;
}

static int replied_plain(struct lz_asker *a, const struct lz_ps_header *h,
			 struct lz_asker_event *ev)
{
	struct lz_asker_reply *r = &a->reply[a->head];

	if (h->cmd != LZ_PS_ADD_F || h->flags != LZ_PS_PRESENT)
		return broken(a,
			      "the server answers with command %" PRIu32 ", flags %#" PRIx32
			      ": no pages",
			      h->cmd, h->flags);
	if (h->dst_id != r->pid || h->vaddr != r->vaddr)
		return broken(a,
			      "the server answers %#" PRIx64 " of task %" PRIu64 " where %#" PRIx64
			      " of task %" PRIu32 " is next",
			      h->vaddr, h->dst_id, r->vaddr, r->pid);
	if (!h->nr_pages || h->nr_pages > r->nr)
		return broken(a,
			      "the server answers %#" PRIx64 " with %" PRIu64
			      " pages where %" PRIu64 " were asked for",
			      h->vaddr, h->nr_pages, r->nr);
	*ev = (struct lz_asker_event){ LZ_ASKER_BYTES, r->tag, r->first, h->nr_pages, 0 };
	a->rests = h->nr_pages < r->nr;
	a->rest = (struct lz_asker_event){ LZ_ASKER_REST, r->tag, r->first + h->nr_pages,
					   r->nr - h->nr_pages, 0 };
	r->used = false;
	a->head = (a->head + 1) % LZ_ASKER_REPLIES;
	a->nr_replies--;
	return 0;
}

static int replied_lazyd(struct lz_asker *a, const struct lz_ps_header *h,
			 struct lz_asker_event *ev)
{
	uint64_t tag = h->dst_id >> 32;
	struct lz_asker_reply *r = tag < LZ_ASKER_TAGS ? &a->reply[tag] : NULL;

	if (h->cmd != LZ_PS_ADD_F)
		return broken(a, "the server answers with command %" PRIu32, h->cmd);
	if (!r || !r->used || r->pid != (uint32_t)h->dst_id)
		return broken(a,
			      "the server answers request %" PRIu64 " of task %" PRIu32
			      ", which nobody has made",
			      tag, (uint32_t)h->dst_id);
	if (h->vaddr != r->first || !h->nr_pages || h->nr_pages > r->nr)
		return broken(a,
			      "the server answers request %" PRIu64 " with %" PRIu64
			      " pages from %" PRIu64 " on where %" PRIu64 " from %" PRIu64
			      " on are due",
			      tag, h->nr_pages, h->vaddr, r->nr, r->first);
	*ev = (struct lz_asker_event){ LZ_ASKER_BYTES, (uint16_t)tag, h->vaddr, h->nr_pages, 0 };
	switch (h->flags) {
	case LZ_PS_PRESENT:
		break;
	case LZ_PS_ZERO:
		ev->type = LZ_ASKER_ZEROS;
		break;
	case LZ_PS_LOST:
		ev->type = LZ_ASKER_LOST;
		break;
	default:
		return broken(a, "the server answers request %" PRIu64 " with flags %#" PRIx32, tag,
			      h->flags);
	}
	r->first += h->nr_pages;
	r->nr -= h->nr_pages;
	r->used = r->nr;
	a->nr_replies -= !r->used;
	return 0;
}

static int replied(struct lz_asker *a, struct lz_asker_event *ev)
{
	struct lz_ps_header h;
	int err;

	lz_ps_get(layout(a), a->part, &h);
	err = a->is_lazyd ? replied_lazyd(a, &h, ev) : replied_plain(a, &h, ev);
	if (!err && ev->type == LZ_ASKER_BYTES)
		a->payload = ev->nr * LZ_PS_PAGE;
	return err;
}

static int ended(struct lz_asker *a, struct lz_asker_event *ev)
{
	uint32_t status = 0;

	for (int i = 0; i < STATUS; i++)
		status |= (uint32_t)a->part[i] << 8 * i;
	a->state = LZ_ASKER_CLOSED;
	*ev = (struct lz_asker_event){ .type = LZ_ASKER_END, .status = (int32_t)status };
	return 0;
}

/* part[] is whole. */
static int heard(struct lz_asker *a, struct lz_asker_event *ev)
{
	switch (a->state) {
	case LZ_ASKER_PROBING:
		return probed(a, ev);
	case LZ_ASKER_GREETING:
		return welcomed(a, ev);
	case LZ_ASKER_CLOSING:
		return ended(a, ev);
	default:
		return replied(a, ev);
	}
}

int64_t lz_asker_take(struct lz_asker *a, const uint8_t *bytes, size_t len,
		      struct lz_asker_event *ev)
{
	size_t taken = 0, n;
	int64_t whole;
	int err;

	assert(!a->payload);
	*ev = (struct lz_asker_event){ .type = LZ_ASKER_MORE };
	if (a->rests) {
		a->rests = false;
		*ev = a->rest;
		return 0;
	}
	if (a->state == LZ_ASKER_BROKEN)
		return -EBADMSG;
	while (ev->type == LZ_ASKER_MORE) {
		whole = wanted(a);
		if (whole < 0)
			return broken(a, "the server answers hello with a frame that has no length "
					 "a frame may have");
		if (a->have && a->have == (size_t)whole) {
			err = heard(a, ev);
			if (err)
				return err;
			a->have = 0;
			continue;
		}
		if (taken == len)
			break;
		if (!whole)
			return broken(a, "the server says what it was not asked for");
		n = (size_t)whole - a->have;
		n = n < len - taken ? n : len - taken;
		memcpy(a->part + a->have, bytes + taken, n);
		a->have += n;
		a->at += n;
		taken += n;
	}
	return (int64_t)taken;
}

void lz_asker_paid(struct lz_asker *a, uint64_t len)
{
	assert(len <= a->payload);
	a->payload -= len;
	a->at += len;
}
