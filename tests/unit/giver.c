/* SPDX-License-Identifier: MIT */
/*
 * The giving end: what clients say, however it is cut, and how it is replied to. What no client may
 * say is in giver_refused.c.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "giver_client.h"
#include "tests/lib/suite.h"

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
	suite_add_tcase(s, t);
	return run_suite(s);
}
