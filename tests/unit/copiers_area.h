/* SPDX-License-Identifier: MIT */
/*
 * What the tests of copiers share: an area of missing pages, the bytes that are to be there, and
 * copiers between them. The fixture is global; each test makes one, and ends it.
 */
#ifndef COPIERS_AREA_H
#define COPIERS_AREA_H

#include <stdbool.h>
#include <stdint.h>

#include "uffd/copiers.h"
#include "uffd/uffd.h"

enum { PAGE = 4096, SLICE_PAGES = 16, PAGES = 512, ROUNDS = 8 };

extern struct lz_copiers copiers;
extern uint8_t *area, *bytes;
extern int uffd;

/* False, having said why the suite is skipped, where there is no userfaultfd. */
bool has_uffd(void);
/* @features of the userfaultfd, @nr copiers. */
void set_up(uint64_t features, unsigned nr);
void tear_down(void);
struct lz_range pages(uint64_t first, uint64_t nr);
uint64_t page_of(uint64_t at);
/* The pages have their bytes. */
void check_bytes(uint64_t first, uint64_t nr);
struct lz_copy copy_of(uint64_t first, uint64_t nr, const uint8_t *from);
/* What was given is what is taken back. */
bool take(enum lz_copiers_how how, struct lz_copy *c);

#endif
