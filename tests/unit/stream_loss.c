/* SPDX-License-Identifier: MIT */
/*
 * A page server as a source when it is not well: it cannot be reached, goes, comes back, is silent,
 * refuses, or talks nonsense. Nothing is asked twice that had come, and nobody waits longer than
 * was said.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_peer.h"
#include "tests/lib/suite.h"

static void turns(unsigned n)
{
	while (n--)
		turn();
}

/* All that is there is cut off by the servers' end. */
static void cut_all(void)
{
	for (unsigned i = 0; i < nr_peers; i++)
		peer_close(peer[i]);
	script.limit = SIZE_MAX;
	until_state(LZ_STREAM_DOWN);
}

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

/* It greets us whenever we come, and ends when it is asked: that is not being there. */
START_TEST(fruitless)
{
	uint64_t began = now_ns;

	script.plain = true;
	script.limit = 4;
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

/* What connects in its own time may fail so. */
static int failing_connect(void *arg)
{
	(void)arg;
	nr_connects++;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

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

static int connect_once(void *arg)
{
	return !nr_connects ? connect_peer(arg) : failing_connect(arg);
}

/* A server that is away when all has been had is not waited for long; a plain one, not at all. */
START_TEST(release_while_lost)
{
	script.plain = _i;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	script.refuse = -ECONNREFUSED;
	cut_all();
	lz_stream_release(stream, &ring, now_ns);
	for (unsigned i = 0; state() != LZ_STREAM_RELEASED && i < 100; i++) {
		until_deadline();
		turn();
	}
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
	ck_assert_uint_eq(now_ns, (script.plain ? 1000 : 1010) * SEC);
}
END_TEST

/* Nor is one waited for that does not come back. */
START_TEST(release_while_connecting)
{
	script.plain = true;
	script.connect = connect_once;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	cut_all();
	until_deadline();
	lz_stream_tick(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	lz_stream_release(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	turn();
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
}
END_TEST

/* It comes back in time, and is told. */
START_TEST(release_when_back)
{
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	cut_all();
	lz_stream_release(stream, &ring, now_ns);
	until_deadline();
	until_state(LZ_STREAM_RELEASED);
	ck_assert_uint_eq(nr_peers, 4);
	ck_assert(peer[2]->giver.closed);
}
END_TEST

START_TEST(closed_in_the_middle)
{
	script.tcp = true;
	world_open();
	start(0, 0, 16, false);
	start(1, 99, 16, true);
	turn_slowly(40);
	turn_slowly(40);
	/* The fixture's end closes it: nothing may be touched afterwards. */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream_loss");
	TCase *tc = tcase_create("unwell");

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
	tcase_add_test(tc, never_there);
	tcase_add_test(tc, for_ever);
	tcase_add_loop_test(tc, silent, 0, 2);
	tcase_add_test(tc, fruitless);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, only_a_lazyd, 0, 2);
	tcase_add_loop_test(tc, nonsense, 0, 2);
	tcase_add_loop_test(tc, another_server, 0, 2);
	tcase_add_test(tc, no_answer_to_connect);
	tcase_add_test(tc, connect_fails_late);
	tcase_add_test(tc, wrong_layout);
	tcase_add_loop_test(tc, release_while_lost, 0, 2);
	tcase_add_test(tc, release_while_connecting);
	tcase_add_test(tc, release_when_back);
	tcase_add_test(tc, closed_in_the_middle);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
