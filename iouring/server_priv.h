/* SPDX-License-Identifier: MIT */
/*
 * What server.c (the turn, listening, time), client_life.c and client.c (one connection) and
 * reply.c (pages on their way out) share. Nobody else includes it. The memory of a server is what
 * is named here: a number of buffers for all, and a fixed amount for each connection.
 */
#ifndef LZ_SERVER_PRIV_H
#define LZ_SERVER_PRIV_H

#include <sys/queue.h>

#include "iouring/net.h"
#include "iouring/pool.h"
#include "iouring/server.h"
#include "iouring/spin.h"

enum {
	/* 4 MiB keep a few disks busy; what is in the page cache passes through
	 * the same few of them. */
	LZ_SERVER_BUFFERS = 64,
	/* Kept for streams that threads wait for, whatever the others have taken;
	 * and the other way round. */
	LZ_SERVER_RESERVE = 8,
	LZ_SERVER_LISTENERS = 8,
	LZ_REPLY_PAGES = 16, /* of one buffer */
	/*
	 * Reads under way for one client, and what it has not taken yet: 2 MiB. Where it asks for
	 * single pages so many keep a disk busy that wants 16 at a time, while those that have come
	 * are sent.
	 */
	LZ_CLIENT_REPLIES = 32,
	/* Requests that wait; their ranges wait with them.
	 * A client with more to ask is not read from. */
	LZ_CLIENT_REQUESTS = 64,
	LZ_CLIENT_RANGES = 1024,
	LZ_CLIENT_IN = 8192,
	/* One plain reply has one header: what is said there must be found out first.
	 * CRIU asks for no more. */
	LZ_CLIENT_PLAIN_PAGES = 1024,
	/* Encrypted in a turn for all clients: under a millisecond,
	 * in which nobody else is served. */
	LZ_SERVER_SEALED = 1 << 20,
};

/* As enum lazyd_log. */
enum { LZ_SERVER_LOG_ERROR = 1, LZ_SERVER_LOG_WARN, LZ_SERVER_LOG_INFO, LZ_SERVER_LOG_DEBUG };

struct lz_server;
struct lz_client;

/* A request, or what is left of it: its ranges are the oldest of its client's. */
struct lz_asked {
	uint64_t dst_id;
	uint32_t pid, serial;
	uint64_t first;    /* number of the page that comes next */
	uint64_t nr_pages; /* left */
	uint64_t promised; /* plain: pages that the one header will name; 0 before that is known */
};

enum lz_reply_state {
	LZ_REPLY_FREE,
	LZ_REPLY_READS, /* reads are under way */
	LZ_REPLY_READY, /* to be sent, or partly sent */
	LZ_REPLY_BARE,  /* the same, but its buffer was given to who needed it: to be read again */
	LZ_REPLY_LAME,  /* can never be sent: its pages cannot be read, and that cannot be said */
};

/* Pages that lie one behind the other in a source. @first: of the reply's pages. */
struct lz_reply_extent {
	struct lz_source *source;
	uint64_t offset;
	unsigned first, nr;
};

/* A header, if any, and the bytes that follow it, if any. */
struct lz_reply_run {
	uint8_t header[LZ_PS_HEADER_MAX];
	uint8_t header_len;
	bool bytes;
	unsigned first, nr;
};

/* Up to a buffer full of pages of one request. */
struct lz_reply {
	TAILQ_ENTRY(lz_reply) link; /* in the order of the requests */
	enum lz_reply_state state;
	int buffer; /* -1: none */
	uint32_t serial, pid;
	uint64_t dst_id, vaddr;
	uint64_t first; /* number of the first page in the request */
	uint64_t promised;
	unsigned nr_pages, nr_extents, nr_reading, nr_runs;
	uint32_t lost; /* a bit a page */
	size_t sent, len;
	struct lz_reply_extent extent[LZ_REPLY_PAGES];
	struct lz_source_read read[LZ_REPLY_PAGES];
	struct lz_reply_run run[LZ_REPLY_PAGES];
};

TAILQ_HEAD(lz_replies, lz_reply);

enum lz_client_state {
	LZ_CLIENT_SHAKES,  /* hands, in TLS */
	LZ_CLIENT_ASKS,    /* what comes is parsed */
	LZ_CLIENT_SAYS,    /* first all that was asked, then giver.say, then .after */
	LZ_CLIENT_ENDS,    /* it sends no more; takes what it has asked for */
	LZ_CLIENT_FAILS,   /* is dropped when what it had asked for before has been sent */
	LZ_CLIENT_LINGERS, /* has been told the last word: it closes first */
	LZ_CLIENT_GONE,    /* closed; reads are still under way */
};

struct lz_client {
	struct lz_server *server;
	struct lz_net net;
	struct lz_giver giver;
	enum lz_client_state state, after;
	bool refused, closed;     /* was told so; has said CLOSE */
	bool heard, serious;      /* has sent bytes; has asked for something or said who it is */
	bool demand;              /* threads wait for what it asks for */
	bool blocked;             /* its socket takes no more */
	bool told_lost;           /* the log knows that it asked for what is not there */
	bool works, sends, stuck; /* is in the queue of that name */
	bool shakes;              /* likewise; by .work, for it can have none yet */
	bool counted;             /* in nr_working */
	TAILQ_ENTRY(lz_client) work, send, stick;
	/* Connected; moved bytes; began a header that is not whole; began to end. 0: has not. */
	uint64_t since_ns, active_ns, part_ns, last_ns;
	uint64_t requests, pages;
	size_t said;
	size_t in_at, in_end;
	unsigned asked_at, nr_asked, range_at, nr_ranges;
	/* In use; of these with a buffer, and robbed of it; reads under way. */
	unsigned nr_replies, nr_held, nr_bare, nr_reading;
	/* What had to be read from here was not in memory:
	 * so many reads do not look for that first. */
	const struct lz_source *cold;
	unsigned nr_cold;
	uint32_t serial;
	struct lz_replies replies;
	char peer[LZ_NET_NAME_MAX], reason[LZ_GIVER_WHY_MAX];
	uint8_t in[LZ_CLIENT_IN];
	struct lz_asked asked[LZ_CLIENT_REQUESTS];
	struct lz_ps_range range[LZ_CLIENT_RANGES];
	struct lz_reply reply[LZ_CLIENT_REPLIES];
};

TAILQ_HEAD(lz_clients, lz_client);

struct lz_listener {
	int fd;
	bool polls;
};

struct lz_slot {
	struct lz_client *client;
	uint16_t generation;
};

struct lz_server {
	struct lz_server_options o;
	struct lz_ring ring;
	struct lz_pool pool;
	struct lz_server_stats stats;
	int stop_fd;
	bool finishing, done;
	bool moved; /* since the last look work got into the queues, or a buffer free */
	struct lz_listener listener[LZ_SERVER_LISTENERS];
	unsigned nr_listeners;
	/* The shortest of the limits; when to look at them,
	 * and at the listeners after a pause: UINT64_MAX: not. */
	uint64_t shortest_ns, next_check, accept_again;
	uint64_t now;        /* of this turn */
	unsigned nr_working; /* clients that want a buffer or have one */
	unsigned nr_free;
	unsigned free[LZ_SERVER_BUFFERS];
	unsigned nr_reading; /* of all clients */
	struct lz_spin spin;
	uint64_t urgent;                /* requests that threads wait for, so far */
	uint64_t lent;                  /* a bit a buffer: to a stream that threads wait for */
	struct lz_clients demand, bulk; /* have work that a buffer can be used for */
	struct lz_clients send;         /* may have something ready */
	struct lz_clients shake;        /* may get on with the handshake */
	uint64_t sealable;              /* bytes that may still be encrypted in this turn */
	struct lz_clients stuck;        /* blocked and with buffers, the longest first */
	struct lz_clients gone;         /* by .work: to be freed when their reads have ended */
	double log_tokens;
	uint64_t log_ns, log_held;
	struct lz_slot slot[];
};

/* ---- server.c ---- */
__attribute__((format(printf, 3, 4))) void lz_server_log(struct lz_server *s, int level,
							 const char *format, ...);
/* A buffer for a client, at the cost of one that takes nothing if need be; -1: none now. */
int lz_server_take_buffer(struct lz_server *s, bool demand);
void lz_server_give_buffer(struct lz_server *s, int buffer);

/* ---- client_life.c ---- */
struct lz_client *lz_client_new(struct lz_server *s, uint32_t number, int fd);
/* Its handshake can get on, and will be served when its turn comes. */
void lz_client_shakes(struct lz_client *c);
/* A step of it. */
void lz_client_shake(struct lz_client *c);
/* When it will have taken too long over something; UINT64_MAX: never. Ends it, if that is now. */
uint64_t lz_client_check(struct lz_client *c);
/* Closes; the memory stays until the end of the turn, and until the last read has ended. */
void lz_client_close(struct lz_client *c);
/* It ends by itself, in an orderly way or not. */
void lz_client_end(struct lz_client *c, const char *why, bool orderly);
/* It has done what no client may do. */
void lz_client_drop(struct lz_client *c, const char *why);

/* ---- client.c ---- */
/* Completions of its polls. */
void lz_client_readable(struct lz_client *c);
void lz_client_writable(struct lz_client *c);
/* Sends what is ready, then parses, says and ends as far as that can be done now. */
void lz_client_flush(struct lz_client *c);
/* It will be flushed in this turn. */
void lz_client_wake(struct lz_client *c);
/* Puts it into the queues that it belongs to. */
void lz_client_sort(struct lz_client *c);
/* The buffers that its replies wait in are needed by others. */
void lz_client_strip(struct lz_client *c);
/* It is dropped as soon as what it had asked for before has been sent. */
__attribute__((format(printf, 2, 3))) void lz_client_fail(struct lz_client *c, const char *format,
							  ...);

/* ---- reply.c ---- */
/*
 * Uses @buffer for what its client wants next: a reply that lost its buffer, or as much as fits of
 * the oldest request. Returns the pages that were looked at; 0: the buffer was not needed and was
 * given back.
 */
unsigned lz_reply_begin(struct lz_client *c, int buffer);
/* Could begin() do something? */
bool lz_reply_wanted(const struct lz_client *c);
/* A completion of LZ_TAG_READ for this client: @id as in its tag. */
void lz_reply_completed(struct lz_client *c, uint32_t id, int32_t res);
/* Vectors of what can be sent now, at most @max;
 * which replies they are of: at most LZ_CLIENT_REPLIES. */
size_t lz_reply_gather(struct lz_client *c, struct iovec *iov, size_t max, struct lz_reply **of,
		       unsigned *nr_of);
/* The first @len bytes of what was gathered have been sent. */
void lz_reply_sent(struct lz_client *c, struct lz_reply **of, unsigned nr_of, size_t len);
void lz_reply_free(struct lz_client *c, struct lz_reply *r);
/* Takes the reads back as far as that can be done; they complete all the same. */
void lz_reply_cancel(struct lz_client *c);

static inline uint8_t *lz_reply_bytes(const struct lz_client *c, const struct lz_reply *r)
{
	return lz_pool_buffer(&c->server->pool, (unsigned)r->buffer);
}

#endif
