/* SPDX-License-Identifier: MIT */
/*
 * `lazyd fill --page-server`: where the page server is, what it must serve, and how one gets a connection to it.
 * When one is wanted, and what is said on it, is the library's.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* Called by the worker. */
static int connect_peer(void *arg)
{
	struct lz_fill *f = arg;

	f->session->nr_connects++;
	if (f->o.ps_socket < 0)
		return lz_addr_connect(&f->peer);
	/* The caller's connection is the only one there will be. */
	return f->session->nr_connects == 1 ? f->o.ps_socket : -EAGAIN;
}

int lz_peer_prepare(struct lz_fill *f)
{
	const struct lz_fill_options *o = &f->o;
	struct lazyd_why why = { { 0 } };
	int r;

	if (!o->page_server)
		return LZ_EXIT_OK;
	if (f->resume)
		f->peer = f->session->peer;
	else if (o->ps_socket < 0 && lz_addr_parse(&f->peer, o->address, o->port))
		return LZ_EXIT_FAILED;
	/* Before there is a worker: one that takes over later needs no file. */
	r = lz_service_tls(&o->service, o->address, &f->tls);
	if (r)
		return r;
	lazyd_images_remote(f->images);
	if (lazyd_images_identity(f->images, f->identity, &why))
		return lz_service_refuse(&o->service, why.text);
	r = o->ps_header ? o->ps_header : lazyd_images_header(f->images);
	if (r < 0)
		return lz_service_refuse(&o->service, strerror(-r));
	f->remote = (struct lazyd_remote){
		.size = sizeof(f->remote),
		.connect = connect_peer,
		.arg = f,
		.identity = f->identity,
		.header = r,
		.timeout_ns = o->source_timeout_s * UINT64_C(1000000000),
		.tls = f->tls,
	};
	return LZ_EXIT_OK;
}
