/* SPDX-License-Identifier: MIT */
/* Control frames: what goes in comes out, and what is none is refused. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "proto/hello.h"
#include "tests/lib/suite.h"

static struct lz_hello hello(void)
{
	struct lz_hello h = {
		.version = 1,
		.page_size = 4096,
		.session = UINT64_C(0xfedcba9876543210),
		.stream = LZ_HELLO_BULK,
		.software = "lazyd 0.1",
	};

	for (uint8_t n = 0; n < LZ_IDENTITY_LEN; n++)
		h.identity[n] = (uint8_t)(n * 7);
	return h;
}

/* The message in a frame that has just been put. */
static size_t payload(const uint8_t *frame, size_t len)
{
	ck_assert_int_eq(lz_hello_frame(frame, len), (int64_t)len);
	return len - LZ_HELLO_LENGTH;
}

START_TEST(a_hello_comes_out_as_it_went_in)
{
	struct lz_hello h = hello(), back;
	uint8_t frame[LZ_HELLO_MAX];
	size_t len = lz_hello_put(&h, frame);

	memset(&back, 0xff, sizeof(back));
	ck_assert_int_eq(lz_hello_get(frame + LZ_HELLO_LENGTH, payload(frame, len), &back), 0);
	ck_assert_uint_eq(back.version, h.version);
	ck_assert_uint_eq(back.page_size, h.page_size);
	ck_assert_uint_eq(back.session, h.session);
	ck_assert_int_eq(back.stream, h.stream);
	ck_assert_str_eq(back.software, h.software);
	ck_assert_mem_eq(back.identity, h.identity, LZ_IDENTITY_LEN);
}
END_TEST

START_TEST(a_welcome_comes_out_as_it_went_in)
{
	struct lz_welcome w = { 1, 4096, 777, "", "lazyd 0.1" }, back;
	uint8_t frame[LZ_HELLO_MAX];
	size_t len = lz_hello_put_welcome(&w, frame);

	memset(&back, 0xff, sizeof(back));
	ck_assert_int_eq(lz_hello_get_welcome(frame + LZ_HELLO_LENGTH, payload(frame, len), &back),
			 0);
	ck_assert_uint_eq(back.version, 1);
	ck_assert_uint_eq(back.page_size, 4096);
	ck_assert_uint_eq(back.max_request_pages, 777);
	ck_assert_str_eq(back.refusal, "");
	ck_assert_str_eq(back.software, "lazyd 0.1");
}
END_TEST

START_TEST(a_refusal_is_a_welcome_with_a_sentence)
{
	struct lz_welcome w = { 2, 8192, 0, "not today", "" }, back;
	uint8_t frame[LZ_HELLO_MAX];
	size_t len = lz_hello_put_welcome(&w, frame);

	ck_assert_int_eq(lz_hello_get_welcome(frame + LZ_HELLO_LENGTH, payload(frame, len), &back),
			 0);
	ck_assert_str_eq(back.refusal, "not today");
	ck_assert_uint_eq(back.version, 2);
	ck_assert_uint_eq(back.max_request_pages, 0);
}
END_TEST

START_TEST(long_texts_are_cut)
{
	struct lz_hello h = hello(), back;
	struct lz_welcome w = { .max_request_pages = 1 }, wback;
	uint8_t frame[LZ_HELLO_MAX];
	size_t len;

	memset(h.software, 'x', sizeof(h.software));
	len = lz_hello_put(&h, frame);
	ck_assert_int_eq(lz_hello_get(frame + LZ_HELLO_LENGTH, payload(frame, len), &back), 0);
	ck_assert_uint_eq(strlen(back.software), LZ_HELLO_TEXT_MAX - 1);

	memset(w.software, 'y', sizeof(w.software));
	memset(w.refusal, 'z', sizeof(w.refusal));
	len = lz_hello_put_welcome(&w, frame);
	ck_assert_int_eq(lz_hello_get_welcome(frame + LZ_HELLO_LENGTH, payload(frame, len), &wback),
			 0);
	ck_assert_uint_eq(strlen(wback.software), LZ_HELLO_TEXT_MAX - 1);
	ck_assert_uint_eq(strlen(wback.refusal), LZ_HELLO_TEXT_MAX - 1);
}
END_TEST

/* As another program may write it. */
static size_t pack_hello(Lz__Control__Hello *m, uint8_t *out)
{
	static uint8_t identity[LZ_IDENTITY_LEN];

	lz__control__hello__init(m);
	m->identity = (ProtobufCBinaryData){ sizeof(identity), identity };
	m->version = 1;
	m->page_size = 4096;
	return out ? lz__control__hello__pack(m, out) : 0;
}

START_TEST(texts_of_others_are_made_printable)
{
	char text[600] = "a\tb\x1b[31m\x80\"";
	uint8_t bytes[1024];
	Lz__Control__Hello m;
	struct lz_hello h;

	pack_hello(&m, NULL);
	m.software = text;
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), 0);
	ck_assert_str_eq(h.software, "a?b?[31m?'");
	memset(text, 'q', sizeof(text) - 1);
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), 0);
	ck_assert_uint_eq(strlen(h.software), LZ_HELLO_TEXT_MAX - 1);
}
END_TEST

START_TEST(a_hello_without_software_has_none)
{
	uint8_t bytes[256];
	Lz__Control__Hello m;
	struct lz_hello h;

	ck_assert_int_eq(lz_hello_get(bytes, pack_hello(&m, bytes), &h), 0);
	ck_assert_str_eq(h.software, "");
}
END_TEST

START_TEST(fields_of_later_versions_are_let_pass)
{
	/* Field 99: the number 1. Field 100: three bytes. */
	static const uint8_t later[] = { 0x98, 0x06, 1, 0xa2, 0x06, 3, 'n', 'e', 'w' };
	struct lz_hello h;
	struct lz_welcome w = { 1, 4096, 777, "", "" };
	uint8_t bytes[LZ_HELLO_MAX];
	Lz__Control__Hello m;
	size_t len = pack_hello(&m, bytes);

	memcpy(bytes + len, later, sizeof(later));
	ck_assert_int_eq(lz_hello_get(bytes, len + sizeof(later), &h), 0);
	ck_assert_uint_eq(h.page_size, 4096);
	len = lz_hello_put_welcome(&w, bytes);
	memcpy(bytes + len, later, sizeof(later));
	ck_assert_int_eq(lz_hello_get_welcome(bytes + LZ_HELLO_LENGTH,
					      len - LZ_HELLO_LENGTH + sizeof(later), &w),
			 0);
	ck_assert_uint_eq(w.max_request_pages, 777);
}
END_TEST

START_TEST(what_is_no_hello_is_refused)
{
	uint8_t bytes[256], identity[LZ_IDENTITY_LEN + 1] = { 0 };
	Lz__Control__Hello m;
	struct lz_hello h;
	size_t len = pack_hello(&m, bytes);

	/* Each of its fields is required, so no part of it will do. */
	for (size_t n = 0; n < len; n++)
		ck_assert_int_eq(lz_hello_get(bytes, n, &h), -EBADMSG);
	m.identity.len = LZ_IDENTITY_LEN - 1;
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), -EBADMSG);
	m.identity = (ProtobufCBinaryData){ sizeof(identity), identity };
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), -EBADMSG);
	pack_hello(&m, bytes);
	m.stream = (Lz__Control__Stream)3;
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), -EBADMSG);
	m.stream = (Lz__Control__Stream)-1;
	ck_assert_int_eq(lz_hello_get(bytes, lz__control__hello__pack(&m, bytes), &h), -EBADMSG);
}
END_TEST

START_TEST(what_is_no_welcome_is_refused)
{
	Lz__Control__Welcome m = LZ__CONTROL__WELCOME__INIT;
	uint8_t bytes[256];
	char nothing[] = "";
	struct lz_welcome w;
	size_t len;

	/* Neither a limit nor a refusal. */
	len = lz__control__welcome__pack(&m, bytes);
	ck_assert_int_eq(lz_hello_get_welcome(bytes, len, &w), -EBADMSG);
	m.refusal = nothing;
	len = lz__control__welcome__pack(&m, bytes);
	ck_assert_int_eq(lz_hello_get_welcome(bytes, len, &w), -EBADMSG);
	m.refusal = NULL;
	m.has_max_request_pages = 1;
	m.max_request_pages = 5;
	len = lz__control__welcome__pack(&m, bytes);
	ck_assert_int_eq(lz_hello_get_welcome(bytes, len, &w), 0);
	for (size_t n = 0; n < len; n++)
		ck_assert_int_eq(lz_hello_get_welcome(bytes, n, &w), -EBADMSG);
}
END_TEST

START_TEST(frames_have_a_length)
{
	static const uint8_t none[] = { 0, 0, 0, 0 }, one[] = { 1, 0, 0, 0 };
	static const uint8_t most[] = { 0xfc, 0x0f, 0, 0 }, more[] = { 0xfd, 0x0f, 0, 0 };
	static const uint8_t huge[] = { 1, 0, 0, 0x80 };

	for (size_t n = 0; n < 4; n++)
		ck_assert_int_eq(lz_hello_frame(none, n), 0);
	ck_assert_int_eq(lz_hello_frame(none, 4), -EBADMSG);
	ck_assert_int_eq(lz_hello_frame(one, 4), 5);
	ck_assert_int_eq(lz_hello_frame(most, 4), LZ_HELLO_MAX);
	ck_assert_int_eq(lz_hello_frame(more, 4), -EBADMSG);
	ck_assert_int_eq(lz_hello_frame(huge, 4), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hello");
	TCase *t = tcase_create("all");

	tcase_add_test(t, a_hello_comes_out_as_it_went_in);
	tcase_add_test(t, a_welcome_comes_out_as_it_went_in);
	tcase_add_test(t, a_refusal_is_a_welcome_with_a_sentence);
	tcase_add_test(t, long_texts_are_cut);
	tcase_add_test(t, texts_of_others_are_made_printable);
	tcase_add_test(t, a_hello_without_software_has_none);
	tcase_add_test(t, fields_of_later_versions_are_let_pass);
	tcase_add_test(t, what_is_no_hello_is_refused);
	tcase_add_test(t, what_is_no_welcome_is_refused);
	tcase_add_test(t, frames_have_a_length);
	suite_add_tcase(s, t);
	return run_suite(s);
}
