/* SPDX-License-Identifier: MIT */
/*
 * How a connection of the page server begins, with a TLS handshake or at once, how long it may take
 * over what, and the ways in which it ends. What is said on it meanwhile is client.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "iouring/server_priv.h"

static void lz_client_gone(struct lz_server *s, const struct lz_client *c, bool orderly);

struct lz_client *lz_client_new(struct lz_server *s, uint32_t number, int fd)
{
	struct lz_client *c = calloc(1, sizeof(*c));
	uint64_t patience_ms = s->o.idle_ns / 1000000;

	if (!c)
		return NULL;
	c->server = s;
	c->net.generation = s->slot[number].generation;
	lz_net_open(&c->net, fd, number, LZ_NET_BULK);
	/* A plain client cannot come back: a link that is cut is not the end of it. */
	lz_net_watch_peer(&c->net, patience_ms && patience_ms < INT32_MAX ? (unsigned)patience_ms
									  : INT32_MAX);
	if (s->o.tls && lz_net_secure(&c->net, s->o.tls, true)) {
		free(c);
		return NULL;
	}
	c->state = s->o.tls ? LZ_CLIENT_SHAKES : LZ_CLIENT_ASKS;
	lz_giver_init(&c->giver, &s->o.giver);
	TAILQ_INIT(&c->replies);
	c->since_ns = c->active_ns = s->now;
	lz_net_name(fd, c->peer);
	if (c->state == LZ_CLIENT_SHAKES)
		lz_client_shakes(c);
	else
		lz_client_wake(c);
	return c;
}

void lz_client_shakes(struct lz_client *c)
{
	if (c->shakes)
		return;
	c->shakes = true;
	TAILQ_INSERT_TAIL(&c->server->shake, c, work);
}

void lz_client_shake(struct lz_client *c)
{
	int ret = lz_net_handshake(&c->net, &c->server->ring);

	if (!c->part_ns && lz_tls_has_begun(c->net.tls))
		c->part_ns = c->server->now;
	if (ret == -EAGAIN)
		return;
	if (ret == -EACCES) {
		c->refused = true;
		c->server->stats.clients_refused++;
		lz_server_log(c->server, LZ_SERVER_LOG_WARN,
			      "event=client-refused peer=%s reason=\"%s\"", c->peer,
			      lz_net_error(&c->net, ret));
	}
	if (ret) {
		lz_client_drop(c, lz_net_error(&c->net, ret));
		return;
	}
	c->state = LZ_CLIENT_ASKS;
	c->since_ns = c->active_ns = c->server->now;
	lz_client_wake(c);
}

uint64_t lz_client_check(struct lz_client *c)
{
	const struct lz_server_options *o = &c->server->o;
	const struct {
		bool on;
		uint64_t since_ns, for_ns;
		const char *why;
	} limits[] = {
		{ c->last_ns && !c->closed, c->last_ns, o->close_ns, c->reason },
		{ c->state == LZ_CLIENT_LINGERS && c->closed, c->last_ns, o->close_ns,
		  "has all it wants" },
		{ !c->heard, c->since_ns, o->silent_ns, "it has said nothing" },
		{ c->part_ns, c->part_ns, o->header_ns,
		  c->state == LZ_CLIENT_SHAKES ? "it does not get on with the TLS handshake"
					       : "it has said half a word" },
		{ o->idle_ns, c->active_ns, o->idle_ns, "it neither asks nor takes" },
	};
	uint64_t first = UINT64_MAX;

	if (c->state == LZ_CLIENT_GONE)
		return UINT64_MAX;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint64_t at = limits[i].since_ns + limits[i].for_ns;

		if (!limits[i].on)
			continue;
		if (at <= c->server->now) {
			if (c->closed)
				lz_client_end(c, limits[i].why, true);
			else
				lz_client_drop(c, limits[i].why);
			return UINT64_MAX;
		}
		if (at < first)
			first = at;
	}
	return first;
}

void lz_client_close(struct lz_client *c)
{
	struct lz_server *s = c->server;
	struct lz_reply *r, *next;

	if (c->sends)
		TAILQ_REMOVE(&s->send, c, send);
	if (c->shakes)
		TAILQ_REMOVE(&s->shake, c, work);
	c->sends = c->shakes = false;
	c->state = LZ_CLIENT_GONE;
	lz_client_sort(c);
	lz_reply_cancel(c);
	for (r = TAILQ_FIRST(&c->replies); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->nr_reading)
			lz_reply_free(c, r);
	}
	lz_net_close(&c->net, &s->ring);
	s->slot[c->net.number].generation = c->net.generation;
	TAILQ_INSERT_TAIL(&s->gone, c, work);
}

void lz_client_end(struct lz_client *c, const char *why, bool orderly)
{
	bool shy = c->net.tls && !c->serious;
	int level = c->serious ? LZ_SERVER_LOG_INFO : LZ_SERVER_LOG_DEBUG;

	if (c->closed) {
		why = "has all it wants";
		orderly = true;
	}
	/* A CRIU looks at our certificate when the handshake is over. */
	if (shy) {
		why = "it has ended right after the TLS handshake: perhaps it does not accept our certificate";
		level = LZ_SERVER_LOG_WARN;
	}
	if (!c->refused)
		lz_server_log(c->server, level,
			      "event=client-gone peer=%s reason=\"%s\" requests=%" PRIu64
			      " pages=%" PRIu64,
			      c->peer, why, c->requests, c->pages);
	lz_client_close(c);
	lz_client_gone(c->server, c, orderly && c->serious && !c->refused);
}

void lz_client_drop(struct lz_client *c, const char *why)
{
	if (!c->refused) {
		c->server->stats.clients_dropped++;
		lz_server_log(c->server, LZ_SERVER_LOG_WARN,
			      "event=client-dropped peer=%s reason=\"%s\" requests=%" PRIu64
			      " pages=%" PRIu64,
			      c->peer, why, c->requests, c->pages);
	}
	lz_client_close(c);
	lz_client_gone(c->server, c, false);
}

/* Closed it is; the server may be done. */
static void lz_client_gone(struct lz_server *s, const struct lz_client *c, bool orderly)
{
	bool last = true;

	s->stats.nr_clients--;
	if (!s->o.once || !orderly)
		return;
	for (uint32_t i = 0; i < s->o.max_clients; i++) {
		const struct lz_client *other = s->slot[i].client;

		if (other && other->state != LZ_CLIENT_GONE && c->giver.lazyd &&
		    other->giver.lazyd && other->giver.hello.session == c->giver.hello.session)
			last = false;
	}
	s->done = s->done || last;
}
