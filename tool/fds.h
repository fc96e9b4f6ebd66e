/* SPDX-License-Identifier: MIT */
/* What is open in the descriptor table that keeper and worker share, whoever of them has opened it. */
#ifndef LZ_FDS_H
#define LZ_FDS_H

/*
 * Calls @see for each descriptor but the three standard ones, with what /proc says that it is:
 * "anon_inode:[userfaultfd]", a path; "" where that cannot be read. @see may close it. 0, or -errno:
 * nothing was seen.
 */
int lz_fds_each(void (*see)(void *arg, int fd, const char *link), void *arg);

#endif
