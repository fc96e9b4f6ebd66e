/* SPDX-License-Identifier: MIT */
/*
 * Large pages of which several files have a part each, as a page source: a read of one goes from
 * part to part. What is in the page cache is read at once, what is not through the ring, a part at
 * a time; but the kernel is asked to begin with all of them before the first is waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "iouring/ring.h"
#include "uffd/limits.h"
#include "uffd/sources.h"

struct lz_parts {
	struct lz_source source;
	const struct lz_memory *memory;
	struct lz_source **file; /* by the memory's numbers; NULL for what is no file */
	/* For which read of a request the kernel was asked last: its generation. */
	uint16_t asked[LZ_REQS_MAX];
};

static int lz_parts_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r);
static bool lz_parts_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len);
static bool lz_parts_resident(struct lz_source *s, uint64_t offset, size_t len);
static const void *lz_parts_at(struct lz_source *s, uint64_t offset, size_t len);
static bool lz_parts_has_changed(struct lz_source *s);
static void lz_parts_close(struct lz_source *s);

static const struct lz_source_ops lz_parts_ops = {
	.begin = lz_parts_begin,
	.read_now = lz_parts_read_now,
	.resident = lz_parts_resident,
	.at = lz_parts_at,
	.has_changed = lz_parts_has_changed,
	.close = lz_parts_close,
};

int lz_parts_open(const struct lz_memory *m, struct lz_source **out)
{
	struct lz_parts *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return -ENOMEM;
	p->source.ops = &lz_parts_ops;
	p->memory = m;
	p->file = calloc(m->nr_sources, sizeof(*p->file));
	if (!p->file)
		r = -ENOMEM;
	for (size_t i = 0; !r && i < m->nr_sources; i++)
		if (m->source[i].kind == LZ_FROM_FILE)
			r = lz_sources_open(&m->source[i], false, &p->file[i]);
	if (r)
		lz_parts_close(&p->source);
	else
		*out = &p->source;
	return r;
}

/* From @at on, at most @max bytes: how many of them are in one run, or, *run NULL, in none. */
static uint64_t lz_parts_extent(const struct lz_parts *p, uint64_t at, uint64_t max,
				const struct lz_run **run)
{
	const struct lz_plan *plan = p->memory->parts;
	uint64_t end = at + max, next;

	if (lz_plan_page(plan, at, run) >= 0) {
		end = (*run)->identity + (lz_plan_run_pages(plan, *run) << (*run)->page_shift);
	} else {
		*run = NULL;
		next = lz_plan_page_from(plan, at);
		if (next < lz_plan_nr_pages(plan))
			end = lz_plan_identity(lz_plan_run(plan, next), next);
	}
	return end - at < max ? end - at : max;
}

static void lz_parts_ask(const struct lz_parts *p, uint64_t at, uint64_t end)
{
	const struct lz_run *run;
	uint64_t n;

	for (; at < end; at += n) {
		n = lz_parts_extent(p, at, end - at, &run);
		if (run)
			(void)posix_fadvise(p->memory->source[run->source].fd,
					    (off_t)(run->offset + (at - run->identity)), (off_t)n,
					    POSIX_FADV_WILLNEED);
	}
}

static int lz_parts_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	struct lz_parts *p = (struct lz_parts *)s;
	struct lz_tag tag = { .kind = LZ_TAG_READ, .id = r->request, .generation = r->generation };

	while (r->have < r->len) {
		uint64_t at = r->offset + r->have;
		struct lz_source_read part = *r;
		const struct lz_run *run;
		struct lz_source *file;

		part.to += r->have;
		part.have = 0;
		part.len = lz_parts_extent(p, at, r->len - r->have, &run);
		if (run) {
			file = p->file[run->source];
			part.offset = run->offset + (at - run->identity);
			if (!file->ops->read_now(file, part.offset, part.to, part.len)) {
				if (p->asked[r->request % LZ_REQS_MAX] != r->generation)
					lz_parts_ask(p, at, r->offset + r->len);
				p->asked[r->request % LZ_REQS_MAX] = r->generation;
				return file->ops->begin(file, ring, &part);
			}
		} else {
			memset(part.to, 0, part.len);
		}
		r->have += part.len;
	}
	return lz_ring_nop(ring, tag);
}

static bool lz_parts_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	(void)s;
	(void)offset;
	(void)to;
	(void)len;
	return false;
}

static bool lz_parts_resident(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return false;
}

static const void *lz_parts_at(struct lz_source *s, uint64_t offset, size_t len)
{
	(void)s;
	(void)offset;
	(void)len;
	return NULL;
}

static bool lz_parts_has_changed(struct lz_source *s)
{
	const struct lz_parts *p = (const struct lz_parts *)s;
	bool changed = false;

	for (size_t i = 0; i < p->memory->nr_sources; i++)
		changed = changed || (p->file[i] && p->file[i]->ops->has_changed(p->file[i]));
	return changed;
}

static void lz_parts_close(struct lz_source *s)
{
	struct lz_parts *p = (struct lz_parts *)s;

	for (size_t i = 0; p->file && i < p->memory->nr_sources; i++)
		if (p->file[i])
			p->file[i]->ops->close(p->file[i]);
	free(p->file);
	free(p);
}
