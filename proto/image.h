/* SPDX-License-Identifier: MIT */
/*
 * The framing of a CRIU image file: magic numbers, then records of a size and as many bytes. A pull
 * parser over bytes that are in memory; it knows nothing of what the records mean, but where they
 * are, and keeps the sentence of whoever finds one wrong. Pure.
 */
#ifndef LZ_IMAGE_H
#define LZ_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum lz_image_magic {
	LZ_IMAGE_COMMON = 0x54564319, /* before all the others, but inventory's */
	LZ_IMAGE_INVENTORY = 0x58313116,
	LZ_IMAGE_PSTREE = 0x50273030,
	LZ_IMAGE_CORE = 0x55053847,
	LZ_IMAGE_MM = 0x57492820,
	LZ_IMAGE_PAGEMAP = 0x56084025,
};

enum {
	LZ_IMAGE_WHAT_MAX = 320,
	/* The largest there are, mm of a task with 1,000,000 areas, are below it. */
	LZ_IMAGE_RECORD_MAX = 64 << 20,
};

struct lz_image {
	const uint8_t *bytes; /* the caller's, must stay */
	size_t len, at;
	uint64_t record; /* the one last given, from 1; 0: still at the magic numbers */
	uint64_t byte;   /* where it begins */
	char what[LZ_IMAGE_WHAT_MAX]; /* what is wrong with it; empty: nothing is known to be */
};

/* For whoever writes an image: the bytes before the first record, how many of 8 is returned; and
 * those before each record. */
size_t lz_image_head(uint8_t head[8], enum lz_image_magic magic);
void lz_image_put_size(uint8_t to[4], uint32_t size);

/* Checks the magic numbers. -EBADMSG if they are not those of @magic; @i says why. */
int lz_image_init(struct lz_image *i, const void *bytes, size_t len, enum lz_image_magic magic);
/* 1 and the next record, 0 at the end, -EBADMSG where the file is cut off or
 * not made of records. */
int lz_image_next(struct lz_image *i, const uint8_t **payload, size_t *len);
/* Says what is wrong with the record last given, and returns @err. */
int lz_image_refuse(struct lz_image *i, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
