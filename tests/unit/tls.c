/* SPDX-License-Identifier: MIT */
/*
 * TLS over socket pairs, between two who trust each other: handshakes a byte at a time, records,
 * how it ends, and sessions of processes that were cloned. Who is refused is in tls_refused.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tls_ends.h"

enum { LIMIT = 100000 };

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(shakes_hands_and_talks)
{
	uint8_t word[16];

	connect_both();
	ck_assert_str_eq(lz_tls_peer(client.s), CERTS_NAME);
	ck_assert_str_eq(lz_tls_peer(server.s), CERTS_NAME);
	ck_assert_str_eq(lz_tls_why(client.s), "");
	ck_assert_int_eq(lz_tls_handshake(client.s), 0);
	ck_assert_int_eq(take(&server, word, sizeof(word)), -EAGAIN);
	ck_assert(!lz_tls_has_pending(server.s) && !lz_tls_wants_out(server.s));
	ck_assert_int_eq(give(&client, "hello", 5), 5);
	ck_assert_int_eq(take(&server, word, sizeof(word)), 5);
	ck_assert_mem_eq(word, "hello", 5);
	ck_assert_int_eq(give(&server, "world!", 6), 6);
	ck_assert_int_eq(take(&client, word, sizeof(word)), 6);
	ck_assert_mem_eq(word, "world!", 6);
}
END_TEST

/* A wire between two pairs that carries one byte at a time. */
START_TEST(shakes_hands_a_byte_at_a_time)
{
	int c[2], s[2];
	uint8_t byte;
	int turns = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, c), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	close(client.fd);
	close(server.fd);
	client.fd = c[0];
	server.fd = s[0];
	begin(&client, CERTS_GOOD, CERTS_NAME);
	begin(&server, CERTS_GOOD, NULL);
	while (client.ret == -EAGAIN || server.ret == -EAGAIN) {
		ck_assert_int_lt(turns++, LIMIT);
		if (read(c[1], &byte, 1) == 1)
			ck_assert_int_eq(write(s[1], &byte, 1), 1);
		if (read(s[1], &byte, 1) == 1)
			ck_assert_int_eq(write(c[1], &byte, 1), 1);
		if (client.ret == -EAGAIN)
			client.ret = lz_tls_handshake(client.s);
		if (server.ret == -EAGAIN)
			server.ret = lz_tls_handshake(server.s);
	}
	ck_assert_int_eq(client.ret, 0);
	ck_assert_int_eq(server.ret, 0);
	ck_assert_int_gt(turns, 500);
	/* Then a record, likewise. */
	ck_assert_int_eq(give(&client, "x", 1), 1);
	while (read(c[1], &byte, 1) == 1) {
		ck_assert_int_eq(take(&server, got, 10), -EAGAIN);
		ck_assert_int_eq(write(s[1], &byte, 1), 1);
	}
	ck_assert_int_eq(take(&server, got, 10), 1);
	close(c[1]);
	close(s[1]);
}
END_TEST

/* What has been taken from the socket and not been asked for is not forgotten. */
START_TEST(says_what_is_pending)
{
	connect_both();
	ck_assert_int_eq(give(&client, sent, 20000), 20000);
	ck_assert_int_eq(take(&server, got, 100), 100);
	ck_assert(!readable(server.fd));
	for (int n = 100; n < 20000; n += 100) {
		ck_assert(lz_tls_has_pending(server.s));
		ck_assert_int_eq(take(&server, got + n, 100), 100);
	}
	ck_assert_int_eq(take(&server, got, 100), -EAGAIN);
	ck_assert(!lz_tls_has_pending(server.s));
	ck_assert_mem_eq(got + 100, sent + 100, 19900);
}
END_TEST

/* Into a socket that is full again and again, from vectors of all sizes; read in pieces of any. */
START_TEST(sends_in_parts)
{
	static const size_t cuts[] = { 1, 24, 4096, 1, 65536, 16384, 16385, 7, 100000, 32, 4096 };
	size_t at = 0, had = 0, step = 0;
	int small = 4096, idle = 0;

	setsockopt(client.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	connect_both();
	if (_i)
		lz_tls_join(client.s);
	while (had < BIG) {
		struct iovec iov[11];
		size_t nr = 0, len = 0;
		int64_t n;

		for (; nr < 11 && at + len < BIG; nr++) {
			size_t cut = cuts[(step + nr) % 11];

			cut = cut < BIG - at - len ? cut : BIG - at - len;
			iov[nr] = (struct iovec){ sent + at + len, cut };
			len += cut;
		}
		n = nr ? lz_tls_send(client.s, iov, nr) : -EAGAIN;
		ck_assert(n == -EAGAIN || (n > 0 && n <= (int64_t)len));
		at += n > 0 ? (size_t)n : 0;
		step += 3;
		n = take(&server, got + had, 1 + (step * 5003) % 50000 % (BIG - had));
		ck_assert(n == -EAGAIN || n > 0);
		had += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		ck_assert_int_lt(idle, 100);
	}
	/* All that is said to be sent is out of our hands, and nothing else. */
	ck_assert_uint_eq(at, BIG);
	ck_assert_mem_eq(got, sent, BIG);
	ck_assert_int_eq(take(&server, got, 1), -EAGAIN);
}
END_TEST

/* A header in a record of its own, unless told otherwise: CRIU wants it so. */
START_TEST(joins_when_told)
{
	struct iovec iov[2] = { { sent, 24 }, { sent + 24, 4096 } };

	connect_both();
	if (_i)
		lz_tls_join(client.s);
	ck_assert_int_eq(lz_tls_send(client.s, iov, 2), 4120);
	/* On the wire: a header of five bytes, which has the length of what follows. */
	ck_assert_int_gt(recv(server.fd, got, BIG, MSG_PEEK), 4120);
	ck_assert_int_eq(got[3] << 8 | got[4], (_i ? 4120 : 24) + 17);
}
END_TEST

START_TEST(ends_in_an_orderly_way)
{
	connect_both();
	ck_assert_int_eq(give(&client, "bye", 3), 3);
	lz_tls_session_free(client.s, true);
	client.s = NULL;
	shutdown(client.fd, SHUT_RDWR);
	ck_assert_int_eq(take(&server, got, 100), 3);
	ck_assert_int_eq(take(&server, got, 100), 0);
	ck_assert(lz_tls_has_pending(server.s));
	ck_assert_int_eq(take(&server, got, 100), 0);
}
END_TEST

START_TEST(is_cut)
{
	connect_both();
	ck_assert_int_eq(give(&client, "bye", 3), 3);
	shutdown(client.fd, SHUT_RDWR);
	ck_assert_int_eq(take(&server, got, 100), 3);
	ck_assert_int_eq(take(&server, got, 100), -ECONNRESET);
	ck_assert_str_eq(lz_tls_why(server.s), "in TLS: it has cut the connection");
	ck_assert_int_eq(take(&server, got, 100), -ECONNRESET);
	ck_assert_int_eq(give(&server, "?", 1), -ECONNRESET);
}
END_TEST

/* What the peer said before it went is heard, by who finds that nothing can be sent any more. */
START_TEST(a_last_word_is_heard)
{
	connect_both();
	ck_assert_int_eq(give(&server, "no!", 3), 3);
	close(server.fd);
	server.fd = -1;
	ck_assert_int_eq(give(&client, "?", 1), -EPIPE);
	ck_assert_str_eq(lz_tls_why(client.s), "");
	ck_assert_int_eq(take(&client, got, 100), 3);
	ck_assert_int_eq(give(&client, "?", 1), -EPIPE);
	ck_assert_int_eq(take(&client, got, 100), -ECONNRESET);
}
END_TEST

START_TEST(a_record_is_damaged)
{
	uint8_t record[256];
	ssize_t n;

	connect_both();
	ck_assert_int_eq(give(&client, "hello", 5), 5);
	n = recv(server.fd, record, sizeof(record), 0);
	record[n - 1] ^= 1;
	ck_assert_int_eq(send(client.fd, record, (size_t)n, 0), n);
	ck_assert_int_eq(take(&server, got, 100), -EPROTO);
	ck_assert_ptr_nonnull(strstr(lz_tls_why(server.s), "in TLS: "));
	/* And the other end is told. */
	ck_assert_int_eq(take(&client, got, 100), -EACCES);
}
END_TEST

/* ---- random numbers ---- */

/* The random bytes of the hello that a new process with a shared descriptor table says. */
static void hello_of_a_clone(uint8_t random[32])
{
	uint8_t hello[4096];
	struct lz_tls_session *s;
	int fd[2], status;
	long pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(lz_tls_session_new(&s, client.tls, fd[0], false) ||
		      lz_tls_handshake(s) != -EAGAIN);
	ck_assert_int_eq(waitpid((pid_t)pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_gt(recv(fd[1], hello, sizeof(hello), 0), 100);
	ck_assert(lz_tls_is_hello(hello, 2));
	memcpy(random, hello + 11, 32);
	close(fd[0]);
	close(fd[1]);
}

/* Workers of a keeper that has spoken TLS itself, or has only read the files. */
START_TEST(clones_have_random_numbers_of_their_own)
{
	uint8_t random[2][32];

	if (_i)
		connect_both();
	else
		client.tls = certs_tls(CERTS_GOOD, CERTS_NAME);
	hello_of_a_clone(random[0]);
	hello_of_a_clone(random[1]);
	ck_assert_mem_ne(random[0], random[1], 32);
}
END_TEST

/* And shake hands with what was read before they were there. */
START_TEST(clones_use_what_was_read_before)
{
	struct lz_tls *tls;
	int status, fd[2];
	long pid;

	connect_both();
	tls = client.tls;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		struct lz_tls_session *s;
		struct pollfd p = { .fd = fd[0], .events = POLLIN };
		int ret = lz_tls_session_new(&s, tls, fd[0], false);

		while (!ret && (ret = lz_tls_handshake(s)) == -EAGAIN)
			ret = poll(&p, 1, 20000) == 1 ? 0 : -ETIMEDOUT;
		_exit(ret != 0);
	}
	lz_tls_session_free(server.s, false);
	ck_assert_int_eq(lz_tls_session_new(&server.s, server.tls, fd[1], true), 0);
	for (server.ret = -EAGAIN; server.ret == -EAGAIN;) {
		struct pollfd p = { .fd = fd[1], .events = POLLIN };

		server.ret = lz_tls_handshake(server.s);
		if (server.ret == -EAGAIN)
			ck_assert_int_eq(poll(&p, 1, 20000), 1);
	}
	ck_assert_int_eq(server.ret, 0);
	ck_assert_int_eq(waitpid((pid_t)pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");

	certs_make();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, shakes_hands_and_talks);
	tcase_add_test(t, shakes_hands_a_byte_at_a_time);
	tcase_add_test(t, says_what_is_pending);
	tcase_add_loop_test(t, sends_in_parts, 0, 2);
	tcase_add_loop_test(t, joins_when_told, 0, 2);
	tcase_add_test(t, ends_in_an_orderly_way);
	tcase_add_test(t, is_cut);
	tcase_add_test(t, a_last_word_is_heard);
	tcase_add_test(t, a_record_is_damaged);
	tcase_add_loop_test(t, clones_have_random_numbers_of_their_own, 0, 2);
	tcase_add_test(t, clones_use_what_was_read_before);
	suite_add_tcase(s, t);
	return run_suite(s);
}
