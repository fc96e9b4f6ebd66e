/* SPDX-License-Identifier: MIT */
/*
 * What the page server answers: to a CRIU of either header, to a lazyd, to many at once. Who is
 * dropped, and when, is in server_limits.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
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

static struct lz_ps_range pages(uint64_t first, uint64_t nr)
{
	return (struct lz_ps_range){ BASE + first * PAGE, nr };
}

/* ---- plain ---- */

START_TEST(plain_pages)
{
	enum lz_ps_layout l = layouts[_i];
	int fd = served_pair();

	ask_plain(fd, l, 0, 1);
	ck_assert_uint_eq(hear_plain(fd, l, 0), 1);
	ask_plain(fd, l, 9, 1); /* zeros are bytes like any others */
	ck_assert_uint_eq(hear_plain(fd, l, 9), 1);
	ask_plain(fd, l, 104, 16);
	ask_plain(fd, l, 3, 2);
	ck_assert_uint_eq(hear_plain(fd, l, 104), 16);
	ck_assert_uint_eq(hear_plain(fd, l, 3), 2);
	close(fd);
}
END_TEST

START_TEST(plain_many_pages_behind_one_header)
{
	enum lz_ps_layout l = layouts[_i];
	int fd = served_pair();

	/* CRIU asks for 4 MiB at most; these cross from one file to the next. */
	ask_plain(fd, l, 400, 1024);
	ask_plain(fd, l, 90, 1);
	ck_assert_uint_eq(hear_plain(fd, l, 400), 1024);
	ck_assert_uint_eq(hear_plain(fd, l, 90), 1);
	close(fd);
}
END_TEST

START_TEST(plain_fewer_than_asked)
{
	enum lz_ps_layout l = layouts[_i];
	int fd = served_pair();

	ask_plain(fd, l, 90, 20); /* up to the hole */
	ck_assert_uint_eq(hear_plain(fd, l, 90), 10);
	ask_plain(fd, l, 400, LZ_GIVER_PLAIN_PAGES);
	ck_assert_uint_eq(hear_plain(fd, l, 400), 1024);
	close(fd);
}
END_TEST

START_TEST(plain_in_the_order_of_requests)
{
	int fd = served_pair();
	struct lz_server_stats s;

	ask_plain(fd, LZ_PS_32, 0, 1);
	ask_plain(fd, LZ_PS_32, 3000, 16);
	ask_plain(fd, LZ_PS_32, 5, 1);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 0), 1);
	served_run();
	s = served_stats();
	ck_assert_uint_eq(s.pages, 1);
	ck_assert_uint_eq(s.requests, 3);
	served_thaw(3000, 16);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 3000), 16);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 5), 1);
	close(fd);
}
END_TEST

/* The protocol has no answer to these; what was asked before is answered. */
START_TEST(plain_what_is_not_there)
{
	static const struct {
		uint64_t page;
		uint32_t pid;
		const char *why;
	} asked[] = {
		{ 101, SERVED_PID, "page of task 7 at 0x7f0000065000" },
		{ 5, 99, "page of task 99 at 0x7f0000005000" },
	};
	int fd = served_pair();

	ask_plain(fd, LZ_PS_24, 512, 40);
	say_header(fd, LZ_PS_24, LZ_PS_GET, BASE + asked[_i].page * PAGE, 1, asked[_i].pid);
	ask_plain(fd, LZ_PS_24, 512, 1);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_24, 512), 40);
	hear_end(fd);
	ck_assert_uint_eq(served_logged("event=client-dropped peer=unix", asked[_i].why), 1);
	ck_assert_uint_eq(served_stats().clients_dropped, 1);
}
END_TEST

START_TEST(plain_what_cannot_be_read)
{
	int fd = served_pair();
	struct lz_ps_header h;
	uint8_t bytes[PAGE];

	served.bad = 1 << 3;
	served.bad_by = _i;
	ask_plain(fd, LZ_PS_32, 1, 1);
	ask_plain(fd, LZ_PS_32, 3100, 16);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 1), 1);
	hear_end(fd);
	/* Too late to say so: the header has gone. */
	fd = served_pair();
	ask_plain(fd, LZ_PS_32, 3200, 8);
	hear_end(fd);
	fd = served_pair();
	served.bad = UINT32_MAX;
	ask_plain(fd, LZ_PS_32, 2000, 32);
	ask_plain(fd, LZ_PS_32, 3100, 8);
	hear_header(fd, LZ_PS_32, &h);
	ck_assert_uint_eq(h.nr_pages, 32);
	for (int i = 0; i < 32; i++)
		ck_assert(hear_bytes(fd, bytes, PAGE));
	hear_end(fd);
	ck_assert_uint_eq(served_logged("event=client-dropped", "cannot be read"), 3);
}
END_TEST

START_TEST(plain_is_told_of_no_parent)
{
	enum lz_ps_layout l = layouts[_i];
	int fd = served_pair();
	int32_t answer = 5;

	ask_plain(fd, l, 7, 1);
	say_header(fd, l, LZ_PS_PARENT, 0, 0, 7 << 8 | 1);
	ask_plain(fd, l, 8, 1);
	ck_assert_uint_eq(hear_plain(fd, l, 7), 1);
	ck_assert(hear_bytes(fd, &answer, sizeof(answer)));
	ck_assert_int_eq(answer, 0);
	ck_assert_uint_eq(hear_plain(fd, l, 8), 1);
	close(fd);
}
END_TEST

START_TEST(plain_byte_by_byte)
{
	enum lz_ps_layout l = layouts[_i];
	struct lz_ps_header h = {
		.cmd = LZ_PS_GET, .vaddr = BASE, .nr_pages = 3, .dst_id = SERVED_PID
	};
	uint8_t bytes[LZ_PS_HEADER_MAX];
	size_t len = lz_ps_put(l, &h, bytes);
	int fd = served_pair();

	for (size_t i = 0; i < len; i++) {
		say_bytes(fd, bytes + i, 1);
		served_run();
	}
	ck_assert_uint_eq(hear_plain(fd, l, 0), 3);
	close(fd);
}
END_TEST

/* ---- lazyd ---- */

/* Takes all of a request of @range[0 .. nr) and says what each page was: P, Z or L. */
static void hear_all(struct asking *c, uint16_t tag, const struct lz_ps_range *range, size_t nr,
		     char *kinds)
{
	uint64_t page[1024], total = 0, done = 0;
	struct lz_asker_event ev;

	for (size_t i = 0; i < nr; i++)
		for (uint64_t n = 0; n < range[i].nr_pages; n++)
			page[total++] = (range[i].vaddr - BASE) / PAGE + n;
	while (done < total) {
		ck_assert(asking_next(c, &ev));
		ck_assert_uint_eq(ev.tag, tag);
		ck_assert_uint_eq(ev.first, done);
		for (uint64_t i = 0; i < ev.nr; i++, done++) {
			kinds[done] = ev.type == LZ_ASKER_BYTES   ? 'P'
				      : ev.type == LZ_ASKER_ZEROS ? 'Z'
								  : 'L';
			if (ev.type == LZ_ASKER_BYTES)
				ck_assert(served_is(page[done], c->page + i * PAGE));
			if (ev.type == LZ_ASKER_ZEROS)
				ck_assert(served_is_zero(page[done]));
		}
	}
	kinds[done] = 0;
}

START_TEST(lazyd_what_pages_are)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BOTH, 1);
	struct lz_ps_range vector[] = { pages(96, 10), pages(8, 3), pages(3198, 6), pages(25, 1),
					pages(510, 4) };
	char kinds[1025];

	ck_assert_uint_eq(served_logged("stream=both", "software=\"a 'test'\""), 1);
	asking_ask(c, 5, vector, 1);
	hear_all(c, 5, vector, 1, kinds);
	ck_assert_str_eq(kinds, "PPPPLLLLPZ");
	asking_ask(c, 6, vector, 5);
	hear_all(c, 6, vector, 5, kinds);
	/* In the third page of the short file there are bytes, but not all. */
	ck_assert_str_eq(kinds, "PPPPLLLLPZ"
				"PZP"
				"LLPPLL"
				"Z"
				"PPPP");
	ck_assert_uint_eq(served_stats().pages_lost, 12);
	ck_assert_uint_eq(served_stats().pages_zero, 4);
	ck_assert_uint_eq(served_logged("event=pages-lost peer=unix pid=7", ""), 1);
	asking_free(c);
}
END_TEST

START_TEST(lazyd_only_what_cannot_be_read_is_lost)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BOTH, 1);
	struct lz_ps_range range = pages(3100, 16);
	char kinds[1025];

	served.bad = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 15;
	served.bad_by = _i;
	asking_ask(c, 1, &range, 1);
	hear_all(c, 1, &range, 1, kinds);
	ck_assert_str_eq(kinds, "LPPPPLLPPPPPPZPL");
	served.bad = UINT32_MAX;
	asking_ask(c, 2, &range, 1);
	hear_all(c, 2, &range, 1, kinds);
	ck_assert_str_eq(kinds, "LLLLLLLLLLLLLLLL");
	asking_free(c);
}
END_TEST

/* What failed for want of memory or of room here is not lost: the client asks again later. */
START_TEST(lazyd_is_not_told_lost_for_a_want_here)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BOTH, 1);
	struct lz_ps_range range = pages(3100, 16);
	struct lz_asker_event ev;

	served.bad = 1 << 3;
	served.bad_by = -ENOMEM;
	asking_ask(c, 1, &range, 1);
	ck_assert(!asking_next(c, &ev));
	ck_assert_uint_eq(served_logged("event=client-dropped", "Cannot allocate memory"), 1);
	ck_assert_uint_eq(served_stats().pages_lost, 0);
	asking_free(c);
}
END_TEST

START_TEST(lazyd_as_many_as_a_request_may_have)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BULK, 1);
	struct lz_ps_range vector[LZ_PS_RANGES_MAX], range = pages(512, 1024);
	char kinds[1025];

	asking_ask(c, 0, &range, 1);
	hear_all(c, 0, &range, 1, kinds);
	ck_assert_uint_eq(strspn(kinds, "PZ"), 1024);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < LZ_PS_RANGES_MAX; i++)
			vector[i] = pages(2 * i + 600 + round, 1 + i % 3);
		asking_ask(c, 1, vector, LZ_PS_RANGES_MAX);
		hear_all(c, 1, vector, LZ_PS_RANGES_MAX, kinds);
		ck_assert_uint_eq(strspn(kinds, "PZ"), 511);
	}
	asking_free(c);
}
END_TEST

START_TEST(lazyd_a_cold_page_delays_nothing)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BOTH, 1);
	struct lz_ps_range cold = pages(3000, 16), warm = pages(0, 40);
	char kinds[1025];

	asking_ask(c, 1, &cold, 1);
	asking_ask(c, 2, &warm, 1);
	hear_all(c, 2, &warm, 1, kinds);
	asking_ask(c, 3, &warm, 1);
	hear_all(c, 3, &warm, 1, kinds);
	served_thaw(3000, 16);
	hear_all(c, 1, &cold, 1, kinds);
	ck_assert_str_eq(kinds, "PZPPPPPPPPPPPPPP");
	asking_free(c);
}
END_TEST

/* A look for what is not in memory costs as much as a read: one in 33 is for nothing. */
START_TEST(lazyd_cold_pages_are_not_looked_for)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BULK, 1);
	char kinds[1025];

	for (unsigned n = 0; n < 67; n++) {
		struct lz_ps_range cold = pages(3100 + n % 8, 1);

		ck_assert_uint_eq(served.nr_looks, (n + 32) / 33);
		asking_ask(c, 1, &cold, 1);
		hear_all(c, 1, &cold, 1, kinds);
	}
	ck_assert_uint_eq(served.nr_looks, 3);
	asking_free(c);
}
END_TEST

/* As many as a client may have are under way, however small they are. */
START_TEST(lazyd_many_cold_pages_at_a_time)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BULK, 1);
	struct lz_ps_range cold = pages(3000, 1);

	for (uint16_t tag = 1; tag <= 64; tag++)
		asking_ask(c, tag, &cold, 1);
	served_run();
	ck_assert_uint_ge(served.nr_slow, 24);
	ck_assert_uint_lt(served.nr_slow, 64);
	asking_free(c);
}
END_TEST

/* Its replies ascend even where the first of its pages is the last to be read. */
START_TEST(lazyd_replies_of_a_request_ascend)
{
	struct asking *c = asking_new(served_pair(), LZ_HELLO_BOTH, 1);
	struct lz_ps_range both[] = { pages(3000, 16), pages(0, 100) };
	char kinds[1025];

	asking_ask(c, 1, both, 2);
	served_run();
	ck_assert_uint_eq(served_stats().pages, 0);
	served_thaw(3000, 16);
	hear_all(c, 1, both, 2, kinds);
	ck_assert_uint_eq(strspn(kinds, "PZ"), 116);
	asking_free(c);
}
END_TEST

START_TEST(lazyd_demand_passes_bulk)
{
	struct asking *bulk = asking_new(served_pair(), LZ_HELLO_BULK, 1);
	struct asking *demand = asking_new(served_pair(), LZ_HELLO_DEMAND, 1);
	struct lz_ps_range much = pages(512, 1024), one = pages(1, 1);
	char kinds[1025];

	for (uint16_t tag = 0; tag < 64; tag++)
		asking_ask(bulk, tag, &much, 1);
	asking_ask(demand, 0, &one, 1);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 1);
	ck_assert_int_eq(lz_server_turn(served.server, -1), 1);
	ck_assert_uint_le(served_stats().pages, 2 * 64 + 1);
	hear_all(demand, 0, &one, 1, kinds);
	ck_assert_str_eq(kinds, "P");
	ck_assert_uint_le(served_stats().pages, 2 * 64 + 1);
	asking_free(bulk);
	asking_free(demand);
}
END_TEST

/* ---- many ---- */

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

/* None of them takes a byte, together they want far more buffers than there are. */
START_TEST(who_takes_nothing_costs_nobody_else)
{
	enum { SLOW = 100 };
	struct lz_ps_range range = pages(512, 1024);
	int fd[SLOW], quick = served_pair();
	struct asking *lazy[SLOW];
	char kinds[1025];

	for (int i = 0; i < SLOW; i++) {
		fd[i] = served_pair();
		ask_plain(fd[i], LZ_PS_32, 512 + (uint64_t)i, 1024);
		ask_plain(fd[i], LZ_PS_32, 0, 100);
		lazy[i] = asking_new(served_pair(), _i ? LZ_HELLO_DEMAND : LZ_HELLO_BULK,
				     (uint64_t)i);
		asking_ask(lazy[i], 1, &range, 1);
	}
	served_run();
	ask_plain(quick, LZ_PS_32, 512, 1024);
	ck_assert_uint_eq(hear_plain(quick, LZ_PS_32, 512), 1024);
	/* What lost its buffers meanwhile is right all the same. */
	for (int i = 0; i < SLOW; i++) {
		ck_assert_uint_eq(hear_plain(fd[i], LZ_PS_32, 512 + (uint64_t)i), 1024);
		ck_assert_uint_eq(hear_plain(fd[i], LZ_PS_32, 0), 100);
		close(fd[i]);
		hear_all(lazy[i], 1, &range, 1, kinds);
		ck_assert_uint_eq(strspn(kinds, "PZ"), 1024);
		asking_free(lazy[i]);
	}
	close(quick);
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

/* ---- peers and ends ---- */

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
	Suite *s = suite_create("server");
	TCase *t = tcase_create("serves"), *once = tcase_create("once");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(t, setup, served_close);
	tcase_add_loop_test(t, plain_pages, 0, 2);
	tcase_add_loop_test(t, plain_many_pages_behind_one_header, 0, 2);
	tcase_add_loop_test(t, plain_fewer_than_asked, 0, 2);
	tcase_add_test(t, plain_in_the_order_of_requests);
	tcase_add_loop_test(t, plain_what_is_not_there, 0, 2);
	tcase_add_loop_test(t, plain_what_cannot_be_read, -EIO, -EIO + 1);
	tcase_add_loop_test(t, plain_what_cannot_be_read, 0, 1);
	tcase_add_loop_test(t, plain_is_told_of_no_parent, 0, 2);
	tcase_add_loop_test(t, plain_byte_by_byte, 0, 2);
	tcase_add_test(t, lazyd_what_pages_are);
	tcase_add_loop_test(t, lazyd_only_what_cannot_be_read_is_lost, -EIO, -EIO + 1);
	tcase_add_loop_test(t, lazyd_only_what_cannot_be_read_is_lost, 0, 1);
	tcase_add_test(t, lazyd_is_not_told_lost_for_a_want_here);
	tcase_add_test(t, lazyd_as_many_as_a_request_may_have);
	tcase_add_test(t, lazyd_a_cold_page_delays_nothing);
	tcase_add_test(t, lazyd_cold_pages_are_not_looked_for);
	tcase_add_test(t, lazyd_many_cold_pages_at_a_time);
	tcase_add_test(t, lazyd_replies_of_a_request_ascend);
	tcase_add_test(t, lazyd_demand_passes_bulk);
	tcase_add_test(t, sixteen_at_once);
	tcase_add_loop_test(t, who_takes_nothing_costs_nobody_else, 0, 2);
	tcase_add_test(t, a_flood_of_requests);
	tcase_add_test(t, peers);
	tcase_add_loop_test(t, close_is_answered_behind_all_else, 0, 2);
	tcase_add_test(t, half_closed_takes_what_it_asked_for);
	tcase_add_loop_test(t, gone_while_its_pages_are_read, 0, 2);
	tcase_add_loop_test(t, closes_whatever_goes_on, 0, 2);
	tcase_add_test(t, ends_in_the_middle_of_a_word);
	tcase_add_test(t, finishes);
	tcase_add_test(t, is_stopped);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(once, setup_once, served_close);
	tcase_add_loop_test(once, once_ends_with_a_plain_client, 0, 3);
	tcase_add_test(once, once_ends_with_all_streams_of_a_lazyd);
	suite_add_tcase(s, once);
	tcase_set_timeout(t, 60);
	return run_suite(s);
}
