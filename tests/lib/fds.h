/* SPDX-License-Identifier: MIT */
/* Descriptors that several suites make, and how many there are. */
#ifndef LZ_TEST_FDS_H
#define LZ_TEST_FDS_H

#include <stdint.h>

/* A userfaultfd that does not block and has these @features; or -errno. */
int fds_uffd(uint64_t features);

/* Begins to connect to @address, a struct sockaddr_in, as a stream wants it; or -ECONNREFUSED. */
int fds_connect(void *address);

/* How many are open: the same number before and after, if none was left open between. */
unsigned fds_count(void);

#endif
