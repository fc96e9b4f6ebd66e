/* SPDX-License-Identifier: MIT */
/* What is open in the descriptor table that keeper and worker share,
 * whoever of them has opened it. */
#ifndef LZ_FDS_H
#define LZ_FDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Allows as many descriptors as this process may allow itself: each task or VM takes three. */
void lz_fds_raise_limit(void);
/*
 * Calls @see for each descriptor but the three standard ones, with what /proc says that it is:
 * "anon_inode:[userfaultfd]", a path; "" where that cannot be read. @see may close it. 0, or
 * -errno: nothing was seen.
 */
int lz_fds_each(void (*see)(void *arg, int fd, const char *link), void *arg);
/*
 * Is @fd a userfaultfd in use, and makes it O_NONBLOCK; @at: an address of its process, @len pages
 * there.
 * -errno: it would be read and polled in vain.
 */
int lz_fds_check_uffd(int fd, uint64_t at, uint64_t len);
/*
 * Makes room for @more descriptors by means of @fd, any one, before another process shares the
 * table: to make a shared one larger takes the kernel an RCU grace period, tens of milliseconds on
 * a busy machine, and who needs it is the keeper that hears of the next process. What cannot be had
 * is done without.
 */
void lz_fds_reserve(int fd, unsigned more);
/* Is @fd a unix socket that is bound to @path, or was accepted there? And does it listen? */
bool lz_fds_is_socket(int fd, const char *path, bool *listens);
/* The process of a pidfd; -1: it has ended. */
pid_t lz_fds_pid(int pidfd);

#endif
