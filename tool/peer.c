/* SPDX-License-Identifier: MIT */
/*
 * `lazyd fill --page-server`: where the page server is, what it must serve, and how one gets a
 * connection to it. When one is wanted, and what is said on it, is the library's.
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
	if (f->o.service.ps_socket < 0)
		return lz_addr_connect(&f->peer);
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

int lz_peer_prepare(struct lz_fill *f)
{
	const struct lz_fill_options *o = &f->o;
	int r, header = 0;

	if (!o->page_server)
		return LZ_EXIT_OK;
	if (f->resume)
		f->peer = f->session->peer;
	else if (o->service.ps_socket < 0 &&
		 lz_addr_parse(&f->peer, o->service.address, o->service.port))
		return LZ_EXIT_FAILED;
	/* Before there is a worker: one that takes over later needs no file. */
	r = lz_service_tls(&o->service, o->service.address, &f->tls);
	/* That of a VM is known already, and a CRIU has none. */
	if (!r && !o->vm.socket)
		r = identify_images(f, &header);
	if (r)
		return r;
	f->remote = (struct lazyd_remote){
		.size = sizeof(f->remote),
		.connect = connect_peer,
		.arg = f,
		.identity = f->identity,
		.header = header,
		.timeout_ns = o->source_timeout_s * UINT64_C(1000000000),
		.tls = f->tls,
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
