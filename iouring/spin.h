/* SPDX-License-Identifier: MIT */
/*
 * How long to look before sleeping for what somebody waits for: the next fault, its bytes, the next
 * request of a peer. Half of a fault's time is the waking of the handler on an idle CPU (kernel.md:
 * 21 us when it looks, 58 to 95 when it is woken), and of a remote one two thirds, so it pays to
 * wait awake for a thread that faults page after page. It does not for one that faults now and
 * then, nor where the looking itself keeps what is looked for from coming. Which it is, the waits
 * before tell: looking goes on while it hits, and begins again after a number of sleeps in a row
 * that a look would have spared. A look that finds nothing costs max_ns; a bout of looks that has
 * found nothing doubles the number of sleeps before the next. One of these for each kind of wait.
 * Pure: the time is told.
 */
#ifndef LZ_SPIN_H
#define LZ_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct lz_spin {
	uint64_t max_ns; /* 0: never */
	unsigned credit; /* looks that may still be in vain; 0: sleeps at once */
	unsigned hopes;  /* sleeps in a row that a look would have spared */
	unsigned wanted; /* so many of them, and it looks again */
	bool found;      /* something, since it began to look */
};

void lz_spin_init(struct lz_spin *s, uint64_t max_ns);
/* How long to look, from the beginning of the wait that comes next. */
uint64_t lz_spin_ns(const struct lz_spin *s);
/* How that wait has ended, @waited_ns after its beginning:
 * with what is looked for, or something else. */
void lz_spin_note(struct lz_spin *s, uint64_t waited_ns, bool hit);

#endif
