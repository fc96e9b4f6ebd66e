/* SPDX-License-Identifier: MIT */
/*
 * What the page server answers: to a CRIU of either header and to a lazyd, whoever else takes what
 * it has asked for, or does not. Its clients, as such, are in server_clients.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <string.h>
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

int main(void)
{
	Suite *s = suite_create("server");
	TCase *t = tcase_create("serves");

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
	tcase_add_loop_test(t, who_takes_nothing_costs_nobody_else, 0, 2);
	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	return run_suite(s);
}
