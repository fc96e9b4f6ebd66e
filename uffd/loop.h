/* SPDX-License-Identifier: MIT */
/*
 * The effects: carries out what the engine decides and feeds it what comes of it. One turn is
 *
 *   take completions -> feed; next -> do, looking for new completions before each; one enter of the
 *   ring that submits and waits.
 *
 * Nothing is decided here. loop.c has the turn, act.c the actions, intake.c what completes,
 * lose.c what cannot go on.
 */
#ifndef LZ_LOOP_H
#define LZ_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "iouring/pool.h"
#include "iouring/ring.h"
#include "iouring/source.h"
#include "iouring/spin.h"
#include "iouring/stream.h"
#include "pagemap/memory.h"
#include "uffd/copiers.h"
#include "uffd/lazyd.h"
#include "uffd/limits.h"
#include "uffd/state.h"

/* A memory made known by lazyd_add(), with its sources opened. */
struct lz_loop_memory {
	struct lz_memory *memory;
	struct lz_source **source;
	bool *told; /* for each source: its first lost page has been logged */
};

/* What the loop, and only it, knows of a space. */
struct lz_loop_space {
	uint16_t generation; /* of its completions; counts up when the slot is given up */
	bool polling;        /* a poll of its userfaultfd is in the ring */
	bool watching;       /* a poll of its pidfd is */
	bool closing;        /* CLOSE waits for the poll to come back, and for who removes */
};

/* The bytes of a request: in its pool buffer, or where the source has them mapped. */
struct lz_loop_req {
	struct lz_source_read read;
	uint32_t memory, source;
	uint64_t offset; /* in the source, of the request's first byte */
	uint8_t *buffer; /* has what is read last: its bytes from @skip on */
	uint64_t skip;
	uint16_t generation; /* of the last read: tells a late answer from one that is awaited */
	bool in_flight, mapped;
	bool put_off; /* the ring or the kernel had no room for the read: begin it again */
};

struct lz_loop {
	struct lz_ring ring;
	struct lz_pool pool;
	struct lz_pool
		large; /* for pages larger than a slice, if there are any; the last one is zero */
	struct lz_engine *engine;
	struct lz_state *state;
	struct lz_loop_memory memory[LZ_MEMORIES_MAX];
	uint32_t nr_memories;
	struct lz_loop_space space[LZ_SPACES_MAX];
	struct lz_loop_req req[LZ_REQS_MAX];
	bool fetching[LZ_BLOCKS_MAX];
	void (*log)(void *arg, enum lazyd_log level, const char *line);
	void *log_arg;
	void (*descriptor)(void *arg, int fd, int is_open);
	void *descriptor_arg;
	void (*closed)(void *arg, int uffd, int is_gone);
	void *closed_arg;
	struct lz_stream *stream; /* the page server, or NULL */
	bool plain;               /* it is a CRIU: the engine has been told */
	int watch_fd;             /* the embedder's, or -1 */
	int stop_fd;     /* an eventfd: lazyd_stop(), or more to do than one turn's share */
	int timer_fd;    /* the engine's deadline, for an embedder who polls lazyd_fd() */
	int event_fd;    /* lazyd_fd(): the ring writes to it; -1 while nobody has asked */
	bool watching;   /* a poll of watch_fd is in the ring */
	bool called;     /* one of the first two was readable: the turn is to return */
	bool put_off;    /* some read, or the arming of a space, was */
	bool polls_once; /* the kernel's ring has no poll that goes on */
	uint64_t now_ns; /* as it was when the loop last looked */
	struct lz_source *prepares; /* may have something to prepare, or NULL */
	uint64_t gauged_ns;
	struct lz_copiers copiers;
	/* Reads under way that threads wait for; ends of such reads so far. */
	uint32_t nr_urgent;
	uint64_t urgent_ended;
	struct lz_spin
		spin[2]; /* [are there such reads]: what is waited for then comes in its own time */
};

int lz_loop_open(struct lz_loop *l, struct lz_state *state, const struct lazyd_options *o);
void lz_loop_close(struct lz_loop *l);
int lz_loop_add(struct lz_loop *l, struct lz_memory *m);
int lz_loop_attach(struct lz_loop *l, const struct lz_state_place *at, int uffd, int pidfd);
int lz_loop_resume(struct lz_loop *l);
/* 1: more to come; 0: done; -errno. */
int lz_loop_turn(struct lz_loop *l, int64_t timeout_ns);
int lz_loop_fd(struct lz_loop *l);
int lz_loop_watch(struct lz_loop *l, int fd);
int64_t lz_loop_abandon(struct lz_loop *l);

/* Looks at the clock, for the events that come. */
void lz_loop_look(struct lz_loop *l);
void lz_loop_feed(struct lz_loop *l, struct lz_event ev);
__attribute__((format(printf, 3, 4))) void lz_loop_log(struct lz_loop *l, enum lazyd_log level,
						       const char *format, ...);

/* act.c */

void lz_act(struct lz_loop *l, const struct lz_action *a);
/* Feeds what has come of what copiers were given. True if anything has. */
bool lz_act_settle(struct lz_loop *l, enum lz_copiers_how how);

/* intake.c */

/* Lets the ring tell of messages of @space; and watches its process. */
int lz_intake_arm(struct lz_loop *l, uint32_t space);
/*
 * Feeds all that has completed, and hands to the kernel what that asks for, until nothing more has:
 * a poll that finds messages at once says so when it is submitted.
 */
void lz_intake_drain(struct lz_loop *l);
/* Begins q's read; put off where there is no room for it now. */
void lz_intake_begin(struct lz_loop *l, uint32_t req);
/* Takes the messages of @space's armed[] that have not been taken, and makes room for more. */
void lz_intake_take(struct lz_loop *l, uint32_t space);
/* A read has ended, wherever its bytes came from. */
void lz_intake_ended(struct lz_loop *l, uint32_t req, int64_t result);
/* A callback's answer, which came later: 0, or what lazyd_answer() says. */
int lz_intake_answer(struct lz_loop *l, uint64_t token, int64_t result);
/* No answer of a callback is waited for any more. */
void lz_intake_disown(struct lz_loop *l);
/* Tells of the descriptors of a slot, if somebody wants to know. */
void lz_intake_tell(struct lz_loop *l, const struct lz_slot *slot, bool is_open);
/* And that they are about to be closed; @is_gone: since their process is. */
void lz_intake_tell_end(struct lz_loop *l, const struct lz_slot *slot, bool is_gone);
/* CLOSE: takes back what is in the ring; closes once that has come back, or now. */
void lz_intake_close(struct lz_loop *l, uint32_t space);
/* Takes back all that the kernel may still write to. False: some read is under way still. */
bool lz_intake_take_back(struct lz_loop *l);
/* Opens a source of @m. */
int lz_intake_open(struct lz_loop *l, struct lz_memory *m, uint32_t source, struct lz_source **out);
/* At the end: says which files have changed meanwhile. */
void lz_intake_doubt(struct lz_loop *l);

/* lose.c */

/* Kills the space's process: -ESRCH where it is not known which one that is. */
int lz_lose_kill(struct lz_loop *l, uint32_t space);
/*
 * A child nobody can serve, of the message at @index of @parent's: what it is owed is poisoned
 * before it can read it. Where the kernel cannot, all below its parent is killed. Closes @ufd,
 * unless neither was possible, and a successor will not take the message again.
 */
void lz_lose_child(struct lz_loop *l, uint32_t parent, unsigned index, int ufd);
/* A move that cannot be followed: the process is killed. */
void lz_lose_moved(struct lz_loop *l, uint32_t space);

/* remote.c: the page server as a source. All but open() do nothing where there is none. */

int lz_remote_open(struct lz_loop *l, const struct lazyd_remote *r);
void lz_remote_close(struct lz_loop *l);
/* The remote pages of @m as a source. -EINVAL where the engine was given no page server. */
int lz_remote_source(struct lz_loop *l, struct lz_memory *m, const struct lz_memory_source *from,
		     struct lz_source **out);
/* Spaces are there: connects. */
void lz_remote_want(struct lz_loop *l);
/* Does what its deadline asks for, and sends what has been asked. */
void lz_remote_attend(struct lz_loop *l);
uint64_t lz_remote_deadline(const struct lz_loop *l);
/* Nothing is to be said to it any more. */
bool lz_remote_is_over(const struct lz_loop *l);
void lz_remote_gauge(struct lz_loop *l);

#endif
