/* SPDX-License-Identifier: MIT */
/*
 * A page server that is not to be had: it cannot be reached, is silent, refuses, or is another than
 * was wanted. Nobody waits longer for it than was said.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "stream_world.h"
#include "tests/lib/suite.h"

/* Of no server: 50 ms, 100, .. 1 s, and one line. Then it is gone. */
START_TEST(never_there)
{
	uint64_t began = now_ns, last = now_ns, gap = 0;

	script.refuse = -ECONNREFUSED;
	world_open();
	start(0, 0, 4, true);
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_DOWN);
	for (unsigned i = 0; state() != LZ_STREAM_GONE && i < 1000; i++) {
		until_deadline();
		ck_assert_uint_le(now_ns - last, SEC);
		if (now_ns < began + 59 * SEC)
			ck_assert_uint_ge(now_ns - last, gap);
		gap = now_ns - last;
		last = now_ns;
		turn();
	}
	ck_assert_uint_eq(now_ns, began + 60 * SEC);
	ck_assert_int_eq(result[0], -ETIMEDOUT);
	ck_assert_int_eq(start(1, 0, 1, false), -ETIMEDOUT);
	ck_assert_uint_eq(lz_stream_deadline(stream), UINT64_MAX);
	ck_assert_uint_eq(
		logged("event=source-lost peer=unknown reason=\"Connection refused\" waiting up to 60 s"),
		1);
	ck_assert_uint_eq(logged("event=source-gone"), 1);
	ck_assert_uint_eq(logged(""), 2);
	ck_assert_uint_gt(nr_connects, 60);
	ck_assert_uint_lt(nr_connects, 70);
}
END_TEST

START_TEST(for_ever)
{
	script.refuse = -ECONNREFUSED;
	script.timeout_ns = 0;
	world_open();
	start(0, 0, 4, true);
	turn();
	for (unsigned i = 0; i < 5000; i++) {
		until_deadline();
		turn();
	}
	ck_assert_int_eq(state(), LZ_STREAM_DOWN);
	script.refuse = 0;
	until_deadline();
	until_ended(1);
	check_read(0);
	ck_assert_uint_eq(logged("as long as it takes"), 1);
}
END_TEST

/* Connected, asked, and not a word: counted from the last one. */
START_TEST(silent)
{
	uint64_t heard;

	script.plain = _i;
	world_open();
	lz_stream_want(stream, &ring, now_ns);
	until_state(LZ_STREAM_UP);
	turns(10);
	now_ns += 1000 * SEC; /* nothing was wanted meanwhile */
	turns(2);
	ck_assert_int_eq(state(), LZ_STREAM_UP);
	start(0, 0, 4, true);
	start(1, 100, 4, true);
	turn_slowly(0);
	turn_slowly(0);
	now_ns += 40 * SEC;
	turn_slowly(100); /* a little comes */
	turn_slowly(0);
	heard = now_ns;
	ck_assert_uint_eq(lz_stream_deadline(stream), heard + 60 * SEC);
	now_ns = heard + 60 * SEC - 1;
	turn_slowly(0);
	ck_assert_int_eq(state(), LZ_STREAM_UP);
	now_ns++;
	turn_slowly(0);
	ck_assert_int_eq(state(), LZ_STREAM_GONE);
	ck_assert_int_eq(result[0], -ETIMEDOUT);
	ck_assert_int_eq(result[1], -ETIMEDOUT);
	ck_assert_uint_eq(logged("event=source-gone"), 1);
}
END_TEST

/*
 * It greets us whenever we come, and ends when it is asked, within the header that it answers with
 * or before the page behind that is whole: that is not being there.
 */
static const size_t ends[] = { 4, 4 + 10, 4 + LZ_PS_32, 4 + LZ_PS_32 + PAGE - 1 };
START_TEST(fruitless)
{
	uint64_t began = now_ns;

	script.plain = true;
	script.layout = LZ_PS_32;
	script.limit = ends[_i];
	world_open();
	start(0, 0, 4, true);
	for (unsigned i = 0; state() != LZ_STREAM_GONE && i < 10000; i++) {
		turn();
		if (state() == LZ_STREAM_DOWN)
			until_deadline();
	}
	ck_assert_int_eq(state(), LZ_STREAM_GONE);
	ck_assert_uint_le(now_ns, began + 61 * SEC);
	ck_assert_uint_lt(nr_connects, 70);
}
END_TEST

START_TEST(refused)
{
	script.identity = 1;
	world_open();
	start(0, 0, 1, true);
	until_state(LZ_STREAM_GONE);
	ck_assert_int_eq(result[0], -ETIMEDOUT);
	ck_assert_int_eq(start(1, 0, 1, false), -ETIMEDOUT);
	ck_assert_uint_eq(logged("event=source-gone peer=unix reason=\"the server refuses"), 1);
	ck_assert_uint_eq(lz_stream_deadline(stream), UINT64_MAX);
	lz_stream_release(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_GONE);
}
END_TEST

/* Who cannot say which pages it has is not asked for any; one that comes later may be another. */
START_TEST(only_a_lazyd)
{
	unsigned connects;

	script.only_lazyd = true;
	script.plain = !_i;
	world_open();
	start(0, 3, 2, true);
	if (!_i) {
		until_ended(1);
		ck_assert_int_eq(result[0], -ETIMEDOUT);
		ck_assert_int_eq(state(), LZ_STREAM_GONE);
		ck_assert_uint_eq(logged("event=source-gone peer=unix reason=\"it is no lazyd"), 1);
		ck_assert_uint_eq(asked[3], 0);
		return;
	}
	until_ended(1);
	check_read(0);
	script.plain = true;
	cut_all();
	start(1, 7, 1, true);
	connects = nr_connects;
	for (unsigned i = 0; nr_ended < 2 && i < 1000; i++) {
		turn();
		if (state() == LZ_STREAM_DOWN)
			until_deadline();
		script.plain = nr_connects < connects + 4;
	}
	ck_assert_uint_ge(nr_connects, connects + 4);
	ck_assert_uint_eq(asked[7], 1);
	check_read(1);
}
END_TEST

/* An address that takes no connection: given up after three seconds, and tried again. */
static int pending_connect(void *arg)
{
	static struct sockaddr_in a = { .sin_family = AF_INET };
	static int full = -1;
	socklen_t len = sizeof(a);

	(void)arg;
	if (full < 0) {
		full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ck_assert_int_eq(bind(full, (struct sockaddr *)&a, sizeof(a)), 0);
		ck_assert_int_eq(listen(full, 0), 0);
		ck_assert_int_eq(getsockname(full, (struct sockaddr *)&a, &len), 0);
	}
	/* The queue of one is filled by the first of them. */
	for (int i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		ck_assert_int_ge(fd, 0);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
			struct sockaddr_in peer_of;

			len = sizeof(peer_of);
			if (getpeername(fd, (struct sockaddr *)&peer_of, &len) < 0) {
				nr_connects++;
				return fd;
			}
		}
	}
	ck_abort_msg("every connection was taken");
}

START_TEST(no_answer_to_connect)
{
	script.connect = pending_connect;
	world_open();
	start(0, 0, 1, true);
	turns(3);
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	ck_assert_uint_eq(lz_stream_deadline(stream), 1003 * SEC);
	until_deadline();
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_DOWN);
	ck_assert_uint_eq(logged("reason=\"it does not answer\""), 1);
	until_deadline();
	turn();
	ck_assert_uint_eq(nr_connects, 2);
	lz_stream_abandon(stream, &ring);
}
END_TEST

START_TEST(connect_fails_late)
{
	script.connect = failing_connect;
	world_open();
	start(0, 0, 1, true);
	for (unsigned i = 0; i < 30; i++) {
		turn();
		if (state() == LZ_STREAM_DOWN)
			until_deadline();
	}
	ck_assert_uint_ge(nr_connects, 5);
	ck_assert_uint_eq(logged("source-lost peer=unknown"), 1);
	ck_assert_uint_eq(logged(""), 1);
}
END_TEST

/* Who takes a connection and does not answer the probe may be of the other layout. */
START_TEST(wrong_layout)
{
	script.plain = true;
	world_open();
	start(0, 0, 1, true);
	for (unsigned i = 0; i < 5; i++)
		turn_slowly(0);
	until_deadline();
	turn_slowly(0);
	ck_assert_int_eq(state(), LZ_STREAM_GONE);
	ck_assert_uint_eq(now_ns, 1060 * SEC);
	ck_assert_uint_eq(logged("or its headers are not of 32 bytes\""), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream_gone");
	TCase *tc = tcase_create("gone");

	tcase_add_checked_fixture(tc, world_setup, world_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, never_there);
	tcase_add_test(tc, for_ever);
	tcase_add_loop_test(tc, silent, 0, 2);
	tcase_add_loop_test(tc, fruitless, 0, sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, only_a_lazyd, 0, 2);
	tcase_add_test(tc, no_answer_to_connect);
	tcase_add_test(tc, connect_fails_late);
	tcase_add_test(tc, wrong_layout);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
