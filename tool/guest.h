/* SPDX-License-Identifier: MIT */
/*
 * A VM whose memory is served, as keeper and worker know it: a record of the session, written so
 * that death between any two stores leaves it whole. The descriptors and the text of a handshake
 * are written by the kernel itself, as with struct lz_inbox.
 */
#ifndef LZ_GUEST_H
#define LZ_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tool/handshake.h"
#include "tool/parcel.h"

enum { LZ_GUESTS_MAX = 1024 };

enum lz_guest_state {
	LZ_GUEST_NONE,
	LZ_GUEST_CALLS, /* has connected; what it says has not come, or not been judged */
	LZ_GUEST_HERE,  /* has been heard: is the worker's to serve */
};

enum lz_guest_end {
	LZ_GUEST_NOT_ENDED,
	LZ_GUEST_FULL,   /* all of its memory is there */
	LZ_GUEST_GONE,   /* its process is, or had to be killed */
	LZ_GUEST_FAILED, /* the engine would not take it: its descriptors are the keeper's */
};

struct lz_guest {
	/* keeper */
	uint32_t state;            /* enum lz_guest_state; after all else that is written here */
	int32_t conn;              /* CALLS: its connection */
	int32_t pid;               /* as the kernel names it to us; 0: not in our namespace */
	int32_t pidfd;             /* to be the engine's */
	int32_t own;               /* the same process, for the keeper to kill by; -1: not yet */
	int32_t uffd;              /* HERE */
	uint64_t since_ns;         /* connected; HERE: was heard */
	struct lz_regions regions; /* HERE */
	/* worker */
	uint32_t attached;
	uint32_t end; /* enum lz_guest_end */
	/* keeper, by the kernel's hand: zero where that has not written */
	struct lz_control control; /* of the first message; nothing came with those behind it */
	char text[LZ_HANDSHAKE_MAX + 1];
};

static inline bool lz_guest_is_calling(const struct lz_guest *g)
{
	return g->state == LZ_GUEST_CALLS;
}

#endif
