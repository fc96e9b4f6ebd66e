/* SPDX-License-Identifier: MIT */
/*
 * A page server as a source while all is well: what is asked where, and what arrives, in whatever
 * pieces. What goes wrong is in stream_loss.c and stream_gone.c, how it is let go in
 * stream_release.c.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "stream_world.h"
#include "tests/lib/suite.h"

/* Reads of random lengths here and there, sent and answered in pieces of random lengths. */
static void random_reads(unsigned nr, size_t max_cut)
{
	for (unsigned i = 0; i < nr; i++)
		ck_assert_int_eq(start(i, random_below(PAGES - 64),
				       1 + random_below(i % 8 ? 16 : 64), i % 3 == 0),
				 0);
	for (unsigned i = 0; nr_ended < nr && i < 2000000; i++)
		turn_slowly(1 + random_below(max_cut));
	ck_assert_uint_eq(nr_ended, nr);
	for (unsigned i = 0; i < nr; i++)
		check_read(i);
}

START_TEST(pages_of_a_criu)
{
	script.plain = true;
	script.layout = _i % 2 ? LZ_PS_24 : LZ_PS_32;
	script.partial = _i / 2 ? 3 : 0;
	world_open();
	random_reads(100, 20000);
	ck_assert_uint_eq(nr_peers, 1);
	ck_assert_uint_eq(lz_stream_stats(stream).pages_zero, 0);
	ck_assert_uint_eq(logged("event=source-connected peer=unix kind=criu"), 1);
}
END_TEST

START_TEST(pages_of_a_lazyd)
{
	script.zeros = 7;
	script.lost = _i % 2 ? 61 : 0;
	script.shuffle = _i / 2;
	world_open();
	random_reads(200, 30000);
	ck_assert_uint_eq(nr_peers, 2);
	ck_assert_uint_gt(lz_stream_stats(stream).pages_zero, 0);
	ck_assert_uint_eq(asked_on[LZ_STREAM_DEMAND], asked_urgent_on[LZ_STREAM_DEMAND]);
	ck_assert_uint_eq(logged("event=source-connected peer=unix kind=lazyd software=\"a test\""),
			  1);
}
END_TEST

/* The stream of a few small replies, cut at each of its bytes in two. */
START_TEST(every_cut)
{
	size_t whole, cut;

	script.plain = _i;
	script.zeros = 4;
	world_open();
	start(0, 0, 1, true);
	until_ended(1);
	whole = 2 * LZ_PS_HEADER_MAX + 3 * PAGE;
	for (cut = 1; cut < whole; cut += cut % PAGE < 100 ? 1 : 97) {
		nr_ended = 0;
		ck_assert_int_eq(start(1, 2, 3, true), 0);
		turn_slowly(cut);
		until_ended(1);
		check_read(1);
	}
}
END_TEST

START_TEST(demand_and_bulk)
{
	const uint8_t session = 5;

	world_open();
	start(0, 0, 16, false);
	start(1, 100, 1, true);
	until_ended(2);
	check_read(0);
	check_read(1);
	ck_assert_uint_eq(nr_peers, 2);
	ck_assert_int_eq(peer[0]->giver.hello.stream, LZ_HELLO_DEMAND);
	ck_assert_int_eq(peer[1]->giver.hello.stream, LZ_HELLO_BULK);
	ck_assert_uint_eq(peer[0]->giver.hello.session, session);
	ck_assert_uint_eq(peer[1]->giver.hello.session, session);
	ck_assert_uint_eq(peer[0]->asked, 1);
	/* One request, whatever holes lie between its pages. */
	ck_assert_uint_eq(peer[1]->asked, 1);
	ck_assert_int_eq(order[0], 1);
}
END_TEST

START_TEST(one_connection_only)
{
	script.refuse_second = -EAGAIN;
	world_open();
	random_reads(50, 10000);
	ck_assert_uint_eq(nr_peers, 1);
	ck_assert_int_eq(peer[0]->giver.hello.stream, LZ_HELLO_BOTH);
	ck_assert_uint_eq(lz_stream_deadline(stream), UINT64_MAX);
	ck_assert_uint_eq(nr_connects, 2);
}
END_TEST

/* What cannot be had now goes on one, and is tried again. */
START_TEST(second_connection_later)
{
	script.refuse_second = -ECONNREFUSED;
	world_open();
	random_reads(20, 10000);
	ck_assert_uint_eq(nr_peers, 1);
	ck_assert_int_eq(peer[0]->giver.hello.stream, LZ_HELLO_DEMAND);
	ck_assert_uint_gt(asked_on[LZ_STREAM_DEMAND], asked_urgent_on[LZ_STREAM_DEMAND]);
	until_deadline();
	turn();
	ck_assert_uint_eq(nr_connects, 3);
	script.refuse_second = 0;
	until_deadline();
	turn();
	ck_assert_uint_eq(nr_peers, 2);
	nr_ended = 0;
	for (unsigned i = 0; i < 10; i++)
		turn();
	start(0, 0, 5, false);
	until_ended(1);
	ck_assert_uint_eq(peer[1]->asked, 1);
	ck_assert_uint_eq(logged("lost"), 0);
}
END_TEST

/*
 * A second connection that does not open holds up nobody for long, and when it is tried again
 * nobody at all.
 */
START_TEST(second_connection_mute)
{
	script.mute_second = true;
	world_open();
	start(0, 0, 1, true);
	start(1, 100, 1, false);
	until_ended(1);
	ck_assert_int_eq(order[0], 0);
	for (unsigned i = 0; i < 100; i++)
		turn();
	ck_assert_uint_eq(nr_ended, 1);
	until_deadline();
	ck_assert_uint_eq(now_ns, 1003 * SEC);
	until_ended(2);
	check_read(1);
	until_deadline();
	for (unsigned i = 0; i < 10; i++)
		turn();
	ck_assert_uint_eq(nr_peers, 3);
	start(2, 200, 1, false);
	until_ended(3);
	ck_assert_int_eq(state(), LZ_STREAM_UP);
}
END_TEST

/* The second may open before the first: it is told nothing before that is so. */
START_TEST(second_connection_first)
{
	world_open();
	start(0, 0, 1, true);
	start(1, 100, 1, false);
	for (unsigned i = 0; i < 100; i++) {
		turn();
		/* The answer to the probe, no welcome. */
		peer[0]->stuck = peer[0]->sent == 4;
	}
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	ck_assert_uint_eq(nr_peers, 2);
	ck_assert(peer[1]->giver.lazyd);
	ck_assert_uint_eq(peer[1]->asked, 0);
	peer[0]->stuck = false;
	for (unsigned i = 0; nr_ended < 2 && i < 100; i++)
		turn();
	check_read(0);
	check_read(1);
	ck_assert_uint_eq(peer[1]->asked, 1);
}
END_TEST

/* What a CRIU leaves out of the last reply there is. */
START_TEST(page_by_page)
{
	script.plain = true;
	script.partial = 1;
	world_open();
	start(0, 5, 5, true);
	until_ended(1);
	check_read(0);
	ck_assert_uint_eq(peer[0]->asked, 5);
}
END_TEST

/* Requests that the socket does not take at once: the ring says when it does. */
START_TEST(waits_for_room)
{
	struct lz_completion c[8];
	unsigned n, outs = 0;

	script.narrow = true;
	world_open();
	start(511, 9000, 1, false);
	until_ended(1);
	for (unsigned i = 0; i < 500; i++)
		start(i, i * 20, 20, false);
	lz_stream_flush(stream, &ring, now_ns);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	peer[1]->stuck = true;
	for (unsigned i = 0; !outs && i < 100; i++) {
		char bytes[4096];

		while (recv(peer[1]->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		ck_assert_int_eq(lz_ring_wait(&ring, 100000000), 0);
		n = lz_ring_reap(&ring, c, 8);
		for (unsigned k = 0; k < n; k++)
			outs += c[k].tag.kind == LZ_TAG_NET && c[k].tag.id & 1;
	}
	ck_assert_uint_gt(outs, 0);
}
END_TEST

START_TEST(full_table)
{
	unsigned i;

	script.plain = _i % 2;
	script.narrow = _i / 2;
	script.shuffle = true;
	world_open();
	for (i = 0; i < LZ_STREAM_READS_MAX; i++)
		ck_assert_int_eq(start(i, i * 30, 30, i % 2), 0);
	ck_assert_int_eq(start(i, 0, 1, true), -EBUSY);
	until_ended(LZ_STREAM_READS_MAX);
	for (i = 0; i < LZ_STREAM_READS_MAX; i++)
		check_read(i);
	ck_assert_int_eq(start(i, 0, 1, true), 0);
	until_ended(LZ_STREAM_READS_MAX + 1);
	ck_assert_uint_eq(asked_urgent_on[LZ_STREAM_BULK], 0);
}
END_TEST

/* To a plain peer urgent ones go first, whatever was begun before. */
START_TEST(urgent_first)
{
	script.plain = true;
	world_open();
	for (unsigned i = 0; i < 20; i++)
		start(i, i * 5, 5, i >= 18);
	until_ended(20);
	ck_assert_int_eq(order[0], 18);
	ck_assert_int_eq(order[1], 19);
	ck_assert_int_eq(order[2], 0);
	ck_assert_int_eq(order[19], 17);
}
END_TEST

START_TEST(lost_pages)
{
	script.lost = 10;
	script.shuffle = true;
	world_open();
	start(0, 5, 10, true); /* page 9 */
	start(1, 9, 3, false);
	start(2, 19, 1, true);
	start(3, 0, 9, true);
	until_ended(4);
	ck_assert_int_eq(result[0], 4 * PAGE);
	ck_assert_int_eq(result[1], -EIO);
	ck_assert_int_eq(result[2], -EIO);
	ck_assert_int_eq(result[3], 9 * PAGE);
	for (unsigned i = 0; i < 4; i++)
		check_read(i);
}
END_TEST

/* More than there are bits for: in parts, which come in any order, and ended once. */
START_TEST(large_reads)
{
	script.plain = _i == 1;
	script.partial = 50;
	script.shuffle = true;
	script.zeros = 7;
	world_open();
	start(0, 0, 512, true);
	start(1, 600, 65, false);
	start(2, 700, 128, false);
	start(3, 900, 64, true);
	start(4, 5000, 512, false);
	until_ended(5);
	for (unsigned i = 0; i < 5; i++)
		check_read(i);
	for (unsigned i = 0; i < 512; i++)
		ck_assert_uint_ge(asked[i], 1);
}
END_TEST

/* It ends when all parts have come, with what is before the first page that is lost. */
START_TEST(large_reads_with_lost_pages)
{
	static const unsigned FIRST[] = { 299, 200, 170, 300 };

	script.lost = 300;
	script.shuffle = true;
	world_open();
	for (unsigned i = 0; i < 4; i++)
		start(i, FIRST[i], 512 - i * 100, i % 2);
	until_ended(4);
	ck_assert_int_eq(result[0], -EIO);
	ck_assert_int_eq(result[1], 99 * PAGE);
	ck_assert_int_eq(result[2], 129 * PAGE);
	ck_assert_int_eq(result[3], 212 * PAGE);
	for (unsigned i = 0; i < 4; i++)
		check_read(i);
}
END_TEST

START_TEST(large_reads_fill_the_table)
{
	enum { FIT = LZ_STREAM_READS_MAX / 8 };

	world_open();
	for (unsigned i = 0; i < FIT - 1; i++)
		ck_assert_int_eq(start(i, i * 64, 512, i % 2), 0);
	ck_assert_int_eq(start(FIT, 0, 64, false), 0);
	ck_assert_int_eq(start(FIT - 1, 0, 449, false), -EBUSY);
	ck_assert_int_eq(start(FIT - 1, 0, 448, false), 0);
	ck_assert_int_eq(start(FIT + 1, 0, 1, false), -EBUSY);
	if (_i) {
		lz_stream_abandon(stream, &ring);
		ck_assert_uint_eq(nr_ended, FIT + 1);
		return;
	}
	until_ended(FIT + 1);
	for (unsigned i = 0; i <= FIT; i++)
		check_read(i);
	ck_assert_int_eq(start(0, 1, 512, false), 0);
	until_ended(FIT + 2);
	check_read(0);
}
END_TEST

START_TEST(bad_reads)
{
	struct lz_source_read r = { .offset = 1, .to = (uint8_t *)1, .len = PAGE };

	world_open();
	r.source = source;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), -EINVAL);
	r.offset = 0;
	r.len = PAGE + 1;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), -EINVAL);
	r.len = LZ_STREAM_READ_MAX + PAGE;
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), -EINVAL);
	ck_assert(!source->ops->read_now(source, 0, &r, PAGE));
	ck_assert(!source->ops->resident(source, 0, PAGE));
	ck_assert_ptr_null(source->ops->at(source, 0, PAGE));
	ck_assert_int_eq(state(), LZ_STREAM_IDLE);
	ck_assert_uint_eq(lz_stream_deadline(stream), UINT64_MAX);
}
END_TEST

/* From within ended(), of a slot of its own. */
static void begin_another(unsigned slot)
{
	if (slot < 300)
		ck_assert_int_eq(start(slot + 1, slot + 1, 1 + slot % 5, slot % 2), 0);
}

START_TEST(begun_when_another_ends)
{
	script.plain = _i;
	on_ended = begin_another;
	world_open();
	start(0, 0, 3, true);
	until_ended(301);
	for (unsigned i = 0; i < 301; i++)
		check_read(i);
}
END_TEST

/*
 * What one call takes is bounded, the more so if somebody has waited for a page a moment before;
 * and what waits for the demand connection does not wait for bulk.
 */
START_TEST(fairness)
{
	const uint64_t most = _i ? 64 << 10 : 256 << 10;
	const int room = 1 << 20;
	struct lz_completion c[8];
	unsigned n, bulk = 8;
	uint64_t before, got;

	world_open();
	start(400, 0, 1, true);
	start(401, 0, 1, false);
	until_ended(2);
	setsockopt(peer[1]->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (unsigned i = 0; i < 8; i++)
		start(i, i * 64, 64, false);
	start(500, 5000, 1, true);
	turn(); /* asked, and answered */
	now_ns += _i ? 0 : SEC / 100;
	n = lz_ring_reap(&ring, c, 8);
	for (unsigned i = 0; i < n; i++)
		if (c[i].tag.kind == LZ_TAG_NET && c[i].tag.id >> 1 == LZ_STREAM_BULK)
			bulk = i;
	ck_assert_uint_lt(bulk, 8);
	before = lz_stream_stats(stream).bytes_wire;
	lz_stream_completed(stream, &ring, c[bulk].tag, now_ns);
	check_read(500);
	got = lz_stream_stats(stream).bytes_wire - before;
	ck_assert_uint_ge(got, most - most / 4);
	ck_assert_uint_le(got, most + most / 4);
	for (unsigned i = 0; i < n; i++)
		if (c[i].tag.kind == LZ_TAG_NET && i != bulk)
			lz_stream_completed(stream, &ring, c[i].tag, now_ns);
	until_ended(11);
	for (unsigned i = 0; i < 8; i++)
		check_read(i);
}
END_TEST

/* A dead process's is closed; not what has got its number, where this one came without it. */
START_TEST(kept_descriptors)
{
	int pair[2];
	struct stat st;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(fstat(pair[0], &st), 0);
	script.keeps = true;
	keep[LZ_STREAM_BULK] = pair[0];
	keep[LZ_STREAM_DEMAND] = pair[1];
	keep_ino[LZ_STREAM_BULK] = keep_ino[LZ_STREAM_DEMAND] = st.st_ino;
	world_open();
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
	ck_assert_int_eq(fcntl(pair[1], F_GETFD), FD_CLOEXEC);
	(void)close(pair[1]);
	ck_assert_int_eq(keep[LZ_STREAM_DEMAND], -1);
	ck_assert_int_eq(keep[LZ_STREAM_BULK], -1);
	start(0, 0, 1, false);
	until_ended(1);
	ck_assert_int_ge(keep[0], 0);
	ck_assert_int_ge(keep[1], 0);
	ck_assert_int_ne(keep[0], keep[1]);
	ck_assert_int_eq(fstat(keep[0], &st), 0);
	ck_assert_uint_eq(keep_ino[0], st.st_ino);
	lz_stream_abandon(stream, &ring);
	ck_assert_int_eq(keep[0], -1);
	ck_assert_int_eq(keep[1], -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *tc = tcase_create("well");

	tcase_add_checked_fixture(tc, world_setup, world_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, pages_of_a_criu, 0, 4);
	tcase_add_loop_test(tc, pages_of_a_lazyd, 0, 4);
	tcase_add_loop_test(tc, every_cut, 0, 2);
	tcase_add_test(tc, demand_and_bulk);
	tcase_add_test(tc, one_connection_only);
	tcase_add_test(tc, second_connection_later);
	tcase_add_test(tc, second_connection_mute);
	tcase_add_test(tc, second_connection_first);
	tcase_add_test(tc, page_by_page);
	tcase_add_test(tc, waits_for_room);
	tcase_add_loop_test(tc, full_table, 0, 4);
	tcase_add_test(tc, urgent_first);
	tcase_add_test(tc, lost_pages);
	tcase_add_loop_test(tc, large_reads, 0, 2);
	tcase_add_test(tc, large_reads_with_lost_pages);
	tcase_add_loop_test(tc, large_reads_fill_the_table, 0, 2);
	tcase_add_test(tc, bad_reads);
	tcase_add_loop_test(tc, begun_when_another_ends, 0, 2);
	tcase_add_loop_test(tc, fairness, 0, 2);
	tcase_add_test(tc, kept_descriptors);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
