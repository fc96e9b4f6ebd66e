/* SPDX-License-Identifier: MIT */
/* The ends of tls_ends.h. Not here: any test. */
#define _GNU_SOURCE 1
#include "tls_ends.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct end client, server;
uint8_t sent[BIG], got[BIG];

void setup(void)
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

void teardown(void)
{
	finish(&client);
	finish(&server);
}

void begin(struct end *e, enum certs_kind kind, const char *name)
{
	e->tls = certs_tls(kind, name);
	ck_assert_int_eq(lz_tls_session_new(&e->s, e->tls, e->fd, e == &server), 0);
	e->ret = -EAGAIN;
}

int64_t give(struct end *e, const void *bytes, size_t len)
{
	return lz_tls_send(e->s, &(struct iovec){ (void *)(uintptr_t)bytes, len }, 1);
}

int64_t take(struct end *e, void *to, size_t len)
{
	return lz_tls_recv(e->s, &(struct iovec){ to, len }, 1);
}

void shake(void)
{
	for (int i = 0; i < 20; i++) {
		if (client.ret == -EAGAIN)
			client.ret = lz_tls_handshake(client.s);
		if (server.ret == -EAGAIN)
			server.ret = lz_tls_handshake(server.s);
	}
}

void connect_both(void)
{
	begin(&client, CERTS_GOOD, CERTS_NAME);
	begin(&server, CERTS_GOOD, NULL);
	shake();
	ck_assert_int_eq(client.ret, 0);
	ck_assert_int_eq(server.ret, 0);
}
