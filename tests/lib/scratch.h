/* SPDX-License-Identifier: MIT */
/* What unit suites want from the system: a directory of their own, and io_uring. */
#ifndef LZ_TEST_SCRATCH_H
#define LZ_TEST_SCRATCH_H

#include <stdbool.h>

/* Makes the directory @dir, a template of mkdtemp()'s, which becomes its name: its descriptor. */
int scratch_open(char *dir);

/* Closes @dirfd, and removes @dir with all that is in it. */
void scratch_close(const char *dir, int dirfd);

/* False, having said why the suite is skipped, where there is no io_uring. */
bool scratch_has_ring(void);

#endif
