/* SPDX-License-Identifier: MIT */
/*
 * The ioctls of ioctl_userfaultfd(2): bytes done, 0, or -errno; never errno. A COPY, ZEROPAGE,
 * CONTINUE or POISON that got part of the way (the kernel says EAGAIN and how far) returns that
 * part.
 */
#ifndef LZ_UFFD_H
#define LZ_UFFD_H

#include <stdbool.h>
#include <stdint.h>

#include "pagemap/range.h"

int64_t lz_uffd_copy(int fd, struct lz_range dst, const void *src);
int64_t lz_uffd_zero(int fd, struct lz_range dst);
/* Maps what shared memory has there. -EEXIST: it is mapped; -EFAULT: there is a hole. */
int64_t lz_uffd_continue(int fd, struct lz_range dst);
int64_t lz_uffd_poison(int fd, struct lz_range dst); /* Linux 6.6; else -EINVAL or -ENOTTY */
/* Threads waiting in @dst fault again; {0, UINT64_MAX} stands for the whole address space. */
int lz_uffd_wake(int fd, struct lz_range dst);
int lz_uffd_unregister(int fd, struct lz_range r);
/*
 * Is the address space behind @fd gone (every process that used it has ended)? Asks for a zero page
 * at @spare, one page that belongs to no segment: zero is what it would read as anyway.
 */
bool lz_uffd_is_dead(int fd, uint64_t spare);
/* Has its process begun a change of layout that is yet to be read, or to be gone on with? */
bool lz_uffd_is_changing(int fd);
/* Is @fd a userfaultfd whose API has been agreed upon? */
bool lz_uffd_is_ready(int fd);
/* Is @fd a userfaultfd at all, by what /proc says of it? */
bool lz_uffd_is_one(int fd);

#endif
