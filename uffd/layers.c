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

/* Layers, oldest first: the memory at @start is at @offset of each. */
struct layers {
	struct lazyd_memory *m;
	const int *source;
	const struct lz_memory_source *all;
	uint64_t start, offset;
};

/* The first data of @fd in [from, to), as [from, *end); *from = to where there is none. */
static int next_data(int fd, uint64_t *from, uint64_t to, uint64_t *end)
{
	off_t at = lseek(fd, (off_t)*from, SEEK_DATA);

	if (at < 0 && errno == ENXIO)
		at = (off_t)to;
	if (at < 0)
		return -errno;
	*from = (uint64_t)at < to ? (uint64_t)at : to;
	if (*from == to)
		return 0;
	at = lseek(fd, at, SEEK_HOLE);
	if (at < 0)
		return -errno;
	*end = (uint64_t)at < to ? (uint64_t)at : to;
	return 0;
}

/* The bytes at offsets [from, to), of the first @nr layers. */
static int add(const struct layers *l, size_t nr, uint64_t from, uint64_t to)
{
	int r = 0;

	while (!r && nr && from < to) {
		uint64_t data = from, end = to;

		r = next_data(l->all[l->source[nr - 1]].fd, &data, to, &end);
		if (!r && data > from)
			r = add(l, nr - 1, from, data);
		if (!r && data < to)
			r = lazyd_memory_add_piece(l->m, l->start + (data - l->offset), end - data,
						   l->source[nr - 1], data);
		from = data < to ? end : to;
	}
	return r;
}

int lazyd_memory_add_layers(struct lazyd_memory *m, uint64_t start, uint64_t len,
			    const int *sources, size_t nr, uint64_t offset)
{
	const struct lz_memory *memory = (const struct lz_memory *)m;
	struct layers l = {
		.m = m, .source = sources, .all = memory->source, .start = start, .offset = offset
	};

	if (!nr || nr > LAZYD_LAYERS_MAX || start + len < start || offset + len < offset)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++) {
		if (sources[i] < 0 || (size_t)sources[i] >= memory->nr_sources ||
		    l.all[sources[i]].kind != LZ_FROM_FILE)
			return -EINVAL;
		/* What is behind a file's end is not known to be zero. */
		if (l.all[sources[i]].size < offset + len)
			return -ENODATA;
	}
	return add(&l, nr, offset, offset + len);
}
