/* SPDX-License-Identifier: MIT */
/*
 * The clients of the page server: who may be one, many at once, how they take their leave, and how
 * the server itself ends. What they are told is in server.c; who is dropped, and when, in
 * server_limits.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/scratch.h"
#include "tests/lib/served.h"
#include "tests/lib/suite.h"

static const enum lz_ps_layout layouts[] = { LZ_PS_24, LZ_PS_32 };

static void setup(void)
{
	struct lz_server_options o = { .once = false };

	served_open(&o);
}

static void setup_once(void)
{
	struct lz_server_options o = { .once = true };

	served_open(&o);
}

/* ---- who, and how many ---- */

/* A machine may be without. */
static bool has_ipv6(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	if (!has)
		printf("note: no IPv6 here, its peers were not tried\n");
	return has;
}

START_TEST(peers)
{
	struct sockaddr_un a;
	int fd, len;

	fd = served_tcp(AF_INET);
	ask_plain(fd, LZ_PS_32, 0, 1);
	hear_plain(fd, LZ_PS_32, 0);
	ck_assert_uint_eq(served_logged("event=client peer=127.0.0.1:", "kind=plain"), 1);
	close(fd);
	if (has_ipv6()) {
		fd = served_tcp(AF_INET6);
		ask_plain(fd, LZ_PS_24, 0, 1);
		hear_plain(fd, LZ_PS_24, 0);
		ck_assert_uint_eq(served_logged("event=client peer=[::1]:", "header=24"), 1);
		close(fd);
	}
	len = served_listen(AF_UNIX, &a, sizeof(a));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, (socklen_t)len), 0);
	ask_plain(fd, LZ_PS_24, 0, 1);
	hear_plain(fd, LZ_PS_24, 0);
	ck_assert_uint_eq(served_logged("event=client peer=unix", ""), 1);
	close(fd);
}
END_TEST

START_TEST(sixteen_at_once)
{
	int fd[16];
	uint64_t asked[16] = { 0 }, got[16] = { 0 };
	const uint64_t all = 1400;

	for (int i = 0; i < 16; i++)
		fd[i] = i % 2 ? served_tcp(AF_INET) : served_pair();
	for (bool more = true; more;) {
		more = false;
		for (int i = 0; i < 16; i++) {
			enum lz_ps_layout l = layouts[i / 2 % 2];

			for (; asked[i] < all && asked[i] < got[i] + 256; asked[i] += 20)
				ask_plain(fd[i], l, 600 + asked[i], 20);
			if (got[i] < all)
				got[i] += hear_plain(fd[i], l, 600 + got[i]);
			more = more || got[i] < all;
		}
	}
	ck_assert_uint_eq(served_stats().pages, 16 * all);
	for (int i = 0; i < 16; i++)
		close(fd[i]);
	served_run();
	ck_assert_uint_eq(served_stats().nr_clients, 0);
	ck_assert_uint_eq(served_logged("event=client-gone", "pages=1400"), 16);
}
END_TEST

/* More than its queue holds: the rest waits in its socket, and all is answered in the end. */
START_TEST(a_flood_of_requests)
{
	enum { REQUESTS = 20000 };
	int fd = served_pair(), other = served_pair();
	unsigned asked = 0, got = 0;

	for (bool more = true; more && asked < REQUESTS;) {
		struct lz_ps_header h = { .cmd = LZ_PS_GET,
					  .vaddr = BASE + asked % 100 * PAGE,
					  .nr_pages = 1,
					  .dst_id = SERVED_PID };
		uint8_t bytes[LZ_PS_32];

		lz_ps_put(LZ_PS_32, &h, bytes);
		more = send(fd, bytes, LZ_PS_32, MSG_DONTWAIT) == LZ_PS_32;
		asked += more;
		if (!more) {
			uint64_t before = served_stats().requests;

			served_run();
			more = served_stats().requests > before;
		}
	}
	ck_assert_uint_gt(asked, 64);
	ck_assert_uint_lt(asked, REQUESTS);
	ask_plain(other, LZ_PS_32, 3, 1);
	ck_assert_uint_eq(hear_plain(other, LZ_PS_32, 3), 1);
	for (; got < asked; got++)
		ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, got % 100), 1);
	ck_assert_uint_eq(served_stats().requests, asked + 1);
	close(fd);
	close(other);
}
END_TEST

/* ---- ends ---- */

START_TEST(close_is_answered_behind_all_else)
{
	enum lz_ps_layout l = layouts[_i];
	int32_t status = 5;
	int fd = served_pair();

	ask_plain(fd, l, 512, 1024);
	say_header(fd, l, LZ_PS_CLOSE, 0, 0, 0);
	ck_assert_uint_eq(hear_plain(fd, l, 512), 1024);
	ck_assert(hear_bytes(fd, &status, sizeof(status)));
	ck_assert_int_eq(status, 0);
	served_run();
	ck_assert_uint_eq(served_stats().nr_clients, 1);
	close(fd);
	served_run();
	ck_assert_uint_eq(served_stats().nr_clients, 0);
	ck_assert_uint_eq(served_logged("event=client-gone", "has all it wants"), 1);
}
END_TEST

START_TEST(half_closed_takes_what_it_asked_for)
{
	int fd = served_pair();

	ask_plain(fd, LZ_PS_32, 512, 1024);
	shutdown(fd, SHUT_WR);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 512), 1024);
	hear_end(fd);
}
END_TEST

/* Whether it has closed only its own half is seen when there is something to send. */
START_TEST(gone_while_its_pages_are_read)
{
	struct linger reset = { 1, 0 };
	int fd = _i ? served_pair() : served_tcp(AF_INET);

	ask_plain(fd, LZ_PS_32, 3000, 16);
	while (!served_stats().requests)
		served_turn();
	if (!_i)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	if (_i) {
		served_run();
		served_thaw(3000, 16);
	}
	while (served_stats().nr_clients)
		served_turn();
	ck_assert_uint_eq(served_logged("event=client-gone", "pages=0"), 1);
	/* Its number and its buffer are free again. */
	served_run();
	fd = served_pair();
	ask_plain(fd, LZ_PS_32, 512, 1024);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 512), 1024);
	close(fd);
}
END_TEST

/* Reads under way write to buffers that are about to go;
 * those of who takes nothing have gone already. */
START_TEST(closes_whatever_goes_on)
{
	int fd[90];

	for (int i = 0; i < 90; i++) {
		fd[i] = served_pair();
		if (i % 10 == 0)
			ask_plain(fd[i], LZ_PS_32, 3000, 16);
		ask_plain(fd[i], LZ_PS_32, 512, 1024);
		ask_plain(fd[i], LZ_PS_32, 512, 1024);
	}
	served_run();
	if (_i) {
		served_thaw(3000, 16);
		served_run();
	}
	for (int i = 0; i < 90; i += 2)
		close(fd[i]);
	if (_i)
		served_run();
	/* The fixture closes the server. */
}
END_TEST

START_TEST(ends_in_the_middle_of_a_word)
{
	int fd = served_pair();

	say_bytes(fd, "half a header", 13);
	close(fd);
	while (served_stats().nr_clients)
		served_turn();
	ck_assert_uint_eq(served_logged("event=client-dropped", "middle of a word"), 1);
}
END_TEST

START_TEST(once_ends_with_a_plain_client)
{
	int scanner = served_pair(), fd;
	int32_t status;

	close(scanner);
	scanner = served_pair();
	say_bytes(scanner, "GET / HTTP/1.1\r\nHost: here\r\n\r\n", 30);
	hear_end(scanner);
	fd = served_pair();
	if (_i == 0)
		ask_plain(fd, LZ_PS_24, 0, 1);
	else
		say_header(fd, layouts[_i - 1], LZ_PS_CLOSE, 0, 0, 0);
	if (_i == 0)
		ck_assert_uint_eq(hear_plain(fd, LZ_PS_24, 0), 1);
	else
		ck_assert(hear_bytes(fd, &status, sizeof(status)));
	close(fd);
	while (served_turn())
		continue;
}
END_TEST

START_TEST(once_ends_with_all_streams_of_a_lazyd)
{
	struct asking *demand = asking_new(served_pair(), LZ_HELLO_DEMAND, 77);
	struct asking *bulk = asking_new(served_pair(), LZ_HELLO_BULK, 77);
	struct asking *other = asking_new(served_pair(), LZ_HELLO_BULK, 78);
	struct linger l = { 1, 0 };
	struct lz_asker_event ev;
	uint8_t bytes[LZ_PS_HEADER_MAX];
	struct asking *lost;

	/* One that was lost comes again. */
	lost = asking_new(served_tcp(AF_INET), LZ_HELLO_BULK, 79);
	setsockopt(lost->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	asking_free(lost);
	while (!served_logged("event=client-gone", "onnection reset"))
		ck_assert(served_turn());
	say_bytes(demand->fd, bytes, lz_asker_close(&demand->a, bytes));
	ck_assert(asking_next(demand, &ev));
	ck_assert_int_eq(ev.type, LZ_ASKER_END);
	asking_free(demand);
	served_run();
	ck_assert(!served.done);
	asking_free(bulk);
	served_run();
	ck_assert(served.done);
	asking_free(other);
}
END_TEST

START_TEST(finishes)
{
	int fd = served_tcp(AF_INET), late;
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	ask_plain(fd, LZ_PS_24, 0, 1);
	hear_plain(fd, LZ_PS_24, 0);
	getpeername(fd, (struct sockaddr *)&a, &len);
	lz_server_finish(served.server);
	served_run();
	ck_assert(!served.done);
	late = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&a, len), -1);
	close(late);
	ask_plain(fd, LZ_PS_24, 1, 1);
	hear_plain(fd, LZ_PS_24, 1);
	close(fd);
	while (served_turn())
		continue;
}
END_TEST

/* Nobody is there to be waited for, and a turn without end ends. */
START_TEST(finishes_at_once)
{
	lz_server_finish(served.server);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 0);
}
END_TEST

START_TEST(finishes_without_a_listener)
{
	close(served_pair());
	served_run();
	ck_assert_uint_eq(served_stats().nr_clients, 0);
	lz_server_finish(served.server);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 0);
}
END_TEST

START_TEST(takes_what_is_connected)
{
	int pipes[2], fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(lz_server_accept(served.server, fd), -ENOTCONN);
	ck_assert_int_eq(lz_server_accept(served.server, pipes[0]), -ENOTSOCK);
	ck_assert_uint_eq(served_stats().clients_total, 0);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
}
END_TEST

START_TEST(is_stopped)
{
	lz_server_stop(served.server);
	lz_server_stop(served.server);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 1);
	served_run();
	lz_server_stop(served.server);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server_clients");
	TCase *t = tcase_create("clients"), *once = tcase_create("once");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(t, setup, served_close);
	tcase_add_test(t, peers);
	tcase_add_test(t, sixteen_at_once);
	tcase_add_test(t, a_flood_of_requests);
	tcase_add_loop_test(t, close_is_answered_behind_all_else, 0, 2);
	tcase_add_test(t, half_closed_takes_what_it_asked_for);
	tcase_add_loop_test(t, gone_while_its_pages_are_read, 0, 2);
	tcase_add_loop_test(t, closes_whatever_goes_on, 0, 2);
	tcase_add_test(t, ends_in_the_middle_of_a_word);
	tcase_add_test(t, finishes);
	tcase_add_test(t, finishes_at_once);
	tcase_add_test(t, finishes_without_a_listener);
	tcase_add_test(t, takes_what_is_connected);
	tcase_add_test(t, is_stopped);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(once, setup_once, served_close);
	tcase_add_loop_test(once, once_ends_with_a_plain_client, 0, 3);
	tcase_add_test(once, once_ends_with_all_streams_of_a_lazyd);
	suite_add_tcase(s, once);
	tcase_set_timeout(t, 60);
	return run_suite(s);
}
