/* SPDX-License-Identifier: MIT */
/* The player of transcript.h: a parser of lines, a printer of actions, and the comparison. */
#include "tests/lib/transcript.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/plan.h"
#include "uffd/engine.h"

enum { AREAS_MAX = 16, ACTIONS_MAX = 200, TEXT_MAX = 4096 };

static const uint64_t BASE = 0x40000000;

struct play {
	struct lz_engine *e;
	struct lz_plan *plan;
	struct lz_seg area[AREAS_MAX];
	size_t nr_areas;
	struct lz_stats stats;
	struct lz_engine_options options;
	struct lz_record record;
	uint32_t remote; /* UINT32_MAX: no such source */
	uint64_t now_ns;
	const char *line;
};

static uint64_t at(uint64_t page)
{
	return BASE + (page << 12);
}

static const struct {
	const char *name;
	int err;
} errors[] = {
	{ "eagain", EAGAIN },     { "ecanceled", ECANCELED }, { "eexist", EEXIST },
	{ "efault", EFAULT },     { "einval", EINVAL },       { "eio", EIO },
	{ "emsgsize", EMSGSIZE }, { "enoent", ENOENT },       { "enomem", ENOMEM },
	{ "enospc", ENOSPC },     { "esrch", ESRCH },         { "etimedout", ETIMEDOUT },
};

/* What @text says came of @whole bytes: all of them where it says nothing. */
static int64_t parse_result(const struct play *p, const char *text, uint64_t whole)
{
	uint64_t pages, bytes = 0;

	if (!text)
		return (int64_t)whole;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(text, errors[i].name))
			return -errors[i].err;
	if (sscanf(text, "%" SCNu64 "+%" SCNu64, &pages, &bytes) < 1)
		ck_abort_msg("%s\n\tno such outcome: %s", p->line, text);
	return (int64_t)((pages << 12) + bytes);
}

/* ---- actions ---- */

static void print_action(const struct play *p, const struct lz_action *a, char *out, size_t size)
{
	static const char *const name[] = {
		[LZ_ACT_WAKE] = "wake",     [LZ_ACT_COPY] = "copy",       [LZ_ACT_ZERO] = "zero",
		[LZ_ACT_POISON] = "poison", [LZ_ACT_READ] = "read",       [LZ_ACT_KILL] = "kill",
		[LZ_ACT_CLOSE] = "close",   [LZ_ACT_RELEASE] = "release", [LZ_ACT_CONTINUE] = "map",
		[LZ_ACT_FETCH] = "fetch",
	};
	bool is_read = a->type == LZ_ACT_READ || a->type == LZ_ACT_FETCH;
	int n;

	if (a->type == LZ_ACT_RELEASE) {
		snprintf(out, size, "release");
		return;
	}
	n = snprintf(out, size, "s%" PRIu32 " %s", a->space, name[a->type]);
	if (a->req != LZ_REQ_NONE)
		n += snprintf(out + n, size - (size_t)n, " %c%" PRIu32,
			      a->type == LZ_ACT_FETCH ? 'b' : 'r', a->req);
	if (a->skip)
		n += snprintf(out + n, size - (size_t)n, "@%" PRIu64, a->skip >> 12);
	if (is_read && a->source)
		n += snprintf(out + n, size - (size_t)n, " f%" PRIu32 ":", a->source);
	else if (is_read)
		n += snprintf(out + n, size - (size_t)n, " ");
	if (is_read)
		snprintf(out + n, size - (size_t)n, "%" PRIu64 "+%" PRIu64 "%s%s%s",
			 a->offset >> 12, a->len >> 12,
			 a->mapped_ok || a->type == LZ_ACT_FETCH ? "" : " bytes",
			 a->mapped_only ? " only" : "",
			 a->urgent && a->source == p->remote ? " urgent" : "");
	else if (a->dst.end == UINT64_MAX)
		snprintf(out + n, size - (size_t)n, " all");
	else if (!lz_range_is_empty(a->dst))
		snprintf(out + n, size - (size_t)n, " %" PRIu64 "..%" PRIu64,
			 (a->dst.start - BASE) >> 12, (a->dst.end - BASE) >> 12);
}

static void feed(struct play *p, struct lz_event ev)
{
	int r;

	ev.now_ns = p->now_ns;
	r = lz_engine_feed(p->e, &ev);
	if (r)
		ck_abort_msg("%s\n\tfeed said %d", p->line, r);
}

static void carry_out(struct play *p, const struct lz_action *a, const char *outcome)
{
	struct lz_event ev = { .space = a->space, .req = a->req, .range = a->dst, .did = a->type };

	if (a->type == LZ_ACT_READ || a->type == LZ_ACT_WAKE || a->type == LZ_ACT_RELEASE) {
		if (outcome && strcmp(outcome, "none") != 0)
			ck_abort_msg("%s\n\ta read, wake or release has no outcome", p->line);
		return;
	}
	if (outcome && !strcmp(outcome, "none"))
		return;
	ev.type = a->type == LZ_ACT_KILL    ? LZ_EV_EXIT
		  : a->type == LZ_ACT_CLOSE ? LZ_EV_CLOSED
		  : a->type == LZ_ACT_FETCH ? LZ_EV_FETCHED
					    : LZ_EV_PLACED;
	ev.res = parse_result(p, outcome, lz_range_len(a->dst));
	feed(p, ev);
}

/* The next of the @actions, cut off at its semicolon; NULL behind the last. */
static char *cut(char **actions, const char *ends)
{
	char *s, *e;

	if (!*actions)
		return NULL;
	s = *actions + strspn(*actions, " \t");
	e = s + strcspn(s, ends);
	*actions = *e ? e + 1 : NULL;
	for (*e = '\0'; e > s && (e[-1] == ' ' || e[-1] == '\t'); e--)
		e[-1] = '\0';
	return *s ? s : NULL;
}

/* ---- lines ---- */

static bool lay_out(struct play *p, const char *s)
{
	uint64_t from, nr, off, to;
	uint32_t source;
	int end = 0;

	if (!strcmp(s, "on-lost kill")) {
		p->options.on_lost = LAZYD_LOST_KILL;
	} else if (sscanf(s, "requests %u", &p->options.nr_reqs) == 1) {
		;
	} else if (!strcmp(s, "no sweep")) {
		p->options.no_sweep = true;
	} else if (!strcmp(s, "stays")) {
		p->options.stays = true;
	} else if (sscanf(s, "record %" SCNu64, &p->options.record_ns) == 1) {
		p->options.record_ns *= 1000;
		p->options.record = &p->record;
	} else if (sscanf(s, "remote f%" SCNu32, &p->remote) == 1) {
		lz_plan_set_remote(p->plan, p->remote);
	} else if (sscanf(s, "image %" SCNu64 "+%" SCNu64 " at f%" SCNu32 ":%" SCNu64 "%n", &from,
			  &nr, &source, &off, &end) == 4) {
		struct lz_piece piece = { at(from), nr << 12, off << 12, source, 12 };

		if (!strcmp(s + end, " 2M"))
			piece.page_shift = 21;
		if (!strcmp(s + end, " 128K"))
			piece.page_shift = 17;
		if (!strcmp(s + end, " in place"))
			ck_assert_int_eq(lz_plan_add_in_place(p->plan, &piece), 0);
		else
			ck_assert_int_eq(lz_plan_add(p->plan, &piece), 0);
	} else if (sscanf(s, "area %" SCNu64 "..%" SCNu64 " from %" SCNu64 "%n", &from, &to, &off,
			  &end) == 3) {
		struct lz_seg seg = { at(from), at(to), at(off), 12, 0 };

		if (!strcmp(s + end, " 2M"))
			seg.page_shift = 21;
		if (!strcmp(s + end, " 128K"))
			seg.page_shift = 17;
		ck_assert_uint_lt(p->nr_areas, AREAS_MAX);
		p->area[p->nr_areas++] = seg;
	} else {
		return false;
	}
	return true;
}

static bool attach(struct play *p, const char *s)
{
	struct lz_attach a = { .plan = p->plan, .seg = p->area, .nr_segs = p->nr_areas };

	if (sscanf(s, "attach s%" SCNu32, &a.space) != 1)
		return false;
	if (!p->e) {
		lz_plan_seal(p->plan);
		p->options.stats = &p->stats;
		ck_assert_int_eq(lz_engine_new(&p->e, &p->options), 0);
	}
	ck_assert_int_eq(lz_engine_attach(p->e, &a), 0);
	return true;
}

static bool want(struct play *p, const char *s)
{
	uint64_t from, nr;

	if (sscanf(s, "want %" SCNu64 "+%" SCNu64, &from, &nr) != 2)
		return false;
	ck_assert_int_eq(
		lz_engine_want(p->e, p->plan, 0, (struct lz_range){ at(from), at(from + nr) }), 0);
	return true;
}

static bool is_event(struct play *p, const char *s)
{
	struct lz_event ev = { 0 };
	uint64_t a = 0, b = 0, c = 0;
	char result[32];

	if (sscanf(s, "fault s%" SCNu32 " %" SCNu64 "+%" SCNu64, &ev.space, &a, &b) >= 2) {
		ev.type = LZ_EV_FAULT;
		ev.minor = strstr(s, " minor");
		ev.range = (struct lz_range){ at(a) + b, at(a) + b };
	} else if (sscanf(s, "remove s%" SCNu32 " %" SCNu64 "..%" SCNu64, &ev.space, &a, &b) == 3) {
		ev.type = LZ_EV_REMOVE;
		ev.range = (struct lz_range){ at(a), at(b) };
	} else if (sscanf(s, "unmap s%" SCNu32 " %" SCNu64 "..%" SCNu64, &ev.space, &a, &b) == 3) {
		ev.type = LZ_EV_UNMAP;
		ev.range = (struct lz_range){ at(a), at(b) };
	} else if (sscanf(s, "remap s%" SCNu32 " %" SCNu64 "..%" SCNu64 " to %" SCNu64, &ev.space,
			  &a, &b, &c) == 4) {
		ev.type = LZ_EV_REMAP;
		ev.range = (struct lz_range){ at(a), at(b) };
		ev.to = at(c);
	} else if (sscanf(s, "fork s%" SCNu32 " s%" SCNu32, &ev.space, &ev.child) == 2) {
		ev.type = LZ_EV_FORK;
	} else if (sscanf(s, "exit s%" SCNu32, &ev.space) == 1) {
		ev.type = LZ_EV_EXIT;
	} else if (sscanf(s, "got r%" SCNu32 " %31s", &ev.req, result) == 2) {
		ev.type = LZ_EV_READ;
		ev.mapped = strstr(s, " mapped");
		ev.res = parse_result(p, result, 0);
	} else if (sscanf(s, "fetched b%" SCNu32, &ev.req) == 1) {
		ev.type = LZ_EV_FETCHED;
	} else if (sscanf(s, "wait %" SCNu64, &a) == 1) {
		ev.type = LZ_EV_TICK;
		p->now_ns += a * 1000;
	} else if (!strcmp(s, "start")) {
		ev.type = LZ_EV_START;
	} else if (!strcmp(s, "costly")) {
		ev.type = LZ_EV_COSTLY;
	} else if (!strcmp(s, "sweep")) {
		ev.type = LZ_EV_SWEEP;
	} else if (!strcmp(s, "finish")) {
		ev.type = LZ_EV_FINISH;
	} else if (!strcmp(s, "abandon")) {
		ev.type = LZ_EV_ABANDON;
	} else {
		return false;
	}
	feed(p, ev);
	return true;
}

/* Compares until next() has no more; after a difference goes on, to tell all that came. */
static void act(struct play *p, char *wanted)
{
	char got[TEXT_MAX] = "", text[128];
	bool differs = false;
	struct lz_action a;
	int n = 0;

	for (; n < ACTIONS_MAX && lz_engine_next(p->e, &a); n++) {
		char *events = cut(&wanted, ";"), *want = cut(&events, "=");
		char *outcome = cut(&events, ","), *event;

		print_action(p, &a, text, sizeof(text));
		differs = differs || !want || strcmp(want, text) != 0;
		strncat(got, text, sizeof(got) - strlen(got) - 1);
		if (outcome) {
			strncat(got, " = ", sizeof(got) - strlen(got) - 1);
			strncat(got, outcome, sizeof(got) - strlen(got) - 1);
		}
		strncat(got, "; ", sizeof(got) - strlen(got) - 1);
		carry_out(p, &a, outcome);
		while ((event = cut(&events, ",")))
			if (!is_event(p, event))
				ck_abort_msg("%s\n\tno event: %s", p->line, event);
		lz_engine_check(p->e);
	}
	/* Whoever is told that there is nothing to do goes to sleep. */
	if (lz_engine_next(p->e, &a))
		ck_abort_msg("%s\n\tnext() said no, and then had another", p->line);
	if (differs || n == ACTIONS_MAX || cut(&wanted, ";"))
		ck_abort_msg("%s\n\tbut it was: %s", p->line, got);
}

/* ---- looking ---- */

#define FIGURE(name)                                      \
	{                                                 \
#name, offsetof(struct lazyd_stats, name) \
	}
static const struct {
	const char *name;
	size_t at;
} figures[] = {
	FIGURE(nr_spaces),     FIGURE(pages_total),     FIGURE(pages_owed), FIGURE(pages_demand),
	FIGURE(pages_sweep),   FIGURE(pages_neighbour), FIGURE(pages_zero), FIGURE(pages_gone),
	FIGURE(pages_lost),    FIGURE(faults),          FIGURE(waiting),    FIGURE(ev_remove),
	FIGURE(ev_unmap),      FIGURE(ev_remap),        FIGURE(ev_fork),    FIGURE(ev_exit),
	FIGURE(res_eagain),    FIGURE(res_eexist),      FIGURE(res_enoent), FIGURE(res_partial),
	FIGURE(remote_window), FIGURE(pages_replay),
};

static void must(const struct play *p, const char *what, uint64_t got, uint64_t wanted)
{
	if (got != wanted)
		ck_abort_msg("%s\n\t%s: %" PRIu64, p->line, what, got);
}

static void look_figure(struct play *p, const char *name, uint64_t wanted)
{
	lz_engine_gauge(p->e);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (!strcmp(figures[i].name, name)) {
			uint64_t got;

			memcpy(&got, (const char *)&p->stats.n + figures[i].at, sizeof(got));
			must(p, name, got, wanted);
			return;
		}
	ck_abort_msg("%s\n\tno such figure", p->line);
}

static uint64_t owed(const struct play *p, uint32_t space)
{
	uint64_t page = 0, n = 0;
	struct lz_range r;

	while (lz_engine_owed_range(p->e, space, &page, &r))
		n += lz_range_len(r) >> 12;
	return n;
}

/* All that has been recorded, "5+2 9+1", or "nothing". */
static void look_record(const struct play *p, const char *wanted)
{
	char got[TEXT_MAX] = "";
	size_t n = 0;

	for (uint64_t i = 0; i < p->record.nr; i++)
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%" PRIu64 "+%" PRIu32,
				      i ? " " : "", (p->record.touch[i].identity - BASE) >> 12,
				      p->record.touch[i].nr_pages);
	if (strcmp(wanted, n ? got : "nothing") != 0)
		ck_abort_msg("%s\n\trecorded: %s", p->line, got);
}

static bool look(struct play *p, const char *s)
{
	uint64_t n, deadline;
	uint32_t space;
	char name[32];

	if (sscanf(s, "owed s%" SCNu32 " %" SCNu64, &space, &n) == 2) {
		must(p, "owed", owed(p, space), n);
	} else if (sscanf(s, "count %31s %" SCNu64, name, &n) == 2) {
		look_figure(p, name, n);
	} else if (!strncmp(s, "retry ", 6)) {
		deadline = lz_engine_deadline(p->e);
		if (strcmp(s, "retry never") != 0)
			deadline = (deadline - p->now_ns) / 1000;
		must(p, "retry", deadline, sscanf(s, "retry %" SCNu64, &n) == 1 ? n : UINT64_MAX);
	} else if (!strncmp(s, "recorded ", 9)) {
		look_record(p, s + 9);
	} else if (!strcmp(s, "record is over") || !strcmp(s, "record is not over")) {
		must(p, "over", p->record.is_over, !strcmp(s, "record is over"));
	} else if (!strcmp(s, "is done") || !strcmp(s, "is not done")) {
		must(p, "done", lz_engine_is_done(p->e), !strcmp(s, "is done"));
	} else {
		return false;
	}
	return true;
}

void transcript_play(const char *text)
{
	static struct play p; /* the record is large */
	char *copy = strdup(text), *rest = copy;

	memset(&p, 0, sizeof(p));
	p.now_ns = 1000000;
	p.remote = UINT32_MAX;
	ck_assert_ptr_nonnull(copy);
	ck_assert_int_eq(lz_plan_new(&p.plan), 0);
	while (rest) {
		char *line = cut(&rest, "\n"), *events, *event;
		char whole[256];

		if (!line)
			continue;
		snprintf(whole, sizeof(whole), "%s", line);
		p.line = whole;
		events = cut(&line, "|");
		while ((event = cut(&events, ",")))
			if (!lay_out(&p, event) && !attach(&p, event) && !want(&p, event) &&
			    !is_event(&p, event) && !look(&p, event))
				ck_abort_msg("%s\n\tnot understood: %s", p.line, event);
		if (p.e) {
			lz_engine_check(p.e);
			act(&p, line);
		}
	}
	lz_engine_free(p.e);
	lz_plan_put(p.plan);
	free(copy);
}
