/* SPDX-License-Identifier: MIT */
/*
 * What completes: messages of userfaultfds, bytes of sources, deaths of processes. All of it is
 * recorded in the engine; what is done about it is next()'s to say. While a layout event has not
 * been read the kernel places nothing in that space (EAGAIN), so that messages may wait until they
 * are read: no decision is carried out upon a layout that is out of date.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "uffd/loop.h"
#include "uffd/sources.h"
#include "uffd/uffd.h"

enum { DRAIN_MAX = 64 };
/* A read that the disk does not give back is not waited for longer. */
#define TAKE_BACK_NS UINT64_C(1000000000)

int lz_intake_arm(struct lz_loop *l, uint32_t space)
{
	struct lz_slot *slot = &l->state->slot[space];
	struct lz_loop_space *s = &l->space[space];
	struct lz_tag tag = { .kind = LZ_TAG_UFFD, .id = space, .generation = s->generation };
	int r = l->polls_once ? lz_ring_poll(&l->ring, slot->uffd, tag)
			      : lz_ring_watch(&l->ring, slot->uffd, tag);

	s->polling = !r;
	l->put_off = l->put_off || r;
	if (!r && slot->pidfd >= 0 && !slot->kin && !s->watching) {
		tag.kind = LZ_TAG_PIDFD;
		s->watching = !lz_ring_poll(&l->ring, slot->pidfd, tag);
	}
	return r;
}

/* ---- messages ---- */

static void take_one(struct lz_loop *l, uint32_t space, unsigned i)
{
	const struct lz_slot *slot = &l->state->slot[space];
	bool forks = slot->armed[i].event == UFFD_EVENT_FORK;
	int kin = forks && slot->pidfd >= 0 ? fcntl(slot->pidfd, F_DUPFD_CLOEXEC, 3) : -1;
	struct lz_event ev;
	int ufd;

	switch (lz_state_take(l->state, l->engine, space, i, kin, l->now_ns, &ev, &ufd)) {
	case LZ_TAKEN:
		break;
	case LZ_TAKEN_FORK:
		kin = -1;
		lz_intake_tell(l, &l->state->slot[ev.child], true);
		(void)lz_intake_arm(l, ev.child);
		break;
	case LZ_TAKEN_LOST:
		if (forks)
			lz_lose_child(l, space, i, ufd);
		else
			lz_lose_moved(l, space);
		break;
	case LZ_TAKEN_UNKNOWN:
		lz_loop_log(l, LAZYD_LOG_WARN, "event=unknown-message space=%u type=0x%x", space,
			    slot->armed[i].event);
		break;
	}
	if (kin >= 0)
		(void)close(kin);
}

void lz_intake_take(struct lz_loop *l, uint32_t space)
{
	unsigned nr = lz_state_nr_messages(&l->state->slot[space]);

	for (unsigned i = l->state->slot[space].seen; i < nr; i++)
		take_one(l, space, i);
	lz_state_rearm(l->state, space);
}

/* ---- the end of a space ---- */

void lz_intake_tell(struct lz_loop *l, const struct lz_slot *slot, bool is_open)
{
	if (l->descriptor && slot->uffd >= 0)
		l->descriptor(l->descriptor_arg, slot->uffd, is_open);
	if (l->descriptor && slot->pidfd >= 0)
		l->descriptor(l->descriptor_arg, slot->pidfd, is_open);
}

void lz_intake_tell_end(struct lz_loop *l, const struct lz_slot *slot, bool is_gone)
{
	if (l->closed && slot->uffd >= 0 && !slot->kin)
		l->closed(l->closed_arg, slot->uffd, is_gone);
	lz_intake_tell(l, slot, false);
}

/* All there is: of what is left nobody tells again. */
static void read_messages(struct lz_loop *l, uint32_t space)
{
	struct lz_slot *slot = &l->state->slot[space];
	ssize_t n;

	/* Behind who reads of a move pages move: nobody is to place by where they were. */
	(void)lz_act_settle(l, LZ_COPIERS_CANCEL);
	do {
		n = read(slot->uffd, slot->armed, sizeof(slot->armed));
		if (n > 0)
			lz_intake_take(l, space);
		else if (n < 0 && errno != EAGAIN)
			lz_loop_log(l, LAZYD_LOG_ERROR, "event=uffd-read space=%u errno=%d", space,
				    errno);
	} while (n == sizeof(slot->armed));
}

/*
 * Its areas are unregistered, but who has removed something a moment before waits until that has
 * been read, or is about to: for good, where somebody else has the descriptor open too. Tried again
 * until all are through.
 */
static void finish_close(struct lz_loop *l, uint32_t space)
{
	struct lz_slot *slot = &l->state->slot[space];
	struct lz_loop_space *s = &l->space[space];
	int uffd = slot->uffd;

	if (uffd >= 0)
		read_messages(l, space);
	if (uffd >= 0 && lz_uffd_is_changing(uffd)) {
		l->put_off = true;
		return;
	}
	(void)lz_state_closing(l->state, space);
	lz_intake_tell_end(l, slot, lz_engine_is_gone(l->engine, space));
	/* Its number stays taken until the end is noted: who resumes before must not find somebody
	 * else's userfaultfd there, and close that. */
	if (uffd >= 0 && dup3(l->stop_fd, uffd, O_CLOEXEC) < 0)
		(void)close(uffd);
	if (slot->pidfd >= 0)
		(void)close(slot->pidfd);
	(void)lz_state_closed(l->state, l->engine, space, lz_ring_now());
	if (uffd >= 0)
		(void)close(uffd);
	*s = (struct lz_loop_space){ .generation = (uint16_t)(s->generation + 1) };
}

void lz_intake_close(struct lz_loop *l, uint32_t space)
{
	const struct lz_slot *slot = &l->state->slot[space];
	struct lz_loop_space *s = &l->space[space];
	struct lz_tag tag = { .kind = LZ_TAG_PIDFD, .id = space, .generation = s->generation };
	const struct lz_seg *seg;
	size_t nr;

	seg = lz_engine_segs(l->engine, space, &nr);
	for (size_t i = 0; slot->uffd >= 0 && i < nr; i++)
		(void)lz_uffd_unregister(slot->uffd, (struct lz_range){ seg[i].start, seg[i].end });
	/* Unregistering wakes, and behind that wake a thread may still go to sleep (seen on 6.18):
	 * for good, where somebody else has the descriptor open too. Behind all of it none can. */
	if (slot->uffd >= 0)
		(void)lz_uffd_wake(slot->uffd, (struct lz_range){ 0, UINT64_MAX });
	if (s->watching)
		(void)lz_ring_cancel(&l->ring, tag);
	tag.kind = LZ_TAG_UFFD;
	s->closing = true;
	/* The ring holds a reference of its own: closed before the poll is back, the descriptor
	 * would go on catching faults that nobody reads. */
	if (s->polling)
		(void)lz_ring_cancel(&l->ring, tag);
	else
		finish_close(l, space);
}

/* ---- completions ---- */

static void uffd_completed(struct lz_loop *l, uint32_t space, const struct lz_completion *c)
{
	struct lz_loop_space *s = &l->space[space];

	s->polling = c->more;
	if (s->closing) {
		if (!s->polling)
			finish_close(l, space);
		return;
	}
	if (c->res == -EINVAL)
		l->polls_once = true;
	else if (c->res > 0)
		read_messages(l, space);
	if (!s->polling)
		(void)lz_intake_arm(l, space);
}

static const struct lz_memory_source *source_of(const struct lz_loop *l,
						const struct lz_loop_req *q)
{
	return &l->memory[q->memory].memory->source[q->source];
}

static bool is_passing(int64_t res)
{
	return res == -EAGAIN || res == -EBUSY || res == -ENOMEM;
}

void lz_intake_begin(struct lz_loop *l, uint32_t req)
{
	struct lz_loop_req *q = &l->req[req];
	struct lz_source *s = q->read.source;
	int r = s->ops->begin(s, &l->ring, &q->read);

	q->in_flight = !r;
	l->nr_urgent += !r && q->read.urgent;
	q->put_off = is_passing(r);
	l->put_off = l->put_off || q->put_off;
	/* Who is to answer later may be who waits for the turn to return. */
	l->called = l->called || (!r && source_of(l, q)->kind == LZ_FROM_CALL);
	if (r && !q->put_off)
		lz_intake_ended(l, req, r);
}

/* What found no room in the ring before, or no memory in the kernel. */
static void begin_again(struct lz_loop *l)
{
	l->put_off = false;
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (l->req[i].put_off)
			lz_intake_begin(l, i);
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		if (!lz_engine_serves(l->engine, i) || l->space[i].polling)
			continue;
		if (l->space[i].closing)
			finish_close(l, i);
		else
			(void)lz_intake_arm(l, i);
	}
}

static void read_completed(struct lz_loop *l, uint32_t req, int32_t res)
{
	struct lz_loop_req *q = &l->req[req];
	int64_t result;

	if (q->in_flight && lz_source_completed(&q->read, &l->ring, res, &result))
		lz_intake_ended(l, req, result);
}

void lz_intake_ended(struct lz_loop *l, uint32_t req, int64_t result)
{
	struct lz_loop_req *q = &l->req[req];
	struct lz_event ev = { .type = LZ_EV_READ, .req = req, .res = result };
	struct lz_loop_memory *m = &l->memory[q->memory];
	const struct lz_memory_source *from = source_of(l, q);

	if (q->in_flight && q->read.urgent) {
		l->nr_urgent--;
		l->urgent_ended++;
	}
	q->in_flight = false;
	q->put_off = is_passing(ev.res);
	l->put_off = l->put_off || q->put_off;
	if (q->put_off)
		return;
	if (ev.res > 0 && from->kind != LZ_FROM_REMOTE)
		l->state->stats.n.bytes_read += (uint64_t)ev.res;
	if ((ev.res < 0 || (size_t)ev.res < q->read.len) && ev.res != -ECANCELED &&
	    !m->told[q->source]) {
		m->told[q->source] = true;
		lz_loop_log(l, LAZYD_LOG_ERROR,
			    "event=bytes-lost source=%s offset=%" PRIu64 " want=%zu got=%" PRId64
			    " %s; pages there are failed closed",
			    from->name, q->read.offset, q->read.len, ev.res,
			    ev.res == -ESTALE    ? "the file has been written to since the start"
			    : ev.res == -ENODATA ? "the file has got a hole there"
			    : ev.res == -EIO && from->kind == LZ_FROM_REMOTE ? "it has not got them"
			    : ev.res < 0 ? strerror((int)-ev.res)
			    : from->kind == LZ_FROM_FILE
				    ? "the file is shorter than its pagemap says"
				    : "it has not got them");
	}
	lz_loop_feed(l, ev);
}

int lz_intake_open(struct lz_loop *l, struct lz_memory *m, uint32_t source, struct lz_source **out)
{
	const struct lz_memory_source *from = &m->source[source];

	return from->kind == LZ_FROM_REMOTE ? lz_remote_source(l, m, from, out)
					    : lz_sources_open(from, true, out);
}

int lz_intake_answer(struct lz_loop *l, uint64_t token, int64_t result)
{
	uint32_t req = (uint32_t)token;
	struct lz_loop_req *q = req < LZ_REQS_MAX ? &l->req[req] : NULL;

	if (!q || !q->in_flight || q->read.generation != token >> 32 ||
	    source_of(l, q)->kind != LZ_FROM_CALL)
		return -ESTALE;
	if (result > (int64_t)(q->read.len - q->read.have))
		return -EINVAL;
	if (result > 0)
		result += (int64_t)q->read.have;
	lz_intake_ended(l, req, result);
	return 0;
}

void lz_intake_disown(struct lz_loop *l)
{
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (l->req[i].in_flight && source_of(l, &l->req[i])->kind == LZ_FROM_CALL)
			lz_intake_ended(l, i, -ECANCELED);
}

/* What was filled from a file that then changed may be right or not: nobody is to rely on it. */
void lz_intake_doubt(struct lz_loop *l)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < l->nr_memories; i++)
		for (size_t k = 0; k < l->memory[i].memory->nr_sources; k++) {
			struct lz_source *s = l->memory[i].source[k];

			/* Parts are of files that are looked at themselves. */
			if (l->memory[i].memory->source[k].kind == LZ_FROM_PARTS ||
			    !s->ops->has_changed || !s->ops->has_changed(s))
				continue;
			nr++;
			lz_loop_log(
				l, LAZYD_LOG_ERROR,
				"event=file-changed source=%s written to while its pages were being filled in: what came of it last may be wrong",
				l->memory[i].memory->source[k].name);
		}
	l->state->stats.n.files_changed = nr;
}

/* The process has ended, but another may share its memory: then it lives on. */
static void pidfd_completed(struct lz_loop *l, uint32_t space)
{
	const struct lz_slot *slot = &l->state->slot[space];
	const struct lz_seg *seg;
	size_t nr;

	l->space[space].watching = false;
	seg = lz_engine_segs(l->engine, space, &nr);
	if (lz_uffd_is_dead(slot->uffd, nr ? seg[nr - 1].end : 0x10000))
		lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_EXIT, .space = space });
}

static void stop_completed(struct lz_loop *l, uint32_t which)
{
	int fd = which ? l->timer_fd : l->stop_fd;
	uint64_t n;

	(void)!read(fd, &n, sizeof(n));
	l->called = l->called || !which;
	(void)lz_ring_poll(&l->ring, fd, (struct lz_tag){ .kind = LZ_TAG_STOP, .id = which });
}

static void completed(struct lz_loop *l, const struct lz_completion *c)
{
	bool is_present = c->tag.id < LZ_SPACES_MAX &&
			  c->tag.generation == l->space[c->tag.id % LZ_SPACES_MAX].generation &&
			  lz_engine_serves(l->engine, c->tag.id % LZ_SPACES_MAX);

	switch ((enum lz_tag_kind)c->tag.kind) {
	case LZ_TAG_NONE:
		break;
	case LZ_TAG_UFFD:
		if (is_present)
			uffd_completed(l, c->tag.id, c);
		break;
	case LZ_TAG_PIDFD:
		if (is_present && c->res >= 0)
			pidfd_completed(l, c->tag.id);
		break;
	case LZ_TAG_READ:
		read_completed(l, c->tag.id, c->res);
		break;
	case LZ_TAG_FETCH:
		l->fetching[c->tag.id] = false;
		lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_FETCHED, .req = c->tag.id });
		break;
	case LZ_TAG_WATCH:
		l->watching = false;
		l->called = true;
		break;
	case LZ_TAG_STOP:
		stop_completed(l, c->tag.id);
		break;
	case LZ_TAG_NET:
		if (l->stream) {
			lz_loop_look(l);
			lz_stream_completed(l->stream, &l->ring, c->tag, l->now_ns);
		}
		break;
	}
}

void lz_intake_drain(struct lz_loop *l)
{
	struct lz_completion c[DRAIN_MAX];
	unsigned n;

	do {
		n = lz_ring_reap(&l->ring, c, DRAIN_MAX);
		for (unsigned i = 0; i < n; i++)
			completed(l, &c[i]);
		if (l->put_off)
			begin_again(l);
		(void)lz_ring_submit(&l->ring);
	} while (n && lz_ring_has_work(&l->ring));
}

/* ---- giving up ---- */

static void took_back(struct lz_loop *l, const struct lz_completion *c, unsigned *nr)
{
	if (c->tag.kind == LZ_TAG_FETCH && l->fetching[c->tag.id % LZ_BLOCKS_MAX]) {
		l->fetching[c->tag.id % LZ_BLOCKS_MAX] = false;
		(*nr)--;
	}
	if (c->tag.kind != LZ_TAG_READ || c->tag.id >= LZ_REQS_MAX || !l->req[c->tag.id].in_flight)
		return;
	l->req[c->tag.id].in_flight = false;
	(*nr)--;
}

bool lz_intake_take_back(struct lz_loop *l)
{
	uint64_t until = lz_ring_now() + TAKE_BACK_NS;
	struct lz_completion c[DRAIN_MAX];
	struct lz_tag tag = { .kind = LZ_TAG_READ };
	unsigned nr = 0, n;

	for (tag.id = 0; tag.id < LZ_REQS_MAX; tag.id++) {
		const struct lz_loop_req *q = &l->req[tag.id];

		/* A page server's bytes come by no read of the ring, nor do a callback's. */
		if (q->in_flight && !lz_sources_are_elsewhere(source_of(l, q))) {
			nr++;
			(void)lz_ring_cancel(&l->ring, tag);
		}
	}
	tag.kind = LZ_TAG_FETCH;
	for (tag.id = 0; tag.id < LZ_BLOCKS_MAX; tag.id++)
		if (l->fetching[tag.id]) {
			nr++;
			(void)lz_ring_cancel(&l->ring, tag);
		}
	while (nr && lz_ring_now() < until) {
		(void)lz_ring_wait(&l->ring, 10000000);
		n = lz_ring_reap(&l->ring, c, DRAIN_MAX);
		for (unsigned i = 0; i < n; i++)
			took_back(l, &c[i], &nr);
	}
	return !nr;
}
