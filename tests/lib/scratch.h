/* SPDX-License-Identifier: MIT */
/* What unit suites want from the system: a directory of their own, io_uring, what is mapped. */
#ifndef LZ_TEST_SCRATCH_H
#define LZ_TEST_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the directory @dir, a template of mkdtemp()'s, which becomes its name: its descriptor. */
int scratch_open(char *dir);

/* Closes @dirfd, and removes @dir with all that is in it. */
void scratch_close(const char *dir, int dirfd);

/* False, having said why the suite is skipped, where there is no io_uring. */
bool scratch_has_ring(void);

/* Bytes of files and shared memory that this process has mapped and present. */
uint64_t scratch_mapped_bytes(void);

#endif
