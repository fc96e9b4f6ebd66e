/* SPDX-License-Identifier: MIT */
/*
 * The memory of one task: a plan, the segments it starts with, and the open files its bytes are
 * in. Immutable once made, counted. Built by load.c from CRIU images, or piece by piece by an
 * embedder. Owns its descriptors. One of its sources may be a page server on another host: what it
 * has is known here by number only, never by descriptor. What is in the memory itself has no bytes
 * here at all.
 */
#ifndef LZ_MEMORY_H
#define LZ_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/plan.h"
#include "pagemap/range.h"

enum lz_memory_kind {
	LZ_FROM_FILE,
	LZ_FROM_REMOTE,  /* a page server has its bytes */
	LZ_FROM_PLACE,   /* shared memory, where its bytes are already */
	LZ_FROM_PROCESS, /* the memory of another process: @fd is its /proc/PID/mem */
	LZ_FROM_CALL,    /* a callback of the embedder's */
	LZ_FROM_PARTS,   /* large pages, of each of which several files have a part */
};

/* What a callback is asked; the public struct lazyd_ask. */
struct lazyd_ask;
struct lz_memory_call {
	int64_t (*ask)(void *arg, const struct lazyd_ask *ask);
	void *arg;
	bool in_place;
};

struct lz_memory_source {
	enum lz_memory_kind kind;
	int fd;        /* owned; -1: its kind has none */
	uint64_t size; /* bytes, as seen at open; INT64_MAX for what is no file or disk */
	int64_t mtime_ns;
	uint64_t blocks; /* of 512 bytes; with size and time: how to know that it has changed */
	uint64_t dev, ino;
	char *name;          /* for messages: path below the images directory */
	uint32_t pid;        /* of the task there; remote only */
	uint32_t page_shift; /* likewise: of its pages, which are of one size */
	struct lz_memory_call call;
	const struct lz_memory *memory; /* PARTS: whose parts and files they are */
};

/* Whole pages of 4 KiB of a task's address space, from @start on. */
struct lz_memory_range {
	uint64_t start, nr_pages;
};

struct lz_memory {
	unsigned refs;
	bool is_used; /* somebody looks at it, perhaps another thread: it stays as it is */
	struct lz_plan *plan;
	struct lz_seg *seg; /* by start, disjoint: identity equals position here */
	size_t nr_segs;
	struct lz_memory_source *source;
	size_t nr_sources;
	/* Where the bytes of PARTS are, in pages of 4 KiB;
	 * what it does not hold of them is zero. NULL: none. */
	struct lz_plan *parts;
	uint32_t parts_source;
};

int lz_memory_new(struct lz_memory **out);
/* Takes @fd on success. Returns the source's index or -errno. @name is copied. */
int lz_memory_add_source(struct lz_memory *m, int fd, const char *name);
/*
 * The page server's part in it, as a source: its index, or -EEXIST if there is one. The offset of a
 * page in it is the page's number in the plan << its shift: so what the plan has one behind the
 * other is one behind the other there too, whatever holes lie between. The plan is told of it.
 * @name is copied.
 */
int lz_memory_add_remote(struct lz_memory *m, uint32_t pid, const char *name);
/* Sets the offset of @piece, of that source, which is to be added next;
 * needless where all are of 4 KiB. -EINVAL: its pages are of another size than those before. */
int lz_memory_number(struct lz_memory *m, struct lz_piece *piece);
/* What is in place, as a source: the offset of a page in it is its identity. @name is copied. */
int lz_memory_add_place(struct lz_memory *m, const char *name);
/* Takes @fd, of a /proc/PID/mem, on success; the offset of a page in it is its identity. */
int lz_memory_add_process(struct lz_memory *m, int fd, const char *name);
int lz_memory_add_call(struct lz_memory *m, const struct lz_memory_call *call, const char *name);
/*
 * Adds to the plan a piece of large pages that begins or ends within one, or lies in its file where
 * such pages do not: it has to be of whole 4 KiB. Pages that it has whole are that file's, others
 * are put together from this piece and those that follow, as a source in which the offset of a page
 * is its identity.
 */
int lz_memory_add_parts(struct lz_memory *m, const struct lz_piece *piece);
/*
 * The addresses of what is at [offset, offset + len) of the remote source, whole pages of 4 KiB,
 * all of it there: ascending ranges, none of which begins where the last ends. Stops after @max of
 * them; len >> 12 are always enough. Returns how many. O(log n)
 */
size_t lz_memory_ranges(const struct lz_memory *m, uint64_t offset, uint64_t len,
			struct lz_memory_range *out, size_t max);
/*
 * A stretch of address space that is to be served: what no piece covers in it is zero. In any
 * order;
 * -EINVAL if it is empty, unaligned, overlaps another, or its identity is not its start.
 */
int lz_memory_add_seg(struct lz_memory *m, const struct lz_seg *seg);
void lz_memory_use(struct lz_memory *m);
bool lz_memory_is_used(const struct lz_memory *m);
struct lz_memory *lz_memory_get(struct lz_memory *m);
void lz_memory_put(struct lz_memory *m); /* closes the sources with the last one; NULL is fine */

#endif
