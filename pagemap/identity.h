/* SPDX-License-Identifier: MIT */
/*
 * What tells one dump from another: SHA-256 over the images that say what its pages are. Who copies
 * images copies these; pages files, which may be missing or half there, are not among them. A
 * memory that is in files and nowhere else has no such images: of it so much is looked at that two
 * VMs, or one at two times, are told apart in some milliseconds. Two that differ in few pages may
 * not be.
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
 *
 * Of a memory:
 *	16 bytes	"lazyd-identity-m"
 * and then, by address, for each of its areas and then for each stretch of bytes that one file has,
 * if that is not the first:
 *	u64, u64	address and length
 *	u32		of a stretch: the number of its file
 * and then the bytes of LZ_IDENTITY_SAMPLES pages of 4 KiB, or of all if there are no more: the
 * first, the last, and what lies evenly between, areas one behind the other; zeros where no file
 * has any. The first file is not asked where its holes are: a copy may have others.
 *
 * Of a file that goes with a memory wherever that is restored, as the state of a VM:
 *	16 bytes	"lazyd-identity-f"
 *	u64		its length
 *	...		its bytes
 */
#ifndef LZ_IDENTITY_H
#define LZ_IDENTITY_H

#include <stdint.h>

#include "pagemap/why.h"

struct lz_images;
struct lz_memory;

enum { LZ_IDENTITY_BYTES = 32, LZ_IDENTITY_SAMPLES = 512 };

/* Reads the files as they are now. -EBUSY if one changes meanwhile, else what reading it said. */
int lz_images_identity(const struct lz_images *i, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why);
/* -ENOTSUP: not all of its bytes are in files; -ENODATA: one is too short;
 * else what reading it said. */
int lz_memory_identity(const struct lz_memory *m, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why);
/* From its beginning; its position is moved. -EINVAL: no regular file; else as of images. */
int lz_file_identity(int fd, uint8_t out[LZ_IDENTITY_BYTES], struct lz_why *why);

#endif
