/* SPDX-License-Identifier: MIT */
/*
 * Headers, byte by byte: both layouts, how they are told apart, and the example of
 * lazyd-formats(7), which is what both ends really say.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/asker.h"
#include "proto/giver.h"
#include "proto/ps.h"
#include "tests/lib/suite.h"

enum { PID = 1000, TEXT = 8192 };

static const struct lz_ps_header SAMPLE = { 0x1234, 0x5678, 0x9abcdef0, 0x1122334455667788,
					    0xfedcba9876543210 };

START_TEST(the_short_layout)
{
	static const uint8_t expected[24] = { 0x34, 0x12, 0x78, 0x56, 0xf0, 0xde, 0xbc, 0x9a,
					      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
					      0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe };
	uint8_t out[LZ_PS_HEADER_MAX];
	struct lz_ps_header h;

	ck_assert_uint_eq(lz_ps_put(LZ_PS_24, &SAMPLE, out), 24);
	ck_assert_mem_eq(out, expected, 24);
	lz_ps_get(LZ_PS_24, out, &h);
	ck_assert_mem_eq(&h, &SAMPLE, sizeof(h));
}
END_TEST

START_TEST(the_long_layout)
{
	static const uint8_t expected[32] = { 0x34, 0x12, 0x78, 0x56, 0,    0,    0,    0,
					      0xf0, 0xde, 0xbc, 0x9a, 1,    0,    0,    2,
					      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
					      0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe };
	struct lz_ps_header in = SAMPLE, h;
	uint8_t out[LZ_PS_HEADER_MAX];

	in.nr_pages = 0x020000019abcdef0;
	ck_assert_uint_eq(lz_ps_put(LZ_PS_32, &in, out), 32);
	ck_assert_mem_eq(out, expected, 32);
	/* A CRIU leaves there what was there. */
	memset(out + 4, 0xee, 4);
	lz_ps_get(LZ_PS_32, out, &h);
	ck_assert_mem_eq(&h, &in, sizeof(h));
}
END_TEST

START_TEST(ranges)
{
	static const uint8_t expected[16] = { 0x00, 0x70, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
					      0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01 };
	struct lz_ps_range in = { 0x0102030405067000, 0x0123456789abcdef }, r;
	uint8_t out[LZ_PS_RANGE_BYTES];

	ck_assert_uint_eq(lz_ps_put_range(&in, out), 16);
	ck_assert_mem_eq(out, expected, 16);
	lz_ps_get_range(out, &r);
	ck_assert_mem_eq(&r, &in, sizeof(r));
}
END_TEST

/* What clients begin with. */
static const struct lz_ps_header first[] = {
	{ LZ_PS_GET, 0, 1, 0x7f0000001000, 1 },    { LZ_PS_GET, 0, 1, 0x10000, 4096 },
	{ LZ_PS_GET, 0, 1024, 0x400000, 4194303 }, { LZ_PS_GET, 0, 4095, 0x7ffffffff000, 1000 },
	{ LZ_PS_OPEN, 0, 0, 0, 1 << 8 | 1 },       { LZ_PS_OPEN2, 0, 0, 0, 1000 << 8 | 2 },
	{ LZ_PS_PARENT, 0, 0, 0, 1000 << 8 | 1 },  { LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE },
};
enum { FIRST = sizeof(first) / sizeof(first[0]) };

START_TEST(layouts_are_recognised)
{
	uint8_t out[LZ_PS_HEADER_MAX];

	lz_ps_put(LZ_PS_24, &first[_i], out);
	ck_assert_int_eq(lz_ps_recognise(out), LZ_PS_24);
	lz_ps_put(LZ_PS_32, &first[_i], out);
	ck_assert_int_eq(lz_ps_recognise(out), LZ_PS_32);
}
END_TEST

/* CRIU 4.2 does not clear the padding of a GET. */
START_TEST(a_long_get_with_a_stack_in_its_padding)
{
	uint8_t out[LZ_PS_HEADER_MAX];

	if (first[_i].cmd != LZ_PS_GET)
		return;
	lz_ps_put(LZ_PS_32, &first[_i], out);
	for (unsigned n = 0; n < 4; n++) {
		out[4 + n] = 0x55;
		ck_assert_int_eq(lz_ps_recognise(out), LZ_PS_32);
	}
}
END_TEST

START_TEST(an_end_is_a_short_one)
{
	struct lz_ps_header h = { .cmd = _i ? LZ_PS_FORCE_CLOSE : LZ_PS_CLOSE };
	uint8_t out[LZ_PS_HEADER_MAX];

	lz_ps_put(LZ_PS_24, &h, out);
	ck_assert_int_eq(lz_ps_recognise(out), LZ_PS_24);
	lz_ps_put(LZ_PS_32, &h, out);
	ck_assert_int_eq(lz_ps_recognise(out), LZ_PS_24);
}
END_TEST

/* ---- the example of lazyd-formats(7) ---- */

static const char EXAMPLE[] =
	/* CRIU 4.1 asks for a page and gets it. */
	"> 07 00 00 00 01 00 00 00 00 10 00 00 00 7f 00 00\n"
	"> e8 03 00 00 00 00 00 00\n"
	"< 06 00 04 00 01 00 00 00 00 10 00 00 00 7f 00 00\n"
	"< e8 03 00 00 00 00 00 00\n"
	/* The same by CRIU 4.2. */
	"> 07 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00\n"
	"> 00 10 00 00 00 7f 00 00 e8 03 00 00 00 00 00 00\n"
	"< 06 00 04 00 00 00 00 00 01 00 00 00 00 00 00 00\n"
	"< 00 10 00 00 00 7f 00 00 e8 03 00 00 00 00 00 00\n"
	/* Two lazyds: probe, hello, welcome. */
	"> 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"
	"> 00 00 00 00 00 00 00 00 01 64 79 7a 61 6c 00 00\n"
	"< 4c 5a 44 01\n"
	"> 3c 00 00 00 08 01 10 80 20 1a 20 a0 a1 a2 a3 a4\n"
	"> a5 a6 a7 a8 a9 aa ab ac ad ae af b0 b1 b2 b3 b4\n"
	"> b5 b6 b7 b8 b9 ba bb bc bd be bf 20 88 ef 99 ab\n"
	"> c5 e8 8c 91 11 28 01 32 07 6c 61 7a 79 64 20 31\n"
	"< 11 00 00 00 08 01 10 80 20 18 80 08 2a 07 6c 61\n"
	"< 7a 79 64 20 31\n"
	/* A page; two pages and one, under the next tag. */
	"> 07 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00\n"
	"> 00 10 00 00 00 7f 00 00 e8 03 00 00 00 00 00 00\n"
	"> 07 00 00 04 00 00 00 00 03 00 00 00 00 00 00 00\n"
	"> 02 00 00 00 00 00 00 00 e8 03 00 00 01 00 00 00\n"
	"> 00 40 00 00 00 7f 00 00 02 00 00 00 00 00 00 00\n"
	"> 00 00 01 00 00 7f 00 00 01 00 00 00 00 00 00 00\n"
	/* The second request is answered first: zeros for its first range. */
	"< 06 00 00 01 00 00 00 00 02 00 00 00 00 00 00 00\n"
	"< 00 00 00 00 00 00 00 00 e8 03 00 00 01 00 00 00\n"
	/* The page of the first one. */
	"< 06 00 04 00 00 00 00 00 01 00 00 00 00 00 00 00\n"
	"< 00 00 00 00 00 00 00 00 e8 03 00 00 00 00 00 00\n"
	/* The last page of the second one is lost. */
	"< 06 00 00 02 00 00 00 00 01 00 00 00 00 00 00 00\n"
	"< 02 00 00 00 00 00 00 00 e8 03 00 00 01 00 00 00\n"
	/* The end. */
	"> 23 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"
	"> 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"
	"< 00 00 00 00\n";

/* Appends @bytes to a text as above. */
static void dump(char *text, char who, const uint8_t *bytes, size_t len)
{
	for (size_t n = 0; n < len; n++) {
		char *to = text + strlen(text);

		if (n % 16 == 0)
			to += sprintf(to, "%c", who);
		sprintf(to, " %02x%s", bytes[n], n % 16 == 15 || n + 1 == len ? "\n" : "");
	}
}

struct talk {
	char *text;
	struct lz_asker *a;
	struct lz_giver g;
};

/* The client's bytes go to the server, and are a request. */
static void say(struct talk *t, const uint8_t *bytes, int64_t len, enum lz_giver_event_type wanted)
{
	enum lz_giver_event_type ev;

	ck_assert_int_gt(len, 0);
	dump(t->text, '>', bytes, (size_t)len);
	ck_assert_int_eq(lz_giver_take(&t->g, bytes, (size_t)len, &ev), len);
	ck_assert_int_eq(ev, wanted);
}

static void answer(struct talk *t, const uint8_t *bytes, size_t len,
		   enum lz_asker_event_type wanted)
{
	struct lz_asker_event ev;

	dump(t->text, '<', bytes, len);
	ck_assert_int_eq(lz_asker_take(t->a, bytes, len, &ev), (int64_t)len);
	ck_assert_int_eq(ev.type, wanted);
	lz_asker_paid(t->a, t->a->payload);
}

static void talk_plainly(struct talk *t, enum lz_ps_layout layout)
{
	struct lz_asker_options o = { .layout = layout };
	struct lz_giver_options go = { .max_request_pages = 1024 };
	struct lz_ps_range one = { 0x7f0000001000, 1 };
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];
	struct lz_asker_event ev;

	lz_asker_init(t->a, &o);
	lz_giver_init(&t->g, &go);
	/* A CRIU does not probe. */
	lz_asker_say(t->a, out);
	lz_asker_take(t->a, (const uint8_t *)"\0\0\0", 4, &ev);
	say(t, out, lz_asker_ask(t->a, 0, PID, &one, 1, out, sizeof(out)), LZ_GIVER_GET);
	answer(t, out, lz_giver_reply(&t->g, PID, LZ_PS_PRESENT, one.vaddr, 0, 1, out),
	       LZ_ASKER_BYTES);
}

static void talk_as_lazyds(struct talk *t)
{
	struct lz_asker_options o = { .layout = LZ_PS_32 };
	struct lz_giver_options go = { .max_request_pages = 1024, .software = "lazyd 1" };
	struct lz_ps_range one = { 0x7f0000001000, 1 };
	struct lz_ps_range two[2] = { { 0x7f0000004000, 2 }, { 0x7f0000010000, 1 } };
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];
	uint64_t tag = UINT64_C(1) << 32;

	for (uint8_t n = 0; n < LZ_IDENTITY_LEN; n++)
		o.hello.identity[n] = go.identity[n] = (uint8_t)(0xa0 + n);
	o.hello.version = LZ_HELLO_VERSION;
	o.hello.page_size = LZ_PS_PAGE;
	o.hello.session = 0x1122334455667788;
	o.hello.stream = LZ_HELLO_DEMAND;
	strcpy(o.hello.software, "lazyd 1");
	lz_asker_init(t->a, &o);
	lz_giver_init(&t->g, &go);
	say(t, out, (int64_t)lz_asker_say(t->a, out), LZ_GIVER_SAY);
	answer(t, t->g.say, t->g.nr_say, LZ_ASKER_MORE);
	say(t, out, (int64_t)lz_asker_say(t->a, out), LZ_GIVER_HELLO);
	answer(t, t->g.say, t->g.nr_say, LZ_ASKER_OPEN);
	say(t, out, lz_asker_ask(t->a, 0, PID, &one, 1, out, sizeof(out)), LZ_GIVER_GET);
	say(t, out, lz_asker_ask(t->a, 1, PID, two, 2, out, sizeof(out)), LZ_GIVER_GET);
	answer(t, out, lz_giver_reply(&t->g, tag | PID, LZ_PS_ZERO, 0, 0, 2, out), LZ_ASKER_ZEROS);
	answer(t, out, lz_giver_reply(&t->g, PID, LZ_PS_PRESENT, 0, 0, 1, out), LZ_ASKER_BYTES);
	answer(t, out, lz_giver_reply(&t->g, tag | PID, LZ_PS_LOST, 0, 2, 1, out), LZ_ASKER_LOST);
	say(t, out, (int64_t)lz_asker_close(t->a, out), LZ_GIVER_CLOSE);
	answer(t, t->g.say, t->g.nr_say, LZ_ASKER_END);
}

START_TEST(the_example_is_what_is_said)
{
	char text[TEXT] = "";
	struct talk t = { .text = text, .a = malloc(sizeof(*t.a)) };

	talk_plainly(&t, LZ_PS_24);
	talk_plainly(&t, LZ_PS_32);
	talk_as_lazyds(&t);
	free(t.a);
	ck_assert_str_eq(text, EXAMPLE);
}
END_TEST

START_TEST(the_example_is_that_of_the_manual)
{
	const char *srcdir = getenv("srcdir");
	char path[4096], line[256], text[TEXT] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/man/lazyd-formats.7", srcdir ? srcdir : ".");
	f = fopen(path, "r");
	ck_assert_msg(f, "%s cannot be read", path);
	while (fgets(line, sizeof(line), f))
		if ((line[0] == '>' || line[0] == '<') && strlen(text) < TEXT - sizeof(line))
			strcat(text, line);
	fclose(f);
	ck_assert_str_eq(text, EXAMPLE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ps");
	TCase *t = tcase_create("ps");

	tcase_add_test(t, the_short_layout);
	tcase_add_test(t, the_long_layout);
	tcase_add_test(t, ranges);
	tcase_add_loop_test(t, layouts_are_recognised, 0, FIRST);
	tcase_add_loop_test(t, a_long_get_with_a_stack_in_its_padding, 0, FIRST);
	tcase_add_loop_test(t, an_end_is_a_short_one, 0, 2);
	tcase_add_test(t, the_example_is_what_is_said);
	tcase_add_test(t, the_example_is_that_of_the_manual);
	suite_add_tcase(s, t);
	return run_suite(s);
}
