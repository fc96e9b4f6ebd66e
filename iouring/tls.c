/* SPDX-License-Identifier: MIT */
/*
 * A TLS session between net.c and a socket. It has a buffer each way of its own, so that a call
 * into the kernel moves several records, and so that GnuTLS, asked to send, always can: what it has
 * encrypted waits here, not in there, and no call of its need be repeated.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iouring/tls_priv.h"

enum {
	RECORD = 16 << 10,
	/* What a record adds to its bytes, and a change of keys before it. */
	OVERHEAD = 1 << 10,
	IN = 32 << 10,
	OUT = 4 * (RECORD + OVERHEAD),
	/* So often is the socket asked in one call, whatever the peer fills it with. */
	PULLS = 16,
};

enum lz_tls_state {
	LZ_TLS_SHAKES,
	LZ_TLS_OPEN,
	LZ_TLS_ENDED,  /* by the peer, in an orderly way */
	LZ_TLS_BROKEN, /* .result says how */
};

struct lz_tls_session {
	const struct lz_tls *tls;
	gnutls_session_t gnutls;
	int fd, pulls;
	enum lz_tls_state state;
	int result, sock_err, alert; /* -errno; errno; what the peer's certificate earned it */
	int deaf; /* -errno of a socket that takes no more; it may have a last word */
	bool server;
	bool begun, plain; /* the peer has begun to speak; not in TLS */
	bool more;         /* the socket was not asked to the end */
	bool joins;        /* vectors to records */
	bool held;         /* a byte is encrypted and not yet said to be sent */
	char why[LZ_TLS_WHY_MAX], peer[LZ_TLS_NAME_MAX];
	size_t in_at, in_len, out_at, out_len;
	uint8_t in[IN], out[OUT];
};

/* The process whose random numbers GnuTLS has; 0: nobody has asked yet. */
static pid_t random_of;

static void lz_tls_forked(void);
static int lz_tls_setup(struct lz_tls_session *s);
static ssize_t lz_tls_pull(gnutls_transport_ptr_t p, void *to, size_t len);
static ssize_t lz_tls_push(gnutls_transport_ptr_t p, const void *bytes, size_t len);
static int lz_tls_flush(struct lz_tls_session *s);
static int lz_tls_verify(gnutls_session_t gnutls);
static int lz_tls_break(struct lz_tls_session *s, int ret);
static void lz_tls_explain(struct lz_tls_session *s, int ret);
static int64_t lz_tls_take(struct lz_tls_session *s, uint8_t *to, size_t len);
static int lz_tls_seal(struct lz_tls_session *s, const struct iovec *iov, size_t nr, size_t *at,
		       size_t len);
static size_t lz_tls_gather(const struct iovec *iov, size_t nr, size_t skip, bool joins,
			    const uint8_t **bytes, uint8_t copy[RECORD]);

int lz_tls_session_new(struct lz_tls_session **out, const struct lz_tls *t, int fd, bool server)
{
	struct lz_tls_session *s;
	int ret;

	lz_tls_own_random();
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	/* The buffers are left as they are. */
	memset(s, 0, offsetof(struct lz_tls_session, in));
	s->tls = t;
	s->fd = fd;
	s->server = server;
	/* Nothing is to be resumed. */
	ret = gnutls_init(&s->gnutls, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
					      GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);
	if (ret < 0) {
		free(s);
		return -ENOMEM;
	}
	ret = lz_tls_setup(s);
	if (ret)
		lz_tls_session_free(s, false);
	else
		*out = s;
	return ret;
}

void lz_tls_session_free(struct lz_tls_session *s, bool orderly)
{
	if (orderly && (s->state == LZ_TLS_OPEN || s->state == LZ_TLS_ENDED) &&
	    gnutls_bye(s->gnutls, GNUTLS_SHUT_WR) == 0)
		(void)lz_tls_flush(s);
	gnutls_deinit(s->gnutls);
	free(s);
}

int lz_tls_handshake(struct lz_tls_session *s)
{
	int ret;

	if (s->state != LZ_TLS_SHAKES)
		return s->state == LZ_TLS_BROKEN ? s->result : 0;
	s->pulls = PULLS;
	s->more = false;
	do
		ret = gnutls_handshake(s->gnutls);
	while (ret == GNUTLS_E_WARNING_ALERT_RECEIVED || ret == GNUTLS_E_INTERRUPTED);
	if (ret < 0 && ret != GNUTLS_E_AGAIN)
		return lz_tls_break(s, ret);
	if (lz_tls_flush(s) || ret < 0)
		return s->state == LZ_TLS_BROKEN ? s->result : -EAGAIN;
	s->state = LZ_TLS_OPEN;
	return 0;
}

int64_t lz_tls_recv(struct lz_tls_session *s, const struct iovec *iov, size_t nr)
{
	int64_t total = 0, n = 0;

	s->pulls = PULLS;
	s->more = false;
	for (size_t i = 0; i < nr; i++) {
		uint8_t *to = iov[i].iov_base;

		for (size_t at = 0; at < iov[i].iov_len; at += (size_t)n, total += n) {
			n = lz_tls_take(s, to + at, iov[i].iov_len - at);
			if (n <= 0)
				return total ? total : n;
		}
	}
	return total;
}

int64_t lz_tls_send(struct lz_tls_session *s, const struct iovec *iov, size_t nr)
{
	size_t len = 0, at = s->held;
	int ret;

	if (s->state == LZ_TLS_BROKEN || s->deaf)
		return s->deaf ? s->deaf : s->result;
	ret = lz_tls_flush(s);
	if (ret)
		return ret;
	for (size_t i = 0; i < nr; i++)
		len += iov[i].iov_len;
	s->held = false;
	while (ret == 0 && at < len) {
		ret = lz_tls_seal(s, iov, nr, &at, len);
		if (ret == 0)
			ret = lz_tls_flush(s);
	}
	if (ret && ret != -EAGAIN)
		return ret;
	s->held = ret == -EAGAIN;
	at -= s->held;
	return at ? (int64_t)at : -EAGAIN;
}

void lz_tls_join(struct lz_tls_session *s)
{
	s->joins = true;
}

bool lz_tls_has_pending(const struct lz_tls_session *s)
{
	return s->state >= LZ_TLS_ENDED || s->more || s->in_at < s->in_len ||
	       gnutls_record_check_pending(s->gnutls);
}

bool lz_tls_wants_out(const struct lz_tls_session *s)
{
	return s->state == LZ_TLS_SHAKES && s->out_at < s->out_len;
}

bool lz_tls_has_begun(const struct lz_tls_session *s)
{
	return s->begun;
}

const char *lz_tls_why(const struct lz_tls_session *s)
{
	return s->why;
}

const char *lz_tls_peer(const struct lz_tls_session *s)
{
	return s->peer;
}

/* ---- set-up ---- */

static void lz_tls_forked(void)
{
	__atomic_store_n(&random_of, getpid(), __ATOMIC_RELAXED);
}

/*
 * GnuTLS notices a fork() by a handler of it, and then draws random numbers of its own. The handler
 * is not called for a clone(): two workers that `lazyd fill` starts so, by a process in which
 * GnuTLS has been used, would draw the same ones, and two signatures with one random number give
 * the key away. To begin anew is all that GnuTLS offers.
 */
void lz_tls_own_random(void)
{
	pid_t of = __atomic_load_n(&random_of, __ATOMIC_RELAXED);

	if (of == getpid())
		return;
	if (of) {
		gnutls_global_deinit();
		(void)gnutls_global_init();
	} else {
		(void)pthread_atfork(NULL, NULL, lz_tls_forked);
	}
	lz_tls_forked();
}

static int lz_tls_setup(struct lz_tls_session *s)
{
	if (gnutls_priority_set(s->gnutls, s->tls->priority) < 0 ||
	    gnutls_credentials_set(s->gnutls, GNUTLS_CRD_CERTIFICATE, s->tls->creds) < 0)
		return -ENOMEM;
	gnutls_session_set_ptr(s->gnutls, s);
	gnutls_session_set_verify_function(s->gnutls, lz_tls_verify);
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_pull_function(s->gnutls, lz_tls_pull);
	gnutls_transport_set_push_function(s->gnutls, lz_tls_push);
	if (!s->server)
		return 0;
	gnutls_certificate_server_set_request(s->gnutls, GNUTLS_CERT_REQUIRE);
	/* Whom we trust is nobody's business, and may be a long list. */
	gnutls_certificate_send_x509_rdn_sequence(s->gnutls, 1);
	return 0;
}

/* ---- the socket ---- */

static ssize_t lz_tls_pull(gnutls_transport_ptr_t p, void *to, size_t len)
{
	struct lz_tls_session *s = p;
	ssize_t n = -1;

	if (s->in_at == s->in_len) {
		errno = EAGAIN;
		s->more = s->pulls == 0;
		while (!s->more) {
			n = recv(s->fd, s->in, sizeof(s->in), MSG_DONTWAIT);
			if (n >= 0 || errno != EINTR)
				break;
		}
		s->pulls -= s->pulls > 0;
		/* A record of a handshake, or of an alert. */
		if (n > 0 && !s->begun && s->in[0] != 0x16 && s->in[0] != 0x15) {
			s->plain = true;
			errno = EPROTO;
			n = -1;
		}
		if (n <= 0) {
			s->sock_err = n ? errno : 0;
			gnutls_transport_set_errno(s->gnutls, s->sock_err);
			return n;
		}
		s->begun = true;
		s->in_at = 0;
		s->in_len = (size_t)n;
	}
	if (len > s->in_len - s->in_at)
		len = s->in_len - s->in_at;
	memcpy(to, s->in + s->in_at, len);
	s->in_at += len;
	return (ssize_t)len;
}

static ssize_t lz_tls_push(gnutls_transport_ptr_t p, const void *bytes, size_t len)
{
	struct lz_tls_session *s = p;

	if (s->state == LZ_TLS_SHAKES && s->out_len + len > sizeof(s->out))
		(void)lz_tls_flush(s);
	if (len > sizeof(s->out) - s->out_len)
		len = sizeof(s->out) - s->out_len;
	if (!len) {
		gnutls_transport_set_errno(s->gnutls, EAGAIN);
		return -1;
	}
	memcpy(s->out + s->out_len, bytes, len);
	s->out_len += len;
	return (ssize_t)len;
}

/* 0: the socket has taken all; -EAGAIN; -errno: it never will. */
static int lz_tls_flush(struct lz_tls_session *s)
{
	while (s->out_at < s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n < 0 && s->state != LZ_TLS_SHAKES)
			return s->deaf = -errno;
		if (n < 0) {
			s->sock_err = errno;
			return lz_tls_break(s, GNUTLS_E_PUSH_ERROR);
		}
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_len = 0;
	return 0;
}

/* ---- the handshake, and how it ends ---- */

static int lz_tls_verify(gnutls_session_t gnutls)
{
	struct lz_tls_session *s = gnutls_session_get_ptr(gnutls);

	s->alert = lz_tls_judge(s->tls, gnutls, s->peer, s->why);
	return s->alert ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}

/* GnuTLS has said @ret, and there is no going on: tells the peer, remembers why, and returns it. */
static int lz_tls_break(struct lz_tls_session *s, int ret)
{
	bool socket = ret == GNUTLS_E_PUSH_ERROR || ret == GNUTLS_E_PREMATURE_TERMINATION ||
		      (ret == GNUTLS_E_PULL_ERROR && !s->plain);

	if (s->plain)
		(void)gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL, GNUTLS_A_UNEXPECTED_MESSAGE);
	else if (s->alert)
		(void)gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL,
					(gnutls_alert_description_t)s->alert);
	else if (!socket && ret != GNUTLS_E_FATAL_ALERT_RECEIVED)
		(void)gnutls_alert_send_appropriate(s->gnutls, ret);
	lz_tls_explain(s, ret);
	s->state = LZ_TLS_BROKEN;
	/* What the socket does not take now is lost;
	 * no flush, for that might find another reason. */
	if (!socket)
		(void)send(s->fd, s->out + s->out_at, s->out_len - s->out_at,
			   MSG_DONTWAIT | MSG_NOSIGNAL);
	return s->result;
}

static void lz_tls_explain(struct lz_tls_session *s, int ret)
{
	const char *where = s->state == LZ_TLS_SHAKES ? "in the TLS handshake: " : "in TLS: ";
	const char *text = gnutls_strerror(ret);

	s->result = -EACCES;
	if (s->alert)
		return;
	if (s->plain) {
		text = "it does not speak TLS";
		where = "";
	} else if (ret == GNUTLS_E_NO_CERTIFICATE_FOUND || ret == GNUTLS_E_CERTIFICATE_REQUIRED) {
		text = "it has sent no certificate";
		where = "";
	} else if (ret == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		lz_tls_describe_alert(gnutls_alert_get(s->gnutls), s->why);
		return;
	} else if (ret == GNUTLS_E_PUSH_ERROR || ret == GNUTLS_E_PULL_ERROR) {
		s->result = -s->sock_err;
		text = strerror(s->sock_err);
	} else if (ret == GNUTLS_E_PREMATURE_TERMINATION) {
		s->result = -ECONNRESET;
		text = "it has cut the connection";
	} else {
		s->result = ret == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EPROTO;
	}
	if ((s->result == -ECONNRESET || s->result == -EPIPE) && !s->begun)
		text = "it has closed the connection: perhaps it does not speak TLS";
	(void)snprintf(s->why, sizeof(s->why), "%s%s", where, text);
}

/* ---- records ---- */

/* As recv(). What is no data is taken along the way. */
static int64_t lz_tls_take(struct lz_tls_session *s, uint8_t *to, size_t len)
{
	ssize_t n;

	if (s->state == LZ_TLS_BROKEN)
		return s->result;
	if (s->state == LZ_TLS_ENDED)
		return 0;
	/* GnuTLS says AGAIN behind a message of its own too, with more to be had. */
	do
		n = gnutls_record_recv(s->gnutls, to, len);
	while (n == GNUTLS_E_WARNING_ALERT_RECEIVED || n == GNUTLS_E_INTERRUPTED ||
	       (n == GNUTLS_E_AGAIN && s->in_at < s->in_len));
	if (n > 0)
		return n;
	if (n == GNUTLS_E_AGAIN)
		return -EAGAIN;
	if (n < 0)
		return lz_tls_break(s, (int)n);
	s->state = LZ_TLS_ENDED;
	return 0;
}

/* Encrypts from byte *at on, into a buffer that is empty, as much as that has room for. */
static int lz_tls_seal(struct lz_tls_session *s, const struct iovec *iov, size_t nr, size_t *at,
		       size_t len)
{
	uint8_t copy[RECORD];

	while (*at < len && sizeof(s->out) - s->out_len >= RECORD + OVERHEAD) {
		const uint8_t *bytes;
		size_t n = lz_tls_gather(iov, nr, *at, s->joins, &bytes, copy);
		ssize_t ret = gnutls_record_send(s->gnutls, bytes, n);

		if (ret <= 0)
			return lz_tls_break(s, (int)ret);
		*at += (size_t)ret;
	}
	return 0;
}

/* A record's worth of bytes behind the first @skip:
 * where they are, or a copy of those that are apart. */
static size_t lz_tls_gather(const struct iovec *iov, size_t nr, size_t skip, bool joins,
			    const uint8_t **bytes, uint8_t copy[RECORD])
{
	size_t i = 0, len = 0, n;

	for (; skip >= iov[i].iov_len; i++)
		skip -= iov[i].iov_len;
	n = iov[i].iov_len - skip;
	*bytes = (const uint8_t *)iov[i].iov_base + skip;
	if (n >= RECORD || i + 1 == nr || !joins)
		return n < RECORD ? n : RECORD;
	for (*bytes = copy; i < nr && len < RECORD; i++, skip = 0) {
		n = iov[i].iov_len - skip;
		if (n > RECORD - len)
			n = RECORD - len;
		memcpy(copy + len, (const uint8_t *)iov[i].iov_base + skip, n);
		len += n;
	}
	return len;
}
