/* SPDX-License-Identifier: MIT */
/*
 * The asking end of one connection to a page server: finds out whether the peer is a lazyd or a
 * plain CRIU, encodes requests, and takes the replies apart. It holds no payload: bytes of pages
 * are announced, and go from the socket to where they belong by the caller's hand. Pure.
 *
 *   lz_asker_init, then in any order:
 *   lz_asker_say   -> bytes to send (probe, hello); again after every take()
 *   lz_asker_ask   -> bytes of a request, once is_open()
 *   lz_asker_take  <- bytes received, but for payload, which lz_asker_paid() counts off
 */
#ifndef LZ_ASKER_H
#define LZ_ASKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/hello.h"
#include "proto/ps.h"

/*
 * Requests whose replies are awaited: one a tag. To a plain peer a request is one GET for each of
 * its ranges, up to 16 of them, and each has a reply of its own.
 */
enum { LZ_ASKER_TAGS = 512, LZ_ASKER_REPLIES = 4096, LZ_ASKER_WHY_MAX = 256 };

enum lz_asker_state {
	LZ_ASKER_PROBING,  /* the probe was said, or is to be */
	LZ_ASKER_GREETING, /* the peer is a lazyd: hello was said, or is to be */
	LZ_ASKER_PLAIN,    /* open: the peer is a CRIU */
	LZ_ASKER_LAZYD,    /* open: the peer is a lazyd, and welcomes us */
	LZ_ASKER_CLOSING,  /* CLOSE was said: the status is awaited */
	LZ_ASKER_CLOSED,   /* and has come */
	LZ_ASKER_BROKEN,   /* refused, or not understood: why says it */
};

enum lz_asker_event_type {
	LZ_ASKER_MORE,  /* all bytes are taken and nothing has happened */
	LZ_ASKER_OPEN,  /* the state is PLAIN or LAZYD from now on */
	LZ_ASKER_BYTES, /* nr pages of tag, from number first on: their bytes come next */
	LZ_ASKER_ZEROS, /* the same, but they are zeros and nothing follows */
	LZ_ASKER_LOST,  /* the same, but the peer cannot have them */
	/* After the payload of BYTES: a plain peer will not answer these, ask for them again. */
	LZ_ASKER_REST,
	LZ_ASKER_END, /* the status of CLOSE: the connection has done its work */
};

struct lz_asker_event {
	enum lz_asker_event_type type;
	uint16_t tag;
	uint64_t first, nr; /* pages, numbered from 0 within the request */
	int32_t status;
};

struct lz_asker_options {
	enum lz_ps_layout layout; /* of the probe, and of all if the peer is a plain CRIU */
	bool known; /* the peer has been a lazyd before: hello goes along with the probe */
	struct lz_hello hello;
};

/* An expected reply: a plain peer answers the ranges one by one, a lazyd a request in pieces. */
struct lz_asker_reply {
	uint16_t tag;
	bool used;
	uint32_t pid;
	uint64_t vaddr;     /* plain: of page @first */
	uint64_t first, nr; /* still to be answered: pages [first, first + nr) */
};

struct lz_asker {
	enum lz_asker_state state;
	struct lz_asker_options options;
	struct lz_welcome welcome;  /* what the lazyd on the other end said */
	char why[LZ_ASKER_WHY_MAX]; /* BROKEN: a sentence */
	uint64_t payload;           /* bytes of pages that come next; take() must not see them */
	bool probed, greeted;       /* has been handed out by say() */
	bool is_lazyd;              /* the peer, and it has welcomed us */
	uint8_t part[LZ_HELLO_MAX]; /* of a header or frame that has not come whole */
	size_t have;
	uint64_t at; /* bytes that have come, payload too */
	bool rests;  /* .rest is to be handed out when the payload has come */
	struct lz_asker_event rest;
	/* Plain: a ring of replies in the order of the requests. Lazyd: indexed by tag. */
	struct lz_asker_reply reply[LZ_ASKER_REPLIES];
	unsigned head, nr_replies;
};

void lz_asker_init(struct lz_asker *a, const struct lz_asker_options *o);
bool lz_asker_is_open(const struct lz_asker *a);
/* What has to be said now; 0 if nothing. */
size_t lz_asker_say(struct lz_asker *a, uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX]);
/*
 * Encodes a request for the pages of @range[0 .. nr), numbered through, under @tag, which must be
 * unused. Returns the bytes written, -ENOSPC if they do not fit or, to a plain peer, if there is no
 * room in the queue of replies; nothing has changed then. A lazyd gets one request of any number of
 * ranges up to LZ_PS_RANGES_MAX, of at most welcome.max_request_pages (LZ_HELLO_PAGES_MIN or more)
 * together; a plain peer one for each range.
 */
int64_t lz_asker_ask(struct lz_asker *a, uint16_t tag, uint32_t pid,
		     const struct lz_ps_range *range, size_t nr, uint8_t *out, size_t room);
/* Encodes CLOSE. Only while open, with no reply awaited. */
size_t lz_asker_close(struct lz_asker *a, uint8_t out[LZ_PS_HEADER_MAX]);
/*
 * Takes bytes until something has happened: *ev. Returns how many were taken (0 .. len), or
 * -EBADMSG, with why, and the state is BROKEN. Call again with the rest until it says MORE, which
 * may need no bytes (REST has none), but after BYTES only when the payload has been counted off.
 */
int64_t lz_asker_take(struct lz_asker *a, const uint8_t *bytes, size_t len,
		      struct lz_asker_event *ev);
/* @len bytes of payload have gone where they belong. */
void lz_asker_paid(struct lz_asker *a, uint64_t len);

#endif
