/* SPDX-License-Identifier: MIT */
/* The turn. What it carries out is in act.c. */
#include "uffd/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "uffd/uffd.h"

/* A turn that finds more and more to do returns after this long: its caller may have other work. */
#define TURN_NS UINT64_C(2000000)
/* How often the figures that are a state are written for whoever looks on. */
#define GAUGE_NS UINT64_C(20000000)
/* What the ring had no room for, or the kernel no memory, is tried again after this long. */
#define PUT_OFF_NS UINT64_C(5000000)
/* Steps of a source's preparation before each wait, 14 us each. */
enum { PREPARE_MAX = 16 };
/* Between two looks at the clock, and at who is to work meanwhile:
 * so many actions, but fewer long ones. */
enum { LOOK_COST = 16, STRETCH_COST = 4 };
/* abandon() gives a stalled space this long to let itself be poisoned. */
#define ABANDON_NS UINT64_C(5000000000)

void lz_loop_look(struct lz_loop *l)
{
	l->now_ns = lz_ring_now();
}

void lz_loop_feed(struct lz_loop *l, struct lz_event ev)
{
	ev.now_ns = l->now_ns;
	(void)lz_engine_feed(l->engine, &ev); /* fails for layout events only: intake.c */
}

void lz_loop_log(struct lz_loop *l, enum lazyd_log level, const char *format, ...)
{
	char line[512];
	va_list ap;

	if (!l->log)
		return;
	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	l->log(l->log_arg, level, line);
}

static unsigned cost_of(const struct lz_action *a)
{
	return a->type != LZ_ACT_WAKE && lz_range_len(a->dst) > LZ_SLICE_BYTES ? STRETCH_COST : 1;
}

/*
 * Completions first, before every single action: a fault waits behind one and no more. True if it
 * came to an end, false if its time did, or if the caller has to look at something: it may have a
 * space whose threads wait. Not at once, so that whoever calls without end cannot keep faults from
 * being answered.
 */
static bool work(struct lz_loop *l)
{
	uint64_t until = l->now_ns + TURN_NS;
	struct lz_action a;

	for (unsigned n = 0;;) {
		if (lz_ring_has_work(&l->ring) || l->put_off)
			lz_intake_drain(l);
		if (!lz_engine_next(l->engine, &a)) {
			if (lz_act_settle(l, LZ_COPIERS_WAIT))
				continue;
			return true;
		}
		lz_act(l, &a);
		n += cost_of(&a);
		if (n < LOOK_COST)
			continue;
		n = 0;
		/* Page server and disk are to work while this end does, not after it. */
		lz_remote_attend(l);
		(void)lz_ring_submit(&l->ring);
		lz_loop_look(l);
		if (l->called || l->now_ns >= until)
			break;
	}
	(void)lz_act_settle(l, LZ_COPIERS_CANCEL);
	return false;
}

/* ---- turns ---- */

static void gauge(struct lz_loop *l, uint64_t now_ns)
{
	l->gauged_ns = now_ns;
	lz_engine_gauge(l->engine);
	lz_remote_gauge(l);
}

static uint64_t next_deadline(const struct lz_loop *l)
{
	uint64_t engine = lz_engine_deadline(l->engine), remote = lz_remote_deadline(l);

	return engine < remote ? engine : remote;
}

static bool is_done(const struct lz_loop *l)
{
	return lz_engine_is_done(l->engine) && lz_remote_is_over(l);
}

static int64_t least_timeout(uint64_t deadline, uint64_t now, int64_t timeout_ns)
{
	uint64_t left = deadline <= now ? 0 : deadline - now;

	if (deadline == UINT64_MAX || (timeout_ns >= 0 && (uint64_t)timeout_ns < left))
		return timeout_ns;
	return (int64_t)left;
}

/* For who polls lazyd_fd() instead of waiting here: it must become readable,
 * now or at the deadline, and what was prepared since the last wait must be on its way. */
static void leave(struct lz_loop *l, bool more)
{
	uint64_t at = next_deadline(l);
	struct itimerspec t = { 0 };

	if (l->put_off && at > lz_ring_now() + PUT_OFF_NS)
		at = lz_ring_now() + PUT_OFF_NS;
	t.it_value.tv_sec = (time_t)(at / 1000000000);
	t.it_value.tv_nsec = (long)(at % 1000000000);
	if (at != UINT64_MAX)
		(void)timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
	(void)lz_ring_submit(&l->ring);
	if (l->event_fd >= 0 && (more || lz_ring_has_work(&l->ring)))
		(void)eventfd_write(l->event_fd, 1);
}

/* What is worth looking for, so far: faults, and bytes that threads wait for. */
static uint64_t nr_hits(const struct lz_loop *l)
{
	return l->state->stats.n.faults + l->urgent_ended;
}

/* There is nothing else to do: for a moment, what a fault may soon ask for is put at hand. */
static void prepare(struct lz_loop *l)
{
	for (int i = 0; l->prepares && i < PREPARE_MAX && !lz_ring_has_work(&l->ring); i++)
		if (!l->prepares->ops->prepare(l->prepares))
			l->prepares = NULL;
	lz_loop_look(l);
}

/* Waits for something to do, and does it; *dry: what work() said. */
static int wait_and_work(struct lz_loop *l, uint64_t deadline, int64_t timeout_ns, bool *dry)
{
	struct lz_spin *spin = &l->spin[l->nr_urgent > 0];
	uint64_t begun, look_ns = lz_spin_ns(spin), waited_ns, hits;
	int r = 0;

	if (l->prepares)
		prepare(l);
	begun = l->now_ns;
	timeout_ns = least_timeout(deadline, begun, timeout_ns);
	if (timeout_ns >= 0 && (uint64_t)timeout_ns < look_ns)
		look_ns = 0;
	if (!look_ns || !lz_ring_look(&l->ring, look_ns))
		r = lz_ring_wait(&l->ring, timeout_ns);
	if (r)
		return r;
	lz_loop_look(l);
	waited_ns = l->now_ns - begun;
	hits = nr_hits(l);
	if (lz_ring_has_work(&l->ring) || deadline != UINT64_MAX) {
		lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_TICK });
		lz_remote_attend(l);
		*dry = work(l);
		lz_remote_attend(l);
	}
	lz_spin_note(spin, waited_ns, nr_hits(l) != hits);
	return 0;
}

int lz_loop_turn(struct lz_loop *l, int64_t timeout_ns)
{
	uint64_t now, deadline;
	eventfd_t events;
	bool dry;
	int r;

	if (lz_state_is_full(l->state)) {
		r = lz_state_compact(l->state, l->engine);
		if (r)
			return r; /* more segments than a journal holds */
	}
	if (l->event_fd >= 0)
		(void)eventfd_read(l->event_fd, &events);
	l->called = false;
	lz_loop_look(l);
	now = l->now_ns;
	if (l->watch_fd >= 0 && !l->watching)
		l->watching = !lz_ring_poll(&l->ring, l->watch_fd,
					    (struct lz_tag){ .kind = LZ_TAG_WATCH });
	lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_TICK });
	dry = work(l);
	lz_remote_attend(l);
	if (now - l->gauged_ns > GAUGE_NS)
		gauge(l, now);
	deadline = next_deadline(l);
	if (dry && !l->called && !is_done(l)) {
		if (l->put_off && deadline > l->now_ns + PUT_OFF_NS)
			deadline = l->now_ns + PUT_OFF_NS;
		r = wait_and_work(l, deadline, timeout_ns, &dry);
		if (r)
			return r;
	}
	if (!timeout_ns)
		leave(l, !dry);
	if (!is_done(l))
		return 1;
	lz_intake_doubt(l);
	gauge(l, now);
	return 0;
}

/* Not the ring's own descriptor: poll() on that sleeps through work that the
 * kernel has deferred. */
int lz_loop_fd(struct lz_loop *l)
{
	int r;

	if (l->event_fd >= 0)
		return l->event_fd;
	l->event_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->event_fd < 0)
		return -errno;
	r = lz_ring_notify(&l->ring, l->event_fd);
	if (!r)
		return l->event_fd;
	(void)close(l->event_fd);
	l->event_fd = -1;
	return r;
}

int lz_loop_watch(struct lz_loop *l, int fd)
{
	struct lz_tag tag = { .kind = LZ_TAG_WATCH };
	int r = 0;

	if (l->watching && fd != l->watch_fd) {
		r = lz_ring_cancel(&l->ring, tag);
		l->watching = false;
	}
	l->watch_fd = fd;
	return r;
}

int64_t lz_loop_abandon(struct lz_loop *l)
{
	uint64_t lost = l->state->stats.n.pages_lost, until = lz_ring_now() + ABANDON_NS;
	int r = 1;

	lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_ABANDON });
	if (l->stream)
		lz_stream_abandon(l->stream, &l->ring);
	lz_intake_disown(l);
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (l->req[i].in_flight)
			(void)lz_ring_cancel(&l->ring,
					     (struct lz_tag){ .kind = LZ_TAG_READ, .id = i });
	while (r == 1 && lz_ring_now() < until)
		r = lz_loop_turn(l, 10000000);
	if (r < 0)
		return r;
	return r ? -ETIME : (int64_t)(l->state->stats.n.pages_lost - lost);
}

/* ---- opening and closing ---- */

_Static_assert((int)LZ_COPIERS_MAX == (int)LAZYD_COPIERS_MAX, "what is promised");

static void start_copiers(struct lz_loop *l, unsigned nr)
{
	int r = lz_copiers_open(&l->copiers, nr);

	if (r)
		lz_loop_log(l, LAZYD_LOG_WARN, "event=no-copier wanted=%u have=%u errno=%d", nr,
			    l->copiers.nr, -r);
}

int lz_loop_open(struct lz_loop *l, struct lz_state *state, const struct lazyd_options *o)
{
	struct lz_engine_options eo = { .on_lost = o->on_lost,
					.stats = &state->stats,
					.has_remote = o->remote,
					.no_sweep = o->no_sweep,
					.record = o->record ? &state->record : NULL,
					.record_ns = o->record_ns,
					.stays = o->stays,
					.nr_reqs = o->remote ? LZ_REQS_MAX : LZ_REQS_LOCAL };
	int r;

	memset(l, 0, sizeof(*l));
	l->state = state;
	l->log = o->log;
	l->log_arg = o->log_arg;
	l->descriptor = o->descriptor;
	l->descriptor_arg = o->descriptor_arg;
	l->closed = o->closed;
	l->closed_arg = o->closed_arg;
	l->watch_fd = l->event_fd = -1;
	for (unsigned i = 0; i < 2; i++)
		lz_spin_init(&l->spin[i], o->busy_poll_ns);
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = l->stop_fd < 0 || l->timer_fd < 0 ? -errno : 0;
	if (!r)
		r = lz_ring_open(&l->ring, 256);
	if (r)
		goto fail;
	r = lz_pool_init(&l->pool, eo.nr_reqs, LZ_SLICE_BYTES);
	if (!r)
		r = lz_engine_new(&l->engine, &eo);
	if (!r)
		r = lz_ring_poll(&l->ring, l->stop_fd, (struct lz_tag){ .kind = LZ_TAG_STOP });
	if (!r)
		r = lz_ring_poll(&l->ring, l->timer_fd,
				 (struct lz_tag){ .kind = LZ_TAG_STOP, .id = 1 });
	if (!r && o->remote)
		r = lz_remote_open(l, o->remote);
	if (!r) {
		start_copiers(l, o->copiers);
		return 0;
	}
	lz_engine_free(l->engine);
	lz_pool_fini(&l->pool);
	lz_ring_close(&l->ring);
fail:
	(void)close(l->stop_fd);
	(void)close(l->timer_fd);
	return r;
}

void lz_loop_close(struct lz_loop *l)
{
	lz_copiers_close(&l->copiers);
	if (lz_intake_take_back(l)) { /* else a disk may still write there */
		lz_pool_fini(&l->pool);
		if (l->large.nr)
			lz_pool_fini(&l->large);
	}
	lz_remote_close(l);
	lz_ring_close(&l->ring);
	lz_engine_free(l->engine);
	for (uint32_t i = 0; i < l->nr_memories; i++) {
		for (size_t k = 0; k < l->memory[i].memory->nr_sources; k++)
			l->memory[i].source[k]->ops->close(l->memory[i].source[k]);
		free(l->memory[i].source);
		free(l->memory[i].told);
		lz_memory_put(l->memory[i].memory);
	}
	(void)close(l->stop_fd);
	(void)close(l->timer_fd);
	(void)close(l->event_fd);
}

/* Address space only, until a request uses its buffer. */
static int make_room(struct lz_loop *l, const struct lz_memory *m)
{
	bool has_large = false;

	for (size_t i = 0; i < m->nr_segs; i++)
		has_large = has_large || UINT64_C(1) << m->seg[i].page_shift > 4096;
	if (!has_large || l->large.nr)
		return 0;
	return lz_pool_init(&l->large, l->pool.nr + 1, LZ_PAGE_BYTES_MAX);
}

int lz_loop_add(struct lz_loop *l, struct lz_memory *m)
{
	struct lz_loop_memory *to = &l->memory[l->nr_memories];
	size_t n = 0;
	int r = make_room(l, m);

	if (!r && l->nr_memories == LZ_MEMORIES_MAX)
		r = -ENOSPC;
	if (r)
		return r;
	to->source = calloc(m->nr_sources + 1, sizeof(struct lz_source *));
	to->told = calloc(m->nr_sources + 1, sizeof(*to->told));
	if (!to->source || !to->told)
		r = -ENOMEM;
	for (; !r && n < m->nr_sources; n++) {
		r = lz_intake_open(l, m, (uint32_t)n, &to->source[n]);
		if (r)
			break;
	}
	if (r) {
		while (n--)
			to->source[n]->ops->close(to->source[n]);
		free(to->source);
		free(to->told);
		return r;
	}
	to->memory = lz_memory_get(m);
	return (int)l->nr_memories++;
}

static int find_memory(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		       size_t *nr)
{
	const struct lz_loop *l = arg;

	if (memory >= l->nr_memories)
		return -ENOENT;
	*plan = l->memory[memory].memory->plan;
	*seg = l->memory[memory].memory->seg;
	*nr = l->memory[memory].memory->nr_segs;
	return 0;
}

int lz_loop_attach(struct lz_loop *l, const struct lz_state_place *at, int uffd, int pidfd)
{
	struct lz_memories m = { .arg = l, .find = find_memory };
	int space;

	/* Its segments must not take the room of what the turn is to note. */
	if (lz_state_is_full(l->state)) {
		space = lz_state_compact(l->state, l->engine);
		if (space)
			return space;
	}

	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(l->engine, i) && l->state->slot[i].uffd == uffd)
			return -EEXIST;
	space = lz_state_attach_at(l->state, l->engine, &m, at, uffd, pidfd, lz_ring_now());
	if (space < 0)
		return space;
	(void)lz_intake_arm(l, (uint32_t)space); /* put off at worst */
	lz_remote_want(l);
	(void)lz_ring_submit(&l->ring);
	return space;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

int lz_loop_resume(struct lz_loop *l)
{
	struct lz_memories m = { .arg = l, .find = find_memory };
	int half_closed, nr = 0, r;

	if (!lz_state_is_used(l->state))
		return 0;
	r = lz_state_replay(l->state, l->engine, &m, &half_closed);
	if (r)
		return r;
	l->state->stats.n.resumes++;
	lz_remote_want(l);
	for (uint32_t i = 0; l->state->stats.n.pages_lost && i < l->nr_memories; i++)
		memset(l->memory[i].told, 1, l->memory[i].memory->nr_sources);
	if (half_closed >= 0) {
		lz_intake_tell_end(l, &l->state->slot[half_closed],
				   has_ended(l->state->slot[half_closed].pidfd));
		/* The dead one may have closed it or not; its number may not be a userfaultfd. */
		if (lz_uffd_is_one(l->state->slot[half_closed].uffd))
			(void)close(l->state->slot[half_closed].uffd);
		r = lz_state_closed(l->state, l->engine, (uint32_t)half_closed, lz_ring_now());
	}
	for (uint32_t i = 0; !r && i < LZ_SPACES_MAX; i++) {
		if (!lz_engine_serves(l->engine, i))
			continue;
		nr++;
		lz_intake_take(l, i);
	}
	for (uint32_t i = 0; !r && i < LZ_SPACES_MAX; i++) {
		if (!lz_engine_serves(l->engine, i) || l->space[i].polling)
			continue;
		/* Faults that the dead one had read come again. */
		(void)lz_uffd_wake(l->state->slot[i].uffd, (struct lz_range){ 0, UINT64_MAX });
		(void)lz_intake_arm(l, i);
	}
	return r ? r : nr;
}
