/* SPDX-License-Identifier: MIT */
/*
 * Servers that nobody has written. The input is a row of steps: requests of the client, and bytes
 * of the server, which are anything at all or, so that the input gets somewhere, a fitting reply.
 * What is understood is checked against a model of what was asked: each page is answered once,
 * under the tag it was asked for, and payload is counted right. All is heard twice, in one piece a
 * step and byte by byte, and must be understood the same.
 *
 * The first byte: 1 is the short layout, 2 a peer known to be a lazyd. The low three bits of a step
 * say what it does, see enum step; the high five bits and the bytes behind it are what that needs.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/asker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RANGES = 6, PAGES = 32, BYTES = 4096, PID = 1000 };

enum step {
	ASK,     /* a request: how many ranges; tag, and of each range its length and address */
	HEAR,    /* that many bytes of the server: bytes */
	REPLY,   /* a fitting reply of the kind: tag, how many pages */
	PAY,     /* so much payload goes where it belongs: a number, shifted */
	CLOSE,   /* if that may be said */
	ANSWER,  /* to the probe, of a lazyd or of a CRIU */
	WELCOME, /* to hello */
	STATUS,  /* to CLOSE */
};

struct input {
	const uint8_t *at;
	size_t left;
};

/* An answer that is due. */
struct due {
	uint16_t tag;
	uint64_t vaddr, first, nr;
};

struct world {
	struct lz_asker a;
	/* Of a lazyd one a tag, of a CRIU a queue. */
	struct due due[LZ_ASKER_REPLIES];
	unsigned head, nr_due;
	struct lz_asker_event rest; /* comes when the payload is there */
	uint64_t payload;
	enum lz_asker_event_type last;
	size_t cut;
	uint64_t sum; /* of all that was understood */
};

static uint64_t number(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static void mix(struct world *w, uint64_t n)
{
	w->sum = (w->sum ^ n) * UINT64_C(0x100000001b3);
}

/* ---- requests ---- */

static void ask(struct world *w, struct input *in, unsigned how)
{
	struct lz_ps_range range[RANGES];
	size_t nr = 1 + how % RANGES;
	uint16_t tag = (uint16_t)(number(in) * 2);
	bool is_lazyd = w->a.state == LZ_ASKER_LAZYD;
	size_t header = is_lazyd ? LZ_PS_32 : w->a.options.layout;
	size_t room = is_lazyd ? header + (nr > 1) * nr * LZ_PS_RANGE_BYTES : nr * header;
	uint8_t out[RANGES * LZ_PS_HEADER_MAX];
	uint64_t nr_pages = 0;

	for (size_t n = 0; n < nr; n++) {
		range[n].nr_pages = 1 + number(in) % PAGES;
		range[n].vaddr = (0x10000 + number(in)) * LZ_PS_PAGE;
		nr_pages += range[n].nr_pages;
	}
	if (!lz_asker_is_open(&w->a) || (is_lazyd && w->due[tag].nr))
		return;
	assert(lz_asker_ask(&w->a, tag, PID, range, nr, out, room - 1) == -ENOSPC);
	if (!is_lazyd && w->nr_due + nr > LZ_ASKER_REPLIES) {
		assert(lz_asker_ask(&w->a, tag, PID, range, nr, out, room) == -ENOSPC);
		return;
	}
	assert(lz_asker_ask(&w->a, tag, PID, range, nr, out, room) == (int64_t)room);
	if (is_lazyd) {
		w->due[tag] = (struct due){ .tag = tag, .nr = nr_pages };
		w->nr_due++;
	}
	nr_pages = 0;
	for (size_t n = 0; !is_lazyd && n < nr; n++) {
		w->due[(w->head + w->nr_due++) % LZ_ASKER_REPLIES] = (struct due){
			tag, range[n].vaddr, nr_pages, range[n].nr_pages
		};
		nr_pages += range[n].nr_pages;
	}
}

static void say(struct world *w)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];
	bool probes = !w->a.probed, greets = !w->a.greeted;
	size_t len = lz_asker_say(&w->a, out);

	assert(len <= sizeof(out));
	assert((len > 0) == (probes || (greets && w->a.greeted)));
	assert(!lz_asker_say(&w->a, out));
}

/* ---- replies ---- */

static void paid(struct world *w, uint64_t len)
{
	lz_asker_paid(&w->a, len);
	w->payload -= len;
	assert(w->a.payload == w->payload);
}

static void settle(struct world *w, const struct lz_asker_event *ev)
{
	bool is_lazyd = w->a.state == LZ_ASKER_LAZYD;
	struct due *d = is_lazyd ? &w->due[ev->tag] : &w->due[w->head];

	assert(w->nr_due && d->nr && d->tag == ev->tag);
	assert(ev->first == d->first && ev->nr && ev->nr <= d->nr);
	assert(is_lazyd || ev->type == LZ_ASKER_BYTES);
	d->first += ev->nr;
	d->nr -= ev->nr;
	if (ev->type == LZ_ASKER_BYTES)
		w->payload = ev->nr * LZ_PS_PAGE;
	if (is_lazyd) {
		w->nr_due -= !d->nr;
		return;
	}
	w->rest = (struct lz_asker_event){ LZ_ASKER_REST, d->tag, d->first, d->nr, 0 };
	d->nr = 0;
	w->head = (w->head + 1) % LZ_ASKER_REPLIES;
	w->nr_due--;
}

static void note(struct world *w, const struct lz_asker_event *ev)
{
	w->last = ev->type;
	assert(!w->rest.nr || ev->type == LZ_ASKER_REST);
	if (ev->type == LZ_ASKER_MORE)
		return;
	mix(w, ev->type);
	mix(w, ev->tag);
	mix(w, ev->first);
	mix(w, ev->nr);
	mix(w, (uint32_t)ev->status);
	switch (ev->type) {
	case LZ_ASKER_OPEN:
		assert(lz_asker_is_open(&w->a) && !w->nr_due);
		assert(w->a.state != LZ_ASKER_LAZYD || w->a.greeted);
		break;
	case LZ_ASKER_REST:
		assert(ev->tag == w->rest.tag && ev->first == w->rest.first &&
		       ev->nr == w->rest.nr);
		w->rest.nr = 0;
		break;
	case LZ_ASKER_END:
		assert(w->a.state == LZ_ASKER_CLOSED && !w->nr_due);
		break;
	default:
		settle(w, ev);
		break;
	}
}

/* False when the connection has broken. */
static bool hear(struct world *w, const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	while (len || (!w->payload && w->last != LZ_ASKER_MORE)) {
		struct lz_asker_event ev;
		int64_t taken;

		if (!n)
			n = w->cut < len ? w->cut : len;
		if (w->payload) {
			taken = (int64_t)(w->payload < n ? w->payload : n);
			paid(w, (uint64_t)taken);
		} else {
			taken = lz_asker_take(&w->a, bytes, n, &ev);
			if (taken < 0) {
				assert(taken == -EBADMSG && w->a.why[0]);
				assert(w->a.state == LZ_ASKER_BROKEN);
				assert(lz_asker_take(&w->a, bytes, 1, &ev) == -EBADMSG);
				return false;
			}
			assert((size_t)taken <= n);
			assert(ev.type != LZ_ASKER_MORE || (size_t)taken == n);
			note(w, &ev);
		}
		assert(w->a.payload == w->payload && w->a.nr_replies == w->nr_due);
		bytes += taken;
		len -= (size_t)taken;
		n -= (size_t)taken;
		say(w);
	}
	return true;
}

static bool hear_input(struct world *w, struct input *in, size_t len)
{
	uint8_t bytes[BYTES];

	len = len < in->left ? len : in->left;
	memcpy(bytes, in->at, len);
	in->at += len;
	in->left -= len;
	return hear(w, bytes, len);
}

static bool hear_reply(struct world *w, struct input *in, unsigned how)
{
	static const uint32_t kinds[] = { LZ_PS_PRESENT, LZ_PS_ZERO, LZ_PS_LOST, LZ_PS_PRESENT };
	bool is_lazyd = w->a.state == LZ_ASKER_LAZYD;
	uint16_t tag = (uint16_t)(number(in) * 2);
	const struct due *d = is_lazyd ? &w->due[tag] : &w->due[w->head];
	uint64_t nr = 1 + number(in);
	struct lz_ps_header h = {
		.cmd = LZ_PS_ADD_F,
		.flags = is_lazyd ? kinds[how & 3] : LZ_PS_PRESENT,
		.nr_pages = nr < d->nr ? nr : d->nr,
		.vaddr = is_lazyd ? d->first : d->vaddr,
		.dst_id = is_lazyd ? (uint64_t)tag << 32 | PID : PID,
	};
	uint8_t bytes[LZ_PS_HEADER_MAX];

	return hear(w, bytes, lz_ps_put(is_lazyd ? LZ_PS_32 : w->a.options.layout, &h, bytes));
}

static bool hear_welcome(struct world *w)
{
	struct lz_welcome welcome = { LZ_HELLO_VERSION, LZ_PS_PAGE, LZ_HELLO_PAGES_MIN, "", "" };
	uint8_t bytes[LZ_HELLO_MAX];

	return hear(w, bytes, lz_hello_put_welcome(&welcome, bytes));
}

/* ---- one input ---- */

static bool step(struct world *w, struct input *in)
{
	static const uint8_t zeros[4] = { 0 };
	uint8_t what = (uint8_t)number(in), out[LZ_PS_HEADER_MAX];
	uint64_t some;

	switch ((enum step)(what & 7)) {
	case ASK:
		ask(w, in, what >> 3);
		return true;
	case HEAR:
		return hear_input(w, in, 1 + (size_t)(what >> 3));
	case REPLY:
		return hear_reply(w, in, what >> 3);
	case PAY:
		some = (1 + number(in)) << (what >> 3 & 15);
		paid(w, some < w->payload ? some : w->payload);
		return w->payload || hear(w, zeros, 0);
	case CLOSE:
		if (lz_asker_is_open(&w->a) && !w->nr_due && !w->rest.nr)
			assert(lz_asker_close(&w->a, out) <= sizeof(out));
		return true;
	case ANSWER:
		return hear(w, what & 8 ? zeros : LZ_PS_ANSWER, sizeof(zeros));
	case WELCOME:
		return hear_welcome(w);
	case STATUS:
		return hear(w, zeros, sizeof(zeros));
	}
	return true;
}

static uint64_t play(struct world *w, const uint8_t *data, size_t size, size_t cut)
{
	struct lz_asker_options o = { .layout = LZ_PS_32 };
	struct input in = { data, size };
	uint64_t how = number(&in);

	if (how & 1)
		o.layout = LZ_PS_24;
	o.known = how & 2;
	o.hello.version = LZ_HELLO_VERSION;
	o.hello.page_size = LZ_PS_PAGE;
	memset(w, 0, sizeof(*w));
	lz_asker_init(&w->a, &o);
	w->cut = cut;
	say(w);
	while (in.left && step(w, &in))
		;
	mix(w, w->a.state);
	for (const char *c = w->a.why; *c; c++)
		mix(w, (uint8_t)*c);
	return w->sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	uint64_t whole = play(&w, data, size, BYTES);

	/*
	 * What comes right behind the answer of a lazyd, in the same piece, cannot be meant for a
	 * hello that is not said yet; what comes later may be.
	 */
	if (w.a.greeted && !w.a.options.known)
		return 0;
	assert(play(&w, data, size, 1) == whole || (w.a.greeted && !w.a.options.known));
	return 0;
}
