/* SPDX-License-Identifier: MIT */
/*
 * An asker and a giver talking to each other through two pipes that cut what they carry anywhere.
 * Random requests, random answers: every page that was asked for comes exactly once, with the bytes
 * that are its own, whatever the layout and whether the giver is a lazyd or behaves as a CRIU.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proto/asker.h"
#include "proto/giver.h"
#include "tests/lib/suite.h"

enum {
	ROUNDS = 160,
	REQUESTS = 30, /* of a round */
	PAGES_MAX = 8,
	RANGES_MAX = 6,
	PIPE = 1 << 20,
	QUEUE = 1024,
};

struct pipe {
	uint8_t *bytes;
	size_t head, len; /* [head, len) is under way */
};

/* A request as the client sees it. */
struct wish {
	bool used;
	uint32_t pid;
	uint64_t nr, left;
	uint64_t vaddr[RANGES_MAX * PAGES_MAX]; /* of each page; 0 once it came */
};

/* A request as the server sees it. */
struct owed {
	uint64_t dst_id;
	uint32_t pid;
	uint64_t nr, first;
	uint64_t vaddr[RANGES_MAX * PAGES_MAX];
};

struct world {
	struct lz_asker *a;
	struct lz_giver *g;
	struct pipe to_server, to_client;
	bool is_lazyd;
	unsigned cut; /* bytes that are delivered at once, at most */
	struct wish wish[LZ_ASKER_TAGS];
	unsigned nr_left, nr_wishes; /* to be asked for; under way */
	struct owed queue[QUEUE];
	unsigned head, nr_queue;
	/* What is being received: page @number of @tag, @have bytes of it. */
	uint16_t tag;
	uint64_t number;
	size_t have;
	uint8_t page[LZ_PS_PAGE];
	bool ended;
};

static struct {
	unsigned bytes, zeros, lost, rest, vectors, closed, overtaken;
} seen;

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static void add(struct pipe *p, const void *bytes, size_t len)
{
	if (p->head > PIPE / 2) {
		p->len -= p->head;
		memmove(p->bytes, p->bytes + p->head, p->len);
		p->head = 0;
	}
	ck_assert_uint_le(p->len + len, PIPE);
	memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

/* Some of what is under way. */
static size_t arrived(const struct world *w, const struct pipe *p)
{
	size_t n = 1 + rnd(w->cut);

	return n < p->len - p->head ? n : p->len - p->head;
}

static void make_page(uint32_t pid, uint64_t vaddr, uint8_t page[LZ_PS_PAGE])
{
	memset(page, (int)(vaddr >> 12 & 0xff), LZ_PS_PAGE);
	memcpy(page, &vaddr, sizeof(vaddr));
	memcpy(page + LZ_PS_PAGE - sizeof(pid), &pid, sizeof(pid));
}

static uint32_t kind_of(const struct world *w, uint64_t vaddr)
{
	if (!w->is_lazyd || vaddr >> 12 & 8)
		return LZ_PS_PRESENT;
	return vaddr >> 12 & 16 ? LZ_PS_ZERO : LZ_PS_LOST;
}

/* ---- the server ---- */

static void serve_request(struct world *w)
{
	const struct lz_giver_get *get = &w->g->get;
	struct owed *o = &w->queue[(w->head + w->nr_queue++) % QUEUE];

	ck_assert_uint_le(w->nr_queue, QUEUE);
	*o = (struct owed){ .dst_id = get->dst_id, .pid = get->pid };
	for (size_t n = 0; n < get->nr_ranges; n++)
		for (uint64_t p = 0; p < get->range[n].nr_pages; p++)
			o->vaddr[o->nr++] = get->range[n].vaddr + p * LZ_PS_PAGE;
	ck_assert_uint_eq(o->nr, get->nr_pages);
	seen.vectors += get->nr_ranges > 1;
}

/* Answers some pages of some request; a CRIU answers the next request only, and never again. */
static void serve(struct world *w)
{
	unsigned which = w->is_lazyd ? (unsigned)rnd(w->nr_queue) : 0;
	struct owed *o = &w->queue[(w->head + which) % QUEUE];
	uint32_t kind = kind_of(w, o->vaddr[o->first]);
	uint64_t most = 1 + rnd(o->nr - o->first), nr = 1;
	uint8_t header[LZ_PS_HEADER_MAX], page[LZ_PS_PAGE];

	while (nr < most && kind_of(w, o->vaddr[o->first + nr]) == kind)
		nr++;
	add(&w->to_client, header,
	    lz_giver_reply(w->g, o->dst_id, kind, o->vaddr[o->first], o->first, nr, header));
	for (uint64_t n = 0; kind == LZ_PS_PRESENT && n < nr; n++) {
		make_page(o->pid, o->vaddr[o->first + n], page);
		add(&w->to_client, page, sizeof(page));
	}
	o->first += nr;
	seen.overtaken += which > 0;
	if (w->is_lazyd && o->first < o->nr)
		return;
	*o = w->queue[w->head];
	w->head = (w->head + 1) % QUEUE;
	w->nr_queue--;
}

static void server_hears(struct world *w)
{
	struct pipe *p = &w->to_server;
	enum lz_giver_event_type ev;
	int64_t n = lz_giver_take(w->g, p->bytes + p->head, arrived(w, p), &ev);

	ck_assert_msg(n >= 0, "%s", w->g->why);
	p->head += (size_t)n;
	switch (ev) {
	case LZ_GIVER_MORE:
		break;
	case LZ_GIVER_GET:
		serve_request(w);
		break;
	case LZ_GIVER_CLOSE:
		ck_assert_uint_eq(w->nr_queue, 0);
		seen.closed++;
		add(&w->to_client, w->g->say, w->g->nr_say);
		break;
	case LZ_GIVER_SAY:
		/* A CRIU says this to whatever it is asked. */
		if (!w->is_lazyd)
			add(&w->to_client, "\0\0\0", 4);
		else
			add(&w->to_client, w->g->say, w->g->nr_say);
		w->g->greeting = w->is_lazyd;
		break;
	case LZ_GIVER_HELLO:
		ck_assert_int_eq(w->g->hello.stream, LZ_HELLO_DEMAND);
		ck_assert_uint_eq(w->g->hello.session, 42);
		add(&w->to_client, w->g->say, w->g->nr_say);
		break;
	}
}

/* ---- the client ---- */

static void wish(struct world *w)
{
	struct lz_ps_range range[RANGES_MAX];
	size_t nr = 1 + rnd(RANGES_MAX);
	uint16_t tag = (uint16_t)rnd(LZ_ASKER_TAGS);
	struct wish *q = &w->wish[tag];
	uint8_t out[RANGES_MAX * LZ_PS_HEADER_MAX];
	int64_t len;

	if (q->used)
		return;
	*q = (struct wish){ .used = true, .pid = (uint32_t)rnd(1 << 22) };
	for (size_t n = 0; n < nr; n++) {
		range[n].vaddr = (UINT64_C(0x7f0000000) + rnd(1 << 16)) * LZ_PS_PAGE;
		range[n].nr_pages = 1 + rnd(PAGES_MAX);
		for (uint64_t p = 0; p < range[n].nr_pages; p++)
			q->vaddr[q->nr++] = range[n].vaddr + p * LZ_PS_PAGE;
	}
	q->left = q->nr;
	len = lz_asker_ask(w->a, tag, q->pid, range, nr, out, sizeof(out));
	ck_assert_int_gt(len, 0);
	add(&w->to_server, out, (size_t)len);
	w->nr_left--;
	w->nr_wishes++;
}

static void came(struct world *w, uint16_t tag, uint64_t number)
{
	struct wish *q = &w->wish[tag];

	ck_assert(q->used && number < q->nr && q->vaddr[number]);
	q->vaddr[number] = 0;
	if (--q->left)
		return;
	q->used = false;
	w->nr_wishes--;
}

/* A CRIU gave less than it was asked for: the rest is asked for under a tag of its own. */
static void ask_again(struct world *w, const struct lz_asker_event *ev)
{
	struct wish *q = &w->wish[ev->tag], *again = NULL;
	struct lz_ps_range r = { q->vaddr[ev->first], ev->nr };
	uint8_t out[LZ_PS_HEADER_MAX];
	uint16_t tag;
	int64_t len;

	do {
		tag = (uint16_t)rnd(LZ_ASKER_TAGS);
		again = &w->wish[tag];
	} while (again->used);
	*again = (struct wish){ .used = true, .pid = q->pid, .nr = ev->nr, .left = ev->nr };
	w->nr_wishes++;
	for (uint64_t n = 0; n < ev->nr; n++) {
		again->vaddr[n] = q->vaddr[ev->first + n];
		ck_assert_uint_eq(again->vaddr[n], r.vaddr + n * LZ_PS_PAGE);
		came(w, ev->tag, ev->first + n);
	}
	len = lz_asker_ask(w->a, tag, again->pid, &r, 1, out, sizeof(out));
	ck_assert_int_gt(len, 0);
	add(&w->to_server, out, (size_t)len);
}

static void take_payload(struct world *w, struct pipe *p)
{
	size_t n = arrived(w, p);
	uint8_t page[LZ_PS_PAGE];

	n = n < w->a->payload ? n : w->a->payload;
	n = n < LZ_PS_PAGE - w->have ? n : LZ_PS_PAGE - w->have;
	memcpy(w->page + w->have, p->bytes + p->head, n);
	w->have += n;
	p->head += n;
	lz_asker_paid(w->a, n);
	if (w->have < LZ_PS_PAGE)
		return;
	make_page(w->wish[w->tag].pid, w->wish[w->tag].vaddr[w->number], page);
	ck_assert_mem_eq(w->page, page, LZ_PS_PAGE);
	came(w, w->tag, w->number++);
	w->have = 0;
}

static void client_hears(struct world *w)
{
	struct pipe *p = &w->to_client;
	struct lz_asker_event ev;
	int64_t n;

	if (w->a->payload) {
		take_payload(w, p);
		return;
	}
	n = lz_asker_take(w->a, p->bytes + p->head, arrived(w, p), &ev);
	ck_assert_msg(n >= 0, "%s", w->a->why);
	p->head += (size_t)n;
	switch (ev.type) {
	case LZ_ASKER_MORE:
		break;
	case LZ_ASKER_OPEN:
		ck_assert_int_eq(w->a->state, w->is_lazyd ? LZ_ASKER_LAZYD : LZ_ASKER_PLAIN);
		break;
	case LZ_ASKER_BYTES:
		seen.bytes++;
		ck_assert_uint_eq(w->a->payload, ev.nr * LZ_PS_PAGE);
		w->tag = ev.tag;
		w->number = ev.first;
		break;
	case LZ_ASKER_ZEROS:
	case LZ_ASKER_LOST:
		seen.zeros += ev.type == LZ_ASKER_ZEROS;
		seen.lost += ev.type == LZ_ASKER_LOST;
		for (uint64_t i = 0; i < ev.nr; i++) {
			ck_assert_uint_eq(kind_of(w, w->wish[ev.tag].vaddr[ev.first + i]),
					  ev.type == LZ_ASKER_ZEROS ? LZ_PS_ZERO : LZ_PS_LOST);
			came(w, ev.tag, ev.first + i);
		}
		break;
	case LZ_ASKER_REST:
		seen.rest++;
		ask_again(w, &ev);
		break;
	case LZ_ASKER_END:
		ck_assert_int_eq(ev.status, 0);
		w->ended = true;
		break;
	}
}

static void client_says(struct world *w)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];

	add(&w->to_server, out, lz_asker_say(w->a, out));
	if (!lz_asker_is_open(w->a))
		return;
	if (w->nr_left)
		wish(w);
	else if (!w->nr_wishes) {
		ck_assert_uint_eq(w->a->nr_replies, 0);
		add(&w->to_server, out, lz_asker_close(w->a, out));
	}
}

/* ---- both ---- */

static void talk(struct world *w, enum lz_ps_layout layout, bool known)
{
	struct lz_asker_options ao = { .layout = layout, .known = known };
	struct lz_giver_options go = { .max_request_pages = 1024 };

	for (uint8_t n = 0; n < LZ_IDENTITY_LEN; n++)
		ao.hello.identity[n] = go.identity[n] = n;
	ao.hello.version = LZ_HELLO_VERSION;
	ao.hello.page_size = LZ_PS_PAGE;
	ao.hello.session = 42;
	ao.hello.stream = LZ_HELLO_DEMAND;
	lz_asker_init(w->a, &ao);
	lz_giver_init(w->g, &go);
	w->nr_left = 1 + (unsigned)rnd(REQUESTS);
	while (!w->ended) {
		unsigned what = (unsigned)rnd(4);

		if (what == 0)
			client_says(w);
		else if (what == 1 && w->to_server.head < w->to_server.len)
			server_hears(w);
		else if (what == 2 && w->nr_queue &&
			 w->to_client.len - w->to_client.head < PIPE / 4)
			serve(w);
		else if (what == 3)
			client_hears(w);
	}
	ck_assert_uint_eq(w->to_server.head, w->to_server.len);
	ck_assert_uint_eq(w->to_client.head, w->to_client.len);
	ck_assert_uint_eq(w->nr_left + w->nr_wishes + w->nr_queue, 0);
	ck_assert(!lz_giver_is_waiting(w->g));
	if (w->is_lazyd)
		ck_assert_int_eq(w->g->layout, LZ_PS_32);
	else
		ck_assert_int_eq(w->g->layout, layout);
}

static void talk_often(bool is_lazyd)
{
	struct world *w = malloc(sizeof(*w));
	struct pipe to_server = { .bytes = malloc(PIPE) }, to_client = { .bytes = malloc(PIPE) };
	struct lz_asker *a = malloc(sizeof(*a));
	struct lz_giver *g = malloc(sizeof(*g));

	for (unsigned n = 0; n < ROUNDS; n++) {
		static const unsigned cuts[] = { 1 << 20, 9000, 120, 3000 };

		seed = n;
		memset(w, 0, sizeof(*w));
		w->a = a;
		w->g = g;
		w->to_server = to_server;
		w->to_client = to_client;
		w->is_lazyd = is_lazyd;
		w->cut = cuts[n % 4];
		talk(w, n & 4 ? LZ_PS_24 : LZ_PS_32, is_lazyd && n & 8);
	}
	free(to_server.bytes);
	free(to_client.bytes);
	free(a);
	free(g);
	free(w);
}

START_TEST(two_lazyds)
{
	memset(&seen, 0, sizeof(seen));
	talk_often(true);
	ck_assert_uint_gt(seen.bytes, ROUNDS);
	ck_assert_uint_gt(seen.zeros, ROUNDS);
	ck_assert_uint_gt(seen.lost, ROUNDS);
	ck_assert_uint_gt(seen.vectors, ROUNDS);
	ck_assert_uint_gt(seen.overtaken, ROUNDS);
	ck_assert_uint_eq(seen.rest, 0);
	ck_assert_uint_eq(seen.closed, ROUNDS);
}
END_TEST

START_TEST(a_lazyd_and_a_criu)
{
	memset(&seen, 0, sizeof(seen));
	talk_often(false);
	ck_assert_uint_gt(seen.bytes, ROUNDS);
	ck_assert_uint_gt(seen.rest, ROUNDS);
	ck_assert_uint_eq(seen.zeros + seen.lost + seen.vectors + seen.overtaken, 0);
	ck_assert_uint_eq(seen.closed, ROUNDS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, two_lazyds);
	tcase_add_test(t, a_lazyd_and_a_criu);
	suite_add_tcase(s, t);
	return run_suite(s);
}
