/* SPDX-License-Identifier: MIT */
/*
 * What a page server puts up with: silence, half words, garbage, floods of connections, clients
 * that take nothing. Each is dropped alone, with a line. Nothing is waited for: the time is the
 * test's.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/scratch.h"
#include "tests/lib/served.h"
#include "tests/lib/suite.h"

/* Far away: what is tested is set closer. */
static const uint64_t LONG = UINT64_C(3600) * 1000 * MSEC;
static struct lz_server_options options;

static void reset(void)
{
	options = (struct lz_server_options){
		.silent_ns = LONG,
		.header_ns = LONG,
		.close_ns = LONG,
		.idle_ns = LONG,
		.clock = served_clock,
	};
}

/* The only client there is goes when @limit is over, and not before. */
static void gone_after(uint64_t limit)
{
	served_run();
	served_later(limit - 1);
	ck_assert_uint_eq(served_stats().nr_clients, 1);
	served_later(1);
	ck_assert_uint_eq(served_stats().nr_clients, 0);
}

START_TEST(silence)
{
	int fd;

	options.silent_ns = 20 * MSEC;
	served_open(&options);
	fd = served_pair();
	gone_after(options.silent_ns);
	ck_assert_uint_eq(served_logged("event=client-dropped", "said nothing"), 1);
	hear_end(fd);
	/* One that has spoken may be silent for longer. */
	fd = served_pair();
	ask_plain(fd, LZ_PS_24, 0, 1);
	hear_plain(fd, LZ_PS_24, 0);
	close(served_pair());
	served_pair();
	served_run();
	ck_assert_uint_eq(served_stats().clients_dropped, 1);
	served_later(options.silent_ns);
	ck_assert_uint_eq(served_stats().clients_dropped, 2);
	ask_plain(fd, LZ_PS_24, 1, 1);
	hear_plain(fd, LZ_PS_24, 1);
	close(fd);
	served_close();
}
END_TEST

START_TEST(half_words)
{
	static const struct {
		size_t len;
		bool hello;
	} said[] = { { 1, false }, { 23, false }, { 31, false }, { 24, true }, { 26, true } };
	struct lz_ps_header get = { .cmd = LZ_PS_GET, .vaddr = BASE, .nr_pages = 1, .dst_id = 7 };
	struct lz_ps_header probe = { .cmd = LZ_PS_PARENT, .dst_id = LZ_PS_PROBE };
	uint8_t bytes[64] = { 0 }, answer[4];
	int fd;

	options.header_ns = 20 * MSEC;
	served_open(&options);
	fd = served_pair();
	if (said[_i].hello) {
		lz_ps_put(LZ_PS_24, &probe, bytes);
		bytes[24] = 200; /* the hello's length */
	} else {
		lz_ps_put(LZ_PS_32, &get, bytes);
	}
	say_bytes(fd, bytes, said[_i].len);
	if (said[_i].hello)
		ck_assert(hear_bytes(fd, answer, 4));
	gone_after(options.header_ns);
	ck_assert_uint_eq(served_logged("event=client-dropped", "half a word"), 1);
	hear_end(fd);
	served_close();
}
END_TEST

/* It is never in the middle of the same word for long. */
START_TEST(words_cut_anywhere_are_no_half_words)
{
	uint8_t bytes[2 * LZ_PS_32];
	struct lz_ps_header h = { .cmd = LZ_PS_GET, .vaddr = BASE, .nr_pages = 1, .dst_id = 7 };
	int fd, idle;

	options.header_ns = 50 * MSEC;
	served_open(&options);
	fd = served_pair();
	idle = served_pair();
	say_bytes(idle, "x", 1);
	lz_ps_put(LZ_PS_32, &h, bytes);
	lz_ps_put(LZ_PS_32, &h, bytes + LZ_PS_32);
	say_bytes(fd, bytes, 9);
	/* Another one, which said its half word at the beginning, is dropped for it meanwhile. */
	for (uint64_t n = 0; n < 20; n++) {
		say_bytes(fd, bytes + 9, LZ_PS_32);
		ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 0), 1);
		served_later(options.header_ns / 2);
	}
	ck_assert_uint_eq(served_stats().clients_dropped, 1);
	close(fd);
	close(idle);
	served_close();
}
END_TEST

START_TEST(neither_asks_nor_takes)
{
	int asks_not, takes_not, busy;

	options.idle_ns = 100 * MSEC;
	served_open(&options);
	asks_not = served_pair();
	ask_plain(asks_not, LZ_PS_24, 0, 1);
	hear_plain(asks_not, LZ_PS_24, 0);
	takes_not = served_pair();
	ask_plain(takes_not, LZ_PS_24, 512, 1024);
	busy = served_pair();
	while (served_stats().clients_dropped < 2) {
		ask_plain(busy, LZ_PS_24, 0, 1);
		hear_plain(busy, LZ_PS_24, 0);
		served_later(options.idle_ns / 2);
	}
	ck_assert_uint_eq(served_logged("event=client-dropped", "neither asks nor takes"), 2);
	ck_assert_uint_eq(served_stats().nr_clients, 1);
	close(asks_not);
	close(takes_not);
	close(busy);
	served_close();
}
END_TEST

START_TEST(does_not_close)
{
	int32_t status;
	int fd;

	options.close_ns = 20 * MSEC;
	options.once = true;
	served_open(&options);
	fd = served_pair();
	say_header(fd, LZ_PS_24, LZ_PS_FORCE_CLOSE, 0, 0, 0);
	ck_assert(hear_bytes(fd, &status, sizeof(status)));
	served_later(options.close_ns - 1);
	ck_assert(!served.done);
	served_later(1);
	ck_assert(served.done);
	ck_assert_uint_eq(served_logged("event=client-gone", "has all it wants"), 1);
	ck_assert_uint_eq(served_stats().clients_dropped, 0);
	served_close();
	hear_end(fd);
}
END_TEST

/* The sentence arrives, then the stream ends; who does not end his side is cut off. */
START_TEST(another_dump)
{
	struct lz_ps_header probe = { .cmd = LZ_PS_PARENT, .dst_id = LZ_PS_PROBE };
	struct lz_hello h = { .version = LZ_HELLO_VERSION, .page_size = PAGE };
	uint8_t bytes[LZ_PS_32 + LZ_HELLO_MAX], frame[LZ_HELLO_MAX];
	struct lz_welcome w;
	size_t len = lz_ps_put(LZ_PS_32, &probe, bytes);
	int64_t n;
	int fd;

	options.close_ns = _i ? 20 * MSEC : LONG;
	served_open(&options);
	fd = served_pair();
	len += lz_hello_put(&h, bytes + len);
	say_bytes(fd, bytes, len);
	/* What a client says before it has read the refusal must not reset the connection. */
	ask_plain(fd, LZ_PS_32, 0, 1);
	ck_assert(hear_bytes(fd, frame, 4));
	ck_assert_mem_eq(frame, LZ_PS_ANSWER, 4);
	ck_assert(hear_bytes(fd, frame, 4));
	n = lz_hello_frame(frame, 4);
	ck_assert_int_gt(n, 4);
	ck_assert(hear_bytes(fd, frame + 4, (size_t)n - 4));
	ck_assert_int_eq(lz_hello_get_welcome(frame + 4, (size_t)n - 4, &w), 0);
	ck_assert_ptr_nonnull(strstr(w.refusal, "dump"));
	if (_i) {
		gone_after(options.close_ns);
		hear_end(fd);
	} else {
		close(fd);
		served_run();
	}
	ck_assert_uint_eq(served_stats().nr_clients, 0);
	ck_assert_uint_eq(served_logged("event=client-refused peer=unix", "dump"), 1);
	ck_assert_uint_eq(served.nr_lines, 1);
	ck_assert_uint_eq(served_stats().clients_refused, 1);
	served_close();
}
END_TEST

static void garbage(uint8_t *bytes, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

/* A line each and no harm to who means it. */
START_TEST(a_thousand_times_garbage)
{
	uint8_t bytes[100];
	int fd[10], good;

	served_open(&options);
	good = served_pair();
	for (uint32_t round = 0; round < 100; round++) {
		for (uint32_t i = 0; i < 10; i++) {
			garbage(bytes, sizeof(bytes), round * 10 + i);
			fd[i] = served_pair();
			say_bytes(fd[i], bytes, sizeof(bytes));
		}
		ask_plain(good, LZ_PS_32, round, 1);
		hear_plain(good, LZ_PS_32, round);
		for (int i = 0; i < 10; i++)
			hear_end(fd[i]);
	}
	ck_assert_uint_eq(served_stats().nr_clients, 1);
	ck_assert_uint_eq(served_stats().clients_dropped, 1000);
	ck_assert_uint_eq(served_logged("event=client-dropped peer=unix", ""), 1000);
	ck_assert_uint_eq(served.nr_lines, 1001);
	close(good);
	served_close();
}
END_TEST

/* The log does not grow with what comes in. */
START_TEST(the_log_is_bounded)
{
	served_open(&options);
	for (int i = 0; i < 6000; i++) {
		int fd = served_pair();

		say_bytes(fd, "nonsense, nonsense, nonsense, nonsense", 38);
		hear_end(fd);
	}
	ck_assert_uint_eq(served_stats().clients_dropped, 6000);
	ck_assert_uint_lt(served.nr_lines, 4000);
	served_close();
}
END_TEST

START_TEST(too_many_clients)
{
	struct sockaddr_storage a;
	int fd[3], more[20], len;

	options.max_clients = 3;
	served_open(&options);
	len = served_listen(AF_INET, &a, sizeof(a));
	for (int i = 0; i < 3; i++) {
		fd[i] = served_pair();
		ask_plain(fd[i], LZ_PS_32, 0, 1);
	}
	ck_assert_int_eq(lz_server_accept(served.server, fd[0]), -EUSERS);
	for (int i = 0; i < 20; i++) {
		more[i] = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(more[i], (struct sockaddr *)&a, (socklen_t)len), 0);
	}
	for (int i = 0; i < 20; i++)
		hear_end(more[i]);
	ck_assert_uint_eq(served_logged("event=client-refused peer=127.0.0.1:", "too many"), 20);
	ck_assert_uint_eq(served_stats().clients_refused, 20);
	for (int i = 0; i < 3; i++)
		hear_plain(fd[i], LZ_PS_32, 0);
	close(fd[1]);
	while (served_stats().nr_clients == 3)
		served_turn();
	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd[1], (struct sockaddr *)&a, (socklen_t)len), 0);
	ask_plain(fd[1], LZ_PS_32, 0, 1);
	hear_plain(fd[1], LZ_PS_32, 0);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	served_close();
}
END_TEST

/* Who waits in the backlog while no descriptor is free is served when there is
 * one, without spinning. */
START_TEST(no_descriptor_is_free)
{
	struct rlimit old, now;
	int fd, taken[64], nr = 0, other;
	unsigned turns = 0;

	options.clock = NULL;
	served_open(&options);
	fd = served_tcp(AF_INET);
	other = served_pair();
	getrlimit(RLIMIT_NOFILE, &old);
	now = old;
	now.rlim_cur = (rlim_t)other + 8;
	setrlimit(RLIMIT_NOFILE, &now);
	while (nr < 64 && (taken[nr] = dup(0)) >= 0)
		nr++;
	ask_plain(other, LZ_PS_32, 0, 1);
	hear_plain(other, LZ_PS_32, 0);
	while (!served_logged("event=accept-failed", "")) {
		served_turn();
		ck_assert_uint_lt(turns++, 10);
	}
	while (nr)
		close(taken[--nr]);
	setrlimit(RLIMIT_NOFILE, &old);
	ask_plain(fd, LZ_PS_32, 0, 1);
	for (turns = 0; served_stats().nr_clients < 2; turns++)
		served_turn();
	ck_assert_uint_lt(turns, 10);
	hear_plain(fd, LZ_PS_32, 0);
	close(fd);
	close(other);
	served_close();
}
END_TEST

/* Neither a silent client nor a read that takes its time costs anything. */
START_TEST(idle_is_idle)
{
	struct timespec a, b;
	int fd;

	options.clock = NULL;
	served_open(&options);
	fd = served_pair();
	ask_plain(fd, LZ_PS_32, 0, 1);
	hear_plain(fd, LZ_PS_32, 0);
	ask_plain(fd, LZ_PS_32, 3000, 16); /* a read that does not end */
	served_run();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(lz_server_turn(served.server, 30 * MSEC), 1);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	ck_assert_int_lt((b.tv_sec - a.tv_sec) * 1000 * MSEC + b.tv_nsec - a.tv_nsec, 10 * MSEC);
	served_thaw(3000, 16);
	ck_assert_uint_eq(hear_plain(fd, LZ_PS_32, 3000), 16);
	close(fd);
	served_close();
}
END_TEST

/* So many requests, each there before it is waited for: how many of the waits began awake. */
static uint64_t looks(struct asking *c, unsigned nr)
{
	const struct lz_ps_range one = { BASE, 1 };
	uint64_t before = served_stats().looks;
	struct lz_asker_event ev;

	while (nr--) {
		asking_ask(c, 1, &one, 1);
		ck_assert(asking_next(c, &ev));
		ck_assert_uint_eq(ev.nr, 1);
	}
	return served_stats().looks - before;
}

/* It is looked for who waits for a page. A drain has nobody who does, and ends it. */
START_TEST(looks_for_who_waits)
{
	struct asking *demand, *bulk;

	options.clock = NULL;
	options.busy_poll_ns = TURN_NS / 2;
	served_open(&options);
	demand = asking_new(served_pair(), LZ_HELLO_DEMAND, 1);
	bulk = asking_new(served_pair(), LZ_HELLO_BULK, 1);
	ck_assert_uint_eq(looks(bulk, 64), 0);
	ck_assert_uint_gt(looks(demand, 64), 32);
	ck_assert_uint_gt(looks(bulk, 64), 0);
	ck_assert_uint_eq(looks(bulk, 64), 0);
	asking_free(demand);
	asking_free(bulk);
	served_close();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server_limits");
	TCase *t = tcase_create("limits");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(t, reset, NULL);
	tcase_add_test(t, silence);
	tcase_add_loop_test(t, half_words, 0, 5);
	tcase_add_test(t, words_cut_anywhere_are_no_half_words);
	tcase_add_test(t, neither_asks_nor_takes);
	tcase_add_test(t, does_not_close);
	tcase_add_loop_test(t, another_dump, 0, 2);
	tcase_add_test(t, a_thousand_times_garbage);
	tcase_add_test(t, the_log_is_bounded);
	tcase_add_test(t, too_many_clients);
	tcase_add_test(t, no_descriptor_is_free);
	tcase_add_test(t, idle_is_idle);
	tcase_add_test(t, looks_for_who_waits);
	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	return run_suite(s);
}
