/* SPDX-License-Identifier: MIT */
/*
 * What tells one dump from another: SHA-256 over the images that say what its pages are. Who copies
 * images copies these; pages files, which may be missing or half there, are not among them.
 *
 * Hashed is, all numbers little endian:
 *	16 bytes	"lazyd-identity-1"
 * and then, for inventory.img, for pstree.img, and for core-<pid>.img, mm-<pid>.img and
 * pagemap-<pid>.img of each task in the order of pstree.img, all of the newest snapshot:
 *	u32		the length of the file's name
 *	...		its name
 *	u8		1, or 0 if there is no such file: nothing follows then
 *	u64		the length of the file
 *	...		its bytes
 */
#ifndef LZ_IDENTITY_H
#define LZ_IDENTITY_H

#include <stdint.h>

#include "pagemap/why.h"

struct lz_images;

enum { LZ_IDENTITY_BYTES = 32 };

/* Reads the files as they are now. -EBUSY if one changes meanwhile, else what reading it said. */
int lz_images_identity(const struct lz_images *i, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why);

#endif
