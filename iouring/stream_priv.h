/* SPDX-License-Identifier: MIT */
/*
 * What the files of the stream share: stream.c decides when there is a connection and when there
 * will be none, stream_link.c talks on one, stream_read.c keeps the reads that wait for pages.
 * Nobody else includes this.
 */
#ifndef LZ_STREAM_PRIV_H
#define LZ_STREAM_PRIV_H

#include "iouring/net.h"
#include "iouring/stream.h"
#include "proto/asker.h"

enum {
	/*
	 * So much is received beyond the payload that is next: headers, and payload to be copied.
	 */
	LZ_STREAM_IN = 16 << 10,
	LZ_STREAM_OUT = 16 << 10,
};

/* A read, or a part of one that has more pages: they are numbered within it, and are a bit each. */
struct lz_stream_read {
	struct lz_source_read *r; /* NULL: this slot is free */
	uint32_t first;           /* page of the read with which the part begins */
	uint64_t missing;         /* have not come */
	uint64_t unasked;         /* of these: to be asked for on the connection there is now */
	uint64_t lost;            /* have come, as lost */
	bool queued;
};

/* First in, first out; a read is in at most one queue, and once. */
struct lz_stream_queue {
	uint16_t read[LZ_STREAM_READS_MAX];
	unsigned head, nr;
};

/* A request on a connection, by its tag: pages [base, ...) of a read. */
struct lz_stream_ask {
	uint16_t read;
	uint8_t base;
	uint8_t left; /* pages not answered */
};

enum lz_stream_link_state {
	LZ_LINK_OFF,
	LZ_LINK_CONNECTING,
	LZ_LINK_SECURING, /* the TLS handshake, if there is to be one */
	LZ_LINK_GREETING, /* probe and hello */
	LZ_LINK_OPEN,
	LZ_LINK_CLOSING, /* CLOSE was said */
};

struct lz_stream_link {
	struct lz_net net;
	enum lz_stream_link_state state;
	uint64_t since_ns; /* when it began to connect */
	struct lz_asker asker;
	struct lz_stream_ask ask[LZ_ASKER_TAGS];
	uint16_t tag[LZ_ASKER_TAGS]; /* the free ones */
	unsigned nr_tags;
	/* The payload that is next: of this tag, @nr pages; @at bytes of page @page have come. */
	struct {
		uint16_t tag;
		uint8_t page, nr;
		uint32_t at;
	} pay;
	size_t out_at, out_len; /* out[out_at .. out_len) is to be sent */
	uint8_t out[LZ_STREAM_OUT], in[LZ_STREAM_IN];
};

enum lz_stream_peer { LZ_PEER_UNKNOWN, LZ_PEER_PLAIN, LZ_PEER_LAZYD };

struct lz_stream {
	struct lz_stream_options o;
	struct lz_stream_stats stats;
	struct lz_stream_link link[LZ_STREAM_NR];
	enum lz_stream_peer peer;
	char peer_name[128];
	bool connected;  /* has ever been UP */
	bool told;       /* that it is lost, in the log */
	bool fruitful;   /* pages have come since the last loss */
	bool greeted;    /* something else has come since pages did */
	bool alone;      /* there cannot be a second connection */
	bool bulk_tried; /* the second one has failed: nothing waits for it */
	bool waiting;    /* reads are there, and count the time from heard_ns on */
	bool releasing;  /* nothing more is wanted of it */
	bool said_close;
	uint64_t heard_ns, retry_ns, backoff_ns, bulk_ns, poll_ns, release_ns;
	uint64_t urgent_ns; /* when what somebody waits for was last asked for */
	struct lz_stream_read read[LZ_STREAM_READS_MAX];
	uint16_t slot[LZ_STREAM_READS_MAX]; /* the free ones */
	unsigned nr_slots;
	struct lz_stream_queue queue[2]; /* [urgent] */
};

static inline bool lz_stream_is_over(const struct lz_stream *s)
{
	return s->stats.state == LZ_STREAM_GONE || s->stats.state == LZ_STREAM_RELEASED;
}

static inline bool lz_stream_link_is_opening(const struct lz_stream_link *l)
{
	return l->state > LZ_LINK_OFF && l->state < LZ_LINK_OPEN;
}

static inline unsigned lz_stream_nr_reads(const struct lz_stream *s)
{
	return LZ_STREAM_READS_MAX - s->nr_slots;
}

/* ---- stream.c: what a connection reports ---- */

/* The link has come to be open. */
void lz_stream_opened(struct lz_stream *s, struct lz_stream_link *l);
/* Something went wrong on it, or the peer ended it. Other links may be closed too. */
void lz_stream_failed(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		      const char *reason, uint64_t now_ns);
/* The two cannot speak with each other. */
void lz_stream_unfit(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		     const char *reason, uint64_t now_ns);
/* A call on its socket has said @ret. */
void lz_stream_broken(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
		      int64_t ret, uint64_t now_ns);
/* The peer will not have us. */
void lz_stream_refused(struct lz_stream *s, struct lz_ring *ring, const char *reason);
/* The peer, or its socket, has answered CLOSE on it. */
void lz_stream_link_ended(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l);
/* The hello of the first connection is next: gets a second one if that can be had. */
void lz_stream_second(struct lz_stream *s, uint64_t now_ns);

/* ---- stream_link.c: one connection ---- */

/* Begins to connect; -errno as the caller's connect() said. */
int lz_stream_link_dial(struct lz_stream *s, unsigned which, uint64_t now_ns);
/* Closes what a process that is dead had open, and this one still has. */
void lz_stream_link_inherit(const struct lz_stream *s, unsigned which);
void lz_stream_link_close(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l);
/* Its poll is over. */
void lz_stream_link_ready(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			  bool out, uint64_t now_ns);
void lz_stream_link_receive(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			    uint64_t now_ns);
/* Sends what there is to be said and asked. */
void lz_stream_link_flush(struct lz_stream *s, struct lz_ring *ring, struct lz_stream_link *l,
			  uint64_t now_ns);
/* Asks the ring for what the link waits for. */
int lz_stream_link_poll(struct lz_stream_link *l, struct lz_ring *ring);
/* Puts CLOSE behind what is to be sent; it is open, and nothing is awaited on it. */
void lz_stream_link_say_close(struct lz_stream_link *l);

/* ---- stream_read.c: the table of reads ---- */

void lz_stream_read_init(struct lz_stream *s);
int lz_stream_read_begin(struct lz_stream *s, struct lz_source_read *r);
/*
 * Encodes requests of @queue for the link while they fit @room bytes and there are tags; returns
 * their length.
 */
size_t lz_stream_read_ask(struct lz_stream *s, struct lz_stream_link *l, bool urgent, uint8_t *out,
			  size_t room);
/* Where page @page goes. */
uint8_t *lz_stream_read_page(const struct lz_stream *s, const struct lz_stream_link *l,
			     uint16_t tag, uint64_t page);
/* What has become of pages [first, first + nr), numbered as the request of @tag has them. */
void lz_stream_read_had(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			uint64_t first, uint64_t nr);
void lz_stream_read_lost(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			 uint64_t first, uint64_t nr);
void lz_stream_read_again(struct lz_stream *s, const struct lz_stream_link *l, uint16_t tag,
			  uint64_t first, uint64_t nr);
/* @nr pages of the request are answered: may end it, and its read. */
void lz_stream_read_answered(struct lz_stream *s, struct lz_stream_link *l, uint16_t tag,
			     uint64_t nr);
/* The connections are lost: all that is missing is to be asked for anew, what is urgent first. */
void lz_stream_read_requeue(struct lz_stream *s);
/* Ends every read so. */
void lz_stream_read_end_all(struct lz_stream *s, int result);

#endif
