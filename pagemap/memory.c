/* SPDX-License-Identifier: MIT */
/*
 * One task's memory: puts plan, segments and open files together and lets go of them together. It
 * reads no image and no page: files.c and the embedder tell it what to hold.
 */
#include "pagemap/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a page server is asked for, whatever the pages of a memory are. */
enum { WIRE_SHIFT = 12 };

/* What is no regular file and no disk has no size to ask for: its reads say where it ends. */
static int size_of(int fd, const struct stat *st, uint64_t *size)
{
	off_t end;

	if (S_ISREG(st->st_mode)) {
		*size = (uint64_t)st->st_size;
		return 0;
	}
	if (!S_ISBLK(st->st_mode)) {
		*size = INT64_MAX;
		return 0;
	}
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

int lz_memory_new(struct lz_memory **out)
{
	struct lz_memory *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->refs = 1;
	err = lz_plan_new(&m->plan);
	if (err) {
		free(m);
		return err;
	}
	*out = m;
	return 0;
}

/* Takes @new but for its name, which is copied. */
static int append(struct lz_memory *m, const struct lz_memory_source *new, const char *name)
{
	struct lz_memory_source *source;
	char *copy;

	if (m->nr_sources > INT32_MAX - 1)
		return -ENOSPC;
	source = reallocarray(m->source, m->nr_sources + 1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	m->source = source;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	m->source[m->nr_sources] = *new;
	m->source[m->nr_sources].name = copy;
	return (int)m->nr_sources++;
}

int lz_memory_add_source(struct lz_memory *m, int fd, const char *name)
{
	struct lz_memory_source source = { .fd = fd };
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	err = size_of(fd, &st, &source.size);
	if (err)
		return err;
	source.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	source.blocks = (uint64_t)st.st_blocks;
	source.dev = st.st_dev;
	source.ino = st.st_ino;
	return append(m, &source, name);
}

int lz_memory_add_remote(struct lz_memory *m, uint32_t pid, const char *name)
{
	struct lz_memory_source source = {
		.kind = LZ_FROM_REMOTE,
		.fd = -1,
		.size = INT64_MAX,
		.pid = pid,
		.page_shift = WIRE_SHIFT,
	};
	int index;

	if (lz_plan_remote(m->plan) != UINT32_MAX)
		return -EEXIST;
	index = append(m, &source, name);
	if (index >= 0)
		lz_plan_set_remote(m->plan, (uint32_t)index);
	return index;
}

int lz_memory_add_place(struct lz_memory *m, const char *name)
{
	struct lz_memory_source source = { .kind = LZ_FROM_PLACE, .fd = -1, .size = INT64_MAX };

	return append(m, &source, name);
}

int lz_memory_add_process(struct lz_memory *m, int fd, const char *name)
{
	struct lz_memory_source source = { .kind = LZ_FROM_PROCESS, .fd = fd, .size = INT64_MAX };

	return append(m, &source, name);
}

int lz_memory_add_call(struct lz_memory *m, const struct lz_memory_call *call, const char *name)
{
	struct lz_memory_source source = {
		.kind = LZ_FROM_CALL, .fd = -1, .size = INT64_MAX, .call = *call
	};

	return append(m, &source, name);
}

int lz_memory_number(struct lz_memory *m, struct lz_piece *piece)
{
	struct lz_memory_source *source = &m->source[piece->source];
	const struct lz_run *run = lz_plan_runs(m->plan);

	for (size_t i = 0; source->page_shift != piece->page_shift && i < lz_plan_nr_runs(m->plan);
	     i++)
		if (run[i].source == piece->source)
			return -EINVAL;
	source->page_shift = piece->page_shift;
	piece->offset = lz_plan_nr_pages(m->plan) << piece->page_shift;
	return 0;
}

/* The source of what is put together, and the plan of where its parts are:
 * with the first of them. */
static int begin_parts(struct lz_memory *m)
{
	struct lz_memory_source source = {
		.kind = LZ_FROM_PARTS, .fd = -1, .size = INT64_MAX, .memory = m
	};
	struct lz_plan *plan;
	int r;

	if (m->parts)
		return 0;
	r = lz_plan_new(&plan);
	if (r)
		return r;
	r = append(m, &source, "several files");
	if (r < 0) {
		lz_plan_put(plan);
		return r;
	}
	m->parts = plan;
	m->parts_source = (uint32_t)r;
	return 0;
}

/* @p: of one large page a part. */
static int add_part(struct lz_memory *m, const struct lz_piece *p)
{
	uint64_t size = UINT64_C(1) << p->page_shift, start = p->identity & ~(size - 1);
	struct lz_piece part = *p, whole = { start, size, start, 0, p->page_shift };
	const struct lz_run *run;
	int r = begin_parts(m);

	if (r)
		return r;
	whole.source = m->parts_source;
	part.page_shift = 12;
	if (lz_plan_page(m->plan, start, &run) < 0)
		r = lz_plan_add(m->plan, &whole);
	else if (run->source != m->parts_source)
		r = -EINVAL;
	return r ? r : lz_plan_add(m->parts, &part);
}

int lz_memory_add_parts(struct lz_memory *m, const struct lz_piece *piece)
{
	uint64_t size = UINT64_C(1) << piece->page_shift, end = piece->identity + piece->len;
	struct lz_piece p = *piece;
	int r = 0;

	if (!piece->len || end < piece->identity || piece->offset + piece->len < piece->offset)
		return -EINVAL;
	for (; !r && p.identity < end; p.offset += p.len, p.identity += p.len) {
		uint64_t left = end - p.identity;
		bool whole = !((p.identity | p.offset) & (size - 1)) && left >= size;

		p.len = size - (p.identity & (size - 1));
		p.len = whole ? left & ~(size - 1) : p.len < left ? p.len : left;
		r = whole ? lz_plan_add(m->plan, &p) : add_part(m, &p);
	}
	return r;
}

size_t lz_memory_ranges(const struct lz_memory *m, uint64_t offset, uint64_t len,
			struct lz_memory_range *out, size_t max)
{
	uint32_t shift = m->source[lz_plan_remote(m->plan)].page_shift;
	uint64_t end = offset + len, skip, have;
	const struct lz_run *run = NULL;
	size_t nr = 0;

	/* Runs never touch: where addresses go on, so do these offsets,
	 * and the plan has joined them. */
	for (; offset < end && nr < max; nr++) {
		run = lz_plan_run_near(m->plan, run, offset >> shift);
		assert(m->source[run->source].kind == LZ_FROM_REMOTE && run->page_shift == shift &&
		       run->offset == run->first << shift);
		skip = offset - run->offset;
		have = (lz_plan_run_pages(m->plan, run) << shift) - skip;
		have = have < end - offset ? have : end - offset;
		out[nr].start = run->identity + skip;
		out[nr].nr_pages = have >> WIRE_SHIFT;
		offset += have;
	}
	return nr;
}

int lz_memory_add_seg(struct lz_memory *m, const struct lz_seg *seg)
{
	struct lz_seg *all;
	size_t at = m->nr_segs;
	uint64_t mask;

	if (seg->page_shift < 12 || seg->page_shift > 62 || seg->start >= seg->end ||
	    seg->identity != seg->start || seg->reserved)
		return -EINVAL;
	mask = (UINT64_C(1) << seg->page_shift) - 1;
	if ((seg->start | seg->end) & mask)
		return -EINVAL;
	while (at && m->seg[at - 1].start >= seg->end)
		at--;
	if (at && m->seg[at - 1].end > seg->start)
		return -EINVAL;

	all = reallocarray(m->seg, m->nr_segs + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	memmove(all + at + 1, all + at, (m->nr_segs - at) * sizeof(*all));
	all[at] = *seg;
	m->seg = all;
	m->nr_segs++;
	return 0;
}

void lz_memory_use(struct lz_memory *m)
{
	__atomic_store_n(&m->is_used, true, __ATOMIC_RELAXED);
}

bool lz_memory_is_used(const struct lz_memory *m)
{
	return __atomic_load_n(&m->is_used, __ATOMIC_RELAXED);
}

/* The count is atomic because engines on different threads may share a memory. */
struct lz_memory *lz_memory_get(struct lz_memory *m)
{
	__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

void lz_memory_put(struct lz_memory *m)
{
	if (!m || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < m->nr_sources; i++) {
		if (m->source[i].fd >= 0)
			close(m->source[i].fd);
		free(m->source[i].name);
	}
	free(m->source);
	free(m->seg);
	lz_plan_put(m->plan);
	lz_plan_put(m->parts);
	free(m);
}
