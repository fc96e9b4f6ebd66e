/* SPDX-License-Identifier: MIT */
/* The page server in the loop: the stream's callbacks, and what the loop asks of it each turn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "uffd/loop.h"
#include "uffd/sized.h"

_Static_assert((int)LAZYD_IDENTITY_LEN == (int)LZ_IDENTITY_LEN, "one identity, one size");

static void ended(void *arg, struct lz_source_read *r, int64_t result)
{
	lz_intake_ended(arg, r->request, result);
}

static void log_line(void *arg, int level, const char *line)
{
	lz_loop_log(arg, (enum lazyd_log)level, "%s", line);
}

static size_t ranges(void *memory, uint64_t offset, uint64_t len, struct lz_ps_range *out,
		     size_t max)
{
	struct lz_memory_range r[LZ_SLICE_PAGES];
	size_t n = lz_memory_ranges(memory, offset, len, r,
				    max < LZ_SLICE_PAGES ? max : LZ_SLICE_PAGES);

	for (size_t i = 0; i < n; i++)
		out[i] = (struct lz_ps_range){ .vaddr = r[i].start, .nr_pages = r[i].nr_pages };
	return n;
}

int lz_remote_open(struct lz_loop *l, const struct lazyd_remote *r)
{
	struct lz_stream_options o = { .ended = ended, .log = log_line, .arg = l };
	struct lazyd_remote remote = { 0 };

	if (!lz_sized_take(&remote, sizeof(remote), r, r->size) || !remote.connect ||
	    !remote.identity ||
	    (remote.header && remote.header != LZ_PS_24 && remote.header != LZ_PS_32))
		return -EINVAL;
	o.connect = remote.connect;
	o.connect_arg = remote.arg;
	o.name = remote.name;
	o.layout = remote.header ? (enum lz_ps_layout)remote.header : LZ_PS_32;
	o.only_lazyd = !remote.header;
	o.timeout_ns = remote.timeout_ns;
	o.keep = l->state->wire;
	o.keep_ino = l->state->wire_ino;
	o.tls = (const struct lz_tls *)remote.tls;
	memcpy(o.hello.identity, remote.identity, LZ_IDENTITY_LEN);
	(void)strcpy(o.hello.software, "lazyd " LAZYD_VERSION);
	if (getrandom(&o.hello.session, sizeof(o.hello.session), 0) != sizeof(o.hello.session))
		return -EIO;
	return lz_stream_open(&l->stream, &o);
}

void lz_remote_close(struct lz_loop *l)
{
	if (l->stream)
		lz_stream_close(l->stream, &l->ring);
	l->stream = NULL;
}

int lz_remote_source(struct lz_loop *l, struct lz_memory *m, const struct lz_memory_source *from,
		     struct lz_source **out)
{
	if (!l->stream)
		return -EINVAL;
	return lz_stream_source(l->stream, from->pid, ranges, m, out);
}

void lz_remote_want(struct lz_loop *l)
{
	if (l->stream)
		lz_stream_want(l->stream, &l->ring, lz_ring_now());
}

void lz_remote_attend(struct lz_loop *l)
{
	if (!l->stream)
		return;
	lz_loop_look(l);
	if (lz_stream_deadline(l->stream) <= l->now_ns)
		lz_stream_tick(l->stream, &l->ring, l->now_ns);
	lz_stream_flush(l->stream, &l->ring, l->now_ns);
	/* A CRIU goes through a whole pipe of pages for every request. */
	if (!l->plain && lz_stream_stats(l->stream).plain) {
		l->plain = true;
		lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_COSTLY });
	}
}

uint64_t lz_remote_deadline(const struct lz_loop *l)
{
	return l->stream ? lz_stream_deadline(l->stream) : UINT64_MAX;
}

bool lz_remote_is_over(const struct lz_loop *l)
{
	enum lz_stream_state s = l->stream ? lz_stream_stats(l->stream).state : LZ_STREAM_IDLE;

	return s == LZ_STREAM_IDLE || s == LZ_STREAM_GONE || s == LZ_STREAM_RELEASED;
}

void lz_remote_gauge(struct lz_loop *l)
{
	static const uint8_t STATES[] = {
		[LZ_STREAM_IDLE] = LAZYD_REMOTE_OPENING,
		[LZ_STREAM_OPENING] = LAZYD_REMOTE_OPENING,
		[LZ_STREAM_UP] = LAZYD_REMOTE_UP,
		[LZ_STREAM_DOWN] = LAZYD_REMOTE_DOWN,
		[LZ_STREAM_GONE] = LAZYD_REMOTE_GONE,
		[LZ_STREAM_RELEASED] = LAZYD_REMOTE_RELEASED,
	};
	struct lazyd_stats *n = &l->state->stats.n;
	struct lz_stream_stats s;

	if (!l->stream)
		return;
	s = lz_stream_stats(l->stream);
	n->bytes_wire = s.bytes_wire;
	n->remote_zero = s.pages_zero;
	n->reconnects = s.nr_reconnects;
	n->remote_state = STATES[s.state];
}
