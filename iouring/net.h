/* SPDX-License-Identifier: MIT */
/*
 * A connected (or connecting) stream socket beside the ring: the ring says when it can be read or
 * written, and the transfers are ordinary non-blocking calls, with TLS between if that is wanted.
 * Each connection has a number, which its completions carry; a generation tells late ones of its
 * former use. Not here: what is said on it.
 */
#ifndef LZ_NET_H
#define LZ_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "iouring/ring.h"
#include "iouring/tls.h"

struct lz_net {
	int fd;                     /* -1: none */
	struct lz_tls_session *tls; /* NULL: plain text */
	uint32_t number;
	uint16_t generation;
	bool polls_in, polls_out; /* a poll of that kind is in the ring */
	bool nudged;              /* the poll for reading will end at once */
	bool connecting, hard;
};

enum { LZ_NET_NAME_MAX = 64 };

enum lz_net_use {
	LZ_NET_DEMAND, /* small and urgent */
	LZ_NET_BULK,
};

/*
 * Takes @fd, makes it non-blocking and sets what a TCP socket of this use wants: no delay,
 * priority. *n is zeros or was closed; @number: below 2^31. .connecting says whether connected() is
 * to be asked.
 */
void lz_net_open(struct lz_net *n, int fd, uint32_t number, enum lz_net_use use);
/* Who is at the other end: 192.0.2.1:99, [2001:db8::1]:99, unix; or "unknown". */
void lz_net_name(int fd, char out[LZ_NET_NAME_MAX]);
/* The use has turned out to be another. */
void lz_net_set_use(const struct lz_net *n, enum lz_net_use use);
/* A dead peer's host is noticed by keepalive and by data not acknowledged for
 * @user_timeout_ms (0: the kernel's). */
void lz_net_watch_peer(const struct lz_net *n, unsigned user_timeout_ms);
/* Any end but an orderly one is a reset, which no peer takes for success;
 * false: closes as usual. */
void lz_net_fail_hard(struct lz_net *n, bool on);
/* From now on in TLS, by @t: connected, and nothing said yet. -ENOMEM. */
int lz_net_secure(struct lz_net *n, const struct lz_tls *t, bool server);
/* As lz_tls_handshake(), for a connection that was secured:
 * to be called again when either poll says so. */
int lz_net_handshake(struct lz_net *n, struct lz_ring *ring);
/* Takes back what is in the ring and closes;
 * the completions that still come are of an old generation. */
void lz_net_close(struct lz_net *n, struct lz_ring *ring);

/*
 * Asks to be told once: by a completion of LZ_TAG_NET. Nothing if that has been asked already. What
 * lies in the TLS session counts as readable.
 */
int lz_net_poll_in(struct lz_net *n, struct lz_ring *ring);
int lz_net_poll_out(struct lz_net *n, struct lz_ring *ring);
/* The completion @tag is of this connection as it is now; notes that its poll is over. */
bool lz_net_completed(struct lz_net *n, struct lz_tag tag, bool *out);
/* How connecting ended: 0, or -errno; -EINPROGRESS while it goes on. */
int lz_net_connected(struct lz_net *n);
/*
 * Bytes, 0 where the peer has ended its side (recv), -EAGAIN, -errno. What send() has not taken is
 * what the next begins with; see lz_tls_send().
 */
int64_t lz_net_recv(const struct lz_net *n, const struct iovec *iov, size_t nr);
int64_t lz_net_send(const struct lz_net *n, const struct iovec *iov, size_t nr);
/* What an -errno of these calls means, one sentence. */
const char *lz_net_error(const struct lz_net *n, int64_t ret);

#endif
