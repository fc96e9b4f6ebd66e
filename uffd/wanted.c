/* SPDX-License-Identifier: MIT */
/* The list of wanted.h. */
#include "uffd/wanted.h"

#include <errno.h>
#include <stdlib.h>

#include "uffd/limits.h"

enum { ROOM_MIN = 64 };

void lz_wanted_fini(struct lz_wanted *w)
{
	free(w->run);
	*w = (struct lz_wanted){ 0 };
}

static int append(struct lz_wanted *w, const struct lz_wanted_run *r)
{
	size_t room = w->room ? w->room * 2 : ROOM_MIN;
	struct lz_wanted_run *run;

	if (w->nr == LZ_WANTED_MAX)
		return -ENOSPC;
	if (w->nr == w->room) {
		run = realloc(w->run, room * sizeof(*run));
		if (!run)
			return -ENOMEM;
		w->run = run;
		w->room = room;
	}
	w->run[w->nr++] = *r;
	return 0;
}

int lz_wanted_add(struct lz_wanted w[2], const struct lz_plan *plan, uint32_t memory,
		  struct lz_range r)
{
	uint64_t page = lz_plan_page_from(plan, r.start), end = page;
	int64_t last = lz_range_is_empty(r) ? -1 : lz_plan_page(plan, r.end - 1, NULL);
	const struct lz_run *run = NULL;
	int err = 0;

	/* A large page is wanted as a whole. */
	if (!lz_range_is_empty(r))
		end = last >= 0 ? (uint64_t)last + 1 : lz_plan_page_from(plan, r.end);
	while (!err && page < end) {
		struct lz_wanted_run wanted = { .first = page, .memory = memory };
		uint64_t nr;

		run = lz_plan_run_near(plan, run, page);
		nr = run->first + lz_plan_run_pages(plan, run) - page;
		nr = nr < end - page ? nr : end - page;
		wanted.nr = nr < UINT32_MAX ? (uint32_t)nr : UINT32_MAX;
		err = append(&w[run->source == lz_plan_remote(plan)], &wanted);
		page += wanted.nr;
	}
	return err;
}
