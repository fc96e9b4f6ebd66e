/* SPDX-License-Identifier: MIT */
/*
 * A page source: something that has the bytes of pages at offsets. The narrow interface behind
 * which image files, a page server or another process's memory are one thing to the loop.
 *
 * A read is begun into a buffer and ends exactly once: with all of its bytes, with fewer (the
 * source ends there) or with -errno. Short reads in between are the source's own business:
 * lz_source_completed() is told of every completion and says whether that was the end.
 */
#ifndef LZ_SOURCE_H
#define LZ_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iouring/tag.h"

struct lz_ring;
struct lz_source;

/* A read in flight, kept by the loop for the source: one a request.
 * @have and @retries begin at 0. */
struct lz_source_read {
	struct lz_source *source;
	uint64_t offset;
	uint8_t *to;
	size_t len, have;
	uint32_t request;
	uint16_t generation;
	uint16_t retries; /* in a row that brought nothing */
	bool urgent;      /* a thread waits for it */
};

struct lz_source_ops {
	/*
	 * Starts @r, or goes on with it at r->have. 0 or -errno; then nothing is in flight. It ends
	 * by a completion of LZ_TAG_READ, or as the source's own header says.
	 */
	int (*begin)(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r);
	/*
	 * Reads [offset, offset + len) into @to if that can be done without waiting for a disk;
	 * false, with @to undefined, otherwise. The cheapest way for a page or two.
	 */
	bool (*read_now)(struct lz_source *s, uint64_t offset, void *to, size_t len);
	/*
	 * True if [offset, offset + len) can be had from memory, without waiting for a disk: now or
	 * some milliseconds ago.
	 */
	bool (*resident)(struct lz_source *s, uint64_t offset, size_t len);
	/*
	 * Are they mapped and resident, so that a copy from where at() says is cheaper than
	 * read_now()? NULL: never.
	 */
	bool (*at_hand)(struct lz_source *s, uint64_t offset, size_t len);
	/*
	 * There is nothing else to do: puts more of it at hand, for some microseconds. False if
	 * there is no more to put. NULL: never.
	 */
	bool (*prepare)(struct lz_source *s);
	/*
	 * They will be read soon, slice by slice: brings them into memory. 0: they are there, or
	 * that cannot be done; 1: it was begun, and ends by a completion of @tag, whatever its
	 * result. NULL: never.
	 */
	int (*fetch)(struct lz_source *s, struct lz_ring *ring, uint64_t offset, size_t len,
		     struct lz_tag tag);
	/*
	 * Where these bytes are mapped, whether resident or not; NULL where the source has no such
	 * place. For the kernel to copy from (it answers EFAULT where the bytes are gone), never to
	 * be touched. Valid until a call of resident(), or at_hand(), that renews.
	 */
	const void *(*at)(struct lz_source *s, uint64_t offset, size_t len);
	/*
	 * Is the next call of resident() one of those that take down what is mapped, and map anew?
	 * NULL: none does.
	 */
	bool (*renews)(const struct lz_source *s);
	/*
	 * Are its bytes no longer those that it was opened for? Then it gives none any more, and
	 * what it gave in the milliseconds before that was noticed is in doubt. NULL: it never
	 * changes.
	 */
	bool (*has_changed)(struct lz_source *s);
	void (*close)(struct lz_source *s);
};

struct lz_source {
	const struct lz_source_ops *ops;
};

/*
 * A completion with @res came for @r. Returns true when the read has ended, with *result set; false
 * when it goes on (short or interrupted, asked again).
 */
bool lz_source_completed(struct lz_source_read *r, struct lz_ring *ring, int32_t res,
			 int64_t *result);

/*
 * Image files and raw memory files: regular files, else -EINVAL. @fd stays the caller's and must
 * outlive the source. From @size on nothing is resident or mapped.
 *
 * @as: how the file was when it was decided what is in it; NULL: it may change. Written to since
 * then it has changed (its reads are -ESTALE); of one that has only got holes, which it had none
 * of, the rest is still good (those are -ENODATA). Looked at once a tick of the clock, while it is
 * used.
 */
struct lz_file_look {
	int64_t mtime_ns;
	uint64_t blocks; /* of 512 bytes, that it occupies */
};
int lz_file_open(struct lz_source **out, int fd, uint64_t size, const struct lz_file_look *as);

/* What is in place: there is nothing to read, it is always resident. Not to be copied from. */
int lz_place_open(struct lz_source **out);

/*
 * A callback. Offsets are the addresses of pages. ask() says how many bytes it has put at @to, or
 * -errno, or where it @may_wait -EINPROGRESS: the read then ends when its asker is told so by other
 * means, once, with @token saying which.
 */
struct lz_ask {
	uint64_t token; /* generation << 32 | request */
	uint64_t start, len;
	void *to; /* NULL: in place */
	bool urgent;
};
struct lz_call_options {
	int64_t (*ask)(void *arg, const struct lz_ask *ask);
	void *arg;
	bool in_place, may_wait;
};
int lz_call_open(struct lz_source **out, const struct lz_call_options *o);

#endif
