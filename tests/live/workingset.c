/* SPDX-License-Identifier: MIT */
/* Cases of working sets: what is touched is noted and nothing else comes,
 * what is replayed comes first. */
#include <errno.h>

#include "tests/live/live.h"

enum { PAGES = 2048, STEP = 7, TOUCHES = PAGES / 3 };

/* The n-th page of the image that is touched; holes are none. */
static uint64_t nth(const struct live *l, uint64_t n)
{
	uint64_t page = n * STEP * 31 % l->nr_pages;

	while (!live_code(page))
		page = (page + 1) % l->nr_pages;
	return page;
}

static void touch_some(struct live *l)
{
	for (uint64_t n = 0; n < TOUCHES; n++)
		live_expect(l, nth(l, n), live_code(nth(l, n)));
	live_say(l);
	live_hear(l);
	live_expect_image(l, 0, l->nr_pages);
}

/* In the order of the touches, all of them and nothing else. */
static void check_record(struct live *l)
{
	struct lazyd_touch t;
	uint64_t n = 0, pages = 0;

	for (size_t i = 0; !lazyd_recorded(l->l, NULL, i, &t); i++) {
		LIVE_CHECK(l, t.owner == 0);
		for (uint64_t at = t.start; at < t.start + t.len; at += LIVE_PAGE) {
			/* A page that comes again in the task's order has not been noted again. */
			while (n < TOUCHES && (uint64_t)(uintptr_t)live_at(l, nth(l, n)) != at)
				n++;
			LIVE_CHECK(l, n < TOUCHES);
			pages++;
		}
	}
	lazyd_stats(l->l, NULL, &l->stats);
	LIVE_CHECK(l, pages == l->stats.pages_demand && pages > TOUCHES / 2);
	LIVE_CHECK(l, l->stats.pages_neighbour + l->stats.pages_sweep == 0);
	LIVE_CHECK(l, l->stats.record_over == 0);
}

static void serve_recording(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_start(l);
	live_hear_serving(l);
	check_record(l);
	lazyd_sweep(l->l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_sweep > 0);
	live_say(l);
	live_end(l, 0);
}

static void touch_when_told(struct live *l)
{
	live_hear(l);
	touch_some(l);
}

static void replay(struct live *l)
{
	struct lazyd_touch t = { .len = LIVE_PAGE };

	for (uint64_t n = 0; n < TOUCHES; n++) {
		t.start = (uint64_t)(uintptr_t)live_at(l, nth(l, n));
		LIVE_CHECK(l, lazyd_replay(l->l, &t) == 0);
	}
	t.owner = 1;
	LIVE_CHECK(l, lazyd_replay(l->l, &t) == -EINVAL);
}

/* All of it is there before it is touched: there is no fault then. */
static void serve_replaying(struct live *l)
{
	uint64_t before;

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	replay(l);
	live_start(l);
	do {
		before = l->stats.pages_replay;
		LIVE_CHECK(l, lazyd_turn(l->l, INT64_C(200000000)) == 1);
		lazyd_stats(l->l, NULL, &l->stats);
	} while (l->stats.pages_replay != before || !before);
	live_say(l);
	live_hear_serving(l);
	lazyd_stats(l->l, NULL, &l->stats);
	LIVE_CHECK(l, l->stats.pages_demand == 0);
	LIVE_CHECK(l, l->stats.pages_sweep + l->stats.pages_neighbour == 0);
	lazyd_sweep(l->l);
	live_fill(l);
	live_say(l);
	live_end(l, 0);
}

/* With the sweep behind it: every page is right, whichever way it came. */
static void serve_replay_sweeping(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	replay(l);
	live_start(l);
	live_say(l);
	live_hear_serving(l);
	live_say(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_replay > 0);
	live_end(l, 0);
}

const struct live_case live_cases_workingset[] = {
	{ "record", PAGES, LIVE_NO_SWEEP, touch_some, serve_recording },
	{ "replay/hot", PAGES, LIVE_NO_SWEEP, touch_when_told, serve_replaying },
	{ "replay/cold", PAGES, LIVE_NO_SWEEP | LIVE_DISK, touch_when_told, serve_replaying },
	{ "replay/sweeping", PAGES, 0, touch_when_told, serve_replay_sweeping },
	{ NULL, 0, 0, NULL, NULL },
};
