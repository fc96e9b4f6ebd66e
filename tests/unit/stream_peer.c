/* SPDX-License-Identifier: MIT */
/* The servers of stream_peer.h. Not here: any test. */
#define _GNU_SOURCE 1
#include "stream_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_world.h"

struct script script;
struct peer *peer[PEERS];
unsigned nr_peers, nr_connects;

static int listener = -1;
static struct lz_giver_options giver_options = { .max_request_pages = 256, .software = "a test" };

/* ---- what it says ---- */

static void put(struct peer *p, const void *bytes, size_t len)
{
	if (p->out_len + len > p->out_room) {
		p->out_room = 2 * (p->out_len + len);
		p->out = realloc(p->out, p->out_room);
		must(p->out);
	}
	memcpy(p->out + p->out_len, bytes, len);
	p->out_len += len;
}

static void put_page(struct peer *p, uint64_t page)
{
	uint8_t bytes[PAGE];

	page_bytes(page, bytes);
	put(p, bytes, PAGE);
}

static unsigned link_of(const struct peer *p)
{
	return p->giver.hello.stream == LZ_HELLO_BULK ? LZ_STREAM_BULK : LZ_STREAM_DEMAND;
}

static uint32_t kind_of(uint64_t page)
{
	return page_is_lost(page) ? LZ_PS_LOST : page_is_zero(page) ? LZ_PS_ZERO : LZ_PS_PRESENT;
}

/* Replies to a lazyd's request: stretches of one kind, when shuffling of random lengths. */
static void give(struct peer *p, const struct lz_giver_get *get)
{
	uint64_t page[LZ_PS_RANGES_MAX], n = 0, nr;
	uint8_t header[LZ_PS_HEADER_MAX];

	must(get->pid == PID);
	for (size_t i = 0; i < get->nr_ranges; i++)
		for (uint64_t k = 0; k < get->range[i].nr_pages; k++)
			page[n++] = page_at(get->range[i].vaddr + k * PAGE);
	must(n == get->nr_pages);
	for (uint64_t i = 0; i < n; i++)
		note_asked(link_of(p), page[i]);
	for (uint64_t i = 0; i < n; i += nr) {
		uint32_t kind = kind_of(page[i]);
		uint64_t max = script.shuffle ? 1 + random_below(n) : n;

		for (nr = 1; nr < max && i + nr < n && kind_of(page[i + nr]) == kind; nr++)
			;
		put(p, header, lz_giver_reply(&p->giver, get->dst_id, kind, 0, i, nr, header));
		for (uint64_t k = 0; kind == LZ_PS_PRESENT && k < nr; k++)
			put_page(p, page[i + k]);
	}
}

static void serve_lazyd(struct peer *p, const uint8_t *bytes, size_t len)
{
	enum lz_giver_event_type ev;
	struct {
		uint64_t dst_id;
		size_t nr;
		struct lz_ps_range range[64];
		uint64_t pages;
	} get[64];
	unsigned nr_gets = 0;

	for (size_t at = 0;;) {
		int64_t n = lz_giver_take(&p->giver, bytes + at, len - at, &ev);

		if (n < 0) {
			put(p, p->giver.say, p->giver.nr_say);
			p->closing = true;
			return;
		}
		at += (size_t)n;
		if (ev == LZ_GIVER_SAY || ev == LZ_GIVER_HELLO)
			put(p, p->giver.say, p->giver.nr_say);
		if (ev == LZ_GIVER_CLOSE && !script.no_status)
			put(p, p->giver.say, p->giver.nr_say);
		if (ev == LZ_GIVER_GET && !script.mute) {
			p->asked++;
			get[nr_gets].dst_id = p->giver.get.dst_id;
			get[nr_gets].nr = p->giver.get.nr_ranges;
			get[nr_gets].pages = p->giver.get.nr_pages;
			memcpy(get[nr_gets++].range, p->giver.get.range,
			       p->giver.get.nr_ranges * sizeof(struct lz_ps_range));
		}
		if (ev == LZ_GIVER_MORE || nr_gets == 64) {
			while (nr_gets) {
				unsigned i = script.shuffle ? (unsigned)random_below(nr_gets) : 0;
				struct lz_giver_get g = { .dst_id = get[i].dst_id,
							  .pid = (uint32_t)get[i].dst_id,
							  .nr_pages = get[i].pages,
							  .nr_ranges = get[i].nr,
							  .range = get[i].range };

				give(p, &g);
				memmove(&get[i], &get[i + 1], (--nr_gets - i) * sizeof(get[0]));
			}
		}
		if (ev == LZ_GIVER_MORE)
			return;
	}
}

/* As CRIU: by hand, for it is the other implementation. */
static void serve_header(struct peer *p)
{
	struct lz_ps_header h, reply;
	uint8_t header[LZ_PS_HEADER_MAX];
	uint64_t nr;

	lz_ps_get(p->layout, p->in, &h);
	switch (h.cmd) {
	case LZ_PS_PARENT:
		ck_assert_uint_eq(h.dst_id, LZ_PS_PROBE);
		put(p, "\0\0\0\0", 4);
		return;
	case LZ_PS_CLOSE:
		if (!script.no_status)
			put(p, "\0\0\0\0", 4);
		return;
	case LZ_PS_GET:
		ck_assert_uint_eq(h.flags, 0);
		ck_assert_uint_eq(h.dst_id, PID);
		break;
	default:
		p->closing = true;
		return;
	}
	nr = script.partial ? 1 + random_below(script.partial) : h.nr_pages;
	nr = nr < h.nr_pages ? nr : h.nr_pages;
	p->asked++;
	for (uint64_t i = 0; i < nr; i++)
		note_asked(link_of(p), page_at(h.vaddr + i * PAGE));
	if (script.mute)
		return;
	reply = (struct lz_ps_header){ LZ_PS_ADD_F, LZ_PS_PRESENT, nr, h.vaddr, h.dst_id };
	put(p, header, lz_ps_put(p->layout, &reply, header));
	for (uint64_t i = 0; i < nr; i++)
		put_page(p, page_at(h.vaddr + i * PAGE));
}

static void serve_plain(struct peer *p, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		p->in[p->in_len++] = bytes[i];
		if (p->in_len == (size_t)p->layout) {
			serve_header(p);
			p->in_len = 0;
		}
	}
}

/* ---- its connection ---- */

void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void peer_pump(struct peer *p, size_t max)
{
	uint8_t bytes[4096];
	ssize_t n;

	while (p->fd >= 0 && !p->eof && !p->error &&
	       (n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) != -1) {
		p->eof = n == 0;
		if (script.plain)
			serve_plain(p, bytes, (size_t)n);
		else
			serve_lazyd(p, bytes, (size_t)n);
	}
	if (p->fd >= 0 && !p->eof && !p->error && errno != EAGAIN)
		p->error = errno;
	while (p->fd >= 0 && !p->stuck && p->out_at < p->out_len && max && p->sent < p->limit) {
		size_t len = p->out_len - p->out_at;

		len = len < max ? len : max;
		len = len < p->limit - p->sent ? len : p->limit - p->sent;
		n = send(p->fd, p->out + p->out_at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			break;
		p->out_at += (size_t)n;
		p->sent += (size_t)n;
		max -= (size_t)n;
	}
	if (p->out_at == p->out_len)
		p->out_at = p->out_len = 0;
	if (p->sent == p->limit || (p->closing && !p->out_len))
		peer_close(p);
}

void peer_settle(struct peer *p)
{
	for (unsigned i = 0; !p->eof && !p->error && i < 100; i++) {
		struct pollfd f = { .fd = p->fd, .events = POLLIN };

		turn();
		if (!p->eof && !p->error)
			(void)poll(&f, 1, 100);
	}
}

void cut_all(void)
{
	for (unsigned i = 0; i < nr_peers; i++)
		peer_close(peer[i]);
	script.limit = SIZE_MAX;
	until_state(LZ_STREAM_DOWN);
}

void peers_free(void)
{
	for (unsigned i = 0; i < nr_peers; i++) {
		peer_close(peer[i]);
		free(peer[i]->out);
		free(peer[i]);
	}
	if (listener >= 0)
		close(listener);
	listener = -1;
}

/* ---- what the stream calls ---- */

static struct peer *new_peer(int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	ck_assert_ptr_nonnull(p);
	p->fd = fd;
	p->layout = script.layout;
	p->limit = script.limit;
	p->stuck = script.mute_second && nr_peers;
	lz_giver_init(&p->giver, &giver_options);
	ck_assert_uint_lt(nr_peers, PEERS);
	return peer[nr_peers++] = p;
}

static int connect_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	if (listener < 0) {
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
		ck_assert_int_eq(listen(listener, 16), 0);
	}
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	if (connect(fd, (struct sockaddr *)&a, len) < 0)
		ck_assert_int_eq(errno, EINPROGRESS);
	new_peer(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	return fd;
}

int connect_peer(void *arg)
{
	const int least = 1;
	int fd[2];

	ck_assert_ptr_eq(arg, &script);
	nr_connects++;
	if (script.refuse)
		return script.refuse;
	if (script.refuse_second && nr_peers)
		return script.refuse_second;
	if (script.tcp)
		return connect_tcp();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	for (unsigned i = 0; script.narrow && i < 2; i++)
		setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	new_peer(fd[1]);
	return fd[0];
}

int failing_connect(void *arg)
{
	(void)arg;
	nr_connects++;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}
