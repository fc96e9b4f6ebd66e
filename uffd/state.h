/* SPDX-License-Identifier: MIT */
/*
 * What outlives the process that runs an engine, in one piece of memory shared with its successor:
 * the journal, the owed bits of every space, the buffers into which the kernel writes messages, the
 * statistics, and the record of first touches.
 *
 * A message is never only in the dead process: the kernel writes it into armed[], it is fed and, if
 * it changes the layout, noted with its batch and index; only when the whole batch is done is
 * armed[] zeroed and then the batch counted up. A successor replays the notes and then takes, from
 * every armed[], what is behind the last noted index. Pure: the memory is the caller's.
 */
#ifndef LZ_STATE_H
#define LZ_STATE_H

#include <linux/userfaultfd.h>

#include "uffd/engine.h"
#include "uffd/journal.h"

struct lz_slot {
	int32_t uffd, pidfd; /* -1: none */
	uint32_t kin;        /* 1: pidfd is an ancestor's, to kill by, not to watch */
	uint32_t memory;     /* number of the memory it serves */
	uint32_t batch;      /* counts the reads of this slot */
	uint32_t seen;       /* messages of this batch a predecessor has noted; set by replay */
	struct uffd_msg armed[LZ_BATCH_MAX]; /* zero where the kernel has not written */
};

/* To be counted up with any change of what is below, of the notes, or of what they mean. */
enum { LZ_STATE_VERSION = 3 };

struct lz_state {
	uint64_t magic;
	uint32_t version;
	uint32_t head;  /* sizeof(struct lz_state): limits differ where this does */
	uint64_t pages; /* of the largest memory */
	/* Connections to a page server, for a successor to close, and which: it may not have them.
	 * -1: none. */
	int32_t wire[2];
	uint64_t wire_ino[2];
	struct lz_stats stats;
	struct lz_record record;
	struct lz_slot slot[LZ_SPACES_MAX];
	struct lz_journal journal;
	uint64_t words[]; /* LZ_SPACES_MAX times room for the owed bits of @pages */
};

#define LZ_STATE_PAGES_MAX (UINT64_C(1) << 40)
/* @pages: up to that. */
size_t lz_state_size(uint64_t pages);
/* @st: lz_state_size(pages) zeroed bytes. */
void lz_state_init(struct lz_state *st, uint64_t pages);
/* May @len bytes at @st, whoever wrote them, be used as a state? */
bool lz_state_is_one(const struct lz_state *st, uint64_t len);
/* True once an engine has used it. */
bool lz_state_is_used(const struct lz_state *st);
uint64_t *lz_state_words(struct lz_state *st, uint32_t space);

/* How an engine's memories are found by number. */
struct lz_memories {
	void *arg;
	int (*find)(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		    size_t *nr);
};

/* Attaches and notes a new space. Returns its number or -errno. The descriptors stay the caller's
 * on failure. */
int lz_state_attach(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		    uint32_t memory, int uffd, int pidfd, uint64_t now_ns);
/* The same with segments of the space's own: by start, disjoint; NULL: the memory's. */
struct lz_state_place {
	uint32_t memory;
	const struct lz_seg *seg;
	size_t nr_segs;
};
int lz_state_attach_at(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		       const struct lz_state_place *at, int uffd, int pidfd, uint64_t now_ns);
/* Notes and feeds START. */
int lz_state_start(struct lz_state *st, struct lz_engine *e, uint64_t now_ns);

/* Of the messages in armed[], those not yet taken: from slot.seen up to the first zero one. */
unsigned lz_state_nr_messages(const struct lz_slot *s);
enum lz_taken {
	LZ_TAKEN,         /* fed, and noted if need be */
	LZ_TAKEN_FORK,    /* the same; ev->child is the new space, its slot has the descriptors */
	LZ_TAKEN_LOST,    /* a fork or move that cannot be followed: the caller fails closed what
			   * ev->range or *ufd says */
	LZ_TAKEN_UNKNOWN, /* not a message this code knows; nothing was done */
};
/* Takes the message at @index of @space's armed[]. @kin: a pidfd by which a FORK's child could be
 * killed, its slot's on LZ_TAKEN_FORK; or -1. */
enum lz_taken lz_state_take(struct lz_state *st, struct lz_engine *e, uint32_t space,
			    unsigned index, int kin, uint64_t now_ns, struct lz_event *ev,
			    int *ufd);
/* Before the descriptor of a FORK that is LOST gets closed: for who takes the message again it is
 * UNKNOWN, as the number may be another's by then. */
void lz_state_lose_fork(struct lz_state *st, uint32_t space, unsigned index);
/* The batch is done: armed[] may be handed to the kernel again. */
void lz_state_rearm(struct lz_state *st, uint32_t space);
/* Is it time to compact()? There is still room for a full batch of every space. */
bool lz_state_is_full(const struct lz_state *st);
/* Restates the journal. Only while no space has a batch partly taken: their indexes are dropped. */
int lz_state_compact(struct lz_state *st, struct lz_engine *e);

/* Around the closing of a space's descriptors. */
int lz_state_closing(struct lz_state *st, uint32_t space);
int lz_state_closed(struct lz_state *st, struct lz_engine *e, uint32_t space, uint64_t now_ns);

/* Rebuilds @e, fresh and without spaces. Fills in slots; a space whose closing was begun and not
 * ended is closed for the engine and has its number reported by *half_closed (or -1). */
int lz_state_replay(struct lz_state *st, struct lz_engine *e, const struct lz_memories *m,
		    int *half_closed);

#endif
