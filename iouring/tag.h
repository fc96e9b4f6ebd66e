/* SPDX-License-Identifier: MIT */
/*
 * What a completion belongs to, packed into io_uring's 64 bits of user_data. The generation tells a
 * late completion of a slot's former use from one of its present use. Pure.
 */
#ifndef LZ_TAG_H
#define LZ_TAG_H

#include <stdint.h>

enum lz_tag_kind {
	LZ_TAG_NONE,  /* nobody waits for it (a cancel's own completion) */
	LZ_TAG_UFFD,  /* messages of a space; id = space */
	LZ_TAG_READ,  /* bytes of a source; id = request */
	LZ_TAG_FETCH, /* bytes of a source are in memory now; id = block */
	LZ_TAG_PIDFD, /* a task has ended; id = space */
	LZ_TAG_WATCH, /* the embedder's descriptor is readable */
	LZ_TAG_STOP,  /* lazyd_stop() was called */
	LZ_TAG_NET,   /* a socket can be read or written; id = connection << 1 | for writing */
};

struct lz_tag {
	uint32_t id;
	uint16_t generation;
	uint16_t kind;
};

static inline uint64_t lz_tag_pack(struct lz_tag t)
{
	return (uint64_t)t.kind << 48 | (uint64_t)t.generation << 32 | t.id;
}

static inline struct lz_tag lz_tag_unpack(uint64_t v)
{
	return (struct lz_tag){ .id = (uint32_t)v,
				.generation = (uint16_t)(v >> 32),
				.kind = (uint16_t)(v >> 48) };
}

#endif
