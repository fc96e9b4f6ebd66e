/* SPDX-License-Identifier: MIT */
/*
 * Images without a dump: directories of them for tests and benches, made by the writer, and single
 * images in memory, right or wrong at will. What a made page contains can be computed from its
 * address, so that it can be verified without the images.
 */
#ifndef IMAGEGEN_H
#define IMAGEGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "pagemap/writer.h"
#include "proto/image.h"

enum { IMAGEGEN_PAGE = 4096 };

struct imagegen {
	uint32_t nr_tasks;     /* pids from first_pid on, each the parent of the next */
	uint32_t first_pid;    /* 0: 1000 */
	uint64_t base;         /* address of the first range; 0: 0x10000000000 */
	uint64_t nr_ranges;    /* of each task */
	uint64_t nr_pages;     /* of each range */
	uint64_t gap_pages;    /* between ranges: holes, zero when restored */
	uint64_t area_pages;   /* a new area begins when one is as large; 0: one area for all */
	uint32_t nr_levels;    /* snapshots: range n is stored in level n % nr_levels; 0: 1 */
	uint32_t eager_every;  /* every so many ranges one is not lazy; 0: none */
	uint32_t absent_every; /* every so many ranges one is lazy and stored nowhere; 0: none */
	bool dead_last;        /* the last task is a zombie, without images of its own */
	bool sparse;           /* pages are holes of the file: zeros, no room, no time */
	enum lz_pagemap_format format;
};

/*
 * Makes the images in @dirfd; level n > 0 in its directory snapshot-<n>. Task n uses pages id n +
 * 1.
 */
int imagegen_make(int dirfd, const struct imagegen *g, struct lz_why *why);
/* The address of range @n, and the address behind the last. */
uint64_t imagegen_range(const struct imagegen *g, uint64_t n);
uint64_t imagegen_end(const struct imagegen *g);
/* What the page at @vaddr of @pid contains unless it is sparse. */
void imagegen_fill(uint32_t pid, uint64_t vaddr, uint8_t page[IMAGEGEN_PAGE]);
bool imagegen_is(uint32_t pid, uint64_t vaddr, const uint8_t page[IMAGEGEN_PAGE]);

enum imagegen_damage {
	IMAGEGEN_CUT,    /* the last byte is gone */
	IMAGEGEN_EMPTY,  /* all are */
	IMAGEGEN_MAGIC,  /* the last byte of the magic numbers is another */
	IMAGEGEN_SIZE,   /* the first record claims to be absurdly large */
	IMAGEGEN_NOISE,  /* the first record's contents are no message */
	IMAGEGEN_FIELD,  /* a record follows that has a field nobody knows */
	IMAGEGEN_REPEAT, /* the last record is there twice */
	IMAGEGEN_NR_DAMAGES,
};
extern const char *const imagegen_damage_name[IMAGEGEN_NR_DAMAGES];
/* Does that to the file @name of @dirfd. 0 or -errno. */
int imagegen_hurt(int dirfd, const char *name, enum imagegen_damage damage);

/* An image in memory. Running out of memory ends the program. */
struct imagebuf {
	uint8_t *bytes;
	size_t len;
};

void imagebuf_put(struct imagebuf *b, const void *bytes, size_t len);
void imagebuf_head(struct imagebuf *b, enum lz_image_magic magic);
void imagebuf_record(struct imagebuf *b, const void *payload, size_t len);
void imagebuf_message(struct imagebuf *b, const ProtobufCMessage *message);
void imagebuf_free(struct imagebuf *b);

/* The images of a pagemap and of a mm, a record a call. */
void imagebuf_pagemap(struct imagebuf *b, uint32_t pages_id);
void imagebuf_entry(struct imagebuf *b, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		    enum lz_pagemap_format format);
struct imagebuf_vma {
	uint64_t start, end;
	uint32_t flags, status;
};
void imagebuf_mm(struct imagebuf *b, const struct imagebuf_vma *vma, size_t nr);

#endif
