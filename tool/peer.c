/* SPDX-License-Identifier: MIT */
/*
 * `lazyd fill --page-server`: where the page server is, what it must serve, and how one gets a
 * connection to it. When one is wanted, and what is said on it, is the library's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* The engine has closed a socket that did not connect, or was lost. */
static bool stands(const struct lz_peer_call *c)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct stat st;

	return !fstat(c->fd, &st) && st.st_ino == c->ino &&
	       !getpeername(c->fd, (struct sockaddr *)&sa, &len);
}

/*
 * Beside a connection that stands the second one goes to the same address. One that has answered
 * gets another chance, else it is the next one's turn.
 */
static void choose_address(struct lz_peer_calls *c, unsigned nr)
{
	bool silent = !stands(&c->call[0]) && !stands(&c->call[1]);

	if (silent && c->silent)
		c->now = (c->now + 1) % nr;
	c->silent = silent;
}

static int connect_to_any(struct lz_fill *f)
{
	struct lz_peer_calls *c = &f->calls;
	char text[LZ_ADDR_TEXT_MAX];
	struct lz_peer_call *call;
	struct stat st;
	int fd = -1;

	choose_address(c, f->peer.nr);
	for (unsigned i = 0; fd < 0 && i < f->peer.nr; i++) {
		const struct lz_addr *a = &f->peer.at[c->now];

		fd = lz_addr_connect(a);
		lz_log_say(&f->o.service.log, LAZYD_LOG_DEBUG,
			   "event=connect peer=%s result=\"%s\"", lz_addr_text(a, -1, text),
			   fd < 0 ? strerror(-fd) : "begun");
		if (fd < 0)
			c->now = (c->now + 1) % f->peer.nr;
	}
	if (fd < 0 || fstat(fd, &st))
		return fd;
	/* There are never more than two. */
	call = stands(&c->call[0]) ? &c->call[1] : &c->call[0];
	*call = (struct lz_peer_call){ fd, st.st_ino };
	return fd;
}

/* Called by the worker. */
static int connect_peer(void *arg)
{
	struct lz_fill *f = arg;

	f->session->nr_connects++;
	if (f->o.service.ps_socket < 0)
		return connect_to_any(f);
	/* The caller's connection is the only one there will be. */
	return f->session->nr_connects == 1 ? f->o.service.ps_socket : -EAGAIN;
}

/* What it must serve; *header as in struct lazyd_remote. */
static int identify_images(struct lz_fill *f, int *header)
{
	struct lazyd_why why = { { 0 } };
	int r;

	lazyd_images_remote(f->images);
	if (lazyd_images_identity(f->images, f->identity, &why))
		return lz_service_refuse(&f->o.service, why.text);
	r = f->o.ps_header ? f->o.ps_header : lazyd_images_header(f->images);
	if (r < 0)
		return lz_service_refuse(&f->o.service, strerror(-r));
	*header = r;
	return LZ_EXIT_OK;
}

/* A mistyped one is to be seen in the log. */
static void name_peer(struct lz_fill *f)
{
	const struct lz_service *s = &f->o.service;
	bool is_ip6 = strchr(s->address, ':');

	if (s->ps_socket >= 0)
		(void)strcpy(f->peer_name, "--ps-socket");
	else if (lz_addr_is_unix(s->address))
		(void)snprintf(f->peer_name, sizeof(f->peer_name), "%s", s->address);
	else
		(void)snprintf(f->peer_name, sizeof(f->peer_name), is_ip6 ? "[%s]:%s" : "%s:%s",
			       s->address, s->port);
}

int lz_peer_prepare(struct lz_fill *f)
{
	const struct lz_fill_options *o = &f->o;
	int r, header = 0;

	if (!o->page_server)
		return LZ_EXIT_OK;
	if (f->resume)
		f->peer = f->session->peer;
	else if (o->service.ps_socket < 0 &&
		 lz_addr_parse_all(&f->peer, o->service.address, o->service.port))
		return LZ_EXIT_FAILED;
	/* Before there is a worker: one that takes over later needs no file. */
	r = lz_service_tls(&o->service, o->service.address, &f->tls);
	/* That of a VM is known already, and a CRIU has none. */
	if (!r && !o->vm.socket)
		r = identify_images(f, &header);
	if (r)
		return r;
	name_peer(f);
	f->remote = (struct lazyd_remote){
		.size = sizeof(f->remote),
		.connect = connect_peer,
		.arg = f,
		.identity = f->identity,
		.header = header,
		.timeout_ns = o->source_timeout_s * UINT64_C(1000000000),
		.tls = f->tls,
		.name = f->peer_name,
	};
	return LZ_EXIT_OK;
}

bool lz_peer_is_gone(const struct lz_fill *f)
{
	struct lazyd_stats s;

	if (!f->remote.size)
		return false;
	lazyd_stats(NULL, f->state, &s);
	return s.remote_state == LAZYD_REMOTE_GONE;
}
