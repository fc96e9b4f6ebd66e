/* SPDX-License-Identifier: MIT */
/*
 * The page server's turn: completions first, then the clients that threads wait for, then a bounded
 * amount of work for the others, each a buffer in its turn. Listening, buffers, time limits and the
 * log are here too; what a connection says is in client.c, where its pages come from in reply.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iouring/server_priv.h"

/*
 * What is done between two looks at who else wants something: 128 KiB from the page cache are 30 to
 * 60 us, and stay in the second-level cache between being read and being sent.
 */
enum { TURN_PAGES = 32 };
enum { COMPLETIONS = 64, ACCEPTS = 64 };
/* Lines at once, and a second: a flood of clients is a line each, up to here. */
enum { LOG_BURST = 2000, LOG_RATE = 20, LOG_LINE = 1024 };
static const uint64_t SECOND = 1000000000;

static bool lz_server_may_take(const struct lz_server *s, bool demand);
static bool lz_server_is_over(const struct lz_server *s);
static uint64_t lz_server_shortest(const struct lz_server_options *o);
static bool lz_server_look(struct lz_server *s, int64_t timeout_ns);
static int64_t lz_server_patience(const struct lz_server *s, int64_t timeout_ns);
static void lz_server_completed(struct lz_server *s, const struct lz_completion *c);
static void lz_server_poll(struct lz_server *s);
static void lz_server_accept_all(struct lz_server *s, unsigned listener);
static int lz_server_admit(struct lz_server *s, int fd);
static void lz_server_shake(struct lz_server *s);
static void lz_server_serve(struct lz_server *s, struct lz_clients *queue, bool demand);
static void lz_server_flush(struct lz_server *s);
static void lz_server_check(struct lz_server *s);
static void lz_server_bury(struct lz_server *s);

int lz_server_open(struct lz_server **out, const struct lz_server_options *o)
{
	struct lz_server *s;
	int ret;

	if (!o->max_clients || o->max_clients > 1 << 20)
		return -EINVAL;
	s = calloc(1, sizeof(*s) + o->max_clients * sizeof(s->slot[0]));
	if (!s)
		return -ENOMEM;
	if (o->tls)
		lz_tls_own_random();
	s->o = *o;
	s->o.silent_ns = o->silent_ns ? o->silent_ns : 60 * SECOND;
	s->o.header_ns = o->header_ns ? o->header_ns : 10 * SECOND;
	s->o.close_ns = o->close_ns ? o->close_ns : 10 * SECOND;
	s->o.clock = o->clock ? o->clock : lz_ring_now;
	TAILQ_INIT(&s->demand);
	TAILQ_INIT(&s->bulk);
	TAILQ_INIT(&s->send);
	TAILQ_INIT(&s->shake);
	TAILQ_INIT(&s->stuck);
	TAILQ_INIT(&s->gone);
	lz_spin_init(&s->spin, o->busy_poll_ns);
	s->log_tokens = LOG_BURST;
	s->now = s->log_ns = s->o.clock();
	s->next_check = s->accept_again = UINT64_MAX;
	s->shortest_ns = lz_server_shortest(&s->o);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->stop_fd < 0) {
		ret = -errno;
		goto free_server;
	}
	ret = lz_pool_init(&s->pool, LZ_SERVER_BUFFERS, (size_t)LZ_REPLY_PAGES * LZ_PS_PAGE);
	if (ret)
		goto close_stop;
	for (unsigned i = 0; i < LZ_SERVER_BUFFERS; i++)
		s->free[s->nr_free++] = LZ_SERVER_BUFFERS - 1 - i;
	/* Four times as many completions: two polls a client, their cancels,
	 * and all reads at once. */
	ret = lz_ring_open(&s->ring, 512 + o->max_clients);
	if (ret)
		goto free_pool;
	ret = lz_ring_poll(&s->ring, s->stop_fd, (struct lz_tag){ .kind = LZ_TAG_STOP });
	if (ret)
		goto close_ring;
	*out = s;
	return 0;

close_ring:
	lz_ring_close(&s->ring);
free_pool:
	lz_pool_fini(&s->pool);
close_stop:
	close(s->stop_fd);
free_server:
	free(s);
	return ret;
}

void lz_server_close(struct lz_server *s)
{
	struct lz_completion c[COMPLETIONS];

	lz_server_finish(s);
	for (uint32_t i = 0; i < s->o.max_clients; i++)
		if (s->slot[i].client && s->slot[i].client->state != LZ_CLIENT_GONE)
			lz_client_close(s->slot[i].client);
	/* The kernel writes to the buffers until the last read has ended. */
	for (lz_server_bury(s); !TAILQ_EMPTY(&s->gone); lz_server_bury(s)) {
		lz_ring_wait(&s->ring, -1);
		for (unsigned i = 0, n = lz_ring_reap(&s->ring, c, COMPLETIONS); i < n; i++)
			if (c[i].tag.kind == LZ_TAG_READ)
				lz_server_completed(s, &c[i]);
	}
	lz_ring_close(&s->ring);
	lz_pool_fini(&s->pool);
	close(s->stop_fd);
	free(s);
}

int lz_server_listen(struct lz_server *s, int fd)
{
	if (s->nr_listeners == LZ_SERVER_LISTENERS)
		return -ENOSPC;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	s->listener[s->nr_listeners++] = (struct lz_listener){ .fd = fd };
	return 0;
}

int lz_server_accept(struct lz_server *s, int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &len))
		return -errno;
	s->now = s->o.clock();
	return lz_server_admit(s, fd);
}

void lz_server_finish(struct lz_server *s)
{
	s->finishing = true;
	for (unsigned i = 0; i < s->nr_listeners; i++) {
		if (s->listener[i].polls)
			lz_ring_cancel(&s->ring, (struct lz_tag){ .kind = LZ_TAG_WATCH, .id = i });
		close(s->listener[i].fd);
	}
	s->nr_listeners = 0;
}

void lz_server_stop(struct lz_server *s)
{
	uint64_t one = 1;
	int saved = errno;

	/* It fails only where the counter is full: then turn() has been told often enough. */
	if (write(s->stop_fd, &one, sizeof(one)) < 0)
		errno = saved;
}

int lz_server_turn(struct lz_server *s, int64_t timeout_ns)
{
	uint64_t begun = lz_ring_now(), urgent = s->urgent;
	int64_t patience_ns = lz_server_patience(s, timeout_ns);
	/* Nor does it look for a disk. */
	bool waits = patience_ns && !s->nr_reading;
	struct lz_completion c[COMPLETIONS];
	unsigned n;
	int ret = 0;

	lz_server_poll(s);
	if (!waits || !lz_server_look(s, patience_ns))
		ret = lz_ring_wait(&s->ring, patience_ns);
	if (ret)
		return ret;
	s->now = s->o.clock();
	do {
		n = lz_ring_reap(&s->ring, c, COMPLETIONS);
		for (unsigned i = 0; i < n; i++)
			lz_server_completed(s, &c[i]);
	} while (n == COMPLETIONS);
	s->moved = false;
	s->sealable = LZ_SERVER_SEALED;
	lz_server_flush(s);
	if (waits)
		lz_spin_note(&s->spin, s->now - begun, s->urgent != urgent);
	lz_server_serve(s, &s->demand, true);
	lz_server_serve(s, &s->bulk, false);
	lz_server_shake(s);
	if (s->now >= s->next_check)
		lz_server_check(s);
	lz_server_bury(s);
	return !lz_server_is_over(s);
}

void lz_server_stats(const struct lz_server *s, struct lz_server_stats *stats)
{
	*stats = s->stats;
}

void lz_server_log(struct lz_server *s, int level, const char *format, ...)
{
	char line[LOG_LINE];
	va_list ap;

	s->log_tokens += (double)(s->now - s->log_ns) / (double)SECOND * LOG_RATE;
	s->log_ns = s->now;
	if (s->log_tokens > LOG_BURST)
		s->log_tokens = LOG_BURST;
	if (s->log_tokens < 1) {
		s->log_held++;
		return;
	}
	s->log_tokens--;
	if (s->log_held) {
		snprintf(line, sizeof(line), "event=log-held lines=%" PRIu64, s->log_held);
		s->log_held = 0;
		s->o.log(s->o.arg, LZ_SERVER_LOG_WARN, line);
	}
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	s->o.log(s->o.arg, level, line);
}

/*
 * Where there is none left, the client whose socket has taken nothing for the longest time gives
 * back what it holds: its pages are read again when it takes them.
 */
int lz_server_take_buffer(struct lz_server *s, bool demand)
{
	unsigned n;

	while (!lz_server_may_take(s, demand)) {
		if (TAILQ_EMPTY(&s->stuck))
			return -1;
		lz_client_strip(TAILQ_FIRST(&s->stuck));
	}
	n = s->free[--s->nr_free];
	s->lent |= (uint64_t)demand << n;
	return (int)n;
}

/* The last one given is the first to be taken: it is in the processor's cache. */
void lz_server_give_buffer(struct lz_server *s, int buffer)
{
	s->lent &= ~(UINT64_C(1) << buffer);
	s->free[s->nr_free++] = (unsigned)buffer;
	s->moved = true;
}

/* Each of the two kinds leaves some to the other. */
static bool lz_server_may_take(const struct lz_server *s, bool demand)
{
	if (demand)
		return s->nr_free &&
		       __builtin_popcountll(s->lent) < LZ_SERVER_BUFFERS - LZ_SERVER_RESERVE;
	return s->nr_free > LZ_SERVER_RESERVE;
}

static bool lz_server_is_over(const struct lz_server *s)
{
	return s->done || (s->finishing && !s->stats.nr_clients);
}

static uint64_t lz_server_shortest(const struct lz_server_options *o)
{
	uint64_t shortest = o->silent_ns;

	if (o->header_ns < shortest)
		shortest = o->header_ns;
	if (o->close_ns < shortest)
		shortest = o->close_ns;
	if (o->idle_ns && o->idle_ns < shortest)
		shortest = o->idle_ns;
	return shortest;
}

static bool lz_server_look(struct lz_server *s, int64_t timeout_ns)
{
	uint64_t look_ns = lz_spin_ns(&s->spin);

	if (timeout_ns >= 0 && (uint64_t)timeout_ns < look_ns)
		look_ns = 0;
	s->stats.looks += look_ns != 0;
	return look_ns && lz_ring_look(&s->ring, look_ns);
}

/* Not at all where the last turn left something that can be done, or nobody is left. */
static int64_t lz_server_patience(const struct lz_server *s, int64_t timeout_ns)
{
	uint64_t until = s->next_check < s->accept_again ? s->next_check : s->accept_again;
	uint64_t now = s->o.clock(), left = until > now ? until - now : 0;
	bool work = !TAILQ_EMPTY(&s->demand) || !TAILQ_EMPTY(&s->bulk);

	if (!TAILQ_EMPTY(&s->send) || !TAILQ_EMPTY(&s->shake) || (s->moved && work) ||
	    lz_server_is_over(s))
		return 0;
	if (until == UINT64_MAX || (timeout_ns >= 0 && (uint64_t)timeout_ns < left))
		return timeout_ns;
	return (int64_t)left;
}

static void lz_server_completed(struct lz_server *s, const struct lz_completion *c)
{
	struct lz_client *client;
	uint64_t count;
	uint32_t number;
	bool out;

	switch (c->tag.kind) {
	case LZ_TAG_STOP:
		while (read(s->stop_fd, &count, sizeof(count)) > 0)
			continue;
		lz_ring_poll(&s->ring, s->stop_fd, c->tag);
		break;
	case LZ_TAG_WATCH:
		if (c->tag.id < s->nr_listeners)
			lz_server_accept_all(s, c->tag.id);
		break;
	case LZ_TAG_READ:
		client = s->slot[c->tag.id >> 9].client;
		lz_reply_completed(client, c->tag.id, c->res);
		break;
	case LZ_TAG_NET:
		number = c->tag.id >> 1;
		client = number < s->o.max_clients ? s->slot[number].client : NULL;
		if (!client || !lz_net_completed(&client->net, c->tag, &out))
			break;
		if (out)
			lz_client_writable(client);
		else
			lz_client_readable(client);
		break;
	default:
		break;
	}
}

static void lz_server_poll(struct lz_server *s)
{
	if (s->accept_again <= s->now)
		s->accept_again = UINT64_MAX;
	if (s->accept_again != UINT64_MAX)
		return;
	for (unsigned i = 0; i < s->nr_listeners; i++) {
		struct lz_listener *l = &s->listener[i];

		if (!l->polls)
			l->polls = !lz_ring_poll(&s->ring, l->fd,
						 (struct lz_tag){ .kind = LZ_TAG_WATCH, .id = i });
	}
}

static void lz_server_accept_all(struct lz_server *s, unsigned listener)
{
	struct lz_listener *l = &s->listener[listener];

	l->polls = false;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), ret;
		char peer[LZ_NET_NAME_MAX];

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno == EAGAIN)
			break;
		if (fd < 0) {
			/* No descriptor is free: who waits in the backlog must not
			 * keep this thread busy. */
			lz_server_log(s, LZ_SERVER_LOG_ERROR, "event=accept-failed reason=\"%s\"",
				      strerror(errno));
			s->accept_again = s->now + SECOND;
			break;
		}
		ret = lz_server_admit(s, fd);
		if (ret) {
			s->stats.clients_refused++;
			lz_net_name(fd, peer);
			lz_server_log(s, LZ_SERVER_LOG_WARN,
				      "event=client-refused peer=%s reason=\"%s\"", peer,
				      ret == -EUSERS ? "too many clients" : strerror(-ret));
			close(fd);
		}
	}
}

static int lz_server_admit(struct lz_server *s, int fd)
{
	uint64_t check = s->now + s->shortest_ns;
	uint32_t number = 0;

	while (number < s->o.max_clients && s->slot[number].client)
		number++;
	if (number == s->o.max_clients)
		return -EUSERS;
	s->slot[number].client = lz_client_new(s, number, fd);
	if (!s->slot[number].client)
		return -ENOMEM;
	s->stats.nr_clients++;
	s->stats.clients_total++;
	if (check < s->next_check)
		s->next_check = check;
	return 0;
}

/* One step of one handshake a turn: it may be a signature of a millisecond,
 * and threads wait for pages. */
static void lz_server_shake(struct lz_server *s)
{
	struct lz_client *c = TAILQ_FIRST(&s->shake);

	if (!c)
		return;
	TAILQ_REMOVE(&s->shake, c, work);
	c->shakes = false;
	lz_client_shake(c);
}

/* A buffer for each in turn, until the turn's work is done or a round has brought nothing. */
static void lz_server_serve(struct lz_server *s, struct lz_clients *queue, bool demand)
{
	unsigned share = (LZ_SERVER_BUFFERS - LZ_SERVER_RESERVE) / (s->nr_working + 1) + 1,
		 done = 0;
	const struct lz_client *first = NULL;
	struct lz_client *c;

	while (done < TURN_PAGES && (c = TAILQ_FIRST(queue)) && c != first) {
		int buffer = -1;

		TAILQ_REMOVE(queue, c, work);
		TAILQ_INSERT_TAIL(queue, c, work);
		if (c->nr_held < share) {
			buffer = lz_server_take_buffer(s, demand);
			if (buffer < 0)
				break;
			done += lz_reply_begin(c, buffer);
			lz_client_sort(c);
			first = NULL;
		} else if (!first) {
			first = c;
		}
	}
	lz_server_flush(s);
}

static void lz_server_flush(struct lz_server *s)
{
	struct lz_client *c;

	while (s->sealable && (c = TAILQ_FIRST(&s->send))) {
		TAILQ_REMOVE(&s->send, c, send);
		c->sends = false;
		lz_client_flush(c);
	}
}

/* A limit that begins from now on ends no sooner than the shortest of them. */
static void lz_server_check(struct lz_server *s)
{
	uint64_t first = UINT64_MAX;

	for (uint32_t i = 0; i < s->o.max_clients; i++) {
		struct lz_client *c = s->slot[i].client;
		uint64_t at = c ? lz_client_check(c) : UINT64_MAX;

		if (at < first)
			first = at;
	}
	s->next_check = UINT64_MAX;
	if (s->stats.nr_clients)
		s->next_check = first < s->now + s->shortest_ns ? first : s->now + s->shortest_ns;
}

static void lz_server_bury(struct lz_server *s)
{
	struct lz_client *c, *next;

	for (c = TAILQ_FIRST(&s->gone); c; c = next) {
		next = TAILQ_NEXT(c, work);
		if (c->nr_reading)
			continue;
		TAILQ_REMOVE(&s->gone, c, work);
		s->slot[c->net.number].client = NULL;
		free(c);
	}
}
