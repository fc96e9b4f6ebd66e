/* SPDX-License-Identifier: MIT */
/*
 * Page servers on the other ends of a stream's connections, which answer as the test scripts them,
 * with the pages of stream_world.h. The peers are global, as the world is.
 */
#ifndef STREAM_PEER_H
#define STREAM_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/giver.h"

enum { PEERS = 1 << 16 };

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

/* What the stream's connect() is unless the script says otherwise. */
int connect_peer(void *arg);
/* What connects in its own time may fail so. */
int failing_connect(void *arg);
/* Takes what has come, answers it, and sends @max bytes at most. */
void peer_pump(struct peer *p, size_t max);
/* Its last word is read: fd's end is in p->eof or ->error. */
void peer_settle(struct peer *p);
void peer_close(struct peer *p);
/* All that is there is cut off by the servers' end. */
void cut_all(void);
/* Closes all of them and what they have listened at. */
void peers_free(void);

#endif
