/* SPDX-License-Identifier: MIT */
/*
 * How a page server is let go, by a stream that has all it wanted or that is given up: what the
 * server is told, and how long its answer is waited for.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_world.h"
#include "tests/lib/suite.h"

START_TEST(released)
{
	script.tcp = _i % 2;
	script.plain = _i / 2;
	world_open();
	start(0, 0, 3, false);
	start(1, 9, 1, true);
	until_ended(2);
	lz_stream_release(stream, &ring, now_ns);
	until_state(LZ_STREAM_RELEASED);
	ck_assert_uint_eq(nr_peers, script.plain ? 1 : 2);
	for (unsigned i = 0; i < nr_peers; i++) {
		peer_settle(peer[i]);
		ck_assert(peer[i]->eof);
		ck_assert(script.plain || peer[i]->giver.closed);
	}
	ck_assert_uint_eq(logged("event=source-released"), 1);
	ck_assert_uint_eq(lz_stream_deadline(stream), UINT64_MAX);
	lz_stream_abandon(stream, &ring);
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
	ck_assert_int_eq(start(2, 0, 1, true), -ETIMEDOUT);
}
END_TEST

START_TEST(released_unused)
{
	world_open();
	lz_stream_release(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
	ck_assert_uint_eq(nr_connects, 0);
}
END_TEST

/* It is said when it comes to be open. */
START_TEST(released_while_opening)
{
	world_open();
	lz_stream_want(stream, &ring, now_ns);
	lz_stream_release(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	until_state(LZ_STREAM_RELEASED);
	ck_assert(peer[0]->giver.closed);
}
END_TEST

/* It answers what it has not been asked yet: it is not told the end before that has been sent. */
START_TEST(release_answered_too_soon)
{
	enum { READS = 500 };
	uint8_t header[LZ_PS_HEADER_MAX];
	int fd;

	script.narrow = true;
	script.refuse_second = -EAGAIN;
	world_open();
	lz_stream_want(stream, &ring, now_ns);
	until_state(LZ_STREAM_UP);
	fd = peer[0]->fd;
	peer[0]->fd = -1; /* and reads no more */
	for (unsigned i = 0; i < READS; i++)
		ck_assert_int_eq(start(i, i, 1, true), 0);
	turn();
	for (uint64_t tag = 0; tag < READS; tag++) {
		struct lz_ps_header h = { LZ_PS_ADD_F, LZ_PS_ZERO, 1, 0, tag << 32 | PID };

		lz_ps_put(LZ_PS_32, &h, header);
		while (send(fd, header, sizeof(header), MSG_DONTWAIT) < 0)
			turn();
	}
	until_ended(READS);
	ck_assert_int_eq(result[READS - 1], PAGE);
	lz_stream_release(stream, &ring, now_ns);
	turns(2);
	ck_assert_int_eq(state(), LZ_STREAM_UP);
	until_deadline();
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
	close(fd);
}
END_TEST

START_TEST(release_unanswered)
{
	script.no_status = true;
	script.tcp = true;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	lz_stream_release(stream, &ring, now_ns);
	for (unsigned i = 0; i < 20; i++)
		turn();
	ck_assert_int_eq(state(), LZ_STREAM_UP);
	ck_assert_int_eq(start(1, 0, 1, true), -ETIMEDOUT);
	until_deadline();
	ck_assert_uint_eq(now_ns, 1010 * SEC);
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_RELEASED);
	peer_settle(peer[0]);
	ck_assert(peer[0]->eof);
	ck_assert_uint_eq(logged("does not answer"), 1);
}
END_TEST

/* A live dump that goes at once, by a reset even, has done what it was to do. */
START_TEST(release_cut_off)
{
	struct linger hard = { .l_onoff = 1 };

	script.tcp = script.no_status = true;
	script.plain = _i;
	world_open();
	start(0, 0, 1, false);
	until_ended(1);
	lz_stream_release(stream, &ring, now_ns);
	turn();
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_UP);
	setsockopt(peer[0]->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	peer_close(peer[0]);
	until_state(LZ_STREAM_RELEASED);
	ck_assert_uint_eq(logged("source-lost"), 0);
	ck_assert_uint_eq(logged("event=source-released"), 1);
}
END_TEST

/* Whoever takes the end of a connection for success must not see one. */
START_TEST(abandoned)
{
	script.tcp = true;
	script.plain = _i;
	world_open();
	start(1, 0, 1, true);
	until_ended(1);
	script.mute = true;
	start(0, 0, 16, false);
	turn();
	turn();
	lz_stream_abandon(stream, &ring);
	ck_assert_int_eq(result[0], -ECANCELED);
	ck_assert_int_eq(state(), LZ_STREAM_GONE);
	ck_assert_int_eq(start(2, 0, 1, true), -ETIMEDOUT);
	for (unsigned i = 0; i < nr_peers; i++) {
		peer_settle(peer[i]);
		ck_assert_int_eq(peer[i]->error, ECONNRESET);
	}
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
	Suite *s = suite_create("stream_release");
	TCase *tc = tcase_create("release");

	tcase_add_checked_fixture(tc, world_setup, world_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, released, 0, 4);
	tcase_add_test(tc, released_unused);
	tcase_add_test(tc, released_while_opening);
	tcase_add_test(tc, release_answered_too_soon);
	tcase_add_test(tc, release_unanswered);
	tcase_add_loop_test(tc, release_cut_off, 0, 2);
	tcase_add_loop_test(tc, abandoned, 0, 2);
	tcase_add_loop_test(tc, release_while_lost, 0, 2);
	tcase_add_test(tc, release_while_connecting);
	tcase_add_test(tc, release_when_back);
	tcase_add_test(tc, closed_in_the_middle);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
