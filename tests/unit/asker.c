/* SPDX-License-Identifier: MIT */
/* The asking end: what servers answer, however it is cut, and all that no server may answer. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/asker.h"
#include "tests/lib/suite.h"

enum { TEXT = 8192, STREAM = 1 << 17, ASKS = 8, PID = 1000 };

static struct lz_asker_options options;
static struct lz_asker a;

/* What the server says. */
static uint8_t stream[STREAM];
static size_t len;

/* What pages are made of. */
static uint8_t payload[16 * LZ_PS_PAGE];

/* What is asked when it is open, and whether CLOSE is said once all has come. */
static struct {
	uint16_t tag;
	size_t nr;
	struct lz_ps_range range[3];
} asks[ASKS];
static size_t nr_asks;
static bool closes;

static void setup(void)
{
	options = (struct lz_asker_options){ .layout = LZ_PS_32 };
	options.hello.version = LZ_HELLO_VERSION;
	options.hello.page_size = LZ_PS_PAGE;
	lz_asker_init(&a, &options);
	memset(payload, 'p', sizeof(payload));
	len = nr_asks = 0;
	closes = false;
}

static void ask(uint16_t tag, size_t nr, struct lz_ps_range one, struct lz_ps_range two)
{
	asks[nr_asks].tag = tag;
	asks[nr_asks].nr = nr;
	asks[nr_asks].range[0] = one;
	asks[nr_asks++].range[1] = two;
}

static void ask_one(uint16_t tag, uint64_t vaddr, uint64_t nr_pages)
{
	ask(tag, 1, (struct lz_ps_range){ vaddr, nr_pages }, (struct lz_ps_range){ 0 });
}

/* ---- what the server says ---- */

static void answer(const char *bytes)
{
	memcpy(stream + len, bytes, 4);
	len += 4;
}

static void answer_welcome(struct lz_welcome w)
{
	len += lz_hello_put_welcome(&w, stream + len);
}

static void answer_lazyd(void)
{
	answer("LZD\1");
	answer_welcome((struct lz_welcome){
		.version = LZ_HELLO_VERSION, .page_size = LZ_PS_PAGE, .max_request_pages = 1024 });
}

/* A reply, with the bytes of the pages if it says that there are any. */
static void reply(enum lz_ps_layout layout, uint32_t flags, uint64_t nr_pages, uint64_t vaddr,
		  uint64_t dst_id)
{
	struct lz_ps_header h = { LZ_PS_ADD_F, flags, nr_pages, vaddr, dst_id };

	len += lz_ps_put(layout, &h, stream + len);
	if (flags != LZ_PS_PRESENT || nr_pages > sizeof(payload) / LZ_PS_PAGE)
		return;
	memcpy(stream + len, payload, nr_pages * LZ_PS_PAGE);
	len += nr_pages * LZ_PS_PAGE;
}

static void reply_lazyd(uint32_t flags, uint64_t nr_pages, uint64_t first, uint64_t tag)
{
	reply(LZ_PS_32, flags, nr_pages, first, tag << 32 | PID);
}

/* ---- what is heard ---- */

static void ask_all(void)
{
	uint8_t out[512];

	for (size_t n = 0; n < nr_asks; n++)
		ck_assert_int_gt(lz_asker_ask(&a, asks[n].tag, PID, asks[n].range, asks[n].nr, out,
					      sizeof(out)),
				 0);
}

static void note(char *text, const struct lz_asker_event *ev)
{
	static const char *const names[] = {
		[LZ_ASKER_MORE] = "more",   [LZ_ASKER_OPEN] = "open", [LZ_ASKER_BYTES] = "bytes",
		[LZ_ASKER_ZEROS] = "zeros", [LZ_ASKER_LOST] = "lost", [LZ_ASKER_REST] = "rest",
	};
	char *to = text + strlen(text);
	size_t room = (size_t)(text + TEXT - to);

	if (ev->type == LZ_ASKER_OPEN)
		snprintf(to, room, "open %s\n", a.state == LZ_ASKER_PLAIN ? "plain" : "lazyd");
	else if (ev->type == LZ_ASKER_END)
		snprintf(to, room, "end %d\n", ev->status);
	else if (ev->type != LZ_ASKER_MORE)
		snprintf(to, room, "%s %u: %llu+%llu\n", names[ev->type], ev->tag,
			 (unsigned long long)ev->first, (unsigned long long)ev->nr);
}

static void say(void)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];

	lz_asker_say(&a, out);
	if (lz_asker_is_open(&a) && closes && !a.nr_replies && !a.payload && !a.rests)
		ck_assert_uint_gt(lz_asker_close(&a, out), 0);
}

/* Takes stream[] in pieces of at most @cut bytes, of random length if it is 0. */
static void hear(char *text, size_t cut)
{
	size_t at = 0, n = 0;
	struct lz_asker_event ev = { 0 };

	lz_asker_init(&a, &options);
	text[0] = '\0';
	say();
	while (at < len || n || ev.type != LZ_ASKER_MORE) {
		int64_t taken;

		if (!n) {
			n = cut ? cut : 1 + (size_t)rand() % 3000;
			n = n < len - at ? n : len - at;
		}
		if (a.payload) {
			taken = (int64_t)(n < a.payload ? n : a.payload);
			if (!n)
				return;
			ck_assert(!memcmp(stream + at, payload, (size_t)taken));
			lz_asker_paid(&a, (uint64_t)taken);
		} else {
			taken = lz_asker_take(&a, stream + at, n, &ev);
			if (taken < 0) {
				ck_assert_int_eq(taken, -EBADMSG);
				ck_assert_int_eq(a.state, LZ_ASKER_BROKEN);
				strcat(strcat(text, "broken: "), a.why);
				ck_assert_int_eq(lz_asker_take(&a, stream, 1, &ev), -EBADMSG);
				ck_assert(!lz_asker_is_open(&a));
				return;
			}
			ck_assert_int_le(taken, (int64_t)n);
			ck_assert(ev.type != LZ_ASKER_MORE || taken == (int64_t)n);
			note(text, &ev);
			if (ev.type == LZ_ASKER_OPEN)
				ask_all();
		}
		at += (size_t)taken;
		n -= (size_t)taken;
		say();
	}
}

/* What is heard is @expected, wherever it is cut. */
static void hears(const char *expected)
{
	static const size_t cuts[] = { 1, 2, 3, 5, 7, 13, 31, 32, 33, 4095, 4096, 4097, STREAM };
	char text[TEXT];

	for (size_t n = 0; n < sizeof(cuts) / sizeof(cuts[0]); n++) {
		hear(text, cuts[n]);
		ck_assert_str_eq(text, expected);
	}
	for (int n = 0; n < 20; n++) {
		hear(text, 0);
		ck_assert_str_eq(text, expected);
	}
}

/* ---- what is said ---- */

START_TEST(the_probe_comes_first)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX], hello[LZ_HELLO_MAX];
	struct lz_asker_event ev;
	struct lz_ps_header h;
	size_t hello_len;

	options.layout = _i ? LZ_PS_24 : LZ_PS_32;
	options.hello.session = 99;
	hello_len = lz_hello_put(&options.hello, hello);
	lz_asker_init(&a, &options);
	ck_assert_uint_eq(lz_asker_say(&a, out), options.layout);
	lz_ps_get(options.layout, out, &h);
	ck_assert_uint_eq(h.cmd, LZ_PS_PARENT);
	ck_assert_uint_eq(h.flags, 0);
	ck_assert_uint_eq(h.nr_pages, 0);
	ck_assert_uint_eq(h.vaddr, 0);
	ck_assert_uint_eq(h.dst_id, LZ_PS_PROBE);
	ck_assert_int_eq(lz_ps_recognise(out), options.layout);
	ck_assert_uint_eq(lz_asker_say(&a, out), 0);
	ck_assert_int_eq(lz_asker_take(&a, LZ_PS_ANSWER, 4, &ev), 4);
	ck_assert_int_eq(ev.type, LZ_ASKER_MORE);
	ck_assert_int_eq(a.state, LZ_ASKER_GREETING);
	ck_assert_uint_eq(lz_asker_say(&a, out), hello_len);
	ck_assert_mem_eq(out, hello, hello_len);
	ck_assert_uint_eq(lz_asker_say(&a, out), 0);

	options.known = true;
	lz_asker_init(&a, &options);
	ck_assert_uint_eq(lz_asker_say(&a, out), options.layout + hello_len);
	ck_assert_mem_eq(out + options.layout, hello, hello_len);
	ck_assert_uint_eq(lz_asker_say(&a, out), 0);
	ck_assert_int_eq(lz_asker_take(&a, LZ_PS_ANSWER, 4, &ev), 4);
	ck_assert_uint_eq(lz_asker_say(&a, out), 0);
}
END_TEST

START_TEST(requests_to_a_criu)
{
	struct lz_ps_range range[3] = { { 0x7f0000001000, 5 }, { 0x3000, 1 }, { 0x9000, 2 } };
	enum lz_ps_layout layout = _i ? LZ_PS_24 : LZ_PS_32;
	uint8_t out[3 * LZ_PS_HEADER_MAX];
	struct lz_ps_header h;
	char text[TEXT];

	options.layout = layout;
	answer("\0\0\0");
	hear(text, STREAM);
	ck_assert_str_eq(text, "open plain\n");
	ck_assert_int_eq(lz_asker_ask(&a, 3, PID, range, 3, out, 3 * layout - 1), -ENOSPC);
	ck_assert_uint_eq(a.nr_replies, 0);
	ck_assert_int_eq(lz_asker_ask(&a, 3, PID, range, 3, out, 3 * layout), 3 * layout);
	ck_assert_uint_eq(a.nr_replies, 3);
	for (size_t n = 0; n < 3; n++) {
		lz_ps_get(layout, out + n * layout, &h);
		ck_assert_uint_eq(h.cmd, LZ_PS_GET);
		ck_assert_uint_eq(h.flags, 0);
		ck_assert_uint_eq(h.dst_id, PID);
		ck_assert_uint_eq(h.vaddr, range[n].vaddr);
		ck_assert_uint_eq(h.nr_pages, range[n].nr_pages);
	}
}
END_TEST

START_TEST(the_queue_of_a_criu_is_bounded)
{
	struct lz_ps_range range[2] = { { 0x1000, 1 }, { 0x3000, 1 } };
	uint8_t out[2 * LZ_PS_HEADER_MAX];
	char text[TEXT];

	answer("\0\0\0");
	hear(text, STREAM);
	for (unsigned n = 0; n < LZ_ASKER_REPLIES - 1; n++)
		ck_assert_int_gt(lz_asker_ask(&a, 0, PID, range, 1, out, sizeof(out)), 0);
	ck_assert_int_eq(lz_asker_ask(&a, 0, PID, range, 2, out, sizeof(out)), -ENOSPC);
	ck_assert_int_gt(lz_asker_ask(&a, 0, PID, range, 1, out, sizeof(out)), 0);
	ck_assert_int_eq(lz_asker_ask(&a, 0, PID, range, 1, out, sizeof(out)), -ENOSPC);
}
END_TEST

START_TEST(requests_to_a_lazyd)
{
	struct lz_ps_range range[3] = { { 0x7f0000001000, 5 }, { 0x3000, 1 }, { 0x9000, 2 } }, r;
	uint8_t out[LZ_PS_HEADER_MAX + 3 * LZ_PS_RANGE_BYTES];
	struct lz_ps_header h;
	char text[TEXT];

	options.layout = LZ_PS_24;
	answer_lazyd();
	hear(text, 4);
	ck_assert_str_eq(text, "open lazyd\n");
	ck_assert_int_eq(lz_asker_ask(&a, 3, PID, range, 3, out, sizeof(out) - 1), -ENOSPC);
	ck_assert_int_eq(lz_asker_ask(&a, 3, PID, range, 3, out, sizeof(out)),
			 (int64_t)sizeof(out));
	lz_ps_get(LZ_PS_32, out, &h);
	ck_assert_uint_eq(h.cmd, LZ_PS_GET);
	ck_assert_uint_eq(h.flags, LZ_PS_VECTOR);
	ck_assert_uint_eq(h.nr_pages, 8);
	ck_assert_uint_eq(h.vaddr, 3);
	ck_assert_uint_eq(h.dst_id, UINT64_C(3) << 32 | PID);
	for (size_t n = 0; n < 3; n++) {
		lz_ps_get_range(out + LZ_PS_32 + n * LZ_PS_RANGE_BYTES, &r);
		ck_assert_uint_eq(r.vaddr, range[n].vaddr);
		ck_assert_uint_eq(r.nr_pages, range[n].nr_pages);
	}
	ck_assert_int_eq(lz_asker_ask(&a, 4, PID, range, 1, out, LZ_PS_32 - 1), -ENOSPC);
	ck_assert_int_eq(lz_asker_ask(&a, 4, PID, range, 1, out, LZ_PS_32), LZ_PS_32);
	lz_ps_get(LZ_PS_32, out, &h);
	ck_assert_uint_eq(h.flags, 0);
	ck_assert_uint_eq(h.nr_pages, 5);
	ck_assert_uint_eq(h.vaddr, 0x7f0000001000);
	ck_assert_uint_eq(h.dst_id, UINT64_C(4) << 32 | PID);
	ck_assert_uint_eq(a.nr_replies, 2);
}
END_TEST

START_TEST(the_end_is_said_in_the_layout_of_the_rest)
{
	uint8_t out[LZ_PS_HEADER_MAX];
	struct lz_ps_header h;
	char text[TEXT];

	options.layout = LZ_PS_24;
	if (_i)
		answer_lazyd();
	else
		answer("\0\0\0");
	hear(text, 4);
	ck_assert_uint_eq(lz_asker_close(&a, out), _i ? LZ_PS_32 : LZ_PS_24);
	lz_ps_get(_i ? LZ_PS_32 : LZ_PS_24, out, &h);
	ck_assert_uint_eq(h.cmd, LZ_PS_CLOSE);
	ck_assert_uint_eq(h.flags | h.nr_pages | h.vaddr | h.dst_id, 0);
	ck_assert(!lz_asker_is_open(&a));
}
END_TEST

/* ---- what servers answer ---- */

/* Hello goes along with the probe: its answer may come along with that to the probe. */
static void known(void)
{
	options.known = true;
}

START_TEST(a_criu)
{
	enum lz_ps_layout layout = _i & 1 ? LZ_PS_24 : LZ_PS_32;

	options.layout = layout;
	ask(7, 2, (struct lz_ps_range){ 0x1000, 5 }, (struct lz_ps_range){ 0x8000, 1 });
	ask_one(9, 0x4000, 2);
	closes = true;
	answer(_i & 2 ? "\1\0\0" : "\0\0\0");
	reply(layout, LZ_PS_PRESENT, 2, 0x1000, PID); /* of 5 */
	reply(layout, LZ_PS_PRESENT, 1, 0x8000, PID);
	reply(layout, LZ_PS_PRESENT, 1, 0x4000, PID); /* of 2 */
	answer("\0\0\0");
	hears("open plain\n"
	      "bytes 7: 0+2\n"
	      "rest 7: 2+3\n"
	      "bytes 7: 5+1\n"
	      "bytes 9: 0+1\n"
	      "rest 9: 1+1\n"
	      "end 0\n");
	ck_assert_int_eq(a.state, LZ_ASKER_CLOSED);
}
END_TEST

START_TEST(a_lazyd)
{
	options.layout = _i ? LZ_PS_24 : LZ_PS_32;
	known();
	ask(7, 2, (struct lz_ps_range){ 0x1000, 5 }, (struct lz_ps_range){ 0x8000, 4 });
	ask_one(511, 0x4000, 2);
	ask_one(0, 0x4000, 1000);
	closes = true;
	answer_lazyd();
	reply_lazyd(LZ_PS_PRESENT, 3, 0, 7);
	reply_lazyd(LZ_PS_ZERO, 1000, 0, 0);
	reply_lazyd(LZ_PS_ZERO, 3, 3, 7); /* across both its ranges */
	reply_lazyd(LZ_PS_PRESENT, 1, 0, 511);
	reply_lazyd(LZ_PS_LOST, 1, 1, 511);
	reply_lazyd(LZ_PS_PRESENT, 3, 6, 7);
	answer("\376\377\377\377");
	hears("open lazyd\n"
	      "bytes 7: 0+3\n"
	      "zeros 0: 0+1000\n"
	      "zeros 7: 3+3\n"
	      "bytes 511: 0+1\n"
	      "lost 511: 1+1\n"
	      "bytes 7: 6+3\n"
	      "end -2\n");
	ck_assert_uint_eq(a.welcome.max_request_pages, 1024);
}
END_TEST

/* The queue of answers due goes round. */
START_TEST(a_long_talk_with_a_criu)
{
	struct lz_ps_range range[2] = { { 0x1000, 2 }, { 0x8000, 1 } };
	uint8_t out[2 * LZ_PS_HEADER_MAX], header[LZ_PS_HEADER_MAX];
	struct lz_ps_header h = { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0, PID };
	struct lz_asker_event ev;
	char text[TEXT];

	answer("\0\0\0");
	hear(text, STREAM);
	for (unsigned n = 0; n < 3 * LZ_ASKER_REPLIES; n++) {
		uint16_t tag = (uint16_t)(n % LZ_ASKER_TAGS), due;

		range[0].vaddr = (n + 1) * 0x10000;
		range[1].vaddr = range[0].vaddr + 0x8000;
		ck_assert_int_gt(lz_asker_ask(&a, tag, PID, range, 2, out, sizeof(out)), 0);
		/* One request is always ahead. */
		if (!n)
			continue;
		due = (uint16_t)((n - 1) % LZ_ASKER_TAGS);
		h.vaddr = n * 0x10000;
		h.nr_pages = 2;
		lz_ps_put(LZ_PS_32, &h, header);
		ck_assert_int_eq(lz_asker_take(&a, header, LZ_PS_32, &ev), LZ_PS_32);
		ck_assert(ev.type == LZ_ASKER_BYTES && ev.tag == due && !ev.first && ev.nr == 2);
		lz_asker_paid(&a, a.payload);
		h.vaddr += 0x8000;
		h.nr_pages = 1;
		lz_ps_put(LZ_PS_32, &h, header);
		ck_assert_int_eq(lz_asker_take(&a, header, LZ_PS_32, &ev), LZ_PS_32);
		ck_assert(ev.type == LZ_ASKER_BYTES && ev.tag == due && ev.first == 2 &&
			  ev.nr == 1);
		lz_asker_paid(&a, a.payload);
		ck_assert_uint_eq(a.nr_replies, 2);
	}
}
END_TEST

/* The greeting of an unknown peer takes a round trip more, and is only then answered. */
START_TEST(an_unknown_lazyd)
{
	char text[TEXT];

	answer_lazyd();
	for (size_t cut = 1; cut <= 4; cut++) {
		hear(text, cut == 3 ? 1 : cut);
		ck_assert_str_eq(text, "open lazyd\n");
	}
	hear(text, STREAM);
	ck_assert_str_eq(text, "broken: the server says what it was not asked for, at byte 4");
}
END_TEST

/* ---- what no server may answer ---- */

START_TEST(answers_to_the_probe)
{
	static const struct {
		char bytes[5];
		const char *why;
	} bad[] = {
		{ "\2\0\0", "02 00 00 00" },   { "LZD\2", "4c 5a 44 02" },
		{ "\0\0\0\1", "00 00 00 01" }, { "\377\377\377\377", "ff ff ff ff" },
		{ "HTTP", "48 54 54 50" },
	};
	char expected[TEXT];

	snprintf(expected, sizeof(expected),
		 "broken: the server answers the probe with %s: it is neither a lazyd nor a CRIU "
		 "page server, at byte 0",
		 bad[_i].why);
	answer(bad[_i].bytes);
	hears(expected);
}
END_TEST

START_TEST(a_lazyd_that_is_none_any_more)
{
	known();
	answer("\0\0\0");
	hears("broken: the server was a lazyd and answers the probe as a CRIU does, at byte 0");
}
END_TEST

START_TEST(before_anything_is_said)
{
	struct lz_asker_event ev;

	ck_assert_int_eq(lz_asker_take(&a, LZ_PS_ANSWER, 4, &ev), -EBADMSG);
	ck_assert_str_eq(a.why, "the server says what it was not asked for, at byte 0");
}
END_TEST

static const struct {
	struct lz_welcome w;
	const char *why;
} bad_welcome[] = {
	{ { 1, 4096, 1024, "go away", "" }, "the server refuses: go away" },
	{ { 2, 4096, 0, "speak 2", "" }, "the server refuses: speak 2" },
	{ { 2, 4096, 1024, "", "" }, "the server speaks version 2 of the protocol, not 1" },
	{ { 1, 65536, 1024, "", "" }, "the server has pages of 65536 bytes where 4096 are wanted" },
	{ { 1, 4096, LZ_HELLO_PAGES_MIN - 1, "", "" },
	  "the server takes requests of 255 pages, it must take 256" },
};

START_TEST(welcomes_refused)
{
	char expected[TEXT];

	known();
	answer("LZD\1");
	answer_welcome(bad_welcome[_i].w);
	snprintf(expected, sizeof(expected), "broken: %s, at byte 4", bad_welcome[_i].why);
	hears(expected);
}
END_TEST

START_TEST(the_longest_refusal)
{
	struct lz_welcome w = { 1, 4096, 0, "", "" };
	char text[TEXT];

	known();
	memset(w.refusal, 'r', sizeof(w.refusal) - 1);
	answer("LZD\1");
	answer_welcome(w);
	hear(text, STREAM);
	ck_assert_int_eq(strncmp(a.why, "the server refuses: rrr", 23), 0);
	ck_assert_uint_eq(strlen(a.why), LZ_ASKER_WHY_MAX - 1);
}
END_TEST

START_TEST(welcome_frames_refused)
{
	static const char lengths[][5] = { "\0\0\0", "\375\17\0", "\0\0\0\200", "\3\0\0" };

	known();
	answer("LZD\1");
	answer(lengths[_i]);
	answer("junk");
	hears(_i < 3 ? "broken: the server answers hello with a frame that has no length a frame "
		       "may have, at byte 4"
		     : "broken: the server answers hello with what is no welcome, at byte 4");
}
END_TEST

static const struct {
	struct lz_ps_header h;
	const char *why;
} bad_plain[] = {
	{ { LZ_PS_ADD, 0, 1, 0x1000, PID },
	  "the server answers with command 1, flags 0: no pages" },
	{ { LZ_PS_HOLE, 0, 1, 0x1000, PID },
	  "the server answers with command 2, flags 0: no pages" },
	{ { LZ_PS_GET, LZ_PS_PRESENT, 1, 0x1000, PID },
	  "the server answers with command 7, flags 0x4: no pages" },
	{ { LZ_PS_ADD_F, 0, 1, 0x1000, PID },
	  "the server answers with command 6, flags 0: no pages" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT | LZ_PS_LAZY, 1, 0x1000, PID },
	  "the server answers with command 6, flags 0x6: no pages" },
	{ { LZ_PS_ADD_F, LZ_PS_ZERO, 1, 0x1000, PID },
	  "the server answers with command 6, flags 0x100: no pages" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0x2000, PID },
	  "the server answers 0x2000 of task 1000 where 0x1000 of task 1000 is next" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0x8000, PID },
	  "the server answers 0x8000 of task 1000 where 0x1000 of task 1000 is next" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0x1000, PID + 1 },
	  "the server answers 0x1000 of task 1001 where 0x1000 of task 1000 is next" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0x1000, UINT64_C(7) << 32 | PID },
	  "the server answers 0x1000 of task 30064772072 where 0x1000 of task 1000 is next" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 0, 0x1000, PID },
	  "the server answers 0x1000 with 0 pages where 5 were asked for" },
	{ { LZ_PS_ADD_F, LZ_PS_PRESENT, 6, 0x1000, PID },
	  "the server answers 0x1000 with 6 pages where 5 were asked for" },
};
enum { BAD_PLAIN = sizeof(bad_plain) / sizeof(bad_plain[0]) };

START_TEST(plain_replies_refused)
{
	enum lz_ps_layout layout = _i % 2 ? LZ_PS_24 : LZ_PS_32;
	char expected[TEXT];

	options.layout = layout;
	ask_one(7, 0x1000, 5);
	ask_one(8, 0x8000, 5);
	answer("\0\0\0");
	len += lz_ps_put(layout, &bad_plain[_i / 2].h, stream + len);
	snprintf(expected, sizeof(expected), "open plain\nbroken: %s, at byte 4",
		 bad_plain[_i / 2].why);
	hears(expected);
}
END_TEST

static const struct {
	struct lz_ps_header h;
	const char *why;
} bad_lazyd[] = {
	{ { LZ_PS_ADD, 0, 1, 0, UINT64_C(7) << 32 | PID }, "the server answers with command 1" },
	{ { LZ_PS_GET, 4, 1, 0, UINT64_C(7) << 32 | PID }, "the server answers with command 7" },
	{ { LZ_PS_ADD_F, 4, 1, 0, UINT64_C(8) << 32 | PID },
	  "the server answers request 8 of task 1000, which nobody has made" },
	{ { LZ_PS_ADD_F, 4, 1, 0, UINT64_C(512) << 32 | PID },
	  "the server answers request 512 of task 1000, which nobody has made" },
	{ { LZ_PS_ADD_F, 4, 1, 0, UINT64_C(0xffffffff) << 32 | PID },
	  "the server answers request 4294967295 of task 1000, which nobody has made" },
	{ { LZ_PS_ADD_F, 4, 1, 0, UINT64_C(7) << 32 | 1 },
	  "the server answers request 7 of task 1, which nobody has made" },
	{ { LZ_PS_ADD_F, 4, 1, 1, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with 1 pages from 1 on where 5 from 0 on are due" },
	{ { LZ_PS_ADD_F, 4, 0, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with 0 pages from 0 on where 5 from 0 on are due" },
	{ { LZ_PS_ADD_F, 4, 6, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with 6 pages from 0 on where 5 from 0 on are due" },
	{ { LZ_PS_ADD_F, 0, 1, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with flags 0" },
	{ { LZ_PS_ADD_F, 0x300, 1, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with flags 0x300" },
	{ { LZ_PS_ADD_F, 0x104, 1, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with flags 0x104" },
	{ { LZ_PS_ADD_F, LZ_PS_VECTOR, 1, 0, UINT64_C(7) << 32 | PID },
	  "the server answers request 7 with flags 0x400" },
};
enum { BAD_LAZYD = sizeof(bad_lazyd) / sizeof(bad_lazyd[0]) };

START_TEST(lazyd_replies_refused)
{
	char expected[TEXT];
	size_t at;

	known();
	ask_one(7, 0x1000, 5);
	answer_lazyd();
	at = len;
	len += lz_ps_put(LZ_PS_32, &bad_lazyd[_i].h, stream + len);
	snprintf(expected, sizeof(expected), "open lazyd\nbroken: %s, at byte %zu",
		 bad_lazyd[_i].why, at);
	hears(expected);
}
END_TEST

START_TEST(pages_that_have_come_already)
{
	char expected[TEXT];
	size_t at;

	known();
	ask_one(7, 0x1000, 5);
	ask_one(8, 0x1000, 1);
	answer_lazyd();
	reply_lazyd(LZ_PS_PRESENT, 3, 0, 7);
	if (_i)
		reply_lazyd(LZ_PS_ZERO, 2, 3, 7);
	at = len;
	reply_lazyd(LZ_PS_PRESENT, 1, _i ? 5 : 2, 7);
	snprintf(expected, sizeof(expected),
		 "open lazyd\nbytes 7: 0+3\n%sbroken: the server answers request 7 %s, at byte %zu",
		 _i ? "zeros 7: 3+2\n" : "",
		 _i ? "of task 1000, which nobody has made"
		    : "with 1 pages from 2 on where 2 from 3 on are due",
		 at);
	hears(expected);
}
END_TEST

START_TEST(replies_nobody_asked_for)
{
	char expected[TEXT];
	size_t at;

	known();
	if (_i)
		ask_one(7, 0x1000, 1);
	answer_lazyd();
	if (_i)
		reply_lazyd(LZ_PS_PRESENT, 1, 0, 7);
	at = len;
	reply_lazyd(LZ_PS_PRESENT, 1, 0, 7);
	snprintf(expected, sizeof(expected),
		 "open lazyd\n%sbroken: the server says what it was not asked for, at byte %zu",
		 _i ? "bytes 7: 0+1\n" : "", at);
	hears(expected);
}
END_TEST

START_TEST(nothing_follows_the_end)
{
	closes = true;
	answer("\0\0\0");
	answer("\0\0\0");
	answer("more");
	hears("open plain\nend 0\nbroken: the server says what it was not asked for, at byte 8");
}
END_TEST

START_TEST(garbage)
{
	char text[TEXT];

	srand((unsigned)_i);
	known();
	ask_one(7, 0x1000, 1);
	answer_lazyd();
	for (; len < 1000; len++)
		stream[len] = (uint8_t)rand();
	hear(text, STREAM);
	ck_assert_ptr_nonnull(strstr(text, "broken: "));
	hears(memcpy((char[TEXT]){ 0 }, text, TEXT));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("asker");
	TCase *t = tcase_create("asker");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, the_probe_comes_first, 0, 2);
	tcase_add_loop_test(t, requests_to_a_criu, 0, 2);
	tcase_add_test(t, the_queue_of_a_criu_is_bounded);
	tcase_add_test(t, requests_to_a_lazyd);
	tcase_add_loop_test(t, the_end_is_said_in_the_layout_of_the_rest, 0, 2);
	tcase_add_loop_test(t, a_criu, 0, 4);
	tcase_add_loop_test(t, a_lazyd, 0, 2);
	tcase_add_test(t, a_long_talk_with_a_criu);
	tcase_add_test(t, an_unknown_lazyd);
	tcase_add_loop_test(t, answers_to_the_probe, 0, 5);
	tcase_add_test(t, a_lazyd_that_is_none_any_more);
	tcase_add_test(t, before_anything_is_said);
	tcase_add_loop_test(t, welcomes_refused, 0, 5);
	tcase_add_test(t, the_longest_refusal);
	tcase_add_loop_test(t, welcome_frames_refused, 0, 4);
	tcase_add_loop_test(t, plain_replies_refused, 0, 2 * BAD_PLAIN);
	tcase_add_loop_test(t, lazyd_replies_refused, 0, BAD_LAZYD);
	tcase_add_loop_test(t, pages_that_have_come_already, 0, 2);
	tcase_add_loop_test(t, replies_nobody_asked_for, 0, 2);
	tcase_add_test(t, nothing_follows_the_end);
	tcase_add_loop_test(t, garbage, 0, 20);
	suite_add_tcase(s, t);
	return run_suite(s);
}
