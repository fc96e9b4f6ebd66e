/* SPDX-License-Identifier: MIT */
/* The page server with TLS: who gets pages, who is refused and told why,
 * and what a bad handshake costs the others. */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iouring/net.h"
#include "tests/lib/certs.h"
#include "tests/lib/scratch.h"
#include "tests/lib/served.h"
#include "tests/lib/suite.h"

enum { MANY = 30 }; /* the log holds back more */

static struct lz_server_options options;
static struct lz_tls *ours, *theirs;

static void setup(void)
{
	ours = certs_tls(CERTS_GOOD, NULL);
	theirs = certs_tls(CERTS_GOOD, CERTS_NAME);
	options = (struct lz_server_options){ .tls = ours };
}

static void teardown(void)
{
	served_close();
	lz_tls_free(ours);
	lz_tls_free(theirs);
}

/* The client's end, its handshake done; what failed is in @ret. */
static struct lz_tls_session *secure(int fd, const struct lz_tls *tls, int *ret)
{
	struct lz_tls_session *s;

	ck_assert_int_eq(lz_tls_session_new(&s, tls, fd, false), 0);
	while ((*ret = lz_tls_handshake(s)) == -EAGAIN)
		served_turn();
	return s;
}

static int pair(void)
{
	int fd = served_pair();
	struct timeval none = { .tv_usec = 1 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	return fd;
}

static void say(struct lz_tls_session *s, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	while (iov.iov_len) {
		int64_t n = lz_tls_send(s, &iov, 1);

		ck_assert(n > 0 || n == -EAGAIN);
		if (n < 0)
			served_turn();
		else
			iov = (struct iovec){ (uint8_t *)iov.iov_base + n,
					      iov.iov_len - (size_t)n };
	}
}

/* Bytes, or how it ended: 0 or -errno. */
static int64_t hear_all(struct lz_tls_session *s, void *to, size_t len)
{
	size_t at = 0;

	while (at < len) {
		struct iovec iov = { (uint8_t *)to + at, len - at };
		int64_t n = lz_tls_recv(s, &iov, 1);

		if (n == -EAGAIN)
			served_turn();
		else if (n <= 0)
			return n;
		else
			at += (size_t)n;
	}
	return (int64_t)at;
}

static void ask(struct lz_tls_session *s, uint64_t page, uint64_t nr)
{
	struct lz_ps_header h = {
		.cmd = LZ_PS_GET, .vaddr = BASE + page * PAGE, .nr_pages = nr, .dst_id = SERVED_PID
	};
	uint8_t bytes[LZ_PS_HEADER_MAX];

	say(s, bytes, lz_ps_put(LZ_PS_32, &h, bytes));
}

/* Its pages, and they are right; returns how many. */
static uint64_t hear_pages(struct lz_tls_session *s, uint64_t page)
{
	uint8_t bytes[PAGE];
	struct lz_ps_header h;

	ck_assert_int_eq(hear_all(s, bytes, LZ_PS_32), LZ_PS_32);
	lz_ps_get(LZ_PS_32, bytes, &h);
	ck_assert_uint_eq(h.vaddr, BASE + page * PAGE);
	for (uint64_t i = 0; i < h.nr_pages; i++) {
		ck_assert_int_eq(hear_all(s, bytes, PAGE), PAGE);
		ck_assert(served_is(page + i, bytes));
	}
	return h.nr_pages;
}

static void leave(struct lz_tls_session *s, int fd)
{
	lz_tls_session_free(s, true);
	close(fd);
}

START_TEST(gives_pages)
{
	struct lz_ps_header h = { .cmd = LZ_PS_CLOSE };
	uint8_t bytes[LZ_PS_HEADER_MAX];
	struct lz_tls_session *s;
	int fd, ret;

	options.once = true;
	served_open(&options);
	fd = pair();
	s = secure(fd, theirs, &ret);
	ck_assert_int_eq(ret, 0);
	/* More than a turn's worth of encrypting, and requests that come in one record. */
	for (uint64_t page = 512; page < 2048; page += 512)
		ask(s, page, 512);
	for (uint64_t page = 512, nr; page < 2048; page += nr) {
		nr = hear_pages(s, page);
		ck_assert_uint_eq(nr, 512);
	}
	say(s, bytes, lz_ps_put(LZ_PS_32, &h, bytes));
	ck_assert_int_eq(hear_all(s, bytes, 4), 4);
	ck_assert_mem_eq(bytes, "\0\0\0\0", 4);
	leave(s, fd);
	while (served_turn())
		continue;
	ck_assert_uint_eq(served_logged("event=client ", "cert=\"source.test\""), 1);
	ck_assert_uint_eq(served_logged("event=client-gone", "has all it wants"), 1);
	ck_assert_uint_eq(served_stats().clients_dropped, 0);
}
END_TEST

/* It asks for all at once and takes it in small pieces, while its socket is full. */
START_TEST(gives_pages_slowly)
{
	struct lz_tls_session *s;
	int fd, ret;

	served_open(&options);
	fd = pair();
	s = secure(fd, theirs, &ret);
	for (int i = 0; i < 40; i++)
		ask(s, 512, 64);
	served_run();
	for (int i = 0; i < 40; i++)
		ck_assert_uint_eq(hear_pages(s, 512), 64);
	leave(s, fd);
}
END_TEST

START_TEST(an_end_that_is_none)
{
	struct lz_tls_session *s;
	int fd, ret;

	options.once = true;
	served_open(&options);
	fd = pair();
	s = secure(fd, theirs, &ret);
	ask(s, 0, 1);
	ck_assert_uint_eq(hear_pages(s, 0), 1);
	/* Cut, not ended: the server does not take it for success. */
	lz_tls_session_free(s, false);
	close(fd);
	while (!served_logged("event=client-gone", "it has cut the connection"))
		ck_assert(served_turn());
	served_run();
	ck_assert(!served.done);
}
END_TEST

START_TEST(plain_text_is_refused)
{
	uint8_t bytes[64];
	int fd;

	served_open(&options);
	fd = served_pair();
	ask_plain(fd, LZ_PS_32, 0, 1);
	ck_assert(hear_bytes(fd, bytes, 7));
	ck_assert(lz_tls_is_alert(bytes, 7));
	hear_end(fd);
	ck_assert_uint_eq(served_logged("event=client-refused", "it does not speak TLS"), 1);
	ck_assert_uint_eq(served_stats().clients_refused, 1);
}
END_TEST

START_TEST(tls_is_refused_by_plain_text)
{
	struct lz_tls_session *s;
	int fd, ret;

	options.tls = NULL;
	served_open(&options);
	fd = pair();
	s = secure(fd, theirs, &ret);
	ck_assert_int_eq(ret, -EACCES);
	ck_assert_str_eq(lz_tls_why(s), "it does not speak TLS");
	served_run();
	ck_assert_uint_eq(
		served_logged("event=client-dropped", "it speaks TLS, and this server does not"),
		1);
	leave(s, fd);
}
END_TEST

START_TEST(a_bad_certificate_is_refused)
{
	struct lz_tls *bad = certs_tls(CERTS_OTHER_CA, CERTS_NAME);
	struct lz_tls_session *s;
	uint8_t byte;
	int fd, ret;

	served_open(&options);
	fd = pair();
	s = secure(fd, bad, &ret);
	ck_assert_int_eq(hear_all(s, &byte, 1), -EACCES);
	ck_assert_str_eq(lz_tls_why(s),
			 "it refuses our certificate: it does not trust who signed it");
	ck_assert_uint_eq(served_logged("event=client-refused", "signed by nobody who is trusted"),
			  1);
	ck_assert_uint_eq(served_stats().nr_clients, 0);
	leave(s, fd);
	lz_tls_free(bad);
}
END_TEST

/* The other way round: the client will not have the server; or says nothing of it, as a CRIU. */
START_TEST(the_server_is_refused)
{
	struct lz_tls *strict = certs_tls(CERTS_GOOD, "somebody.else");
	struct lz_tls_session *s;
	int fd, ret;

	served_open(&options);
	fd = pair();
	s = secure(fd, _i ? theirs : strict, &ret);
	ck_assert_int_eq(ret, _i ? 0 : -EACCES);
	leave(s, fd);
	served_run();
	if (_i)
		ck_assert_uint_eq(
			served_logged("event=client-gone", "right after the TLS handshake"), 1);
	else
		ck_assert_uint_eq(served_logged("event=client-refused", "expects another name"), 1);
	lz_tls_free(strict);
}
END_TEST

/* Half a handshake, silence, noise: each is dropped alone, in time,
 * and who means well is served meanwhile. */
START_TEST(bad_handshakes_cost_themselves)
{
	static const uint8_t half[] = { 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc };
	int fd[MANY], good, ret;
	struct lz_tls_session *s;
	uint8_t byte;

	options.clock = served_clock;
	options.header_ns = (uint64_t)(200 * MSEC);
	options.silent_ns = (uint64_t)(400 * MSEC);
	served_open(&options);
	for (int i = 0; i < MANY; i++) {
		fd[i] = served_pair();
		if (i % 3)
			say_bytes(fd[i], half, i % 3 == 1 ? 4 : sizeof(half));
	}
	good = pair();
	s = secure(good, theirs, &ret);
	ck_assert_int_eq(ret, 0);
	for (int i = 0; i < 20; i++) {
		ask(s, 0, 16);
		ck_assert_uint_eq(hear_pages(s, 0), 16);
	}
	served_later(options.header_ns);
	served_later(options.silent_ns);
	for (int i = 0; i < MANY; i++) {
		while (hear_bytes(fd[i], &byte, 1))
			continue;
		close(fd[i]);
	}
	ck_assert_uint_eq(served_logged("event=client-dropped", "does not get on with the TLS"),
			  MANY * 2 / 3);
	ck_assert_uint_eq(served_logged("event=client-dropped", "it has said nothing"), MANY / 3);
	leave(s, good);
}
END_TEST

/* A poll waits for the socket already when it turns out that the session has what it waits for. */
START_TEST(what_is_pending_completes_a_poll)
{
	struct lz_tls_session *s;
	struct lz_completion c;
	struct lz_net net = { .fd = -1 };
	struct lz_ring ring;
	uint8_t bytes[200];
	struct iovec iov = { bytes, 100 };
	bool out = true;
	int fd[2], ret[2] = { -EAGAIN, -EAGAIN };

	served_open(&options);
	ck_assert_int_eq(lz_ring_open(&ring, 8), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	lz_net_open(&net, fd[0], 3, LZ_NET_DEMAND);
	ck_assert_int_eq(lz_net_secure(&net, ours, true), 0);
	ck_assert_int_eq(lz_tls_session_new(&s, theirs, fd[1], false), 0);
	while (ret[0] == -EAGAIN || ret[1] == -EAGAIN) {
		ret[0] = lz_tls_handshake(s);
		ret[1] = lz_net_handshake(&net, &ring);
		ck_assert_msg(ret[1] == 0 || ret[1] == -EAGAIN, "%d %s", ret[1],
			      lz_net_error(&net, ret[1]));
	}
	ck_assert_int_eq(ret[0], 0);
	ck_assert_int_eq(ret[1], 0);
	/* The poll of the handshake is in the ring still. */
	say(s, bytes, 1);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	while (net.polls_in) {
		ck_assert_int_eq(lz_ring_wait(&ring, PATIENCE_NS), 0);
		ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
		ck_assert(lz_net_completed(&net, c.tag, &out));
	}
	ck_assert_int_eq(lz_net_recv(&net, &iov, 1), 1);
	if (_i) {
		ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
		ck_assert_int_eq(lz_ring_submit(&ring), 0);
	}
	say(s, bytes, sizeof(bytes));
	ck_assert_int_eq(lz_net_recv(&net, &iov, 1), 100);
	if (_i == 0)
		ck_assert(!net.polls_in);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	do {
		ck_assert_int_eq(lz_ring_wait(&ring, PATIENCE_NS), 0);
		ck_assert_uint_eq(lz_ring_reap(&ring, &c, 1), 1);
	} while (!lz_net_completed(&net, c.tag, &out));
	ck_assert(!out && !net.polls_in);
	ck_assert_int_eq(lz_net_recv(&net, &iov, 1), 100);
	ck_assert_int_eq(lz_net_recv(&net, &iov, 1), -EAGAIN);
	lz_tls_session_free(s, false);
	lz_net_close(&net, &ring);
	close(fd[1]);
	lz_ring_close(&ring);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server_tls");
	TCase *t = tcase_create("server_tls");

	if (!scratch_has_ring())
		return 77;
	certs_make();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, gives_pages);
	tcase_add_test(t, gives_pages_slowly);
	tcase_add_test(t, an_end_that_is_none);
	tcase_add_test(t, plain_text_is_refused);
	tcase_add_test(t, tls_is_refused_by_plain_text);
	tcase_add_test(t, a_bad_certificate_is_refused);
	tcase_add_loop_test(t, the_server_is_refused, 0, 2);
	tcase_add_test(t, bad_handshakes_cost_themselves);
	tcase_add_loop_test(t, what_is_pending_completes_a_poll, 0, 2);
	suite_add_tcase(s, t);
	return run_suite(s);
}
