/* SPDX-License-Identifier: MIT */
/*
 * TLS between a connection and its socket, both ends of it, as CRIU's --tls has it: GnuTLS with its
 * default priorities, X.509 certificates of both ends. Nothing here waits: what the socket does not
 * take or have now is -EAGAIN, and a handshake goes on at the next call. tls.c is the sessions,
 * tls_creds.c what they are judged by. Not here: when a call is made (net.c).
 */
#ifndef LZ_TLS_H
#define LZ_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	LZ_TLS_WHY_MAX = 384,
	LZ_TLS_NAME_MAX = 64,
};

/* Files, PEM. NULL: CRIU's places, see tls_creds.c. */
struct lz_tls_options {
	const char *cacert, *cacrl, *cert, *key;
	const char *name; /* whom the peer's certificate must name; NULL: anybody that is trusted */
};

/* What a session is made from. Never changes:
 * any number of sessions use it, and children made by fork too. */
struct lz_tls;
/* One connection's. */
struct lz_tls_session;

/* Reads the files: none is needed later. -errno with the reason, one sentence, in @why. */
int lz_tls_new(struct lz_tls **out, const struct lz_tls_options *o, char why[LZ_TLS_WHY_MAX]);
void lz_tls_free(struct lz_tls *t);

/*
 * Sees to it that the process, though it was made by a bare clone() after lz_tls_new(), draws
 * random numbers of its own. Done by each new session; here for who may not open files any more
 * then.
 */
void lz_tls_own_random(void);
/* Over @fd, which is non-blocking and stays the caller's; @t outlives it. */
int lz_tls_session_new(struct lz_tls_session **out, const struct lz_tls *t, int fd, bool server);
/* @orderly: the peer is told that this is the end, as far as the socket takes it now. */
void lz_tls_session_free(struct lz_tls_session *s, bool orderly);

/*
 * Goes on with the handshake as far as that can be done now: at most one signature. 0: done;
 * -EAGAIN;
 * -EACCES: one end will not have the other, or it does not speak TLS; else -errno. Once it is over
 * every call says the same.
 */
int lz_tls_handshake(struct lz_tls_session *s);
/*
 * As recvmsg(): fewer bytes than there is room for mean that the socket has no more, 0 that the
 * peer has ended it in an orderly way. -ECONNRESET: it is cut. -EACCES: the peer will not have us.
 */
int64_t lz_tls_recv(struct lz_tls_session *s, const struct iovec *iov, size_t nr);
/*
 * As sendmsg(), with one rule more: what was not taken is what the next call begins with. The last
 * byte is not said to be sent before the socket has taken all, so that who is told "all" need not
 * come back.
 */
int64_t lz_tls_send(struct lz_tls_session *s, const struct iovec *iov, size_t nr);
/*
 * What lies in several vectors goes into one record from now on. A CRIU reads once for each time
 * that its socket becomes readable, and forgets what is left of a record then: it must get a header
 * in one of its own.
 */
void lz_tls_join(struct lz_tls_session *s);
/* Something can be received, or said of the end, that the socket will not become readable for. */
bool lz_tls_has_pending(const struct lz_tls_session *s);
/* The handshake waits for the socket to take something. */
bool lz_tls_wants_out(const struct lz_tls_session *s);
/* The peer has said something. */
bool lz_tls_has_begun(const struct lz_tls_session *s);
/* Why it failed, one sentence about the peer; empty where the errno says it all. */
const char *lz_tls_why(const struct lz_tls_session *s);
/* The name in the peer's certificate; empty before the handshake is done. */
const char *lz_tls_peer(const struct lz_tls_session *s);

/* How one begins who speaks TLS where plain text is expected:
 * the asker's end, and a server's answer. */
static inline bool lz_tls_is_hello(const uint8_t *bytes, size_t len)
{
	return len > 1 && bytes[0] == 0x16 && bytes[1] == 3;
}

static inline bool lz_tls_is_alert(const uint8_t *bytes, size_t len)
{
	return len > 1 && bytes[0] == 0x15 && bytes[1] == 3;
}

#endif
