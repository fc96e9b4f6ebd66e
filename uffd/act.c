/* SPDX-License-Identifier: MIT */
/*
 * Carries out what the engine has decided, one action at a time, and feeds it what comes of that at
 * once: all but the bytes that a read brings later.
 */
#include <errno.h>
#include <inttypes.h>

#include "uffd/loop.h"
#include "uffd/uffd.h"

/* Reads up to this go through read_now(), longer ones from the mapping. */
enum { NOW_BYTES = 4096 };

/* A result that no manual knows may cost pages, of which nothing else would say why. */
static bool is_strange(int64_t res)
{
	switch (res) {
	case -EAGAIN:
	case -EEXIST:
	case -EFAULT:
	case -ENOENT:
	case -ENOMEM:
	case -ENOSPC:
	case -ESRCH:
		return false;
	default:
		return res < 0;
	}
}

static void placed(struct lz_loop *l, const struct lz_event *ev)
{
	if (is_strange(ev->res))
		lz_loop_log(l, LAZYD_LOG_ERROR,
			    "event=placement-refused space=%u address=0x%" PRIx64 " bytes=%" PRIu64
			    " errno=%d",
			    ev->space, ev->range.start, lz_range_len(ev->range), (int)-ev->res);
	lz_loop_look(l);
	lz_loop_feed(l, *ev);
}

bool lz_act_settle(struct lz_loop *l, enum lz_copiers_how how)
{
	struct lz_event ev = { .type = LZ_EV_PLACED, .did = LZ_ACT_COPY };
	struct lz_copy c;
	bool any = false;

	while (lz_copiers_take(&l->copiers, how, &c)) {
		any = true;
		/* Of those that wait for the others some have ended, or may be given anew. */
		how = how == LZ_COPIERS_WAIT ? LZ_COPIERS_ENDED : how;
		if (c.res == LZ_COPY_CANCELLED) {
			lz_engine_lend(l->engine, c.req, false);
			continue;
		}
		ev.space = c.space;
		ev.req = c.req;
		ev.range = c.dst;
		ev.res = c.res;
		placed(l, &ev);
	}
	return any;
}

/* What is mapped for those who copy must stay so until they have. */
static void keep_mapped(struct lz_loop *l, const struct lz_source *s)
{
	if (l->copiers.nr_given && s->ops->renews && s->ops->renews(s))
		(void)lz_act_settle(l, LZ_COPIERS_CANCEL);
}

/* Its own, or where one page is more than that the large one. */
static uint8_t *buffer_of(const struct lz_loop *l, const struct lz_action *a)
{
	return lz_pool_buffer(a->len > LZ_SLICE_BYTES ? &l->large : &l->pool, a->req);
}

static bool is_at_hand(struct lz_source *s, const struct lz_action *a)
{
	return a->mapped_ok && s->ops->at_hand && s->ops->at_hand(s, a->offset, a->len);
}

/* Are its bytes mapped, or could be read without waiting for a disk? */
static bool has_at_once(struct lz_loop *l, struct lz_loop_req *q, const struct lz_action *a)
{
	struct lz_source *s = l->memory[q->memory].source[q->source];
	bool short_one = a->len <= NOW_BYTES;

	/*
	 * For one page a copy more is cheaper than a fault of the mapping within the ioctl. But
	 * what is not there begins to be read by that, alone; through the ring many begin together,
	 * at half the cost.
	 */
	q->mapped = short_one && !a->wanted && is_at_hand(s, a);
	if (short_one && !a->wanted && !q->mapped &&
	    s->ops->read_now(s, a->offset, q->buffer, a->len)) {
		l->prepares = a->urgent && s->ops->prepare ? s : l->prepares;
		return true;
	}
	/* A source that has just said so is not asked again: it notes who goes on where it was. */
	if (!q->mapped && a->mapped_ok && !(short_one && a->wanted))
		q->mapped = s->ops->resident(s, a->offset, a->len);
	return q->mapped;
}

static void do_read(struct lz_loop *l, const struct lz_action *a)
{
	struct lz_loop_req *q = &l->req[a->req];
	uint32_t memory = l->state->slot[a->space].memory;
	struct lz_source *s = l->memory[memory].source[a->source];
	struct lz_event ev = { .type = LZ_EV_READ, .space = a->space, .req = a->req };
	bool at_once;

	keep_mapped(l, s);
	q->buffer = a->mapped_only ? NULL : buffer_of(l, a);
	q->skip = a->skip;
	q->memory = memory;
	q->source = a->source;
	q->offset = a->offset - a->skip;
	at_once = has_at_once(l, q, a);
	if (at_once || a->mapped_only) {
		l->state->stats.n.bytes_cached += at_once ? a->len : 0;
		ev.mapped = q->mapped;
		ev.res = at_once ? (int64_t)a->len : -EMSGSIZE;
		lz_loop_feed(l, ev);
		return;
	}
	q->read = (struct lz_source_read){ .source = s,
					   .offset = a->offset,
					   .to = q->buffer,
					   .len = a->len,
					   .request = a->req,
					   .generation = ++q->generation,
					   .urgent = a->urgent };
	lz_intake_begin(l, a->req);
	/* Who waits for a page waits for its request to leave. */
	if (a->urgent)
		lz_remote_attend(l);
}

/* Submitted at once: the disk is not to wait for what else there is to do. */
static void do_fetch(struct lz_loop *l, const struct lz_action *a)
{
	struct lz_source *s = l->memory[l->state->slot[a->space].memory].source[a->source];
	struct lz_tag tag = { .kind = LZ_TAG_FETCH, .id = a->req };

	l->fetching[a->req] = s->ops->fetch && s->ops->fetch(s, &l->ring, a->offset, a->len, tag);
	if (l->fetching[a->req])
		(void)lz_ring_submit(&l->ring);
	else
		lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_FETCHED, .req = a->req });
}

/* Where the bytes are, or NULL. */
static const void *source_of(struct lz_loop *l, const struct lz_action *a)
{
	const struct lz_loop_req *q = &l->req[a->req];
	struct lz_source *s = l->memory[q->memory].source[q->source];

	if (q->mapped)
		return s->ops->at(s, q->offset + a->skip, lz_range_len(a->dst));
	return q->buffer + (a->skip - q->skip);
}

/*
 * True if a copier does it. Not while faults come: one that comes now waits for those that are
 * under way, and a copier may just have lost its CPU, perhaps to who has faulted.
 */
static bool lend(struct lz_loop *l, const struct lz_action *a, const void *src)
{
	struct lz_copy c = { .fd = l->state->slot[a->space].uffd,
			     .dst = a->dst,
			     .src = src,
			     .space = a->space,
			     .req = a->req };

	if (!l->copiers.nr || !lz_engine_is_calm(l->engine))
		return false;
	(void)lz_act_settle(l, LZ_COPIERS_ENDED);
	if (!lz_copiers_give(&l->copiers, &c))
		return false;
	lz_engine_lend(l->engine, a->req, true);
	return true;
}

static void do_placement(struct lz_loop *l, const struct lz_action *a)
{
	int fd = l->state->slot[a->space].uffd;
	struct lz_event ev = { .type = LZ_EV_PLACED,
			       .did = a->type,
			       .space = a->space,
			       .req = a->req,
			       .range = a->dst };

	const void *src = a->type == LZ_ACT_COPY ? source_of(l, a) : NULL;

	if (src && lend(l, a, src))
		return;
	if (a->type == LZ_ACT_COPY)
		ev.res = src ? lz_uffd_copy(fd, a->dst, src) : -EFAULT;
	else if (a->type == LZ_ACT_ZERO && a->large) /* ZEROPAGE knows small ones only */
		ev.res = lz_uffd_copy(fd, a->dst, lz_pool_buffer(&l->large, l->large.nr - 1));
	else if (a->type == LZ_ACT_ZERO)
		ev.res = lz_uffd_zero(fd, a->dst);
	else if (a->type == LZ_ACT_CONTINUE)
		ev.res = lz_uffd_continue(fd, a->dst);
	else
		ev.res = lz_uffd_poison(fd, a->dst);
	placed(l, &ev);
}

static void do_kill(struct lz_loop *l, uint32_t space)
{
	int r = lz_lose_kill(l, space);

	if (r) {
		/* Closing its descriptor would turn what it waits for into zeros: keep it. */
		lz_loop_log(
			l, LAZYD_LOG_ERROR,
			"event=unkillable space=%u errno=%d its threads wait for pages that are lost; end it by hand",
			space, -r);
		l->state->slot[space].uffd = -1;
	} else {
		lz_loop_log(l, LAZYD_LOG_ERROR, "event=killed space=%u reason=lost-pages", space);
	}
	lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_EXIT, .space = space });
}

void lz_act(struct lz_loop *l, const struct lz_action *a)
{
	switch (a->type) {
	case LZ_ACT_READ:
		do_read(l, a);
		break;
	case LZ_ACT_FETCH:
		do_fetch(l, a);
		break;
	case LZ_ACT_COPY:
	case LZ_ACT_ZERO:
	case LZ_ACT_CONTINUE:
	case LZ_ACT_POISON:
		do_placement(l, a);
		break;
	case LZ_ACT_WAKE:
		(void)lz_uffd_wake(l->state->slot[a->space].uffd, a->dst);
		break;
	case LZ_ACT_KILL:
		do_kill(l, a->space);
		break;
	case LZ_ACT_RELEASE:
		lz_stream_release(l->stream, &l->ring, lz_ring_now());
		break;
	case LZ_ACT_CLOSE:
		lz_intake_close(l, a->space);
		break;
	}
}
