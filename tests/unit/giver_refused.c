/* SPDX-License-Identifier: MIT */
/* The giving end: all that no client may say, and what it is told. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "giver_client.h"
#include "tests/lib/suite.h"

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
	Suite *s = suite_create("giver_refused");
	TCase *t = tcase_create("refused");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, plain_refusals, 0, 2 * BAD_PLAIN);
	tcase_add_loop_test(t, lazyd_refusals, 0, BAD_LAZYD);
	tcase_add_test(t, hellos_refused);
	tcase_add_loop_test(t, hello_frames_refused, 0, 4);
	tcase_add_loop_test(t, nothing_follows_the_end, 0, 4);
	tcase_add_loop_test(t, garbage, 0, 50);
	suite_add_tcase(s, t);
	return run_suite(s);
}
