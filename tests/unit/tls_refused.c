/* SPDX-License-Identifier: MIT */
/*
 * Who is not spoken with by TLS: peers whose certificates will not do, who does not speak it, and
 * who cannot because of what is in its own files. Each is told why.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tls_ends.h"

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

int main(void)
{
	Suite *s = suite_create("tls_refused");
	TCase *t = tcase_create("refused");

	certs_make();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_bad_server_is_refused, 0, NR_BAD);
	tcase_add_loop_test(t, a_bad_client_is_refused, 0, NR_BAD);
	tcase_add_test(t, any_name_will_do_if_none_is_asked_for);
	tcase_add_loop_test(t, a_client_without_a_certificate_is_refused, 0, 2);
	tcase_add_loop_test(t, plain_text_is_refused, 0, 2);
	tcase_add_loop_test(t, the_peer_has_gone, 0, 2);
	tcase_add_loop_test(t, garbage_is_no_handshake, 0, 4);
	tcase_add_loop_test(t, files_are_wrong, 0, NR_FILES);
	suite_add_tcase(s, t);
	return run_suite(s);
}
