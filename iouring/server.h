/* SPDX-License-Identifier: MIT */
/*
 * A page server: connections on one side, page sources on the other, and a bounded number of
 * requests, buffers and bytes between them. Each connection costs a fixed amount; one that lies,
 * stalls or floods is dropped alone. What the images hold is asked of the caller. One thread, one
 * ring.
 */
#ifndef LZ_SERVER_H
#define LZ_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "iouring/ring.h"
#include "iouring/source.h"
#include "iouring/tls.h"
#include "proto/giver.h"

struct lz_server;

struct lz_server_options {
	/*
	 * Where the pages of task @pid at @vaddr are: how many of the next @max lie one behind the
	 * other at *offset of *source. 0: not here. -ENOENT: no such task.
	 */
	int64_t (*find)(void *arg, uint32_t pid, uint64_t vaddr, uint64_t max,
			struct lz_source **source, uint64_t *offset);
	void (*log)(void *arg, int level, const char *line); /* as enum lazyd_log */
	/* A page at @offset of @source cannot be had: its read has ended with @result. Or NULL. */
	void (*lost)(void *arg, const struct lz_source *source, uint64_t offset, int64_t result);
	void *arg;
	/* What limits are measured with, in nanoseconds that never go back.
	 * NULL: the system's monotonic clock. */
	uint64_t (*clock)(void);
	struct lz_giver_options giver;
	uint32_t max_clients; /* connections */
	uint64_t idle_ns;     /* a client that neither asks nor takes is dropped; 0: never */
	/*
	 * Who has said nothing at all, half a header, hello or TLS handshake, or does not close
	 * after CLOSE is dropped after so long. 0: 60 s, 10 s, 10 s.
	 */
	uint64_t silent_ns, header_ns, close_ns;
	/* Looks for what threads wait for so long before it sleeps,
	 * while that finds some; 0: never. */
	uint64_t busy_poll_ns;
	bool once; /* ends when its first client has had all it wants */
	const struct lz_tls
		*tls; /* every client must speak it; NULL: plain text. Outlives the server */
};

struct lz_server_stats {
	uint64_t nr_clients, clients_total, clients_refused, clients_dropped;
	uint64_t requests, pages, pages_zero, pages_lost, bytes_sent;
	uint64_t looks; /* waits that began awake (spin.h) */
};

/*
 * The options are copied; the sources that find() names must outlive the server. The thread that
 * calls this is the one that serves: fork first. As lz_ring_open() where there is no io_uring.
 */
int lz_server_open(struct lz_server **out, const struct lz_server_options *o);
/* Ends what is there at once, and waits for reads that cannot be taken back. */
void lz_server_close(struct lz_server *s);
/* Takes a listening stream socket; several may be given: -ENOSPC after the eighth. */
int lz_server_listen(struct lz_server *s, int fd);
/* Takes a connected one (--ps-socket). -ENOTCONN, -ENOTSOCK; -EUSERS: there are max_clients. */
int lz_server_accept(struct lz_server *s, int fd);
/* No new clients; turn() says 0 when those that are here have gone. */
void lz_server_finish(struct lz_server *s);
/* From any thread or a signal handler: turn() returns at its next chance. */
void lz_server_stop(struct lz_server *s);
/* Waits for at most @timeout_ns (negative: no end), then serves. 1: go on; 0: done; -errno. */
int lz_server_turn(struct lz_server *s, int64_t timeout_ns);
void lz_server_stats(const struct lz_server *s, struct lz_server_stats *stats);

#endif
