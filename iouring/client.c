/* SPDX-License-Identifier: MIT */
/*
 * What is said on a connection of the page server: bytes in become requests, up to a limit; replies
 * go out, as many in one call as are ready. What is said besides pages (to a probe, a hello, a
 * CLOSE) waits until all that was asked before has been answered.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "iouring/server_priv.h"

enum { VECTORS = 256 };

/* To who greets a server of plain text in TLS: no TLS, so that it need not wait for any. */
static char no_tls[] = "lazyd: no TLS here\n";

static void lz_client_go(struct lz_client *c);
static bool lz_client_step(struct lz_client *c);
static bool lz_client_has_room(const struct lz_client *c);
static bool lz_client_is_drained(const struct lz_client *c);
static bool lz_client_parse(struct lz_client *c);
static void lz_client_ask(struct lz_client *c);
static void lz_client_hello(struct lz_client *c);
static void lz_client_say(struct lz_client *c, enum lz_client_state after);
static bool lz_client_speak(struct lz_client *c);
static void lz_client_serious(struct lz_client *c);
static int64_t lz_client_send(struct lz_client *c, const struct iovec *iov, size_t nr);
static void lz_client_block(struct lz_client *c);

void lz_client_readable(struct lz_client *c)
{
	struct iovec iov = { c->in, sizeof(c->in) };
	int64_t n;

	if (c->state == LZ_CLIENT_SHAKES)
		lz_client_shakes(c);
	if (c->state != LZ_CLIENT_ASKS && c->state != LZ_CLIENT_LINGERS)
		return;
	n = lz_net_recv(&c->net, &iov, 1);
	lz_client_wake(c);
	if (n > 0) {
		if (!c->heard && lz_tls_is_hello(c->in, (size_t)n) && !c->net.tls) {
			(void)lz_net_send(&c->net, &(struct iovec){ no_tls, sizeof(no_tls) - 1 },
					  1);
			lz_client_fail(c, "it speaks TLS, and this server does not");
			return;
		}
		c->heard = true;
		c->active_ns = c->server->now;
		c->in_at = 0;
		c->in_end = (size_t)n;
	} else if (n == 0 && c->state == LZ_CLIENT_ASKS) {
		c->state = LZ_CLIENT_ENDS;
	} else if (n != -EAGAIN) {
		lz_client_end(c, n ? lz_net_error(&c->net, n) : "end of stream", n == 0);
	}
}

void lz_client_writable(struct lz_client *c)
{
	if (c->state == LZ_CLIENT_SHAKES)
		lz_client_shakes(c);
	c->blocked = false;
	lz_client_wake(c);
}

void lz_client_flush(struct lz_client *c)
{
	struct iovec iov[VECTORS];
	struct lz_reply *of[LZ_CLIENT_REPLIES];
	unsigned nr_of;
	size_t nr;

	while (c->state != LZ_CLIENT_GONE && !c->blocked &&
	       (nr = lz_reply_gather(c, iov, VECTORS, of, &nr_of))) {
		int64_t n;

		if (c->net.tls && !c->server->sealable) {
			lz_client_wake(c);
			break;
		}
		n = lz_client_send(c, iov, nr);
		if (n > 0)
			lz_reply_sent(c, of, nr_of, (size_t)n);
	}
	lz_client_go(c);
}

void lz_client_wake(struct lz_client *c)
{
	if (c->sends || c->state == LZ_CLIENT_GONE)
		return;
	c->sends = true;
	if (c->demand)
		TAILQ_INSERT_HEAD(&c->server->send, c, send);
	else
		TAILQ_INSERT_TAIL(&c->server->send, c, send);
}

void lz_client_sort(struct lz_client *c)
{
	struct lz_server *s = c->server;
	bool lives = c->state != LZ_CLIENT_GONE;
	bool works = lives && !c->blocked && lz_reply_wanted(c);
	bool stuck = lives && c->blocked && c->nr_held > 0;
	bool counts = lives && (c->nr_asked || c->nr_replies);

	if (works && !c->works)
		s->moved = true;
	if (works != c->works) {
		c->works = works;
		if (works)
			TAILQ_INSERT_TAIL(c->demand ? &s->demand : &s->bulk, c, work);
		else
			TAILQ_REMOVE(c->demand ? &s->demand : &s->bulk, c, work);
	}
	if (stuck != c->stuck) {
		c->stuck = stuck;
		if (stuck)
			TAILQ_INSERT_TAIL(&s->stuck, c, stick);
		else
			TAILQ_REMOVE(&s->stuck, c, stick);
	}
	if (counts != c->counted) {
		c->counted = counts;
		if (counts)
			s->nr_working++;
		else
			s->nr_working--;
	}
}

void lz_client_strip(struct lz_client *c)
{
	struct lz_reply *r;

	TAILQ_FOREACH(r, &c->replies, link)
	{
		if (r->state != LZ_REPLY_READY)
			continue;
		lz_server_give_buffer(c->server, r->buffer);
		r->buffer = -1;
		r->state = LZ_REPLY_BARE;
		c->nr_held--;
		c->nr_bare++;
	}
	c->stuck = false;
	TAILQ_REMOVE(&c->server->stuck, c, stick);
}

void lz_client_fail(struct lz_client *c, const char *format, ...)
{
	va_list ap;

	lz_client_wake(c);
	if (c->state == LZ_CLIENT_FAILS)
		return;
	va_start(ap, format);
	vsnprintf(c->reason, sizeof(c->reason), format, ap);
	va_end(ap);
	c->state = LZ_CLIENT_FAILS;
	c->last_ns = c->server->now;
	c->nr_asked = c->nr_ranges = 0;
}

/* All that can be done now; then it is seen to that a completion says when there is more. */
static void lz_client_go(struct lz_client *c)
{
	while (lz_client_step(c))
		continue;
	if (c->state == LZ_CLIENT_GONE || c->state == LZ_CLIENT_SHAKES)
		return;
	if (c->state != LZ_CLIENT_ASKS || !lz_giver_is_waiting(&c->giver))
		c->part_ns = 0;
	else if (!c->part_ns)
		c->part_ns = c->server->now;
	if (c->state == LZ_CLIENT_LINGERS ||
	    (c->state == LZ_CLIENT_ASKS && c->in_at == c->in_end && lz_client_has_room(c)))
		if (lz_net_poll_in(&c->net, &c->server->ring))
			lz_client_drop(c, "the ring is full");
	lz_client_sort(c);
}

static bool lz_client_step(struct lz_client *c)
{
	switch (c->state) {
	case LZ_CLIENT_SHAKES:
		return false;
	case LZ_CLIENT_ASKS:
		return c->in_at < c->in_end && lz_client_has_room(c) && lz_client_parse(c);
	case LZ_CLIENT_SAYS:
		return !c->blocked && lz_client_is_drained(c) && lz_client_speak(c);
	case LZ_CLIENT_ENDS:
		if (lz_client_is_drained(c) && lz_giver_is_waiting(&c->giver))
			lz_client_drop(c, "it ended in the middle of a word");
		else if (lz_client_is_drained(c))
			lz_client_end(c, "end of stream", true);
		return false;
	case LZ_CLIENT_FAILS:
		if (lz_client_is_drained(c))
			lz_client_drop(c, c->reason);
		return false;
	case LZ_CLIENT_LINGERS:
		c->in_at = c->in_end;
		return false;
	case LZ_CLIENT_GONE:
		return false;
	}
	return false;
}

static bool lz_client_has_room(const struct lz_client *c)
{
	return c->nr_asked < LZ_CLIENT_REQUESTS &&
	       c->nr_ranges + LZ_PS_RANGES_MAX <= LZ_CLIENT_RANGES;
}

/* Nothing is left that can be sent. */
static bool lz_client_is_drained(const struct lz_client *c)
{
	const struct lz_reply *first = TAILQ_FIRST(&c->replies);

	return !c->nr_asked && (!first || first->state == LZ_REPLY_LAME);
}

/* False if that was the end of it. */
static bool lz_client_parse(struct lz_client *c)
{
	enum lz_giver_event_type ev;
	int64_t n = lz_giver_take(&c->giver, c->in + c->in_at, c->in_end - c->in_at, &ev);

	if (n < 0) {
		if (!c->giver.nr_say) {
			lz_client_fail(c, "%s", c->giver.why);
			return true;
		}
		snprintf(c->reason, sizeof(c->reason), "%s", c->giver.why);
		c->refused = true;
		c->last_ns = c->server->now;
		c->server->stats.clients_refused++;
		lz_server_log(c->server, LZ_SERVER_LOG_WARN,
			      "event=client-refused peer=%s reason=\"%s\"", c->peer, c->reason);
		lz_client_say(c, LZ_CLIENT_LINGERS);
		return true;
	}
	c->in_at += (size_t)n;
	if (ev != LZ_GIVER_MORE)
		c->part_ns = 0;
	switch (ev) {
	case LZ_GIVER_MORE:
		break;
	case LZ_GIVER_SAY:
		lz_client_say(c, LZ_CLIENT_ASKS);
		break;
	case LZ_GIVER_HELLO:
		lz_client_hello(c);
		break;
	case LZ_GIVER_GET:
		lz_client_ask(c);
		break;
	case LZ_GIVER_CLOSE:
		lz_client_serious(c);
		c->closed = true;
		lz_client_say(c, LZ_CLIENT_LINGERS);
		break;
	}
	return true;
}

static void lz_client_ask(struct lz_client *c)
{
	const struct lz_giver_get *get = &c->giver.get;
	unsigned at = (c->asked_at + c->nr_asked) % LZ_CLIENT_REQUESTS;

	lz_client_serious(c);
	c->asked[at] = (struct lz_asked){ .dst_id = get->dst_id,
					  .pid = get->pid,
					  .serial = c->serial++,
					  .nr_pages = get->nr_pages };
	c->nr_asked++;
	for (size_t i = 0; i < get->nr_ranges; i++)
		c->range[(c->range_at + c->nr_ranges++) % LZ_CLIENT_RANGES] = get->range[i];
	c->requests++;
	c->server->urgent += c->demand;
	c->server->stats.requests++;
}

static void lz_client_hello(struct lz_client *c)
{
	bool demand = c->giver.hello.stream == LZ_HELLO_DEMAND;

	lz_client_serious(c);
	c->demand = demand;
	lz_net_set_use(&c->net, demand ? LZ_NET_DEMAND : LZ_NET_BULK);
	if (c->net.tls)
		lz_tls_join(c->net.tls);
	lz_client_say(c, LZ_CLIENT_ASKS);
}

/* First what is owed, then giver.say, then it is @after. */
static void lz_client_say(struct lz_client *c, enum lz_client_state after)
{
	c->state = LZ_CLIENT_SAYS;
	c->after = after;
	c->said = 0;
}

static bool lz_client_speak(struct lz_client *c)
{
	struct iovec iov = { c->giver.say + c->said, c->giver.nr_say - c->said };
	int64_t n = lz_client_send(c, &iov, 1);

	if (n <= 0)
		return false;
	c->said += (size_t)n;
	if (c->said < c->giver.nr_say)
		return true;
	c->state = c->after;
	if (c->state == LZ_CLIENT_LINGERS)
		c->last_ns = c->server->now;
	if (c->refused)
		shutdown(c->net.fd, SHUT_WR);
	return true;
}

/* It means what it says: it is no scanner of ports. */
static void lz_client_serious(struct lz_client *c)
{
	static const char *const streams[] = {
		[LZ_HELLO_BOTH] = "both", [LZ_HELLO_DEMAND] = "demand", [LZ_HELLO_BULK] = "bulk"
	};

	char cert[LZ_TLS_NAME_MAX + 16] = "";

	if (c->serious)
		return;
	c->serious = true;
	if (c->net.tls)
		snprintf(cert, sizeof(cert), " cert=\"%s\"", lz_tls_peer(c->net.tls));
	if (!c->giver.lazyd) {
		lz_server_log(c->server, LZ_SERVER_LOG_INFO,
			      "event=client peer=%s kind=plain header=%d%s", c->peer,
			      (int)c->giver.layout, cert);
		return;
	}
	lz_server_log(c->server, LZ_SERVER_LOG_INFO,
		      "event=client peer=%s kind=lazyd stream=%s software=\"%s\"%s", c->peer,
		      streams[c->giver.hello.stream], c->giver.hello.software, cert);
}

/* Bytes sent; 0: none now, and it may be blocked or gone. */
static int64_t lz_client_send(struct lz_client *c, const struct iovec *iov, size_t nr)
{
	size_t len = 0;
	int64_t n;

	for (size_t i = 0; i < nr; i++)
		len += iov[i].iov_len;
	n = lz_net_send(&c->net, iov, nr);
	if (n < 0 && n != -EAGAIN) {
		bool orderly = c->state == LZ_CLIENT_ENDS;

		lz_client_end(c, orderly ? "end of stream" : lz_net_error(&c->net, n), orderly);
		return 0;
	}
	if (n < (int64_t)len)
		lz_client_block(c);
	if (n < 0)
		return 0;
	c->active_ns = c->server->now;
	if (c->net.tls)
		c->server->sealable -= c->server->sealable < (uint64_t)n ? c->server->sealable
									 : (uint64_t)n;
	c->server->stats.bytes_sent += (uint64_t)n;
	return n;
}

static void lz_client_block(struct lz_client *c)
{
	c->blocked = true;
	if (lz_net_poll_out(&c->net, &c->server->ring))
		lz_client_drop(c, "the ring is full");
}
