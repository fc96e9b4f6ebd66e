/* SPDX-License-Identifier: MIT */
/*
 * Whether the worker gets on: it counts its turns, one a second at least, and the keeper looks at
 * that count once a second. It is looks that are counted and not the time: a keeper that was itself
 * stopped, or with its machine asleep, finds afterwards what it found before.
 */
#ifndef LZ_WATCH_H
#define LZ_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* How often the keeper must look, at least. */
enum { LZ_WATCH_MS = 1000 };

struct lz_watch {
	uint64_t looked_ns;
	uint32_t turns;
	uint32_t nr_good;  /* looks that have found a new turn */
	uint32_t nr_still; /* looks in a row, up to now, that have not */
	bool is_stuck;     /* it has been said so */
};

enum lz_watch_result {
	LZ_WATCH_FINE,
	LZ_WATCH_STUCK,   /* to be killed; once */
	LZ_WATCH_UNDYING, /* and is still there, for as long again */
};

/* Of a new worker. */
void lz_watch_begin(struct lz_watch *w, uint32_t turns, uint64_t now_ns);
/* As often as it likes. @limit: so many looks in a row without a new turn are borne; 0: all. */
enum lz_watch_result lz_watch_look(struct lz_watch *w, uint32_t turns, uint32_t limit,
				   uint64_t now_ns);

#endif
