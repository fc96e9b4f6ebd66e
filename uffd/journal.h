/* SPDX-License-Identifier: MIT */
/*
 * What an engine cannot ask for again: which spaces there are and how their layout has changed. It
 * lies in memory shared with whoever goes on after the engine's process has died, and is written so
 * that dying between any two stores leaves it whole: a note is written first and counted after.
 *
 * Owed bits are not in it. They lie beside it, only ever fall, and are copied at a fork before the
 * fork is noted; so replaying a note twice, or one whose bits have long changed, does no harm.
 * Faults are not in it either: a WAKE brings them again. Pure.
 */
#ifndef LZ_JOURNAL_H
#define LZ_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/plan.h"
#include "pagemap/range.h"
#include "uffd/limits.h"

enum lz_note_type {
	LZ_NOTE_NONE,
	LZ_NOTE_SPACE,   /* @space serves memory a through @uffd; c = 0: from the memory's own
			  * segments on, c = 1: from those of the b SEG notes that follow */
	LZ_NOTE_SEG,     /* position [a, b), identity c, page shift @uffd */
	LZ_NOTE_UNMAP,   /* [a, b) */
	LZ_NOTE_REMAP,   /* [a, b) to c */
	LZ_NOTE_FORK,    /* the child is space a, served through @uffd */
	LZ_NOTE_CLOSING, /* its descriptors are about to be closed */
	LZ_NOTE_CLOSED,  /* they are */
	LZ_NOTE_START,
};

struct lz_note {
	uint32_t type, space;
	uint32_t batch, index; /* of the message it was made from: how far that batch has come */
	uint64_t a, b, c;
	int32_t uffd, pidfd;
	uint32_t kin; /* as in struct lz_slot */
	uint32_t reserved;
};

struct lz_journal {
	uint32_t active; /* which half counts */
	uint32_t reserved;
	uint64_t nr[2];
	struct lz_note note[2][LZ_JOURNAL_NOTES];
};

/* The segment as a note of @space. */
struct lz_note lz_journal_seg(uint32_t space, const struct lz_seg *seg);

/* -ENOSPC: compact first. A zeroed journal is an empty one. */
int lz_journal_add(struct lz_journal *j, const struct lz_note *n);
/*
 * A SPACE note and its segments, as many as are here and not as the note says: whoever comes after
 * a death sees none of them or all. -ENOSPC leaves the journal as it was.
 */
int lz_journal_add_space(struct lz_journal *j, const struct lz_note *n, const struct lz_seg *seg,
			 size_t nr_segs);
uint64_t lz_journal_room(const struct lz_journal *j);

/* Compacting: note what there is into the other half, then make that one count. */
void lz_journal_begin(struct lz_journal *j);
int lz_journal_restate(struct lz_journal *j, const struct lz_note *n);
void lz_journal_flip(struct lz_journal *j);

struct lz_engine;

/* What replay() needs to know of the spaces it finds, and tells of them. */
struct lz_replay {
	void *arg;
	/* The plan and first segments of memory @memory; -errno if there is no such. */
	int (*memory)(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		      size_t *nr);
	void (*note)(void *arg, const struct lz_note *n); /* after the engine has taken it */
};

/*
 * Feeds the journal to a new engine, which then owes what its predecessor owed, where it is now.
 * -EBADMSG where the notes contradict each other, else what the engine says.
 */
int lz_journal_replay(const struct lz_journal *j, struct lz_engine *e, const struct lz_replay *r);

#endif
