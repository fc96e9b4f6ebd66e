/* SPDX-License-Identifier: MIT */
/*
 * Which areas of a task are restored lazily: mm-<pid>.img, read into the task's first segments. The
 * rule is CRIU's own, for the restorer registers by it: private and anonymous, not locked, not of
 * huge pages, not one of the kernel's. Pure.
 */
#ifndef LZ_VMAS_H
#define LZ_VMAS_H

#include <stddef.h>
#include <stdint.h>

struct lz_image;
struct lz_seg;

/*
 * Reads the one record of @mm, an image of LZ_IMAGE_MM at its start. *out: one segment a lazy area,
 * by start and disjoint, to be freed by the caller; neighbours stay apart, as the kernel keeps them
 * apart. NULL if there are none. On failure the image says what is wrong.
 */
int lz_vmas_read(struct lz_image *mm, struct lz_seg **out, size_t *nr);

#endif
