/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes of a simulation are: two files, the shared memory itself, and a page server
 * behind a wire that is late, goes away for a while, comes back or does not. Some of their pages
 * cannot be had. A page's bytes are one token, which says where they are from.
 */
#ifndef SOURCES_H
#define SOURCES_H

#include <errno.h>

#include "tests/prop/kernel.h"
#include "uffd/limits.h"

enum { SOURCE_PAGES = 64, S_REMOTE = 2, S_PLACE, SOURCES };

struct read_io {
	bool live, urgent, large;
	uint32_t source;
	uint64_t page, nr;
};

struct sources {
	struct gen *gen;
	struct read_io io[LZ_REQS_MAX];
	uint64_t end[SOURCES], bad[SOURCES]; /* pages from end on, and page bad, cannot be had */
	bool down;                           /* the wire: nothing comes */
	bool gone;                           /* nor ever will */
};

static inline void sources_init(struct sources *s, struct gen *g)
{
	*s = (struct sources){ .gen = g };
	for (int i = 0; i < SOURCES; i++) {
		s->end[i] = gen_one_in(g, 3) ? gen_below(g, SOURCE_PAGES) : SOURCE_PAGES;
		s->bad[i] = gen_one_in(g, 3) ? gen_below(g, SOURCE_PAGES) : UINT64_MAX;
	}
}

/* The tokens of a source are from there to the next source's. */
static inline uint64_t sources_first(uint32_t source)
{
	return (source + 1) * UINT64_C(1000);
}

/* 0: cannot be had. */
static inline uint64_t sources_token(const struct sources *s, uint32_t source, uint64_t page)
{
	if (page >= s->end[source] || page == s->bad[source])
		return 0;
	return sources_first(source) + page;
}

static inline bool sources_is_live(const struct sources *s, uint32_t req)
{
	return s->io[req].live && !(s->io[req].source == S_REMOTE && s->down && !s->gone);
}

/* What comes of the read of @req; its tokens go to @buf where bytes have come. */
static inline int64_t sources_read(struct sources *s, uint32_t req, uint64_t *buf)
{
	struct read_io *io = &s->io[req];
	bool remote = io->source == S_REMOTE;
	uint64_t n = 0, token;
	int64_t res;

	io->live = false;
	if (remote && s->gone)
		return -ETIMEDOUT;
	while (n < io->nr && (token = sources_token(s, io->source, io->page + n)))
		buf[n++] = token;
	res = (int64_t)(n << K_SHIFT);
	if (n < io->nr && !remote && io->page + n < s->end[io->source] &&
	    (!n || gen_one_in(s->gen, 2)))
		res = -EIO;
	else if (n < io->nr && remote && !n)
		res = -EIO;
	else if (n < io->nr && !remote && gen_one_in(s->gen, 3))
		res += 100; /* the source ends within a page */
	else if (n > 1 && remote && !io->large && gen_one_in(s->gen, 20))
		res = (int64_t)(gen_below(s->gen, (uint32_t)n) << K_SHIFT); /* for no reason */
	for (uint64_t i = res < 0 ? 0 : (uint64_t)res >> K_SHIFT; i < io->nr; i++)
		buf[i] = 0;
	return res;
}

/* Bytes of the page server that are under way; only those that nobody waits for, if so wanted. */
static inline uint64_t sources_in_flight(const struct sources *s, bool background)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (s->io[i].live && s->io[i].source == S_REMOTE &&
		    !(background && s->io[i].urgent))
			bytes += s->io[i].nr << K_SHIFT;
	return bytes;
}

static inline bool sources_reads(const struct sources *s, uint64_t token)
{
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++) {
		uint64_t first = sources_first(s->io[i].source) + s->io[i].page;

		if (s->io[i].live && token >= first && token - first < s->io[i].nr)
			return true;
	}
	return false;
}

static inline bool sources_reads_local(const struct sources *s)
{
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (s->io[i].live && s->io[i].source != S_REMOTE)
			return true;
	return false;
}

#endif
