/* SPDX-License-Identifier: MIT */
/*
 * The asking end: what is asked, and what servers answer, however it is cut. What no server may
 * answer is in asker_refused.c.
 */
#include <check.h>
#include <errno.h>

#include "asker_server.h"
#include "tests/lib/suite.h"

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
	suite_add_tcase(s, t);
	return run_suite(s);
}
