/* SPDX-License-Identifier: MIT */
/*
 * A memory made by hand behind a server: what is in a piece comes as bytes, what is in an area only
 * as zeros, what is in none is lost; also when the file is changed or cut short under it.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/asker.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

enum { PAGE = 4096, TASK = 1, LARGE = 2 << 20 };
/* Area one has pages 0 .. 63, the pieces 8 .. 15 and 32 .. 47 of it;
 * area two is of large pages, two of them, and its second one is a piece. */
enum { AREA = 64, TWO = 1024, FILE_PAGES = 2048 };

static const uint8_t IDENTITY[LAZYD_IDENTITY_LEN] = { 7 };
static struct lazyd_server *server;
static int file, sock;
static struct lz_asker asker;
/* What was said of each page of the last request: 'b' bytes, 'z' zeros, 'l' lost, '.': nothing. */
static char said[4096 + 1];
static uint8_t page_bytes[PAGE];
static uint8_t a_page[PAGE] __attribute__((aligned(PAGE)));
static char logged[512]; /* the last line that says of bytes that they are lost */

static void fill_page(uint64_t number, uint8_t *to)
{
	for (unsigned i = 0; i < PAGE; i++)
		to[i] = (uint8_t)(number * 7 + i / 16 + 1);
}

static void add_piece(struct lazyd_memory *m, uint64_t first, uint64_t nr)
{
	ck_assert_int_eq(lazyd_memory_add_piece(m, first * PAGE, nr * PAGE, 0, first * PAGE), 0);
}

static void note_line(void *arg, enum lazyd_log level, const char *line)
{
	(void)arg;
	(void)level;
	if (strstr(line, "event=bytes-lost"))
		(void)snprintf(logged, sizeof(logged), "%s", line);
}

/* Drops @m: to one client, whose end is sock. */
static void serve_memory(struct lazyd_memory *m)
{
	struct lazyd_server_options o = { .size = sizeof(o),
					  .identity = IDENTITY,
					  .log = note_line };
	struct lz_asker_options a = { .layout = LZ_PS_32,
				      .hello = { .version = LZ_HELLO_VERSION, .page_size = PAGE } };
	int pair[2];

	logged[0] = '\0';
	ck_assert_int_eq(lazyd_server_new(&server, NULL, &o, NULL), 0);
	ck_assert_int_eq(lazyd_server_add(server, TASK, m), 0);
	lazyd_memory_put(m);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	ck_assert_int_eq(lazyd_server_accept(server, pair[0]), 0);
	sock = pair[1];
	memcpy(a.hello.identity, IDENTITY, sizeof(IDENTITY));
	lz_asker_init(&asker, &a);
}

static void setup(void)
{
	struct lazyd_memory *m;
	uint8_t page[PAGE];

	file = memfd_create("memory", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(file, (off_t)FILE_PAGES * PAGE), 0);
	for (uint64_t n = 0; n < FILE_PAGES; n++) {
		fill_page(n, page);
		ck_assert_int_eq(pwrite(file, page, PAGE, (off_t)(n * PAGE)), PAGE);
	}
	ck_assert_int_eq(lazyd_memory_new(&m), 0);
	ck_assert_int_eq(lazyd_memory_add_file(m, dup(file), "memory"), 0);
	ck_assert_int_eq(lazyd_memory_add_area(m, 0, AREA * PAGE, PAGE), 0);
	ck_assert_int_eq(lazyd_memory_add_area(m, (uint64_t)TWO * PAGE, 2 * LARGE, LARGE), 0);
	add_piece(m, 8, 8);
	add_piece(m, 32, 16);
	add_piece(m, TWO + LARGE / PAGE, LARGE / PAGE);
	serve_memory(m);
}

static void teardown(void)
{
	close(sock);
	close(file);
	lazyd_server_free(server);
}

static void send_bytes(const uint8_t *bytes, size_t len)
{
	ck_assert_int_eq(send(sock, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Exactly as many, in which the server has all the time it needs. */
static void receive(uint8_t *to, size_t len)
{
	while (len) {
		ssize_t n = recv(sock, to, len, 0);

		ck_assert(n > 0 || (n < 0 && errno == EAGAIN));
		if (n < 0) {
			ck_assert_int_eq(lazyd_server_turn(server, 20000000), 1);
			continue;
		}
		to += n;
		len -= (size_t)n;
	}
}

static void note(const struct lz_asker_event *ev, uint64_t first)
{
	char what = ev->type == LZ_ASKER_BYTES ? 'b' : ev->type == LZ_ASKER_ZEROS ? 'z' : 'l';
	uint8_t want[PAGE];

	for (uint64_t n = ev->first; n < ev->first + ev->nr; n++) {
		ck_assert_int_eq(said[n], '.');
		said[n] = what;
		if (what != 'b')
			continue;
		receive(page_bytes, PAGE);
		fill_page(first + n, want);
		ck_assert(!memcmp(page_bytes, want, PAGE));
		lz_asker_paid(&asker, PAGE);
	}
}

/* Until @nr pages from @first on have been answered; 0: until it is open. */
static void hear(uint64_t first, uint64_t nr)
{
	struct lz_asker_event ev;
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX], byte;
	size_t len;

	while (nr || !lz_asker_is_open(&asker)) {
		len = lz_asker_say(&asker, out);
		send_bytes(out, len);
		receive(&byte, 1);
		ck_assert_int_eq(lz_asker_take(&asker, &byte, 1, &ev), 1);
		if (ev.type == LZ_ASKER_MORE || ev.type == LZ_ASKER_OPEN)
			continue;
		note(&ev, first);
		nr -= ev.nr;
	}
}

/* @want: runs as "8z8b", one for each answer or more. */
static void ask(uint64_t first, uint64_t nr, const char *want)
{
	struct lz_ps_range range = { .vaddr = first * PAGE, .nr_pages = nr };
	uint8_t out[LZ_PS_HEADER_MAX + LZ_PS_RANGE_BYTES];
	uint64_t at = 0;
	char *end;

	hear(0, 0);
	memset(said, '.', sizeof(said) - 1);
	send_bytes(out, (size_t)lz_asker_ask(&asker, 0, TASK, &range, 1, out, sizeof(out)));
	hear(first, nr);
	while (*want) {
		uint64_t run = strtoull(want, &end, 10);

		for (uint64_t n = 0; n < run; n++, at++)
			ck_assert_msg(said[at] == *end, "page %d: %c, not %c", (int)(first + at),
				      said[at], *end);
		want = end + 1;
	}
	ck_assert_uint_eq(at, nr);
}

START_TEST(what_is_where)
{
	struct lazyd_server_stats n;

	ask(0, 80, "8z8b16z16b16z16l");
	ask(5, 4, "3z1b");
	ask(20, 1, "1z");
	ask(63, 2, "1z1l");
	ask(TWO - 1, 3, "1l2z");
	ask(TWO + 510, 4, "2z2b");
	ask(TWO + 1022, 4, "2b2l");
	ask(TWO + 100, 200, "200z");
	lazyd_server_stats(server, &n);
	ck_assert_uint_eq(n.pages, 8 + 16 + 1 + 2 + 2);
	ck_assert_uint_lt(n.bytes_sent, (n.pages + 1) * PAGE);
}
END_TEST

/* Holes were zero when it was decided what is in the file, and stay so. */
START_TEST(cut_short)
{
	ck_assert_int_eq(ftruncate(file, 40 * PAGE), 0);
	ask(0, 66, "8z8l16z16l16z2l");
	ck_assert_ptr_nonnull(strstr(logged, "has been written to"));
}
END_TEST

START_TEST(written_to)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1 } };

	ck_assert_int_eq(pwrite(file, "x", 1, 20 * PAGE), 1);
	ck_assert_int_eq(futimens(file, times), 0); /* else it may be the same tick of the clock */
	ask(0, 66, "8z8l16z16l16z2l");
}
END_TEST

/* Whose protocol has no word for zeros: they come as bytes. */
START_TEST(to_a_criu)
{
	struct lz_ps_header h = {
		.cmd = LZ_PS_GET, .nr_pages = 3, .vaddr = 14 * PAGE, .dst_id = TASK
	};
	uint8_t bytes[LZ_PS_HEADER_MAX], page[PAGE], want[PAGE];

	send_bytes(bytes, lz_ps_put(LZ_PS_32, &h, bytes));
	receive(bytes, LZ_PS_32);
	lz_ps_get(LZ_PS_32, bytes, &h);
	ck_assert_uint_eq(h.cmd, LZ_PS_ADD_F);
	ck_assert_uint_eq(h.nr_pages, 3);
	for (uint64_t n = 14; n < 17; n++) {
		receive(page, PAGE);
		memset(want, 0, PAGE);
		if (n < 16)
			fill_page(n, want);
		ck_assert(!memcmp(page, want, PAGE));
	}
}
END_TEST

/* That is said of the process, which has no file to be shorter than something. */
START_TEST(a_process_that_ends)
{
	pid_t child = fork();
	struct lazyd_memory *m;
	char path[64];

	if (!child)
		for (;;)
			pause();
	ck_assert_int_gt(child, 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	ck_assert_int_eq(lazyd_memory_new(&m), 0);
	ck_assert_int_eq(lazyd_memory_add_process(m, open(path, O_RDONLY | O_CLOEXEC), path), 0);
	ck_assert_int_eq(lazyd_memory_add_piece(m, (uintptr_t)a_page, PAGE, 0, 0), 0);
	serve_memory(m);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ask((uintptr_t)a_page / PAGE, 1, "1l");
	ck_assert_ptr_nonnull(strstr(logged, " the process has ended"));
	close(sock);
	lazyd_server_free(server);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("serve");
	TCase *t = tcase_create("serve"), *process = tcase_create("process");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_where);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, written_to);
	tcase_add_test(t, to_a_criu);
	tcase_set_timeout(process, 60);
	tcase_add_test(process, a_process_that_ends);
	suite_add_tcase(s, t);
	suite_add_tcase(s, process);
	return run_suite(s);
}
