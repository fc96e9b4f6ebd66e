/* SPDX-License-Identifier: MIT */
/* The public functions of lazyd.h: check arguments, call, translate. */
#include "uffd/lazyd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "pagemap/memory.h"
#include "uffd/loop.h"
#include "uffd/shared.h"
#include "uffd/sized.h"
#include "uffd/uffd.h"

struct lazyd_memory {
	struct lz_memory memory;
};

struct lazyd {
	struct lz_loop loop;
	struct lazyd_state *own; /* the state, where none was given */
	char error[LAZYD_WHY_MAX];
};

const char *lazyd_version(void)
{
	return LAZYD_VERSION;
}

__attribute__((format(printf, 3, 4))) static int failed(struct lazyd *l, int r, const char *format,
							...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(l->error, sizeof(l->error), format, ap);
	va_end(ap);
	return r;
}

/* ---- engine ---- */

int lazyd_new(struct lazyd **out, const struct lazyd_options *options)
{
	struct lazyd_options o = { 0 };
	struct lazyd *l;
	int r = 0;

	if (!out || !options || !lz_sized_take(&o, sizeof(o), options, options->size))
		return -EINVAL;
	if (o.on_lost != LAZYD_LOST_POISON && o.on_lost != LAZYD_LOST_KILL)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	/* 1 TiB of 4 KiB pages, where nobody has said how much: it is address space only. */
	if (!o.state)
		r = lz_shared_private(&l->own, UINT64_C(1) << 28);
	if (!r)
		r = lz_loop_open(&l->loop, o.state ? o.state->state : l->own->state, &o);
	if (r) {
		lazyd_state_free(l->own);
		free(l);
		return r;
	}
	*out = l;
	return 0;
}

void lazyd_free(struct lazyd *l)
{
	if (!l)
		return;
	lz_loop_close(&l->loop);
	lazyd_state_free(l->own);
	free(l);
}

int lazyd_add(struct lazyd *l, struct lazyd_memory *m)
{
	int r;

	lz_memory_use(&m->memory);
	r = lz_loop_add(&l->loop, &m->memory);

	return r < 0 ? failed(l, r, "a memory's page sources cannot be opened: %s", strerror(-r))
		     : r;
}

int lazyd_resume(struct lazyd *l)
{
	int r = lz_loop_resume(&l->loop);

	return r < 0 ? failed(l, r, "the journal of the engine before cannot be replayed: %s",
			      strerror(-r))
		     : r;
}

static int attach(struct lazyd *l, const struct lz_state_place *at, int uffd, int pidfd)
{
	uint64_t pages;
	int r;

	if (at->memory >= l->loop.nr_memories)
		return failed(l, -EINVAL, "there is no memory number %d", (int)at->memory);
	pages = lz_plan_nr_pages(l->loop.memory[at->memory].memory->plan);
	if (pages > l->loop.state->pages)
		return failed(l, -EINVAL, "the memory has %llu pages, and the state room for %llu",
			      (unsigned long long)pages, (unsigned long long)l->loop.state->pages);
	r = fcntl(uffd, F_GETFL);
	if (r < 0)
		return failed(l, -errno, "descriptor %d is not open", uffd);
	if (!lz_uffd_is_ready(uffd))
		return failed(l, -EINVAL,
			      "descriptor %d is no userfaultfd that has done UFFDIO_API", uffd);
	if (!(r & O_NONBLOCK))
		return failed(l, -EINVAL, "userfaultfd %d must be O_NONBLOCK", uffd);
	r = lz_loop_attach(&l->loop, at, uffd, pidfd);
	return r < 0 ? failed(l, r, "userfaultfd %d cannot be served: %s", uffd, strerror(-r)) : r;
}

int lazyd_attach(struct lazyd *l, int memory, int uffd, int pidfd)
{
	const struct lz_state_place at = { .memory = (uint32_t)memory };

	return attach(l, &at, uffd, pidfd);
}

static int by_start(const void *a, const void *b)
{
	const struct lz_seg *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* The part of an area of @m that @p names; -EINVAL if that is not whole pages of one. */
static int place(const struct lz_memory *m, const struct lazyd_place *p, struct lz_seg *out)
{
	for (size_t i = 0; p->len && i < m->nr_segs; i++) {
		const struct lz_seg *area = &m->seg[i];
		uint64_t mask = (UINT64_C(1) << area->page_shift) - 1;

		if (p->start < area->start || p->start >= area->end)
			continue;
		if (p->len > area->end - p->start || (p->start | p->len | p->at) & mask ||
		    p->at > UINT64_MAX - p->len)
			break;
		*out = (struct lz_seg){ .start = p->at,
					.end = p->at + p->len,
					.identity = p->start,
					.page_shift = area->page_shift };
		return 0;
	}
	return -EINVAL;
}

int lazyd_attach_at(struct lazyd *l, int memory, int uffd, int pidfd,
		    const struct lazyd_place *places, size_t nr)
{
	struct lz_state_place at = { .memory = (uint32_t)memory, .nr_segs = nr };
	struct lz_seg seg[LAZYD_PLACES_MAX];

	if (at.memory >= l->loop.nr_memories)
		return failed(l, -EINVAL, "there is no memory number %d", memory);
	if (!nr || nr > LAZYD_PLACES_MAX)
		return failed(l, -EINVAL, "%zu places, and not 1 to %d", nr, LAZYD_PLACES_MAX);
	for (size_t i = 0; i < nr; i++)
		if (place(l->loop.memory[memory].memory, &places[i], &seg[i]))
			return failed(l, -EINVAL, "place number %zu is not whole pages of one area",
				      i);
	qsort(seg, nr, sizeof(seg[0]), by_start);
	at.seg = seg;
	return attach(l, &at, uffd, pidfd);
}

void lazyd_finish(struct lazyd *l)
{
	lz_loop_feed(&l->loop, (struct lz_event){ .type = LZ_EV_FINISH });
}

int lazyd_start(struct lazyd *l)
{
	int r = lz_state_start(l->loop.state, l->loop.engine, lz_ring_now());

	return r ? failed(l, r, "the journal is full") : 0;
}

int lazyd_replay(struct lazyd *l, const struct lazyd_touch *touch)
{
	struct lz_range r = { touch->start, touch->start + touch->len };
	int err;

	if (touch->owner >= l->loop.nr_memories || touch->len > UINT64_MAX - touch->start)
		return failed(l, -EINVAL, "there is no memory number %u, or it has no such pages",
			      touch->owner);
	err = lz_engine_want(l->loop.engine, l->loop.memory[touch->owner].memory->plan,
			     touch->owner, r);
	return err ? failed(l, err, "so much cannot be replayed: %s", strerror(-err)) : 0;
}

void lazyd_sweep(struct lazyd *l)
{
	lz_loop_feed(&l->loop, (struct lz_event){ .type = LZ_EV_SWEEP });
}

int lazyd_turn(struct lazyd *l, int64_t timeout_ns)
{
	int r = lz_loop_turn(&l->loop, timeout_ns);

	return r < 0 ? failed(l, r, "the event loop cannot go on: %s", strerror(-r)) : r;
}

int lazyd_answer(struct lazyd *l, uint64_t token, int64_t result)
{
	int r = lz_intake_answer(&l->loop, token, result);

	if (!r && l->loop.event_fd >= 0)
		(void)eventfd_write(l->loop.event_fd, 1);
	return r;
}

int lazyd_fd(struct lazyd *l)
{
	return lz_loop_fd(&l->loop);
}

int lazyd_watch(struct lazyd *l, int fd)
{
	return lz_loop_watch(&l->loop, fd);
}

void lazyd_stop(struct lazyd *l)
{
	(void)eventfd_write(l->loop.stop_fd, 1);
}

int64_t lazyd_abandon(struct lazyd *l)
{
	return lz_loop_abandon(&l->loop);
}

const char *lazyd_error(const struct lazyd *l)
{
	return l->error;
}

static const struct lz_state *state_of(const struct lazyd *l, const struct lazyd_state *state)
{
	return l ? l->loop.state : state->state;
}

int lazyd_recorded(const struct lazyd *l, const struct lazyd_state *state, size_t n,
		   struct lazyd_touch *touch)
{
	const struct lz_record *r = &state_of(l, state)->record;
	uint64_t nr = __atomic_load_n(&r->nr, __ATOMIC_ACQUIRE);

	if (n >= nr || n >= LZ_TOUCHES_MAX)
		return -ENOENT;
	*touch = (struct lazyd_touch){ .start = r->touch[n].identity,
				       .len = (uint64_t)r->touch[n].nr_pages << 12,
				       .owner = r->touch[n].memory };
	return 0;
}

void lazyd_stats_sized(const struct lazyd *l, const struct lazyd_state *state,
		       struct lazyd_stats *out, size_t size)
{
	const struct lz_state *st = state_of(l, state);
	const struct lz_stats *s = &st->stats;
	struct lazyd_stats n;

	if (l)
		lz_engine_gauge(l->loop.engine);
	n = s->n;
	n.runs_recorded = st->record.nr;
	n.record_over = st->record.is_over ||
			(st->record.until_ns && lz_ring_now() > st->record.until_ns);
	n.latency_count = s->latency.count;
	n.latency_p50_ns = lz_latency_percentile(&s->latency, 0.50);
	n.latency_p99_ns = lz_latency_percentile(&s->latency, 0.99);
	n.latency_max_ns = s->latency.max_ns;
	lz_sized_fill(out, size, &n, sizeof(n));
}

/* ---- memory made by hand ---- */

int lazyd_memory_new(struct lazyd_memory **out)
{
	struct lz_memory *m;
	int r = lz_memory_new(&m);

	if (!r)
		*out = (struct lazyd_memory *)m;
	return r;
}

int lazyd_memory_add_file(struct lazyd_memory *m, int fd, const char *name)
{
	return lz_memory_is_used(&m->memory) ? -EBUSY : lz_memory_add_source(&m->memory, fd, name);
}

int lazyd_memory_add_in_place(struct lazyd_memory *m)
{
	return lz_memory_is_used(&m->memory) ? -EBUSY
					     : lz_memory_add_place(&m->memory, "the memory itself");
}

int lazyd_memory_add_remote(struct lazyd_memory *m, uint32_t pid)
{
	return lz_memory_is_used(&m->memory)
		       ? -EBUSY
		       : lz_memory_add_remote(&m->memory, pid, "the page server");
}

int lazyd_memory_add_process(struct lazyd_memory *m, int fd, const char *name)
{
	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	return lz_memory_is_used(&m->memory) ? -EBUSY : lz_memory_add_process(&m->memory, fd, name);
}

int lazyd_memory_add_callback(struct lazyd_memory *m,
			      int64_t (*ask)(void *arg, const struct lazyd_ask *ask), void *arg,
			      int in_place)
{
	struct lz_memory_call call = { .ask = ask, .arg = arg, .in_place = in_place };

	if (!ask)
		return -EINVAL;
	return lz_memory_is_used(&m->memory) ? -EBUSY
					     : lz_memory_add_call(&m->memory, &call, "a callback");
}

int lazyd_memory_add_area(struct lazyd_memory *m, uint64_t start, uint64_t len, uint64_t page_size)
{
	struct lz_seg seg = { .start = start, .end = start + len, .identity = start };

	if (!page_size || page_size & (page_size - 1) || !len || start + len < start ||
	    (start | len) & (page_size - 1) || page_size > LZ_PAGE_BYTES_MAX)
		return -EINVAL;
	if (lz_memory_is_used(&m->memory))
		return -EBUSY;
	seg.page_shift = (uint32_t)__builtin_ctzll(page_size);
	if (lz_plan_has_others(m->memory.plan, start, len, seg.page_shift))
		return -EINVAL;
	return lz_memory_add_seg(&m->memory, &seg);
}

int lazyd_memory_add_piece(struct lazyd_memory *m, uint64_t start, uint64_t len, int source,
			   uint64_t offset)
{
	struct lz_piece p = { .identity = start, .len = len, .offset = offset, .page_shift = 12 };
	struct lz_range whole = { start, start + len };
	const struct lz_memory_source *from;
	bool found = false;
	int r;

	if (source < 0 || (size_t)source >= m->memory.nr_sources)
		return -EINVAL;
	if (lz_memory_is_used(&m->memory))
		return -EBUSY;
	p.source = (uint32_t)source;
	for (size_t i = 0; i < m->memory.nr_segs; i++) {
		const struct lz_seg *seg = &m->memory.seg[i];

		if (!lz_range_overlaps(whole, (struct lz_range){ seg->start, seg->end }))
			continue;
		if (found && seg->page_shift != p.page_shift)
			return -EINVAL;
		p.page_shift = seg->page_shift;
		found = true;
	}
	from = &m->memory.source[source];
	switch (from->kind) {
	case LZ_FROM_FILE:
		if ((start | len | offset) & ((UINT64_C(1) << p.page_shift) - 1))
			return lz_memory_add_parts(&m->memory, &p);
		break;
	case LZ_FROM_PARTS:
		return -EINVAL;
	case LZ_FROM_REMOTE:
		r = lz_memory_number(&m->memory, &p);
		if (r)
			return r;
		break;
	case LZ_FROM_PLACE:
	case LZ_FROM_PROCESS:
	case LZ_FROM_CALL:
		p.offset = start;
		break;
	}
	return from->kind == LZ_FROM_PLACE || from->call.in_place
		       ? lz_plan_add_in_place(m->memory.plan, &p)
		       : lz_plan_add(m->memory.plan, &p);
}

void lazyd_memory_put(struct lazyd_memory *m)
{
	if (m)
		lz_memory_put(&m->memory);
}

uint64_t lazyd_memory_pages(const struct lazyd_memory *m)
{
	return lz_plan_nr_pages(m->memory.plan);
}
