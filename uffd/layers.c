/* SPDX-License-Identifier: MIT */
/*
 * A base and what has changed since, in sparse files: of each page the newest layer that has data
 * there. Reads no byte, asks the file system where they are.
 */
#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "pagemap/memory.h"
#include "uffd/lazyd.h"

enum { PAGE = 4096 };

/* Layers, oldest first: the memory at @start is at @offset of each. */
struct layers {
	struct lazyd_memory *m;
	const struct lz_memory *memory;
	const int *source;
	size_t nr;
	uint64_t start, end, offset;
	/* Of each, by address: the next bytes that are no hole,
	 * at or behind where was last looked. */
	struct lz_range extent[LAZYD_LAYERS_MAX];
};

/* Of the oldest a hole can be read like all else:
 * a page that it has in part is had from it whole. */
static uint64_t grain_of(const struct layers *l, size_t n, uint64_t at)
{
	for (size_t i = 0; !n && i < l->memory->nr_segs; i++)
		if (at >= l->memory->seg[i].start && at < l->memory->seg[i].end)
			return UINT64_C(1) << l->memory->seg[i].page_shift;
	return PAGE;
}

/* In whole grains, for a file system's blocks may be smaller. */
static int look(struct layers *l, size_t n, uint64_t from)
{
	int fd = l->memory->source[l->source[n]].fd;
	struct lz_range *e = &l->extent[n];
	uint64_t grain = grain_of(l, n, from);
	off_t start, end;

	if (from < e->end)
		return 0;
	start = lseek(fd, (off_t)(from - l->start + l->offset), SEEK_DATA);
	if (start < 0 && errno == ENXIO) {
		*e = (struct lz_range){ l->end, UINT64_MAX };
		return 0;
	}
	end = start < 0 ? start : lseek(fd, start, SEEK_HOLE);
	if (end < 0)
		return -errno;
	e->start = (l->start + ((uint64_t)start - l->offset)) & ~(grain - 1);
	e->end = (l->start + ((uint64_t)end - l->offset) + grain - 1) & ~(grain - 1);
	return 0;
}

/* Which is the newest that has @at, and how far on no layer begins or ends to have
 * bytes. -1: none has. */
static int top(struct layers *l, uint64_t at, uint64_t *end, int *layer)
{
	*layer = -1;
	*end = l->end;
	for (size_t n = l->nr; n-- && *layer < 0;) {
		int r = look(l, n, at);
		uint64_t edge = l->extent[n].start > at ? l->extent[n].start : l->extent[n].end;

		if (r)
			return r;
		if (l->extent[n].start <= at)
			*layer = (int)n;
		*end = edge < *end ? edge : *end;
	}
	return 0;
}

int lazyd_memory_add_layers(struct lazyd_memory *m, uint64_t start, uint64_t len,
			    const int *sources, size_t nr, uint64_t offset)
{
	struct layers l = { .m = m,
			    .memory = (const struct lz_memory *)m,
			    .source = sources,
			    .nr = nr,
			    .start = start,
			    .end = start + len,
			    .offset = offset };
	uint64_t end;
	int layer, r = 0;

	if (!nr || nr > LAZYD_LAYERS_MAX || start + len < start || offset + len < offset)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++) {
		if (sources[i] < 0 || (size_t)sources[i] >= l.memory->nr_sources ||
		    l.memory->source[sources[i]].kind != LZ_FROM_FILE)
			return -EINVAL;
		/* What is behind a file's end is not known to be zero. */
		if (l.memory->source[sources[i]].size < offset + len)
			return -ENODATA;
	}
	for (uint64_t at = start; !r && at < l.end; at = end) {
		r = top(&l, at, &end, &layer);
		if (!r && layer >= 0)
			r = lazyd_memory_add_piece(m, at, end - at, sources[layer],
						   at - start + offset);
	}
	return r;
}
