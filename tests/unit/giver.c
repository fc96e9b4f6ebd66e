/* SPDX-License-Identifier: MIT */
/* The giving end: what clients say, however it is cut, and all that no client may say. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/giver.h"
#include "tests/lib/suite.h"

enum { TEXT = 8192, STREAM = 1 << 16, MAX_PAGES = 600 };

static struct lz_giver_options options;
static struct lz_giver g;

/* What the client says. */
static uint8_t stream[STREAM];
static size_t len;

static void setup(void)
{
	options = (struct lz_giver_options){ .max_request_pages = MAX_PAGES };
	strcpy(options.software, "lazyd test");
	memset(options.identity, 0xab, sizeof(options.identity));
	lz_giver_init(&g, &options);
	len = 0;
}

static void say(enum lz_ps_layout layout, uint32_t cmd, uint32_t flags, uint64_t nr_pages,
		uint64_t vaddr, uint64_t dst_id)
{
	struct lz_ps_header h = { cmd, flags, nr_pages, vaddr, dst_id };

	len += lz_ps_put(layout, &h, stream + len);
}

static void say_range(uint64_t vaddr, uint64_t nr_pages)
{
	struct lz_ps_range r = { vaddr, nr_pages };

	len += lz_ps_put_range(&r, stream + len);
}

static void say_probe(enum lz_ps_layout layout)
{
	say(layout, LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE);
}

static struct lz_hello hello(void)
{
	struct lz_hello h = { .version = LZ_HELLO_VERSION,
			      .page_size = LZ_PS_PAGE,
			      .session = 7,
			      .stream = LZ_HELLO_BULK };

	memset(h.identity, 0xab, sizeof(h.identity));
	return h;
}

static void say_hello(const struct lz_hello *h)
{
	len += lz_hello_put(h, stream + len);
}

static void say_lazyd(void)
{
	struct lz_hello h = hello();

	say_probe(LZ_PS_32);
	say_hello(&h);
}

/* One line an event. */
static void note(char *text, enum lz_giver_event_type ev)
{
	char *to = text + strlen(text), *end = text + TEXT;

	switch (ev) {
	case LZ_GIVER_MORE:
		break;
	case LZ_GIVER_SAY:
		snprintf(to, (size_t)(end - to), "say %02x %02x %02x %02x\n", g.say[0], g.say[1],
			 g.say[2], g.say[3]);
		ck_assert_uint_eq(g.nr_say, 4);
		break;
	case LZ_GIVER_HELLO:
		snprintf(to, (size_t)(end - to), "hello session %llu stream %d\n",
			 (unsigned long long)g.hello.session, g.hello.stream);
		ck_assert_uint_gt(g.nr_say, LZ_HELLO_LENGTH);
		break;
	case LZ_GIVER_GET:
		to += snprintf(to, (size_t)(end - to),
			       "get %llx pid %u pages %llu:", (unsigned long long)g.get.dst_id,
			       g.get.pid, (unsigned long long)g.get.nr_pages);
		for (size_t n = 0; n < g.get.nr_ranges; n++)
			to += snprintf(to, (size_t)(end - to), " %llx+%llu",
				       (unsigned long long)g.get.range[n].vaddr,
				       (unsigned long long)g.get.range[n].nr_pages);
		snprintf(to, (size_t)(end - to), "\n");
		break;
	case LZ_GIVER_CLOSE:
		snprintf(to, (size_t)(end - to), "close %02x %02x %02x %02x\n", g.say[0], g.say[1],
			 g.say[2], g.say[3]);
		ck_assert_uint_eq(g.nr_say, 4);
		break;
	}
}

/* Takes stream[] in pieces of at most @cut bytes, of random length if it is 0. */
static void hear(char *text, size_t cut)
{
	size_t at = 0, n = 0;

	lz_giver_init(&g, &options);
	text[0] = '\0';
	while (at < len || n) {
		enum lz_giver_event_type ev;
		int64_t taken;

		if (!n) {
			n = cut ? cut : 1 + (size_t)rand() % 50;
			n = n < len - at ? n : len - at;
		}
		taken = lz_giver_take(&g, stream + at, n, &ev);
		if (taken < 0) {
			ck_assert_int_eq(taken, -EBADMSG);
			ck_assert_uint_gt(strlen(g.why), 0);
			strcat(strcat(text, "refused: "), g.why);
			ck_assert_int_eq(lz_giver_take(&g, stream, 1, &ev), -EBADMSG);
			return;
		}
		ck_assert_int_le(taken, (int64_t)n);
		at += (size_t)taken;
		n -= (size_t)taken;
		ck_assert(ev != LZ_GIVER_MORE || !n);
		note(text, ev);
	}
}

/* What is heard is @expected, wherever it is cut. */
static void hears(const char *expected)
{
	char text[TEXT];

	hear(text, STREAM);
	ck_assert_str_eq(text, expected);
	for (size_t cut = 1; cut < 40; cut++) {
		hear(text, cut);
		ck_assert_str_eq(text, expected);
	}
	for (int n = 0; n < 20; n++) {
		hear(text, 0);
		ck_assert_str_eq(text, expected);
	}
}

/* ---- what clients say ---- */

START_TEST(a_plain_client)
{
	enum lz_ps_layout layout = _i ? LZ_PS_24 : LZ_PS_32;

	say(layout, LZ_PS_GET, 0, 1, 0x7f0000001000, 1000);
	say(layout, LZ_PS_GET, 0, LZ_GIVER_PLAIN_PAGES, 0x7f0000002000, 2);
	say(layout, LZ_PS_CLOSE, 0, 0, 0, 0);
	hears("get 3e8 pid 1000 pages 1: 7f0000001000+1\n"
	      "get 2 pid 2 pages 1048576: 7f0000002000+1048576\n"
	      "close 00 00 00 00\n");
	ck_assert_int_eq(g.layout, layout);
	ck_assert(!g.lazyd && g.closed);
}
END_TEST

START_TEST(a_plain_client_asks_for_a_parent)
{
	enum lz_ps_layout layout = _i ? LZ_PS_24 : LZ_PS_32;

	say(layout, LZ_PS_PARENT, 0, 0, 0, 1000 << 8 | 1);
	say(layout, LZ_PS_GET, 0, 1, 0x1000, 1000);
	say(layout, LZ_PS_PARENT, 0, 0, 0, 1000 << 8 | 2);
	say(layout, LZ_PS_FORCE_CLOSE, 0, 0, 0, 0);
	hears("say 00 00 00 00\n"
	      "get 3e8 pid 1000 pages 1: 1000+1\n"
	      "say 00 00 00 00\n"
	      "close 00 00 00 00\n");
	ck_assert_int_eq(g.layout, layout);
}
END_TEST

/* The header of a 32-byte client is taken for a short one, and the rest of it let pass. */
START_TEST(a_client_that_wants_nothing)
{
	enum lz_ps_layout layout = _i ? LZ_PS_24 : LZ_PS_32;

	say(layout, LZ_PS_CLOSE, 0, 0, 0, 0);
	hears("close 00 00 00 00\n");
	ck_assert(!lz_giver_is_waiting(&g));
}
END_TEST

START_TEST(a_lazyd)
{
	struct lz_welcome w;
	struct lz_hello h = hello();
	int64_t frame;

	say_probe(_i ? LZ_PS_24 : LZ_PS_32);
	say_hello(&h);
	say(LZ_PS_32, LZ_PS_GET, 0, 3, 0x1000, UINT64_C(5) << 32 | 1000);
	say(LZ_PS_32, LZ_PS_GET, LZ_PS_VECTOR, MAX_PAGES, 2, UINT64_C(511) << 32 | 1);
	say_range(0x10000, MAX_PAGES - 1);
	say_range(0x1000, 1);
	say(LZ_PS_32, LZ_PS_GET, LZ_PS_VECTOR, 1, 1, 1);
	say_range(0xffffffffffffe000, 1);
	say(LZ_PS_32, LZ_PS_CLOSE, 0, 0, 0, 0);
	hears("say 4c 5a 44 01\n"
	      "hello session 7 stream 2\n"
	      "get 5000003e8 pid 1000 pages 3: 1000+3\n"
	      "get 1ff00000001 pid 1 pages 600: 10000+599 1000+1\n"
	      "get 1 pid 1 pages 1: ffffffffffffe000+1\n"
	      "close 00 00 00 00\n");
	ck_assert(g.lazyd);
	ck_assert_int_eq(g.layout, LZ_PS_32);

	/* Once more, for the welcome. */
	len = 0;
	say_lazyd();
	hears("say 4c 5a 44 01\n"
	      "hello session 7 stream 2\n");
	frame = lz_hello_frame(g.say, g.nr_say);
	ck_assert_int_eq(frame, (int64_t)g.nr_say);
	ck_assert_int_eq(
		lz_hello_get_welcome(g.say + LZ_HELLO_LENGTH, g.nr_say - LZ_HELLO_LENGTH, &w), 0);
	ck_assert_uint_eq(w.version, LZ_HELLO_VERSION);
	ck_assert_uint_eq(w.page_size, LZ_PS_PAGE);
	ck_assert_uint_eq(w.max_request_pages, MAX_PAGES);
	ck_assert_str_eq(w.refusal, "");
	ck_assert_str_eq(w.software, "lazyd test");
}
END_TEST

START_TEST(the_longest_vector)
{
	char expected[TEXT] = "say 4c 5a 44 01\nhello session 7 stream 2\n"
			      "get 1 pid 1 pages 256:";
	size_t at = strlen(expected);

	say_lazyd();
	say(LZ_PS_32, LZ_PS_GET, LZ_PS_VECTOR, LZ_PS_RANGES_MAX, LZ_PS_RANGES_MAX, 1);
	for (uint64_t n = LZ_PS_RANGES_MAX; n; n--) {
		say_range(n << 13, 1);
		at += (size_t)sprintf(expected + at, " %x+1", (unsigned)n << 13);
	}
	strcat(expected, "\n");
	hears(expected);
}
END_TEST

START_TEST(waiting_for_the_rest)
{
	enum lz_giver_event_type ev;
	size_t at;

	ck_assert(!lz_giver_is_waiting(&g));
	say_lazyd();
	for (at = 0; at < LZ_PS_32 - 1; at++) {
		ck_assert_int_eq(lz_giver_take(&g, stream + at, 1, &ev), 1);
		ck_assert(lz_giver_is_waiting(&g));
	}
	/* The hello must come at once, too. */
	ck_assert_int_eq(lz_giver_take(&g, stream + at++, 1, &ev), 1);
	ck_assert_int_eq(ev, LZ_GIVER_SAY);
	ck_assert(lz_giver_is_waiting(&g));
	ck_assert_int_eq(lz_giver_take(&g, stream + at, len - at, &ev), (int64_t)(len - at));
	ck_assert_int_eq(ev, LZ_GIVER_HELLO);
	ck_assert(!lz_giver_is_waiting(&g));
	len = 0;
	say(LZ_PS_32, LZ_PS_GET, LZ_PS_VECTOR, 1, 1, 1);
	ck_assert_int_eq(lz_giver_take(&g, stream, len, &ev), (int64_t)len);
	ck_assert_int_eq(ev, LZ_GIVER_MORE);
	ck_assert(lz_giver_is_waiting(&g));
}
END_TEST

START_TEST(replies)
{
	uint8_t out[LZ_PS_HEADER_MAX], expected[LZ_PS_HEADER_MAX];
	struct lz_ps_header h = { LZ_PS_ADD_F, LZ_PS_PRESENT, 3, 0x5000, 1000 };
	enum lz_ps_layout layout = _i ? LZ_PS_24 : LZ_PS_32;
	char text[TEXT];

	say(layout, LZ_PS_GET, 0, 4, 0x4000, 1000);
	hear(text, STREAM);
	lz_ps_put(layout, &h, expected);
	ck_assert_uint_eq(lz_giver_reply(&g, 1000, LZ_PS_PRESENT, 0x5000, 1, 3, out), layout);
	ck_assert_mem_eq(out, expected, layout);

	len = 0;
	say_lazyd();
	hear(text, STREAM);
	h = (struct lz_ps_header){ LZ_PS_ADD_F, LZ_PS_LOST, 3, 1, UINT64_C(9) << 32 | 1000 };
	lz_ps_put(LZ_PS_32, &h, expected);
	ck_assert_uint_eq(lz_giver_reply(&g, h.dst_id, LZ_PS_LOST, 0x5000, 1, 3, out), LZ_PS_32);
	ck_assert_mem_eq(out, expected, LZ_PS_32);
}
END_TEST

/* ---- what no client may say ---- */

static const struct {
	struct lz_ps_header h;
	const char *why;
} bad_plain[] = {
	{ { LZ_PS_ADD, 0, 1, 0x1000, 1 << 8 | 1 },
	  "the client wants to dump, and this server takes no dumps" },
	{ { LZ_PS_HOLE, 0, 1, 0x1000, 1 << 8 | 1 },
	  "the client wants to dump, and this server takes no dumps" },
	{ { LZ_PS_OPEN, 0, 0, 0, 1 << 8 | 1 },
	  "the client wants to dump, and this server takes no dumps" },
	{ { LZ_PS_OPEN2, 0, 0, 0, 1 << 8 | 1 },
	  "the client wants to dump, and this server takes no dumps" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0x1000, 1 << 8 | 1 },
	  "the client wants to dump, and this server takes no dumps" },
	{ { 0, 0, 1, 0x1000, 1 }, "the client says command 0, which does not exist" },
	{ { 8, 0, 1, 0x1000, 1 }, "the client says command 0x8, which does not exist" },
	{ { 0x1025, 0, 1, 0x1000, 1 }, "the client says command 0x1025, which does not exist" },
	{ { LZ_PS_CLOSE, 4, 1, 0x1000, 1 }, "the client's end has flags 0x4" },
	{ { LZ_PS_GET, 0, 1, 0x1001, 1 }, "the client asks for 0x1001, where no page begins" },
	{ { LZ_PS_GET, 0, 0, 0x1000, 1 }, "the client asks for no pages at 0x1000" },
	{ { LZ_PS_GET, 0, 1, 0xfffffffffffff000, 1 },
	  "the client asks for 1 pages at 0xfffffffffffff000, beyond the end of all addresses" },
	{ { LZ_PS_GET, 0, 3, 0xffffffffffffd000, 1 },
	  "the client asks for 3 pages at 0xffffffffffffd000, beyond the end of all addresses" },
	{ { LZ_PS_GET, 0, LZ_GIVER_PLAIN_PAGES + 1, 0x1000, 1 },
	  "the client asks for 1048577 pages at once, at most 1048576 are given" },
	{ { LZ_PS_GET, 0, UINT32_MAX, 0x1000, 1 },
	  "the client asks for 4294967295 pages at once, at most 1048576 are given" },
	{ { LZ_PS_GET, 0, 1, 0x1000, UINT64_C(1) << 32 },
	  "the client asks for pages of task 4294967296" },
	{ { LZ_PS_GET, LZ_PS_PRESENT, 1, 0x1000, 1 }, "the client's request has flags 0x4" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 1, 1, 1 }, "the client's request has flags 0x400" },
	{ { LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE },
	  "the client asks who this is in the midst of its requests" },
};
enum { BAD_PLAIN = sizeof(bad_plain) / sizeof(bad_plain[0]) };

START_TEST(plain_refusals)
{
	const struct lz_ps_header *h = &bad_plain[_i / 2].h;
	enum lz_ps_layout layout = _i % 2 ? LZ_PS_24 : LZ_PS_32;
	char expected[TEXT] = "get 1 pid 1 pages 1: 1000+1\nrefused: ";

	say(layout, LZ_PS_GET, 0, 1, 0x1000, 1);
	say(layout, h->cmd, h->flags, h->nr_pages, h->vaddr, h->dst_id);
	hears(strcat(expected, bad_plain[_i / 2].why));
	ck_assert_uint_eq(g.nr_say, 0);
}
END_TEST

static const struct {
	struct lz_ps_header h;
	struct lz_ps_range range[2];
	const char *why;
} bad_lazyd[] = {
	{ { LZ_PS_PARENT, 0, 0, 0, 1 << 8 | 1 },
	  { { 0 } },
	  "the client asks who this is in the midst of its requests" },
	{ { LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE },
	  { { 0 } },
	  "the client asks who this is in the midst of its requests" },
	{ { LZ_PS_OPEN2, 0, 0, 0, 1 << 8 | 1 },
	  { { 0 } },
	  "the client wants to dump, and this server takes no dumps" },
	{ { LZ_PS_GET, 0, MAX_PAGES + 1, 0x1000, 1 },
	  { { 0 } },
	  "the client asks for 601 pages at once, at most 600 are given" },
	{ { LZ_PS_GET, LZ_PS_ZERO, 1, 0x1000, 1 },
	  { { 0 } },
	  "the client's request has flags 0x100" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 1, 0, 1 },
	  { { 0 } },
	  "the client's request has 0 ranges, not 1 to 256" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 1, LZ_PS_RANGES_MAX + 1, 1 },
	  { { 0 } },
	  "the client's request has 257 ranges, not 1 to 256" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 1, UINT64_MAX, 1 },
	  { { 0 } },
	  "the client's request has 18446744073709551615 ranges, not 1 to 256" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, MAX_PAGES + 1, 2, 1 },
	  { { 0x1000, 1 }, { 0x5000, MAX_PAGES } },
	  "the client asks for 601 pages at once, at most 600 are given" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 3, 2, 1 },
	  { { 0x1000, 1 }, { 0x5000, 3 } },
	  "the client's ranges are more than the 3 pages it says" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 3, 2, 1 },
	  { { 0x1000, 4 }, { 0x8000, UINT64_C(1) << 40 } },
	  "the client's ranges are more than the 3 pages it says" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 3, 2, 1 },
	  { { 0x1000, 1 }, { 0x5000, 1 } },
	  "the client's ranges are 1 pages fewer than it says" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 0, 1, 1 },
	  { { 0x1000, 0 } },
	  "the client asks for no pages at 0x1000" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 2, 2, 1 },
	  { { 0x1000, 1 }, { 0x5800, 1 } },
	  "the client asks for 0x5800, where no page begins" },
	{ { LZ_PS_GET, LZ_PS_VECTOR, 2, 2, 1 },
	  { { 0x1000, 1 }, { 0xfffffffffffff000, 1 } },
	  "the client asks for 1 pages at 0xfffffffffffff000, beyond the end of all addresses" },
};
enum { BAD_LAZYD = sizeof(bad_lazyd) / sizeof(bad_lazyd[0]) };

START_TEST(lazyd_refusals)
{
	const struct lz_ps_header *h = &bad_lazyd[_i].h;
	char expected[TEXT] = "say 4c 5a 44 01\nhello session 7 stream 2\nrefused: ";

	say_lazyd();
	say(LZ_PS_32, h->cmd, h->flags, h->nr_pages, h->vaddr, h->dst_id);
	for (uint64_t n = 0; h->flags == LZ_PS_VECTOR && n < 2 && n < h->vaddr; n++)
		say_range(bad_lazyd[_i].range[n].vaddr, bad_lazyd[_i].range[n].nr_pages);
	hears(strcat(expected, bad_lazyd[_i].why));
	ck_assert_uint_eq(g.nr_say, 0);
}
END_TEST

static void hello_is_refused(const struct lz_hello *h, const char *why)
{
	char expected[TEXT] = "say 4c 5a 44 01\nrefused: ";
	struct lz_welcome w;

	len = 0;
	say_probe(LZ_PS_32);
	say_hello(h);
	hears(strcat(expected, why));
	ck_assert(!g.lazyd);
	/* The client is told. */
	ck_assert_int_eq(lz_hello_frame(g.say, g.nr_say), (int64_t)g.nr_say);
	ck_assert_int_eq(
		lz_hello_get_welcome(g.say + LZ_HELLO_LENGTH, g.nr_say - LZ_HELLO_LENGTH, &w), 0);
	ck_assert_str_eq(w.refusal, why);
}

START_TEST(hellos_refused)
{
	struct lz_hello h = hello();

	h.version = 2;
	hello_is_refused(&h, "the server speaks version 1 of the protocol, the client 2");
	h = hello();
	h.page_size = 16384;
	hello_is_refused(&h, "the server has pages of 4096 bytes, the client of 16384");
	h = hello();
	memcpy(h.identity, "\x01\x23\x45\x67\x89", 5);
	hello_is_refused(&h, "the server has the dump abababab, the client restores 01234567: the "
			     "images of one are not a copy of the other's");
	h = hello();
	h.identity[LZ_IDENTITY_LEN - 1] ^= 1;
	hello_is_refused(&h, "the server has the dump abababab, the client restores abababab: the "
			     "images of one are not a copy of the other's");
	h = hello();
	h.stream = (enum lz_hello_stream)3;
	hello_is_refused(&h, "the client's hello is none that this server understands");
}
END_TEST

START_TEST(hello_frames_refused)
{
	static const uint8_t lengths[][4] = {
		{ 0, 0, 0, 0 }, { 0xfd, 0x0f, 0, 0 }, { 0, 0, 0, 0x80 }, { 7, 0, 0, 0 }
	};

	say_probe(LZ_PS_32);
	memcpy(stream + len, lengths[_i], 4);
	len += 4;
	/* No such length, or no request where a hello is due. */
	say(LZ_PS_32, LZ_PS_GET, 0, 1, 0x1000, 1);
	hears(_i < 3 ? "say 4c 5a 44 01\n"
		       "refused: the client's hello has no length that a hello may have"
		     : "say 4c 5a 44 01\n"
		       "refused: the client's hello is none that this server understands");
}
END_TEST

START_TEST(nothing_follows_the_end)
{
	static const struct {
		size_t zeros;
		bool more, first;
	} how[] = {
		{ 0, true, false },
		{ 1, false, false },
		{ 9, false, true },
		{ 3, true, true },
	};
	const char *why = "refused: the client says more after it has said its end";
	char expected[TEXT];

	if (!how[_i].first)
		say(LZ_PS_24, LZ_PS_GET, 0, 1, 0x1000, 1);
	say(LZ_PS_24, LZ_PS_CLOSE, 0, 0, 0, 0);
	memset(stream + len, 0, how[_i].zeros);
	len += how[_i].zeros;
	if (how[_i].more)
		say(LZ_PS_24, LZ_PS_GET, 0, 1, 0x1000, 1);
	snprintf(expected, sizeof(expected), "%sclose 00 00 00 00\n%s",
		 how[_i].first ? "" : "get 1 pid 1 pages 1: 1000+1\n", why);
	hears(expected);
}
END_TEST

START_TEST(garbage)
{
	char text[TEXT];

	srand((unsigned)_i);
	for (len = 0; len < 1000; len++)
		stream[len] = (uint8_t)rand();
	hear(text, STREAM);
	ck_assert_ptr_nonnull(strstr(text, "refused: "));
	hears(memcpy((char[TEXT]){ 0 }, text, TEXT));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("giver");
	TCase *t = tcase_create("giver");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, a_plain_client, 0, 2);
	tcase_add_loop_test(t, a_plain_client_asks_for_a_parent, 0, 2);
	tcase_add_loop_test(t, a_client_that_wants_nothing, 0, 2);
	tcase_add_loop_test(t, a_lazyd, 0, 2);
	tcase_add_test(t, the_longest_vector);
	tcase_add_test(t, waiting_for_the_rest);
	tcase_add_loop_test(t, replies, 0, 2);
	tcase_add_loop_test(t, plain_refusals, 0, 2 * BAD_PLAIN);
	tcase_add_loop_test(t, lazyd_refusals, 0, BAD_LAZYD);
	tcase_add_test(t, hellos_refused);
	tcase_add_loop_test(t, hello_frames_refused, 0, 4);
	tcase_add_loop_test(t, nothing_follows_the_end, 0, 4);
	tcase_add_loop_test(t, garbage, 0, 50);
	suite_add_tcase(s, t);
	return run_suite(s);
}
