/* SPDX-License-Identifier: MIT */
/*
 * CRIU's page-server protocol, header by header, and the few codes that two lazyds add to it
 * (lazyd-formats(7)). Numbers are in the sender's byte order, which is little endian on every
 * machine that lazyd runs on; every field is read and written byte by byte. Pure.
 *
 * Source: CRIU 4.1 and 4.2 on the wire (../shared/facts/criu.md, section 2).
 */
#ifndef LZ_PS_H
#define LZ_PS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * CRIU up to 4.1 sends 24 bytes: u32 cmd, u32 nr_pages, u64 vaddr, u64 dst_id; from 4.2 on 32: u32
 * cmd, 4 of padding, u64 nr_pages, u64 vaddr, u64 dst_id. Nothing in the protocol says which.
 */
enum lz_ps_layout { LZ_PS_UNKNOWN = 0, LZ_PS_24 = 24, LZ_PS_32 = 32 };

enum lz_ps_cmd {
	LZ_PS_ADD = 1,
	LZ_PS_HOLE = 2,
	LZ_PS_OPEN = 3,
	LZ_PS_OPEN2 = 4,
	LZ_PS_PARENT = 5, /* is there a pagemap dst_id in the parent? answer: int32 0 or 1 */
	LZ_PS_ADD_F = 6,  /* pages; the answer to GET too */
	LZ_PS_GET = 7,
	LZ_PS_CLOSE = 0x1023, /* answer: int32 status */
	LZ_PS_FORCE_CLOSE = 0x1024,
};

enum lz_ps_flag {
	LZ_PS_IN_PARENT = 1,
	LZ_PS_LAZY = 2,
	LZ_PS_PRESENT = 4, /* nr_pages * 4096 bytes follow */
	/* Between two lazyds only. */
	LZ_PS_ZERO = 0x100,   /* ADD_F: pages of zeros, no bytes follow */
	LZ_PS_LOST = 0x200,   /* ADD_F: these pages cannot be had, no bytes follow */
	LZ_PS_VECTOR = 0x400, /* GET: vaddr is a number of ranges, which follow */
};

enum { LZ_PS_PAGE = 4096, LZ_PS_HEADER_MAX = 32, LZ_PS_RANGES_MAX = 256, LZ_PS_RANGE_BYTES = 16 };

/* The dst_id of a PARENT that no CRIU has a pagemap for, and what a lazyd answers to it. */
#define LZ_PS_PROBE (UINT64_C(0x6c617a7964) << 8 | 1)
static const uint8_t LZ_PS_ANSWER[4] = { 'L', 'Z', 'D', 1 };

struct lz_ps_header {
	uint32_t cmd, flags; /* on the wire one u32: cmd in its low half */
	uint64_t nr_pages, vaddr, dst_id;
};

/* Pages asked for: whole pages from @vaddr on. 16 bytes on the wire: u64 vaddr, u64 nr_pages. */
struct lz_ps_range {
	uint64_t vaddr, nr_pages;
};

/* Returns the bytes written: 24 or 32. In the 24-byte layout nr_pages must fit 32 bits. */
size_t lz_ps_put(enum lz_ps_layout layout, const struct lz_ps_header *h, uint8_t *out);
void lz_ps_get(enum lz_ps_layout layout, const uint8_t *in, struct lz_ps_header *h);
size_t lz_ps_put_range(const struct lz_ps_range *r, uint8_t *out);
void lz_ps_get_range(const uint8_t *in, struct lz_ps_range *r);
/*
 * The layout of a connection, by the first 24 bytes of its first header. The padding of a GET is
 * whatever was on CRIU's stack, so a GET is a short one if bytes 4..7 (a number of pages then) are
 * not zero and bytes 8..15 are an address of a page (a number of pages in the long one, which is
 * below 4096). Where no pages are named, bytes 16..23 are dst_id in the short one and vaddr (zero)
 * in the long one. A CLOSE comes first from who has nothing to ask, and is all zero in both: the
 * short one, which needs no more bytes to answer.
 */
enum lz_ps_layout lz_ps_recognise(const uint8_t first[LZ_PS_24]);

#endif
