/* SPDX-License-Identifier: MIT */
/*
 * Death between any two stores. The core of the property suite is compiled so that the compiler
 * announces each of its stores (the calls are ThreadSanitizer's, its library is not linked;
 * memset() and memcpy() are replaced; nothing is asked of the code). When the countdown ends at a
 * store to the memory that outlives the process, that memory is kept as a process that died before
 * the store would leave it. The call goes on; whoever made it then asks stores_died(), before it
 * does anything else to the world.
 */
#ifndef STORES_H
#define STORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is watched. Nothing is announced, and nobody dies, where the build has another sanitizer. */
void stores_watch(void *memory, size_t len);
bool stores_are_announced(void);
/* The @countdown-th store from here on is not made; 0: all are. */
void stores_arm(uint32_t countdown);
/* True, once, after such a death: the memory is as it was left. */
bool stores_died(void);

#endif
