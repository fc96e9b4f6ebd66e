/* SPDX-License-Identifier: MIT */
/* The public functions of working sets: a set of pagemap/touched.h, and its file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagemap/touched.h"
#include "uffd/lazyd.h"

_Static_assert((int)LAZYD_IDENTITY_LEN == (int)LZ_WSET_IDENTITY, "one hash");
_Static_assert((int)LAZYD_WORKINGSET_SWEPT == (int)LZ_WSET_SWEPT, "as in the file");
_Static_assert((int)LAZYD_WORKINGSET_CUT == (int)LZ_WSET_CUT, "as in the file");

struct lazyd_workingset {
	uint8_t identity[LZ_WSET_IDENTITY];
	uint32_t flags;
	struct lz_touched touched;
};

int lazyd_workingset_new(struct lazyd_workingset **out, const uint8_t identity[LAZYD_IDENTITY_LEN])
{
	struct lazyd_workingset *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	memcpy(w->identity, identity, sizeof(w->identity));
	*out = w;
	return 0;
}

void lazyd_workingset_free(struct lazyd_workingset *w)
{
	if (!w)
		return;
	lz_touched_fini(&w->touched);
	free(w);
}

int lazyd_workingset_add(struct lazyd_workingset *w, const struct lazyd_touch *touch)
{
	uint64_t nr = touch->len / LZ_WSET_PAGE;
	int r;

	if (!touch->len || (touch->start | touch->len) % LZ_WSET_PAGE ||
	    touch->len > UINT64_MAX - touch->start)
		return -EINVAL;
	if (nr > LZ_WSET_PAGES_MAX)
		nr = (uint64_t)LZ_WSET_PAGES_MAX + 1; /* is not to be had, and says so */
	r = lz_touched_add(&w->touched,
			   &(struct lz_wset_run){ touch->start, (uint32_t)nr, touch->owner });
	if (r == -ENOSPC)
		w->flags |= LZ_WSET_CUT;
	return r;
}

int lazyd_workingset_touch(const struct lazyd_workingset *w, size_t n, struct lazyd_touch *touch)
{
	const struct lz_wset_run *r;

	if (n >= w->touched.nr)
		return -ENOENT;
	r = &w->touched.run[n];
	*touch = (struct lazyd_touch){ .start = r->address,
				       .len = (uint64_t)r->nr_pages * LZ_WSET_PAGE,
				       .owner = r->task };
	return 0;
}

const uint8_t *lazyd_workingset_identity(const struct lazyd_workingset *w)
{
	return w->identity;
}

unsigned lazyd_workingset_flags(const struct lazyd_workingset *w)
{
	return w->flags;
}

void lazyd_workingset_mark(struct lazyd_workingset *w, unsigned flags)
{
	w->flags |= flags;
}

/* ---- its file ---- */

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int lazyd_workingset_write(const struct lazyd_workingset *w, int fd)
{
	const struct lz_touched *t = &w->touched;
	struct lz_wset_head head = { .flags = w->flags, .nr_runs = (uint32_t)t->nr };
	size_t len = lz_wset_size(t->nr);
	uint8_t *bytes = malloc(len);
	int r;

	if (!bytes)
		return -ENOMEM;
	memcpy(head.identity, w->identity, sizeof(head.identity));
	lz_wset_put_head(bytes, &head);
	for (size_t i = 0; i < t->nr; i++)
		lz_wset_put_run(bytes, i, &t->run[i]);
	lz_wset_seal(bytes, t->nr);
	r = write_all(fd, bytes, len);
	free(bytes);
	return r;
}

/* All there is to be read, and a byte more than there may be at most: that says it is too long. */
static int64_t read_all(int fd, uint8_t *to, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = read(fd, to + have, len - have);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	return (int64_t)have;
}

static int take(struct lazyd_workingset **out, const struct lz_wset *from)
{
	struct lazyd_workingset *w;
	int r = lazyd_workingset_new(&w, from->head.identity);

	for (uint32_t i = 0; !r && i < from->head.nr_runs; i++) {
		struct lz_wset_run run = lz_wset_run(from, i);

		r = lz_touched_add(&w->touched, &run);
		if (r)
			lazyd_workingset_free(w);
	}
	if (r)
		return r;
	w->flags = from->head.flags;
	*out = w;
	return 0;
}

int lazyd_workingset_read(struct lazyd_workingset **out, int fd, struct lazyd_why *why)
{
	size_t max = lz_wset_size(LZ_WSET_RUNS_MAX) + 1;
	uint8_t *bytes = malloc(max);
	struct lz_wset w = { .what = "" };
	int64_t len;
	int r;

	len = bytes ? read_all(fd, bytes, max) : -ENOMEM;
	r = len < 0 ? (int)len : lz_wset_parse(&w, bytes, (size_t)len);
	if (!r)
		r = take(out, &w);
	if (why)
		(void)snprintf(why->text, sizeof(why->text), "%s%s",
			       r && !w.what[0] ? "cannot be read: " : "",
			       w.what[0] ? w.what
			       : r       ? strerror(-r)
					 : "");
	free(bytes);
	return r;
}
