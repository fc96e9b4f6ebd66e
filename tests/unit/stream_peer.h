/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the stream share: a world of pages whose bytes follow from their addresses,
 * page servers on the other ends of its connections, which answer as the test scripts them, and
 * reads that are checked when they end. All in one thread, with a clock that the test sets. The
 * fixture is global; each test begins with a fresh one.
 */
#ifndef STREAM_PEER_H
#define STREAM_PEER_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/stream.h"
#include "proto/giver.h"

enum { PAGE = 4096, PID = 77, PEERS = 1 << 16, SLOTS = 600, PAGES = 1 << 14 };
static const uint64_t SEC = 1000000000;

/* A server's end of one connection. */
struct peer {
	int fd; /* -1: closed */
	struct lz_giver giver;
	enum lz_ps_layout layout; /* plain */
	uint8_t in[256];
	size_t in_len;
	uint8_t *out;
	size_t out_at, out_len, out_room;
	size_t limit; /* bytes it sends before it is cut off; SIZE_MAX: all */
	size_t sent;
	unsigned asked; /* requests */
	bool stuck;     /* sends nothing */
	bool closing, eof;
	int error; /* what its socket has ended with */
};

/* How the servers behave; may be changed at any time. */
extern struct script {
	bool plain;
	enum lz_ps_layout layout; /* of the plain ones, and of the stream */
	bool tcp;                 /* loopback, else socketpairs */
	unsigned partial;         /* plain: so many pages of a GET at most; 0: all */
	bool shuffle;             /* lazyd: replies of a request in pieces, requests in any order */
	unsigned zeros, lost;     /* every n-th page is so; 0: none */
	bool mute;                /* takes and does not answer requests */
	bool no_status;           /* does not answer CLOSE */
	int (*connect)(void *arg); /* NULL: to a new peer */
	int refuse;                /* connect() says so */
	int refuse_second;         /* the same, from the second on */
	size_t limit;              /* for new peers */
	bool mute_second;          /* what connects after the first is not answered */
	uint64_t timeout_ns;
	bool keeps; /* keep[] is given */
	bool only_lazyd;
	bool narrow; /* sockets take a few KiB at a time */
	uint8_t identity;
} script;

extern struct peer *peer[PEERS];
extern unsigned nr_peers, nr_connects;
extern struct lz_ring ring;
extern struct lz_stream *stream;
extern struct lz_source *source;
extern uint64_t now_ns;
extern int32_t keep[LZ_STREAM_NR];
extern unsigned asked[PAGES]; /* how often each page was asked for */
extern unsigned asked_urgent_on[LZ_STREAM_NR], asked_on[LZ_STREAM_NR];

/* Reads by number; result INT64_MIN: has not ended. */
extern struct lz_source_read reads[SLOTS];
extern int64_t result[SLOTS];
extern unsigned nr_ended, order[SLOTS];
extern void (*on_ended)(unsigned slot);

/* What the stream's connect() is unless the script says otherwise. */
int connect_peer(void *arg);
void world_setup(void);
void world_teardown(void);
/* Opens the stream and its source as the script says. */
void world_open(void);
uint64_t random_below(uint64_t n);
/* Pages [page, page + nr), numbered in the plan; returns begin()'s value. */
int start(unsigned slot, uint64_t page, uint64_t nr, bool urgent);
/* Ended with all bytes, and they are right. */
void check_read(unsigned slot);
bool page_is_lost(uint64_t page);
/* One turn of the stream, one of every peer. */
void turn(void);
/* Peers send @max bytes at most in one turn. */
void turn_slowly(size_t max);
/* Turns until so many reads have ended in all, or a few thousand times. */
void until_ended(unsigned nr);
void until_state(enum lz_stream_state state);
/* The clock goes to the stream's deadline, which is due. */
void until_deadline(void);
enum lz_stream_state state(void);
/* How many lines of the log contain @what. */
unsigned logged(const char *what);
/* The peer's last word is read: fd's end is in peer->eof or ->error. */
void peer_settle(struct peer *p);
void peer_close(struct peer *p);

#endif
