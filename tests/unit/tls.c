/* SPDX-License-Identifier: MIT */
/* TLS over socket pairs: handshakes a byte at a time, records, ends,
 * and peers that are not to be had. */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/certs.h"
#include "tests/lib/suite.h"

enum { BIG = 1 << 20, LIMIT = 100000 };

struct end {
	struct lz_tls *tls;
	struct lz_tls_session *s;
	int fd, ret;
};

static struct end client, server;
static uint8_t sent[BIG], got[BIG];

static void setup(void)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	client = (struct end){ .fd = fd[0] };
	server = (struct end){ .fd = fd[1] };
	for (unsigned i = 0; i < BIG; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
}

static void finish(struct end *e)
{
	if (e->s)
		lz_tls_session_free(e->s, false);
	lz_tls_free(e->tls);
	close(e->fd);
}

static void teardown(void)
{
	finish(&client);
	finish(&server);
}

static void begin(struct end *e, enum certs_kind kind, const char *name)
{
	e->tls = certs_tls(kind, name);
	ck_assert_int_eq(lz_tls_session_new(&e->s, e->tls, e->fd, e == &server), 0);
	e->ret = -EAGAIN;
}

static int64_t give(struct end *e, const void *bytes, size_t len)
{
	return lz_tls_send(e->s, &(struct iovec){ (void *)(uintptr_t)bytes, len }, 1);
}

static int64_t take(struct end *e, void *to, size_t len)
{
	return lz_tls_recv(e->s, &(struct iovec){ to, len }, 1);
}

/* Both go on until neither can. */
static void shake(void)
{
	for (int i = 0; i < 20; i++) {
		if (client.ret == -EAGAIN)
			client.ret = lz_tls_handshake(client.s);
		if (server.ret == -EAGAIN)
			server.ret = lz_tls_handshake(server.s);
	}
}

static void connect_both(void)
{
	begin(&client, CERTS_GOOD, CERTS_NAME);
	begin(&server, CERTS_GOOD, NULL);
	shake();
	ck_assert_int_eq(client.ret, 0);
	ck_assert_int_eq(server.ret, 0);
}

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

/* ---- who is refused ---- */

static const struct {
	enum certs_kind kind;
	const char *here, *there;
} bad[] = {
	{ CERTS_EXPIRED, "its certificate (of source.test) has expired",
	  "it refuses our certificate: it has expired, or is not valid yet" },
	{ CERTS_NOT_YET, "its certificate (of source.test) is not valid yet",
	  "it refuses our certificate: it has expired, or is not valid yet" },
	{ CERTS_SELF_SIGNED, "its certificate (of source.test) is signed by itself",
	  "it refuses our certificate: it does not trust who signed it" },
	{ CERTS_OTHER_CA,
	  "its certificate (of source.test) is signed by nobody who is trusted here",
	  "it refuses our certificate: it does not trust who signed it" },
	{ CERTS_REVOKED, "its certificate (of source.test) has been revoked",
	  "it refuses our certificate: it has been revoked" },
	{ CERTS_WRONG_NAME, "its certificate (of elsewhere.test) does not name source.test",
	  "it refuses our certificate: it expects another name in it" },
};
enum { NR_BAD = sizeof(bad) / sizeof(bad[0]) };

static void refused(struct end *by, struct end *whom, int i)
{
	ck_assert_int_eq(by->ret, -EACCES);
	ck_assert_str_eq(lz_tls_why(by->s), bad[i].here);
	/* In TLS 1.3 a client learns of it when it is done already. */
	if (whom->ret == 0)
		whom->ret = (int)take(whom, got, 1);
	ck_assert_int_eq(whom->ret, -EACCES);
	ck_assert_str_eq(lz_tls_why(whom->s), bad[i].there);
	ck_assert_int_eq(take(by, got, 1), -EACCES);
	ck_assert_int_eq(give(by, got, 1), -EACCES);
	ck_assert_int_eq(lz_tls_handshake(by->s), -EACCES);
}

START_TEST(a_bad_server_is_refused)
{
	begin(&client, CERTS_GOOD, CERTS_NAME);
	begin(&server, bad[_i].kind, NULL);
	shake();
	refused(&client, &server, _i);
}
END_TEST

START_TEST(a_bad_client_is_refused)
{
	begin(&client, bad[_i].kind, CERTS_NAME);
	begin(&server, CERTS_GOOD, NULL);
	shake();
	if (bad[_i].kind == CERTS_WRONG_NAME) {
		/* Clients have no address that they would have to name. */
		ck_assert_int_eq(server.ret, 0);
		return;
	}
	refused(&server, &client, _i);
}
END_TEST

START_TEST(any_name_will_do_if_none_is_asked_for)
{
	begin(&client, CERTS_GOOD, NULL);
	begin(&server, CERTS_WRONG_NAME, NULL);
	shake();
	ck_assert_int_eq(client.ret, 0);
	ck_assert_str_eq(lz_tls_peer(client.s), "elsewhere.test");
}
END_TEST

START_TEST(a_client_without_a_certificate_is_refused)
{
	gnutls_certificate_credentials_t none;
	gnutls_session_t g;
	int ret;

	begin(&server, CERTS_GOOD, NULL);
	gnutls_certificate_allocate_credentials(&none);
	gnutls_init(&g, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
	gnutls_priority_set_direct(g, _i ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL", NULL);
	gnutls_credentials_set(g, GNUTLS_CRD_CERTIFICATE, none);
	gnutls_transport_set_int(g, client.fd);
	for (int i = 0; i < 20; i++) {
		ret = gnutls_handshake(g);
		if (server.ret == -EAGAIN)
			server.ret = lz_tls_handshake(server.s);
	}
	(void)ret;
	ck_assert_int_eq(server.ret, -EACCES);
	ck_assert_str_eq(lz_tls_why(server.s), "it has sent no certificate");
	gnutls_deinit(g);
	gnutls_certificate_free_credentials(none);
}
END_TEST

/* ---- who does not speak TLS ---- */

START_TEST(plain_text_is_refused)
{
	struct end *e = _i ? &client : &server, *other = _i ? &server : &client;
	ssize_t n;

	begin(e, CERTS_GOOD, NULL);
	ck_assert_int_eq(lz_tls_handshake(e->s), -EAGAIN);
	ck_assert_int_eq(send(other->fd, "\5\0\0\0", 4, 0), 4);
	ck_assert_int_eq(lz_tls_handshake(e->s), -EACCES);
	ck_assert_str_eq(lz_tls_why(e->s), "it does not speak TLS");
	/* It gets an alert, whose first bytes say so. */
	n = recv(other->fd, got, BIG, 0);
	if (_i) {
		ck_assert(lz_tls_is_hello(got, (size_t)n));
	} else {
		ck_assert_int_eq(n, 7);
		ck_assert(lz_tls_is_alert(got, (size_t)n));
	}
	ck_assert(!lz_tls_is_hello(got, 1) && !lz_tls_is_alert(got, 1));
}
END_TEST

START_TEST(the_peer_has_gone)
{
	struct end *e = _i ? &client : &server, *other = _i ? &server : &client;

	begin(e, CERTS_GOOD, NULL);
	ck_assert_int_eq(lz_tls_handshake(e->s), -EAGAIN);
	shutdown(other->fd, SHUT_WR);
	ck_assert_int_eq(lz_tls_handshake(e->s), -ECONNRESET);
	ck_assert_ptr_nonnull(strstr(lz_tls_why(e->s), "perhaps it does not speak TLS"));
}
END_TEST

/* Every flip, cut and noise of what a client says first:
 * an error or a wait for more, and never a success. */
START_TEST(garbage_is_no_handshake)
{
	uint8_t hello[4096], bytes[4096];
	struct lz_tls_session *s;
	unsigned seed = (unsigned)_i, verdicts = 0;
	ssize_t len;

	begin(&client, CERTS_GOOD, CERTS_NAME);
	ck_assert_int_eq(lz_tls_handshake(client.s), -EAGAIN);
	len = recv(server.fd, hello, sizeof(hello), 0);
	ck_assert_int_gt(len, 100);
	server.tls = certs_tls(CERTS_GOOD, NULL);
	for (int round = 0; round < 300; round++) {
		int fd[2], ret;
		size_t n = (size_t)len;

		memcpy(bytes, hello, n);
		for (int flips = rand_r(&seed) % 8; flips >= 0; flips--)
			bytes[5 + (size_t)rand_r(&seed) % (n - 5)] ^= (uint8_t)rand_r(&seed);
		if (round % 3 == 1)
			n = 1 + (size_t)rand_r(&seed) % n;
		if (round % 3 == 2)
			for (size_t i = 5; i < n; i++)
				bytes[i] = (uint8_t)rand_r(&seed);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		ck_assert_int_eq(lz_tls_session_new(&s, server.tls, fd[0], true), 0);
		ck_assert_int_eq(send(fd[1], bytes, n, 0), (ssize_t)n);
		ret = lz_tls_handshake(s);
		ck_assert_int_lt(ret, 0);
		verdicts |= ret == -EAGAIN ? 1 : ret == -EPROTO ? 2 : 4;
		if (ret != -EAGAIN)
			ck_assert_str_ne(lz_tls_why(s), "");
		shutdown(fd[1], SHUT_WR);
		ck_assert_int_lt(lz_tls_handshake(s), 0);
		ck_assert_int_ne(lz_tls_handshake(s), -EAGAIN);
		lz_tls_session_free(s, true);
		close(fd[0]);
		close(fd[1]);
	}
	ck_assert_uint_eq(verdicts & 3, 3);
}
END_TEST

/* ---- files ---- */

static void put_file(const char *name, const char *text)
{
	FILE *f = fopen(certs_path(name), "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* Everything about a file that is wrong is one sentence that names it. */
START_TEST(files_are_wrong)
{
	static const struct {
		const char *ca, *crl, *cert, *key;
		int ret;
		const char *says, *names;
	} cases[] = {
		{ "none", NULL, "0.pem", "0.key", -ENOENT, "No such file", "none" },
		{ "ca.pem", "none", "0.pem", "0.key", -ENOENT, "No such file", "none" },
		{ "ca.pem", NULL, "none", "0.key", -ENOENT, "No such file", "none" },
		{ "ca.pem", NULL, "0.pem", "none", -ENOENT, "No such file", "none" },
		{ "text", NULL, "0.pem", "0.key", -EBADMSG, "PEM", "text" },
		{ "ca.pem", "text", "0.pem", "0.key", -EBADMSG, "PEM", "text" },
		{ "ca.pem", NULL, "text", "0.key", -EBADMSG, "PEM", "text" },
		{ "ca.pem", NULL, "0.pem", "text", -EBADMSG, "PEM", "text" },
		{ "empty", NULL, "0.pem", "0.key", -EBADMSG, "PEM", "empty" },
		{ "ca.pem", NULL, "0.pem", "empty", -EBADMSG, "PEM", "empty" },
		{ "ca.pem", NULL, "0.key", "0.key", -EBADMSG, "PEM", "0.key" },
		{ "ca.pem", NULL, "0.pem", "1.key", -EBADMSG, "is not that of", "1.key" },
		{ ".", NULL, "0.pem", "0.key", -EISDIR, "directory", "." },
	};
	struct lz_tls_options o;
	char why[LZ_TLS_WHY_MAX];
	struct lz_tls *t = NULL;

	put_file("text", "this is no certificate\n");
	put_file("empty", "");
	o = (struct lz_tls_options){ .cacert = certs_path(cases[_i].ca),
				     .cacrl = cases[_i].crl ? certs_path(cases[_i].crl) : NULL,
				     .cert = certs_path(cases[_i].cert),
				     .key = certs_path(cases[_i].key) };
	ck_assert_int_eq(lz_tls_new(&t, &o, why), cases[_i].ret);
	ck_assert_ptr_null(t);
	ck_assert_msg(strstr(why, cases[_i].says) && strstr(why, certs_path(cases[_i].names)), "%s",
		      why);
}
END_TEST
enum { NR_FILES = 13 };

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
	tcase_add_loop_test(t, a_bad_server_is_refused, 0, NR_BAD);
	tcase_add_loop_test(t, a_bad_client_is_refused, 0, NR_BAD);
	tcase_add_test(t, any_name_will_do_if_none_is_asked_for);
	tcase_add_loop_test(t, a_client_without_a_certificate_is_refused, 0, 2);
	tcase_add_loop_test(t, plain_text_is_refused, 0, 2);
	tcase_add_loop_test(t, the_peer_has_gone, 0, 2);
	tcase_add_loop_test(t, garbage_is_no_handshake, 0, 4);
	tcase_add_loop_test(t, files_are_wrong, 0, NR_FILES);
	tcase_add_loop_test(t, clones_have_random_numbers_of_their_own, 0, 2);
	tcase_add_test(t, clones_use_what_was_read_before);
	suite_add_tcase(s, t);
	return run_suite(s);
}
