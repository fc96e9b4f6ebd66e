/* SPDX-License-Identifier: MIT */
/*
 * A page server as a source that goes and comes back, at any byte, or talks nonsense in between:
 * nothing is asked twice that had come.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "stream_world.h"
#include "tests/lib/suite.h"

/*
 * The first connection ends after each number of bytes, wherever that is: probe, welcome, header,
 * payload (amid a page after every fifth).
 */
START_TEST(every_byte)
{
	static const struct {
		uint64_t page, nr;
	} what = { 3, 2 };
	size_t whole = 4 + 300 + 2 * LZ_PS_HEADER_MAX + 2 * PAGE, at;
	bool over = false;

	script.plain = _i % 2;
	script.zeros = script.plain ? 0 : 4;
	script.refuse_second = -EAGAIN;
	for (size_t cut = 0; !over && cut<2 * whole; cut += cut> 512 && cut % PAGE > 512 ? 5 : 1) {
		memset(asked, 0, sizeof(asked));
		script.limit = cut;
		script.refuse_second = -EAGAIN;
		world_open();
		nr_ended = 0;
		ck_assert_int_eq(start(0, what.page, what.nr, cut % 2), 0);
		for (unsigned i = 0; i < 200 && !nr_ended; i++) {
			if (state() == LZ_STREAM_DOWN) {
				script.limit = SIZE_MAX;
				script.refuse_second = 0;
				until_deadline();
			}
			turn();
		}
		ck_assert_uint_eq(nr_ended, 1);
		check_read(0);
		/* Asked again: what had not come whole, and no more. */
		at = peer[0]->sent;
		over = peer[0]->fd >= 0;
		ck_assert(over || at == cut);
		for (uint64_t k = 0; k < what.nr; k++)
			ck_assert_uint_le(asked[what.page + k], 2);
		if (over)
			ck_assert_uint_eq(asked[what.page], 1);
		source->ops->close(source);
		lz_stream_close(stream, &ring);
		while (nr_peers > 0) {
			peer_close(peer[--nr_peers]);
			free(peer[nr_peers]->out);
			free(peer[nr_peers]);
		}
	}
	ck_assert(over);
	world_open();
}
END_TEST

/* Pages that have arrived stay, and only the rest is asked for. */
START_TEST(only_the_rest)
{
	script.plain = _i;
	script.refuse_second = -EAGAIN;
	world_open();
	start(0, 500, 1, false);
	until_ended(1);
	start(1, 0, 5, false);
	peer[0]->limit = peer[0]->sent + LZ_PS_HEADER_MAX + 2 * PAGE + 17;
	until_state(LZ_STREAM_DOWN);
	script.refuse_second = 0;
	until_deadline();
	until_ended(2);
	check_read(1);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(asked[i], i < 2 ? 1 : 2);
	ck_assert_uint_eq(lz_stream_stats(stream).nr_reconnects, 1);
	ck_assert_uint_eq(logged("event=source-lost"), 1);
	ck_assert_uint_eq(logged("event=source-back"), 1);
}
END_TEST

/* Of a read in parts too, some of which are whole by then. */
START_TEST(only_the_rest_of_a_large_read)
{
	unsigned again = 0;

	script.refuse_second = -EAGAIN;
	world_open();
	start(0, 500, 1, false);
	until_ended(1);
	start(1, 0, 512, false);
	peer[0]->limit = peer[0]->sent + 200 * (PAGE + LZ_PS_HEADER_MAX);
	until_state(LZ_STREAM_DOWN);
	ck_assert_uint_eq(nr_ended, 1);
	script.refuse_second = 0;
	until_deadline();
	until_ended(2);
	check_read(1);
	for (unsigned i = 0; i < 512; i++) {
		ck_assert_uint_ge(asked[i], 1);
		again += asked[i] > 1;
	}
	/* 500 was asked for before. */
	ck_assert_uint_le(again, 512 - 190);
	ck_assert_uint_ge(again, 512 - 210);
}
END_TEST

/* Connections that end anywhere, again and again, under many reads. */
START_TEST(flapping)
{
	enum { NR = 300 };

	script.plain = _i % 2;
	script.partial = 5;
	script.shuffle = true;
	script.zeros = 9;
	script.limit = 1;
	world_open();
	for (unsigned i = 0; i < NR; i++)
		start(i, random_below(PAGES - 64), 1 + random_below(30), i % 4 == 0);
	for (unsigned i = 0; nr_ended < NR && i < 100000; i++) {
		script.limit = 2000 + random_below(300000);
		turn_slowly(1 + random_below(20000));
		if (state() == LZ_STREAM_DOWN)
			until_deadline();
	}
	ck_assert_uint_eq(nr_ended, NR);
	for (unsigned i = 0; i < NR; i++)
		check_read(i);
	ck_assert_uint_gt(lz_stream_stats(stream).nr_reconnects, 10);
}
END_TEST

/* As long as pages come in between, a loss is a matter of 50 ms; and each is told. */
START_TEST(lost_often)
{
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	for (unsigned i = 1; i <= 10; i++) {
		cut_all();
		ck_assert_uint_eq(lz_stream_deadline(stream), now_ns + SEC / 20);
		start(i, i * 100, 3, false);
		until_deadline();
		until_ended(i + 1);
		check_read(i);
		/* Not on the first of the two. */
		ck_assert_uint_eq(asked_on[LZ_STREAM_DEMAND], 0);
		ck_assert_uint_eq(logged("event=source-lost"), i);
		ck_assert_uint_eq(logged("event=source-back"), i);
	}
}
END_TEST

/* What could not be had the last time may be there now. */
START_TEST(second_chance)
{
	script.refuse_second = -ECONNREFUSED;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	cut_all();
	script.refuse_second = 0;
	start(1, 100, 1, false);
	until_deadline();
	until_ended(2);
	ck_assert_uint_eq(asked_on[LZ_STREAM_BULK], 1);
}
END_TEST

/* What has come is there although the peer has gone, and is not asked for again. */
START_TEST(last_words)
{
	script.plain = _i;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	start(1, 100, 1, true);
	turn();
	ck_assert_int_eq(result[1], INT64_MIN);
	for (unsigned i = 0; i < nr_peers; i++)
		peer_close(peer[i]);
	start(2, 200, 1, true);
	lz_stream_flush(stream, &ring, now_ns);
	check_read(1);
	ck_assert_int_eq(state(), LZ_STREAM_DOWN);
	until_deadline();
	until_ended(3);
	check_read(2);
	ck_assert_uint_eq(asked[100], 1);
}
END_TEST

/* Either of the two connections takes the other one along. */
START_TEST(either_is_both)
{
	script.tcp = true;
	world_open();
	start(0, 0, 1, false);
	start(1, 1, 1, true);
	until_ended(2);
	peer_close(peer[_i]);
	until_state(LZ_STREAM_DOWN);
	peer_settle(peer[!_i]);
	ck_assert_int_eq(peer[!_i]->error, ECONNRESET);
	start(2, 2, 1, false);
	until_deadline();
	until_ended(3);
	check_read(2);
	ck_assert_uint_eq(nr_peers, 4);
}
END_TEST

START_TEST(urgent_first_again)
{
	script.plain = true;
	script.mute = true;
	world_open();
	for (unsigned i = 0; i < 10; i++)
		start(i, i * 5, 5, i >= 8);
	turns(5);
	cut_all();
	script.mute = false;
	until_deadline();
	until_ended(10);
	ck_assert_uint_ge(order[0], 8);
	ck_assert_uint_ge(order[1], 8);
}
END_TEST

START_TEST(nonsense)
{
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	ck_assert_int_eq(send(peer[_i]->fd, "this is no header of any length known", 37, 0), 37);
	until_state(LZ_STREAM_DOWN);
	start(1, 0, 1, false);
	until_deadline();
	until_ended(2);
	check_read(1);
	ck_assert_uint_eq(logged("reason=\"the server says what it was not asked for"), 1);
}
END_TEST

/* A lazyd whose place a CRIU has taken, and the other way round. */
START_TEST(another_server)
{
	script.plain = _i;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	cut_all();
	script.plain = !script.plain;
	start(1, 100, 1, false);
	for (unsigned i = 0; nr_ended < 2 && i < 1000; i++) {
		turn();
		if (state() == LZ_STREAM_DOWN)
			until_deadline();
	}
	ck_assert_uint_eq(nr_ended, 2);
	check_read(1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream_loss");
	TCase *tc = tcase_create("loss");

	tcase_add_checked_fixture(tc, world_setup, world_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_byte, 0, 2);
	tcase_add_loop_test(tc, only_the_rest, 0, 2);
	tcase_add_test(tc, only_the_rest_of_a_large_read);
	tcase_add_loop_test(tc, flapping, 0, 2);
	tcase_add_test(tc, lost_often);
	tcase_add_test(tc, second_chance);
	tcase_add_loop_test(tc, last_words, 0, 2);
	tcase_add_loop_test(tc, either_is_both, 0, 2);
	tcase_add_test(tc, urgent_first_again);
	tcase_add_loop_test(tc, nonsense, 0, 2);
	tcase_add_loop_test(tc, another_server, 0, 2);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
