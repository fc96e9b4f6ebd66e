/* SPDX-License-Identifier: MIT */
/* The asking end: all that no server may answer, and where it is refused. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asker_server.h"
#include "tests/lib/suite.h"

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
	Suite *s = suite_create("asker_refused");
	TCase *t = tcase_create("refused");

	tcase_add_checked_fixture(t, setup, NULL);
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
