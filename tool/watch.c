/* SPDX-License-Identifier: MIT */
/* The looks of watch.h. */
#include "tool/watch.h"

static const uint64_t LOOK_NS = LZ_WATCH_MS * UINT64_C(1000000);

void lz_watch_begin(struct lz_watch *w, uint32_t turns, uint64_t now_ns)
{
	*w = (struct lz_watch){ .turns = turns, .looked_ns = now_ns };
}

enum lz_watch_result lz_watch_look(struct lz_watch *w, uint32_t turns, uint32_t limit,
				   uint64_t now_ns)
{
	if (now_ns - w->looked_ns < LOOK_NS)
		return LZ_WATCH_FINE;
	w->looked_ns = now_ns;
	/* One that is being killed gets on no more, whatever it does. */
	if (turns != w->turns && !w->is_stuck) {
		w->turns = turns;
		w->nr_good++;
		w->nr_still = 0;
		return LZ_WATCH_FINE;
	}
	/* The last turn may have been just behind a look, and the next just be due. */
	if (!limit || ++w->nr_still <= limit)
		return LZ_WATCH_FINE;
	w->nr_still = 0;
	if (w->is_stuck)
		return LZ_WATCH_UNDYING;
	w->is_stuck = true;
	return LZ_WATCH_STUCK;
}
