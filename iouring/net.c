/* SPDX-License-Identifier: MIT */
/*
 * The sockets of net.h: options, polls through the ring and the calls that move bytes. What a
 * kernel or a kind of socket does not have (a unix socket has no delay to take off) is done
 * without.
 */
#include "iouring/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A host that has gone without a word is noticed after IDLE + CNT * INTVL seconds of silence. */
enum { KEEP_IDLE_S = 5, KEEP_INTVL_S = 2, KEEP_CNT = 3 };
/* Of socket(7): TC_PRIO_INTERACTIVE, the highest that needs no privilege, and best effort. */
enum { PRIORITY_DEMAND = 6, PRIORITY_BULK = 0 };

static struct lz_tag lz_net_tag(const struct lz_net *n, bool out);
static void lz_net_set(const struct lz_net *n, int level, int name, int value);
static bool lz_net_has_peer(const struct lz_net *n);

void lz_net_open(struct lz_net *n, int fd, uint32_t number, enum lz_net_use use)
{
	*n = (struct lz_net){ .fd = fd, .number = number, .generation = n->generation };
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	lz_net_set(n, IPPROTO_TCP, TCP_NODELAY, 1);
	lz_net_set_use(n, use);
	n->connecting = !lz_net_has_peer(n);
}

void lz_net_set_use(const struct lz_net *n, enum lz_net_use use)
{
	lz_net_set(n, SOL_SOCKET, SO_PRIORITY,
		   use == LZ_NET_DEMAND ? PRIORITY_DEMAND : PRIORITY_BULK);
}

void lz_net_name(int fd, char out[LZ_NET_NAME_MAX])
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage room;
	} a = { .any = { .sa_family = AF_UNSPEC } };
	socklen_t len = sizeof(a);
	char text[INET6_ADDRSTRLEN] = "";

	getpeername(fd, &a.any, &len);
	switch (a.any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a.in.sin_addr, text, sizeof(text));
		snprintf(out, LZ_NET_NAME_MAX, "%s:%u", text, ntohs(a.in.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a.in6.sin6_addr, text, sizeof(text));
		snprintf(out, LZ_NET_NAME_MAX, "[%s]:%u", text, ntohs(a.in6.sin6_port));
		break;
	default:
		snprintf(out, LZ_NET_NAME_MAX, "%s",
			 a.any.sa_family == AF_UNIX ? "unix" : "unknown");
	}
}

void lz_net_watch_peer(const struct lz_net *n, unsigned user_timeout_ms)
{
	lz_net_set(n, SOL_SOCKET, SO_KEEPALIVE, 1);
	lz_net_set(n, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	lz_net_set(n, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTVL_S);
	lz_net_set(n, IPPROTO_TCP, TCP_KEEPCNT, KEEP_CNT);
	lz_net_set(n, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms);
}

void lz_net_fail_hard(struct lz_net *n, bool on)
{
	struct linger l = { .l_onoff = on };

	n->hard = on;
	setsockopt(n->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

int lz_net_secure(struct lz_net *n, const struct lz_tls *t, bool server)
{
	return lz_tls_session_new(&n->tls, t, n->fd, server);
}

int lz_net_handshake(struct lz_net *n, struct lz_ring *ring)
{
	int ret = lz_tls_handshake(n->tls);

	if (ret == -EAGAIN && lz_tls_wants_out(n->tls) && lz_net_poll_out(n, ring))
		ret = -EBUSY;
	if (ret == -EAGAIN && lz_net_poll_in(n, ring))
		ret = -EBUSY;
	return ret;
}

/*
 * A poll holds the socket, so that it is the cancel, at the next enter, which makes the end of it
 * seen by the peer. A cancel that finds no room in the queue leaves that to the ring's own end.
 */
void lz_net_close(struct lz_net *n, struct lz_ring *ring)
{
	if (n->fd < 0)
		return;
	if (n->polls_in)
		lz_ring_cancel(ring, lz_net_tag(n, false));
	if (n->polls_out)
		lz_ring_cancel(ring, lz_net_tag(n, true));
	/* An orderly end would be taken for success. */
	if (n->tls)
		lz_tls_session_free(n->tls, !n->hard);
	close(n->fd);
	*n = (struct lz_net){ .fd = -1,
			      .number = n->number,
			      .generation = (uint16_t)(n->generation + 1) };
}

int lz_net_poll_in(struct lz_net *n, struct lz_ring *ring)
{
	bool pending = n->tls && lz_tls_has_pending(n->tls);
	int ret;

	if (n->polls_in && (!pending || n->nudged))
		return 0;
	/* The socket may have no more: what is in the session says so itself,
	 * by the one completion there is. */
	if (n->polls_in)
		ret = lz_ring_cancel(ring, lz_net_tag(n, false));
	else if (pending)
		ret = lz_ring_nop(ring, lz_net_tag(n, false));
	else
		ret = lz_ring_poll(ring, n->fd, lz_net_tag(n, false));
	n->polls_in = n->polls_in || ret == 0;
	n->nudged = pending && ret == 0;
	return ret;
}

int lz_net_poll_out(struct lz_net *n, struct lz_ring *ring)
{
	int ret;

	if (n->polls_out)
		return 0;
	ret = lz_ring_poll_out(ring, n->fd, lz_net_tag(n, true));
	n->polls_out = ret == 0;
	return ret;
}

bool lz_net_completed(struct lz_net *n, struct lz_tag tag, bool *out)
{
	if (tag.kind != LZ_TAG_NET || tag.id >> 1 != n->number || tag.generation != n->generation)
		return false;
	*out = tag.id & 1;
	if (*out)
		n->polls_out = false;
	else
		n->polls_in = n->nudged = false;
	return true;
}

int lz_net_connected(struct lz_net *n)
{
	struct pollfd p = { .fd = n->fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (!n->connecting)
		return 0;
	if (poll(&p, 1, 0) <= 0)
		return -EINPROGRESS;
	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (!err && !lz_net_has_peer(n))
		err = ECONNRESET;
	n->connecting = err != 0;
	return -err;
}

int64_t lz_net_recv(const struct lz_net *n, const struct iovec *iov, size_t nr)
{
	/* Not written to: the const is lost only in the type of msg_iov. */
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr };
	ssize_t ret;

	if (n->tls)
		return lz_tls_recv(n->tls, iov, nr);
	do
		ret = recvmsg(n->fd, &m, MSG_DONTWAIT);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

int64_t lz_net_send(const struct lz_net *n, const struct iovec *iov, size_t nr)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr };
	ssize_t ret;

	if (n->tls)
		return lz_tls_send(n->tls, iov, nr);
	do
		ret = sendmsg(n->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

const char *lz_net_error(const struct lz_net *n, int64_t ret)
{
	const char *why = n->tls ? lz_tls_why(n->tls) : "";

	return *why ? why : strerror((int)-ret);
}

static struct lz_tag lz_net_tag(const struct lz_net *n, bool out)
{
	return (struct lz_tag){ .kind = LZ_TAG_NET,
				.id = n->number << 1 | out,
				.generation = n->generation };
}

static void lz_net_set(const struct lz_net *n, int level, int name, int value)
{
	setsockopt(n->fd, level, name, &value, sizeof(value));
}

static bool lz_net_has_peer(const struct lz_net *n)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	return getpeername(n->fd, (struct sockaddr *)&a, &len) == 0;
}
