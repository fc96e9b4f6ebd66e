/* SPDX-License-Identifier: MIT */
/*
 * What of a file is in the page cache. Offsets are bytes, @page is the size of a page, @map where
 * the file is mapped from its beginning on.
 */
#ifndef LZ_CACHED_H
#define LZ_CACHED_H

#include <stdbool.h>
#include <stdint.h>

/* Where the resident bytes from @from on end; looks no further than the page before @to. */
uint64_t lz_cached_until(int fd, uint64_t page, uint8_t *map, uint64_t from, uint64_t to);
/* Is every page there, be it that its read is under way? Where the kernel does not say: no. */
bool lz_cached_holds(int fd, uint64_t page, uint64_t from, uint64_t to);
/* The same, by whatever the kernel has to say it with. */
bool lz_cached_comes(int fd, uint64_t page, uint8_t *map, uint64_t from, uint64_t to);
/* Pages of @map that are not there are to come as huge ones, and nothing else with them. */
void lz_cached_want_huge(uint8_t *map, uint64_t len);

#endif
