/* SPDX-License-Identifier: MIT */
/* The look into /proc of whole.h. */
#include "tool/whole.h"

#include <errno.h>
#include <time.h>

#include "tool/maps.h"
#include "tool/out.h"
#include "tool/tree.h"

/* Between two looks; more where a look takes long, for it holds the process's memory map. */
static const uint64_t NAP_NS = 100000000;
enum { NAPS_A_LOOK = 4 };

static int add_area(const struct lz_maps_area *a, void *arg)
{
	struct lz_whole *w = arg;

	if (a->is_registered) {
		w->nr_areas++;
		w->missing_bytes += a->missing;
	}
	return 0;
}

static int look_at(pid_t pid, struct lz_whole *w)
{
	int r = lz_maps_read(pid, LZ_SMAPS, add_area, w);

	w->nr_processes += !r;
	if (w->nr_areas && !w->pid)
		w->pid = pid;
	return r;
}

int lz_whole_look(pid_t pid, struct lz_whole *w)
{
	struct lz_tree t = { 0 };
	int r = lz_tree_add(&t, pid);

	*w = (struct lz_whole){ 0 };
	/* A process before its children: what it forked while it lacked something is among them. */
	for (size_t i = 0; !r && i < t.nr; i++) {
		r = look_at(t.pid[i], w);
		if (r == -ESRCH && i) /* it has ended meanwhile */
			r = 0;
		if (!r)
			r = lz_tree_add_children(&t, t.pid[i]);
	}
	lz_tree_free(&t);
	return r;
}

int lz_whole_wait(pid_t pid, unsigned seconds, struct lz_whole *w)
{
	uint64_t begun = lz_out_now(), until = begun + seconds * UINT64_C(1000000000), now, nap;
	int r;

	for (;; begun = lz_out_now()) {
		r = lz_whole_look(pid, w);
		now = lz_out_now();
		if (r || !w->pid || now >= until)
			return r;
		nap = (now - begun) * NAPS_A_LOOK;
		nap = nap > NAP_NS ? nap : NAP_NS;
		nap = nap < until - now ? nap : until - now;
		(void)nanosleep(&(struct timespec){ .tv_sec = (time_t)(nap / 1000000000),
						    .tv_nsec = (long)(nap % 1000000000) },
				NULL);
	}
}
