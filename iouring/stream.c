/* SPDX-License-Identifier: MIT */
/*
 * The stream as a whole: when it connects, when it gives up, and what becomes of it at the end. It
 * sees connections open, fail and close, and no byte of what is said on them.
 */
#include "iouring/stream_priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define CONNECT_NS (3 * SECOND)
/* From the beginning to the end of a TLS handshake, connecting included. */
#define SECURE_NS (10 * SECOND)
#define BACKOFF_MIN_NS (SECOND / 20)
#define BACKOFF_MAX_NS SECOND
#define RELEASE_NS (10 * SECOND)
/* The ring had no room for a poll. */
#define POLL_AGAIN_NS (SECOND / 200)

/* As enum lazyd_log, which this folder does not see. */
enum { ERROR = 1, WARN, INFO };

__attribute__((format(printf, 3, 4))) static void say(const struct lz_stream *s, int level,
						      const char *format, ...)
{
	char line[512];
	va_list ap;

	if (!s->o.log)
		return;
	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	s->o.log(s->o.arg, level, line);
}

static void become(struct lz_stream *s, enum lz_stream_state to)
{
	static const unsigned next[] = {
		[LZ_STREAM_IDLE] = 1 << LZ_STREAM_OPENING | 1 << LZ_STREAM_RELEASED |
				   1 << LZ_STREAM_GONE,
		[LZ_STREAM_OPENING] = 1 << LZ_STREAM_UP | 1 << LZ_STREAM_DOWN |
				      1 << LZ_STREAM_RELEASED | 1 << LZ_STREAM_GONE,
		[LZ_STREAM_UP] = 1 << LZ_STREAM_DOWN | 1 << LZ_STREAM_RELEASED |
				 1 << LZ_STREAM_GONE,
		[LZ_STREAM_DOWN] = 1 << LZ_STREAM_OPENING | 1 << LZ_STREAM_RELEASED |
				   1 << LZ_STREAM_GONE,
		[LZ_STREAM_GONE] = 0,
		[LZ_STREAM_RELEASED] = 0,
	};

	assert(next[s->stats.state] & 1U << to);
	s->stats.state = to;
}

static void close_links(struct lz_stream *s, struct lz_ring *ring)
{
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		lz_stream_link_close(s, ring, &s->link[i]);
}

/* For good; @result is what the reads end with. */
static void give_up(struct lz_stream *s, struct lz_ring *ring, int result)
{
	become(s, LZ_STREAM_GONE);
	close_links(s, ring);
	lz_stream_read_end_all(s, result);
}

/* All has been had from it: no end of the connections is a failure any more. */
static void released(struct lz_stream *s, struct lz_ring *ring)
{
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		if (s->link[i].state != LZ_LINK_OFF)
			lz_net_fail_hard(&s->link[i].net, false);
	close_links(s, ring);
	become(s, LZ_STREAM_RELEASED);
}

/* ---- losing it ---- */

static void lost(struct lz_stream *s, struct lz_ring *ring, const char *reason, uint64_t now_ns)
{
	char until[48] = "as long as it takes";

	if (s->releasing && (s->peer == LZ_PEER_PLAIN || s->said_close)) {
		say(s, INFO, "event=source-released peer=%s reason=\"%s\"", s->peer_name, reason);
		released(s, ring);
		return;
	}
	become(s, LZ_STREAM_DOWN);
	close_links(s, ring);
	lz_stream_read_requeue(s);
	s->backoff_ns = s->fruitful ? BACKOFF_MIN_NS : 2 * s->backoff_ns;
	if (s->backoff_ns > BACKOFF_MAX_NS)
		s->backoff_ns = BACKOFF_MAX_NS;
	s->fruitful = false;
	s->retry_ns = now_ns + s->backoff_ns;
	if (s->told)
		return;
	s->told = true;
	if (s->o.timeout_ns)
		(void)snprintf(until, sizeof(until), "up to %" PRIu64 " s",
			       s->o.timeout_ns / SECOND);
	say(s, WARN, "event=source-lost peer=%s reason=\"%s\" waiting %s", s->peer_name, reason,
	    until);
}

static void dial(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns)
{
	int r;

	become(s, LZ_STREAM_OPENING);
	s->bulk_tried = false;
	r = lz_stream_link_dial(s, LZ_STREAM_DEMAND, now_ns);
	if (r)
		lost(s, ring, r == -EAGAIN ? "there is no other connection" : strerror(-r), now_ns);
}

void lz_stream_failed(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		      const char *reason, uint64_t now_ns)
{
	if (l == &s->link[LZ_STREAM_BULK] && l->state < LZ_LINK_OPEN) {
		lz_stream_link_close(s, ring, l);
		s->bulk_tried = true;
		s->bulk_ns = now_ns + BACKOFF_MAX_NS;
		return;
	}
	/* Another server may have come in a lazyd's place. */
	if (l->state < LZ_LINK_OPEN && s->peer == LZ_PEER_LAZYD)
		s->peer = LZ_PEER_UNKNOWN;
	lost(s, ring, reason, now_ns);
}

/* Of two ends that will not have each other from the start, waiting makes no friends. */
void lz_stream_unfit(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		     const char *reason, uint64_t now_ns)
{
	if (s->connected)
		lz_stream_failed(s, ring, l, reason, now_ns);
	else
		lz_stream_refused(s, ring, reason);
}

void lz_stream_broken(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		      int64_t ret, uint64_t now_ns)
{
	char reason[LZ_TLS_WHY_MAX];

	/* What is told lies in the connection, which may be closed before. */
	(void)snprintf(reason, sizeof(reason), "%s", lz_net_error(&l->net, ret));
	if (ret == -EACCES && l->net.tls)
		lz_stream_unfit(s, ring, l, reason, now_ns);
	else
		lz_stream_failed(s, ring, l, reason, now_ns);
}

void lz_stream_refused(struct lz_stream *s, struct lz_ring *ring, const char *reason)
{
	say(s, ERROR, "event=source-gone peer=%s reason=\"%s\"", s->peer_name, reason);
	give_up(s, ring, -ETIMEDOUT);
}

/* ---- having it ---- */

void lz_stream_second(struct lz_stream *s, uint64_t now_ns)
{
	int r = lz_stream_link_dial(s, LZ_STREAM_BULK, now_ns);

	s->alone = r == -EAGAIN;
	s->bulk_tried = s->bulk_tried || r;
	s->bulk_ns = now_ns + BACKOFF_MAX_NS;
}

/* A peer may answer what it has not been asked yet. */
static bool is_asking(const struct lz_stream_link *l)
{
	return l->state == LZ_LINK_OPEN && l->out_at < l->out_len;
}

/*
 * Says CLOSE when nothing is awaited any more. A second connection that is not open yet need not
 * be.
 */
static void say_close(struct lz_stream *s, struct lz_ring *ring)
{
	struct lz_stream_link *bulk = &s->link[LZ_STREAM_BULK];

	if (!s->releasing || s->said_close || s->stats.state != LZ_STREAM_UP ||
	    lz_stream_nr_reads(s) || is_asking(&s->link[LZ_STREAM_DEMAND]) || is_asking(bulk))
		return;
	s->said_close = true;
	if (bulk->state != LZ_LINK_OPEN)
		lz_stream_link_close(s, ring, bulk);
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		if (s->link[i].state == LZ_LINK_OPEN)
			lz_stream_link_say_close(&s->link[i]);
}

void lz_stream_opened(struct lz_stream *s, struct lz_stream_link *l)
{
	bool lazyd = l->asker.state == LZ_ASKER_LAZYD;
	char cert[LZ_TLS_NAME_MAX + 16] = "";

	if (l == &s->link[LZ_STREAM_BULK])
		return;
	become(s, LZ_STREAM_UP);
	s->peer = lazyd ? LZ_PEER_LAZYD : LZ_PEER_PLAIN;
	s->stats.plain = !lazyd;
	if (l->net.tls)
		(void)snprintf(cert, sizeof(cert), " cert=\"%s\"", lz_tls_peer(l->net.tls));
	if (s->connected)
		say(s, INFO, "event=source-back peer=%s%s", s->peer_name, cert);
	else if (lazyd)
		say(s, INFO, "event=source-connected peer=%s kind=lazyd software=\"%s\"%s",
		    s->peer_name, l->asker.welcome.software, cert);
	else
		say(s, INFO, "event=source-connected peer=%s kind=criu%s", s->peer_name, cert);
	s->stats.nr_reconnects += s->connected;
	s->connected = true;
	s->told = false;
}

void lz_stream_link_ended(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l)
{
	lz_net_fail_hard(&l->net, false);
	lz_stream_link_close(s, ring, l);
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		if (s->link[i].state != LZ_LINK_OFF)
			return;
	say(s, INFO, "event=source-released peer=%s", s->peer_name);
	released(s, ring);
}

/* ---- public ---- */

int lz_stream_open(struct lz_stream **out, const struct lz_stream_options *o)
{
	struct lz_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	if (o->tls)
		lz_tls_own_random();
	s->o = *o;
	s->o.hello.version = LZ_HELLO_VERSION;
	s->o.hello.page_size = LZ_PS_PAGE;
	s->fruitful = true;
	s->poll_ns = UINT64_MAX;
	(void)snprintf(s->peer_name, sizeof(s->peer_name), "%s", o->name ? o->name : "unknown");
	for (unsigned i = 0; i < LZ_STREAM_NR; i++) {
		s->link[i].net.fd = -1;
		lz_stream_link_inherit(s, i);
	}
	lz_stream_read_init(s);
	*out = s;
	return 0;
}

void lz_stream_close(struct lz_stream *s, struct lz_ring *ring)
{
	close_links(s, ring);
	free(s);
}

void lz_stream_want(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns)
{
	if (s->stats.state == LZ_STREAM_IDLE)
		dial(s, ring, now_ns);
}

void lz_stream_completed(struct lz_stream *s, struct lz_ring *ring, struct lz_tag tag,
			 uint64_t now_ns)
{
	struct lz_stream_link *demand = &s->link[LZ_STREAM_DEMAND];
	bool out;

	for (unsigned i = 0; i < LZ_STREAM_NR; i++) {
		struct lz_stream_link *l = &s->link[i];

		if (!lz_net_completed(&l->net, tag, &out))
			continue;
		if (l != demand && demand->state == LZ_LINK_OPEN && demand->nr_tags < LZ_ASKER_TAGS)
			lz_stream_link_receive(s, ring, demand, now_ns);
		lz_stream_link_ready(s, ring, l, out, now_ns);
		return;
	}
}

void lz_stream_flush(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns)
{
	bool polls = true;

	if (s->queue[true].nr)
		s->urgent_ns = now_ns;
	if (lz_stream_nr_reads(s)) {
		if (!s->waiting)
			s->heard_ns = now_ns;
		s->waiting = true;
		lz_stream_want(s, ring, now_ns);
	}
	say_close(s, ring);
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		lz_stream_link_flush(s, ring, &s->link[i], now_ns);
	for (unsigned i = 0; i < LZ_STREAM_NR; i++)
		polls = !lz_stream_link_poll(&s->link[i], ring) && polls;
	s->poll_ns = polls ? UINT64_MAX : now_ns + POLL_AGAIN_NS;
}

static uint64_t give_up_ns(const struct lz_stream *s)
{
	return s->waiting && s->o.timeout_ns ? s->heard_ns + s->o.timeout_ns : UINT64_MAX;
}

static uint64_t connect_ns(const struct lz_stream *s)
{
	const struct lz_stream_link *l = &s->link[LZ_STREAM_DEMAND];

	return l->state == LZ_LINK_CONNECTING ? l->since_ns + CONNECT_NS
	       : l->state == LZ_LINK_SECURING ? l->since_ns + SECURE_NS
					      : UINT64_MAX;
}

/* When the second connection is to be open, or to be tried again. */
static uint64_t second_ns(const struct lz_stream *s)
{
	const struct lz_stream_link *l = &s->link[LZ_STREAM_BULK];

	if (lz_stream_link_is_opening(l))
		return l->since_ns + (s->o.tls ? SECURE_NS : CONNECT_NS);
	if (l->state == LZ_LINK_OFF && s->stats.state == LZ_STREAM_UP && s->peer == LZ_PEER_LAZYD &&
	    !s->alone && !s->releasing)
		return s->bulk_ns;
	return UINT64_MAX;
}

uint64_t lz_stream_deadline(const struct lz_stream *s)
{
	uint64_t at[] = { s->poll_ns,
			  give_up_ns(s),
			  connect_ns(s),
			  second_ns(s),
			  s->stats.state == LZ_STREAM_DOWN ? s->retry_ns : UINT64_MAX,
			  s->releasing ? s->release_ns : UINT64_MAX };
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; !lz_stream_is_over(s) && i < sizeof(at) / sizeof(at[0]); i++)
		least = at[i] < least ? at[i] : least;
	return least;
}

static void say_gone(const struct lz_stream *s)
{
	char hint[128] = "";

	if (!s->connected && s->link[LZ_STREAM_DEMAND].state == LZ_LINK_GREETING)
		(void)snprintf(hint, sizeof(hint),
			       ", it takes a connection and is silent: no page server, or its "
			       "headers are not of %d bytes",
			       (int)s->o.layout);
	say(s, ERROR, "event=source-gone peer=%s reason=\"not heard of for %" PRIu64 " s%s\"",
	    s->peer_name, s->o.timeout_ns / SECOND, hint);
}

void lz_stream_tick(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns)
{
	struct lz_stream_link *bulk = &s->link[LZ_STREAM_BULK];

	if (lz_stream_is_over(s))
		return;
	if (now_ns >= give_up_ns(s)) {
		say_gone(s);
		give_up(s, ring, -ETIMEDOUT);
	} else if (s->releasing && now_ns >= s->release_ns) {
		say(s, WARN,
		    "event=source-released peer=%s reason=\"it does not answer that it may go\"",
		    s->peer_name);
		released(s, ring);
	} else if (s->stats.state == LZ_STREAM_DOWN && now_ns >= s->retry_ns) {
		dial(s, ring, now_ns);
	} else if (now_ns >= connect_ns(s)) {
		lost(s, ring, "it does not answer", now_ns);
	} else if (now_ns >= second_ns(s) && bulk->state == LZ_LINK_OFF) {
		lz_stream_second(s, now_ns);
	} else if (now_ns >= second_ns(s)) {
		lz_stream_failed(s, ring, bulk, "it does not answer", now_ns);
	}
}

void lz_stream_release(struct lz_stream *s, struct lz_ring *ring, uint64_t now_ns)
{
	uint64_t limit = s->o.timeout_ns && s->o.timeout_ns < RELEASE_NS ? s->o.timeout_ns
									 : RELEASE_NS;
	enum lz_stream_state state = s->stats.state;

	if (lz_stream_is_over(s) || s->releasing)
		return;
	s->releasing = true;
	s->release_ns = now_ns + limit;
	if (state == LZ_STREAM_IDLE || (state == LZ_STREAM_DOWN && s->peer == LZ_PEER_PLAIN))
		released(s, ring);
}

void lz_stream_abandon(struct lz_stream *s, struct lz_ring *ring)
{
	if (!lz_stream_is_over(s))
		give_up(s, ring, -ECANCELED);
}

struct lz_stream_stats lz_stream_stats(const struct lz_stream *s)
{
	return s->stats;
}
