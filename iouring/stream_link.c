/* SPDX-License-Identifier: MIT */
/*
 * One connection of the stream: from connect() to the status of CLOSE. Requests go out as many in
 * one call as there are; payload goes from the socket to where it belongs. What it means that a
 * connection opens or fails is said in stream.c.
 */
#include "iouring/stream_priv.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Taken in a call, which takes 100 us: then the loop is to look at its userfaultfds again. */
enum { BUDGET = 256 << 10 };
/* The same for so long after somebody has waited for a page, and may wait for another. */
enum { BUDGET_URGENT = 64 << 10 };
#define URGENT_NS UINT64_C(5000000)
/* Behind a long payload comes a header, and then another that is to go where it belongs. */
enum { LONG_PAYLOAD = 16 << 10, BEHIND_LONG = 2 * LZ_PS_HEADER_MAX };
/* Data that is not acknowledged for so long: a lazyd is connected to anew. */
enum { USER_TIMEOUT_MS = 7000 };

static void name_peer(struct lz_stream *s, int fd)
{
	struct sockaddr_storage a = { 0 };
	const char *path = ((const struct sockaddr_un *)&a)->sun_path;
	socklen_t len = sizeof(a);
	char host[64], port[8];

	if (getpeername(fd, (struct sockaddr *)&a, &len))
		return;
	if (a.ss_family == AF_UNIX)
		(void)snprintf(s->peer_name, sizeof(s->peer_name), "%.108s", *path ? path : "unix");
	else if (!getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			      NI_NUMERICHOST | NI_NUMERICSERV))
		(void)snprintf(s->peer_name, sizeof(s->peer_name),
			       strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* A plain peer is lost for good with its connection, so it gets all the time there is. */
static void watch(const struct lz_stream *s, const struct lz_stream_link *l)
{
	bool lazyd = s->peer == LZ_PEER_LAZYD || l->asker.is_lazyd;
	uint64_t ms = s->o.timeout_ns / 1000000;

	if (lazyd && (!ms || ms > USER_TIMEOUT_MS))
		ms = USER_TIMEOUT_MS;
	lz_net_watch_peer(&l->net, ms && ms < INT32_MAX ? (unsigned)ms : INT32_MAX);
}

/* Which one, and then that there is one. */
static void keep(const struct lz_stream *s, unsigned which, int fd)
{
	struct stat st;

	if (!s->o.keep)
		return;
	s->o.keep_ino[which] = fd >= 0 && !fstat(fd, &st) ? st.st_ino : 0;
	__atomic_store_n(&s->o.keep[which], fd, __ATOMIC_RELEASE);
}

void lz_stream_link_inherit(const struct lz_stream *s, unsigned which)
{
	struct stat st;
	int fd = s->o.keep ? s->o.keep[which] : -1;

	if (fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode) && st.st_ino == s->o.keep_ino[which])
		(void)close(fd);
	keep(s, which, -1);
}

int lz_stream_link_dial(struct lz_stream *s, unsigned which, uint64_t now_ns)
{
	struct lz_stream_link *l = &s->link[which];
	struct lz_asker_options o = { .layout = s->o.layout,
				      .known = s->peer == LZ_PEER_LAZYD,
				      .hello = s->o.hello };
	int fd = s->o.connect(s->o.connect_arg);

	assert(l->state == LZ_LINK_OFF);
	if (fd < 0)
		return fd;
	keep(s, which, fd);
	lz_net_open(&l->net, fd, which, which == LZ_STREAM_BULK ? LZ_NET_BULK : LZ_NET_DEMAND);
	lz_net_fail_hard(&l->net, true);
	o.known = o.known || which == LZ_STREAM_BULK;
	o.hello.stream = which == LZ_STREAM_BULK ? LZ_HELLO_BULK : LZ_HELLO_DEMAND;
	lz_asker_init(&l->asker, &o);
	watch(s, l);
	for (unsigned i = 0; i < LZ_ASKER_TAGS; i++)
		l->tag[i] = (uint16_t)(LZ_ASKER_TAGS - 1 - i);
	l->nr_tags = LZ_ASKER_TAGS;
	l->out_at = l->out_len = 0;
	l->since_ns = now_ns;
	l->state = LZ_LINK_CONNECTING;
	return 0;
}

void lz_stream_link_close(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l)
{
	if (l->state == LZ_LINK_OFF)
		return;
	lz_net_close(&l->net, ring);
	keep(s, (unsigned)(l - s->link), -1);
	l->state = LZ_LINK_OFF;
}

int lz_stream_link_poll(struct lz_stream_link *l, struct lz_ring *ring)
{
	int r = 0;

	if (l->state == LZ_LINK_OFF)
		return 0;
	if (l->state != LZ_LINK_CONNECTING && l->state != LZ_LINK_SECURING)
		r = lz_net_poll_in(&l->net, ring);
	if (!r && (l->state == LZ_LINK_CONNECTING || l->out_at < l->out_len))
		r = lz_net_poll_out(&l->net, ring);
	return r;
}

/* ---- what is sent ---- */

static void say(struct lz_stream *s, struct lz_stream_link *l, uint64_t now_ns)
{
	bool hello = l->asker.state == LZ_ASKER_GREETING || l->asker.options.known;

	if (l->state != LZ_LINK_GREETING)
		return;
	if (hello && !l->asker.greeted && l == &s->link[LZ_STREAM_DEMAND]) {
		lz_stream_second(s, now_ns);
		if (s->alone)
			l->asker.options.hello.stream = LZ_HELLO_BOTH;
	}
	assert(sizeof(l->out) - l->out_len >= LZ_HELLO_MAX + LZ_PS_HEADER_MAX);
	l->out_len += lz_asker_say(&l->asker, l->out + l->out_len);
}

static void fill(struct lz_stream *s, struct lz_stream_link *l)
{
	const struct lz_stream_link *bulk = &s->link[LZ_STREAM_BULK];
	bool opening = lz_stream_link_is_opening(bulk);

	if (l->state != LZ_LINK_OPEN || s->stats.state != LZ_STREAM_UP)
		return;
	if (l != bulk)
		l->out_len += lz_stream_read_ask(s, l, true, l->out, sizeof(l->out));
	if (l != bulk && (bulk->state == LZ_LINK_OPEN || (opening && !s->bulk_tried)))
		return;
	l->out_len += lz_stream_read_ask(s, l, false, l->out + l->out_len,
					 sizeof(l->out) - l->out_len);
}

void lz_stream_link_flush(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			  uint64_t now_ns)
{
	int64_t n;

	if (l->state < LZ_LINK_GREETING)
		return;
	for (;;) {
		if (l->out_at == l->out_len) {
			l->out_at = l->out_len = 0;
			fill(s, l);
			if (!l->out_len)
				return;
		}
		n = lz_net_send(&l->net,
				&(struct iovec){ l->out + l->out_at, l->out_len - l->out_at }, 1);
		if (n == -EAGAIN)
			return;
		if (n < 0)
			break;
		l->out_at += (size_t)n;
	}
	/* What the peer said before it went, a refusal perhaps, is there to be read. */
	l->out_at = l->out_len = 0;
	lz_stream_link_receive(s, ring, l, now_ns);
	if (l->state != LZ_LINK_OFF)
		lz_stream_broken(s, ring, l, n, now_ns);
}

void lz_stream_link_say_close(struct lz_stream_link *l)
{
	assert(l->out_at == l->out_len);
	l->out_at = 0;
	l->out_len = lz_asker_close(&l->asker, l->out);
	l->state = LZ_LINK_CLOSING;
}

/* ---- what is received ---- */

/* Whole pages, or else a greeting. */
static void heard(struct lz_stream *s, bool pages, uint64_t now_ns)
{
	/* Who greets us again and again and then sends no page has not been heard of. */
	if (pages || !s->greeted)
		s->heard_ns = now_ns;
	s->greeted = !pages;
	s->fruitful = s->fruitful || pages;
}

static uint8_t *payload_at(const struct lz_stream *s, const struct lz_stream_link *l)
{
	return lz_stream_read_page(s, l, l->pay.tag, l->pay.page) + l->pay.at;
}

/* @n bytes of payload are where they belong. */
static void paid(struct lz_stream *s, struct lz_stream_link *l, size_t n, uint64_t now_ns)
{
	size_t at = l->pay.at + n, pages = at / LZ_PS_PAGE;

	if (pages) {
		heard(s, true, now_ns);
		lz_stream_read_had(s, l, l->pay.tag, l->pay.page, pages);
	}
	l->pay.page = (uint8_t)(l->pay.page + pages);
	l->pay.at = at % LZ_PS_PAGE;
	s->stats.bytes_wire += n;
	lz_asker_paid(&l->asker, n);
	if (!l->asker.payload)
		lz_stream_read_answered(s, l, l->pay.tag, l->pay.nr);
}

static void happened(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		     const struct lz_asker_event *ev, uint64_t now_ns)
{
	switch (ev->type) {
	case LZ_ASKER_MORE:
		return;
	case LZ_ASKER_OPEN:
		l->state = LZ_LINK_OPEN;
		lz_stream_opened(s, l);
		watch(s, l);
		return;
	case LZ_ASKER_END:
		lz_stream_link_ended(s, ring, l);
		return;
	case LZ_ASKER_BYTES:
		l->pay.tag = ev->tag;
		l->pay.page = (uint8_t)ev->first;
		l->pay.nr = (uint8_t)ev->nr;
		l->pay.at = 0;
		return;
	case LZ_ASKER_ZEROS:
		heard(s, true, now_ns);
		memset(lz_stream_read_page(s, l, ev->tag, ev->first), 0, ev->nr * LZ_PS_PAGE);
		lz_stream_read_had(s, l, ev->tag, ev->first, ev->nr);
		s->stats.pages_zero += ev->nr;
		break;
	case LZ_ASKER_LOST:
		heard(s, true, now_ns);
		lz_stream_read_lost(s, l, ev->tag, ev->first, ev->nr);
		break;
	case LZ_ASKER_REST:
		lz_stream_read_again(s, l, ev->tag, ev->first, ev->nr);
		break;
	}
	lz_stream_read_answered(s, l, ev->tag, ev->nr);
}

/* What has come behind the payload that was expected, or instead of one. */
static void take(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l, size_t n,
		 uint64_t now_ns)
{
	struct lz_asker *a = &l->asker;
	const uint8_t *p = l->in;
	struct lz_asker_event ev = { .type = LZ_ASKER_OPEN };
	int64_t taken;

	while (l->state != LZ_LINK_OFF && (n || (!a->payload && ev.type != LZ_ASKER_MORE))) {
		if (a->payload) {
			taken = (int64_t)(n < a->payload ? n : a->payload);
			memcpy(payload_at(s, l), p, (size_t)taken);
			paid(s, l, (size_t)taken, now_ns);
		} else {
			taken = lz_asker_take(a, p, n, &ev);
			if (taken < 0 && l->state == LZ_LINK_GREETING && a->welcome.version) {
				lz_stream_refused(s, ring, a->why);
				return;
			}
			if (taken < 0) {
				lz_stream_failed(s, ring, l, a->why, now_ns);
				return;
			}
			if (ev.type == LZ_ASKER_OPEN && a->state == LZ_ASKER_PLAIN &&
			    s->o.only_lazyd) {
				lz_stream_unfit(s, ring, l,
						"it is no lazyd, and does not say what it has",
						now_ns);
				return;
			}
			happened(s, ring, l, &ev, now_ns);
		}
		p += taken;
		n -= (size_t)taken;
	}
	if (l->state == LZ_LINK_GREETING) {
		say(s, l, now_ns);
		lz_stream_link_flush(s, ring, l, now_ns);
	}
}

static const char *closed(const struct lz_stream_link *l)
{
	/* A CRIU looks at our certificate when the handshake is over. */
	if (l->net.tls && l->state == LZ_LINK_GREETING)
		return "it has closed the connection right after the TLS handshake: perhaps it "
		       "does not accept our certificate";
	return "it has closed the connection";
}

void lz_stream_link_receive(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			    uint64_t now_ns)
{
	size_t budget = s->urgent_ns && now_ns - s->urgent_ns <= URGENT_NS ? BUDGET_URGENT : BUDGET;

	while (l->state >= LZ_LINK_GREETING && budget) {
		uint64_t pays = l->asker.payload < budget ? l->asker.payload : budget;
		size_t behind = pays < LONG_PAYLOAD ? sizeof(l->in) : BEHIND_LONG, direct;
		struct iovec iov[2] = { { pays ? payload_at(s, l) : NULL, pays },
					{ l->in, behind } };
		int64_t n = lz_net_recv(&l->net, iov, 2);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			lz_stream_broken(s, ring, l, n, now_ns);
			return;
		}
		if (n == 0) {
			lz_stream_failed(s, ring, l, closed(l), now_ns);
			return;
		}
		if (l->state == LZ_LINK_GREETING && !s->o.tls &&
		    lz_tls_is_alert(l->in, (size_t)n)) {
			lz_stream_unfit(s, ring, l, "it speaks TLS, and this end does not", now_ns);
			return;
		}
		if (l->state == LZ_LINK_GREETING)
			heard(s, false, now_ns);
		else if (s->fruitful) /* else less than a page is no more than a greeting */
			s->heard_ns = now_ns;
		direct = (size_t)n < pays ? (size_t)n : pays;
		if (direct)
			paid(s, l, direct, now_ns);
		take(s, ring, l, (size_t)n - direct, now_ns);
		if ((size_t)n < pays + behind)
			return;
		budget -= (size_t)n < budget ? (size_t)n : budget;
	}
}

static void secure(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		   uint64_t now_ns)
{
	int r = s->o.tls ? lz_net_handshake(&l->net, ring) : 0;

	if (r == -EAGAIN)
		return;
	if (r) {
		lz_stream_broken(s, ring, l, r, now_ns);
		return;
	}
	l->state = LZ_LINK_GREETING;
	say(s, l, now_ns);
	lz_stream_link_flush(s, ring, l, now_ns);
}

static void connected(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		      uint64_t now_ns)
{
	int r = lz_net_connected(&l->net);

	if (r == -EINPROGRESS)
		return;
	if (!r && s->o.tls)
		r = lz_net_secure(&l->net, s->o.tls, false);
	if (r) {
		lz_stream_failed(s, ring, l, strerror(-r), now_ns);
		return;
	}
	l->state = LZ_LINK_SECURING;
	name_peer(s, l->net.fd);
	secure(s, ring, l, now_ns);
}

void lz_stream_link_ready(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			  bool out, uint64_t now_ns)
{
	if (l->state == LZ_LINK_CONNECTING)
		connected(s, ring, l, now_ns);
	else if (l->state == LZ_LINK_SECURING)
		secure(s, ring, l, now_ns);
	else if (out)
		lz_stream_link_flush(s, ring, l, now_ns);
	else
		lz_stream_link_receive(s, ring, l, now_ns);
}
