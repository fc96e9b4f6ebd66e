/* SPDX-License-Identifier: MIT */
/*
 * The giving end of one connection: recognises the client's layout, answers probe and hello, and
 * turns bytes into requests. Bytes of pages are the caller's business; so is when to read on:
 * take() hands out one thing at a time, and a caller with enough to do just stops calling. Pure.
 */
#ifndef LZ_GIVER_H
#define LZ_GIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/hello.h"
#include "proto/ps.h"

enum { LZ_GIVER_WHY_MAX = 256 };
/* A plain client may ask for more in one GET: CRIU itself asks for up to 4 MiB. */
enum { LZ_GIVER_PLAIN_PAGES = 1 << 20 };

enum lz_giver_event_type {
	LZ_GIVER_MORE,  /* all bytes are taken and nothing has happened */
	LZ_GIVER_SAY,   /* answer say[0 .. nr_say) */
	LZ_GIVER_HELLO, /* a lazyd: .hello is set; answer say[], which welcomes it */
	LZ_GIVER_GET,   /* a request, .get */
	/* The client has all it wants: after what is owed answer say[], and close when it does. */
	LZ_GIVER_CLOSE,
};

/* A request. Its ranges, numbered through, are range[0 .. nr_ranges). */
struct lz_giver_get {
	uint64_t dst_id; /* to be echoed */
	uint32_t pid;
	uint64_t nr_pages;
	size_t nr_ranges;
	const struct lz_ps_range *range; /* of the giver; valid until the next take() */
};

struct lz_giver_options {
	uint8_t identity[LZ_IDENTITY_LEN];
	uint32_t max_request_pages; /* a lazyd's GET; LZ_HELLO_PAGES_MIN at least */
	char software[LZ_HELLO_TEXT_MAX];
};

struct lz_giver {
	const struct lz_giver_options *options; /* the caller's */
	enum lz_ps_layout layout;               /* UNKNOWN before the first header */
	bool began;                             /* something has been said */
	bool lazyd;                             /* the hello was welcomed */
	bool greeting;                          /* a hello is expected */
	bool closed;                            /* CLOSE has come: nothing more may */
	bool failed;                            /* what no client may send has come */
	size_t padding;                         /* of CLOSE, which may still come */
	struct lz_hello hello;
	struct lz_giver_get get;
	uint8_t say[LZ_HELLO_MAX];
	size_t nr_say;
	char why[LZ_GIVER_WHY_MAX];                                            /* after a failure */
	uint8_t part[LZ_PS_HEADER_MAX + LZ_PS_RANGES_MAX * LZ_PS_RANGE_BYTES]; /* or a hello */
	size_t have;
	struct lz_ps_range range[LZ_PS_RANGES_MAX];
};

void lz_giver_init(struct lz_giver *g, const struct lz_giver_options *o);
/*
 * Takes bytes until something has happened: *ev. Returns how many were taken (0 .. len), or
 * -EBADMSG, with a sentence in g->why, for what no client may send: unknown commands, uploads (ADD
 * and the like are not taken here), bad ranges, a hello of another version, page size or identity
 * (then g->say holds the refusal to be sent before the connection is closed), a hello that there is
 * no memory for (then it does not).
 */
int64_t lz_giver_take(struct lz_giver *g, const uint8_t *bytes, size_t len,
		      enum lz_giver_event_type *ev);
/* Is it in the middle of a header or frame? Then the rest must come soon. */
bool lz_giver_is_waiting(const struct lz_giver *g);
/*
 * The header of a reply to pages [first, first + nr) of a request: @flags is LZ_PS_PRESENT, ZERO or
 * LOST. @vaddr: the address of page @first, which a plain client wants; a lazyd gets @first.
 * Returns its length.
 */
size_t lz_giver_reply(const struct lz_giver *g, uint64_t dst_id, uint32_t flags, uint64_t vaddr,
		      uint64_t first, uint64_t nr, uint8_t out[LZ_PS_HEADER_MAX]);

#endif
