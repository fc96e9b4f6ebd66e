/* SPDX-License-Identifier: MIT */
/* One random schedule of the engine against the miniature kernel. */
#ifndef SIM_H
#define SIM_H

#include "tests/prop/gen.h"

struct lz_state;

enum { SIM_PAGES = 64 };

struct sim_outcomes {
	uint64_t rebuilt, died, left_over, compacted, read_errors, short_reads;
	uint64_t remote_read, remote_urgent, remote_full, remote_down, remote_gone, released,
		released_again, absent, wanted, wanted_first, unswept, recorded, record_over,
		fetched, fetched_late, lent, stretched, refused;
	bool rebuilt_now;
};
extern struct sim_outcomes sim_outcomes;

/* @st: lz_state_size(SIM_PAGES) bytes, zeroed before the first run. */
void sim_run(struct gen *g, struct lz_state *st);

#endif
