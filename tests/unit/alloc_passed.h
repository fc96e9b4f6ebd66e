/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that the tests of memory that runs out pass in: taken on success, untouched on
 * failure.
 */
#ifndef ALLOC_PASSED_H
#define ALLOC_PASSED_H

extern int fd, fd2;

/* Whoever has been refused the first has it still. */
void is_untouched(void);

#endif
