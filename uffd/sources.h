/* SPDX-License-Identifier: MIT */
/* What a memory's bytes are in, opened as page sources: for the loop and for the server. */
#ifndef LZ_SOURCES_H
#define LZ_SOURCES_H

#include <stdbool.h>

#include "iouring/source.h"
#include "pagemap/memory.h"

/*
 * @from belongs to a memory that is not changed any more, and outlives the source. @may_wait: a
 * callback may answer later. -EINVAL for what is remote: that takes a connection.
 */
int lz_sources_open(const struct lz_memory_source *from, bool may_wait, struct lz_source **out);

/* Of zeros, whatever the offset, for the server: read_now() has them always. Nobody's to close. */
struct lz_source *lz_sources_zeros(void);
/* What is put together of @m's files: lz_memory_add_parts(). @m outlives it. */
int lz_parts_open(const struct lz_memory *m, struct lz_source **out);

/* Can a read of it end without a completion of the ring? */
static inline bool lz_sources_are_elsewhere(const struct lz_memory_source *from)
{
	return from->kind == LZ_FROM_REMOTE || from->kind == LZ_FROM_CALL;
}

#endif
