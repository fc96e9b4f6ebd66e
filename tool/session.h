/* SPDX-License-Identifier: MIT */
/*
 * What `lazyd fill` is made of. The keeper (fill.c, keeper.c) reads the images, speaks with the
 * restorer (restorer.c) and starts the worker (worker.c), which runs the engine. The two share their
 * descriptors (clone with CLONE_FILES) and the memory below, and nothing else: whatever the worker
 * dies of, no userfaultfd closes, and a new worker goes on.
 */
#ifndef LZ_SESSION_H
#define LZ_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tool/addr.h"
#include "tool/service.h"
#include "uffd/lazyd.h"

enum { LZ_TASKS_MAX = 4096, LZ_REASON_MAX = 256 };

/* What the command line asked for. Strings are argv's. */
struct lz_fill_options {
	struct lz_service service;
	enum lazyd_on_lost on_lost;
	uint32_t restore_timeout_s; /* 0: for ever */
	bool page_server;           /* pages come from one */
	const char *address, *port;
	int ps_socket;             /* a connection to it, made by the caller; -1: none */
	int ps_header;             /* 24, 32; 0: what the images say */
	uint32_t source_timeout_s; /* 0: for ever */
};

/* A task of the images, in pstree's order. */
struct lz_fill_task {
	uint32_t pid;
	bool dead;
	bool reported; /* the restorer has sent its userfaultfd, or that it is dead */
	int memory;    /* its number for lazyd_attach() */
	int pidfd;     /* the keeper's own, to kill by in the last resort; -1 */
};

/* A userfaultfd on its way from the restorer to the worker. */
struct lz_arrival {
	int32_t uffd, pidfd, memory;
};

enum lz_fill_phase {
	LZ_FILL_RESTORING, /* tasks are being assembled */
	LZ_FILL_RUNNING,   /* the restorer has finished: the sweep may run */
	LZ_FILL_ABANDON,   /* give up: fail closed what is owed */
};

/* Shared by keeper and worker. Each field has one writer. */
struct lz_session {
	struct lz_arrival arrival[LZ_TASKS_MAX];
	uint32_t nr_arrivals;       /* keeper: arrival[0 .. nr) are whole */
	uint32_t phase;             /* keeper: enum lz_fill_phase */
	uint32_t nr_attached;       /* worker: of the arrivals */
	uint32_t started;           /* worker: has said so to its engine */
	uint32_t turns;             /* worker: whether it lives and gets on */
	uint32_t nr_connects;       /* worker: connections to the page server it has asked for */
	char reason[LZ_REASON_MAX]; /* worker: why it could not go on */
};

struct lz_fill {
	struct lz_fill_options o;
	struct lazyd_images *images;
	struct lazyd_memory **memory;
	int nr_memories;
	struct lz_fill_task *task;
	uint32_t nr_tasks, nr_reported;
	struct lz_fill_task *expecting; /* its pid has come, its descriptor not yet */
	struct lazyd_state *state;
	struct lz_session *session;
	struct lazyd_remote remote; /* size 0: all pages are here */
	struct lz_addr peer;        /* remote: where the page server is */
	uint8_t identity[LAZYD_IDENTITY_LEN];
	int kick_fd;   /* an eventfd: the worker is to look at the session */
	int listen_fd; /* -1 once the restorer has come */
	int restorer_fd;
	int signal_fd;
	sigset_t old_signals; /* what the worker gets back */
	pid_t keeper, worker;
	int worker_pidfd;
	uint64_t started_ns; /* when the first userfaultfd came; 0: not yet */
};

/* peer.c: the page server of --page-server; before the memories are read. 0, or LZ_EXIT_X with the
 * reason printed. */
int lz_peer_prepare(struct lz_fill *f);

/* restorer.c: CRIU's lazy-pages socket. 0, or -errno with the reason logged. */
int lz_restorer_listen(struct lz_fill *f);
/* Of a user who may not restore the connection is closed, and listen_fd stays. */
int lz_restorer_accept(struct lz_fill *f);
/* Takes what can be read. 1: the restorer has finished, 0: more to come, -errno: it failed. */
int lz_restorer_receive(struct lz_fill *f);
void lz_restorer_unlisten(struct lz_fill *f);

/* worker.c: does not return. */
__attribute__((noreturn)) void lz_worker_run(struct lz_fill *f);

/* keeper.c: from here on signals wait for lz_keeper_run(); before it is said that fill is ready. */
int lz_keeper_hold_signals(struct lz_fill *f);
/* From the listening socket to the end; returns LZ_EXIT_X. */
int lz_keeper_run(struct lz_fill *f);

#endif
