/* SPDX-License-Identifier: MIT */
/*
 * The restorer's side of CRIU's lazy-pages socket: for a task its pid, then one byte with its
 * userfaultfd; after the last task the word that the restore is finished. What is wrong is told by
 * -errno: who plays the restorer knows how to fail.
 */
#ifndef LZ_TEST_RESTORER_H
#define LZ_TEST_RESTORER_H

#include <stdint.h>

/* In the place of a pid. */
enum { RESTORER_FINISHED = 0x52535446 };

/* To the daemon whose socket is in the current directory:
 * the connection, to be closed by the caller. */
int restorer_connect(void);

/* A task's pid (a negative one's is dead), or RESTORER_FINISHED. */
int restorer_say(int sock, int32_t value);

/* @fd goes with one byte; the caller keeps its own. */
int restorer_give(int sock, int fd);

#endif
