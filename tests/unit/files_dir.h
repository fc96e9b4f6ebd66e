/* SPDX-License-Identifier: MIT */
/*
 * What the tests of image directories share: a directory with a small dump in it, or another, and
 * what reading it comes to. The fixture is global; each test begins with an empty directory.
 */
#ifndef FILES_DIR_H
#define FILES_DIR_H

#include "pagemap/files.h"
#include "pagemap/memory.h"
#include "tests/lib/imagegen.h"

extern char dir[];
extern int dirfd_;
extern struct lz_why why;
extern struct lz_images *images;
extern struct lz_memory *memory;

/* Two tasks, of 1000 and 1001, and a parent. */
extern const struct imagegen small;

void setup(void);
void teardown(void);
void make(const struct imagegen *g);
/* Opens the images and the memory of task 1000, and returns what the first failure says. */
int load(void);
/* The sentence has @text in it. */
void says(const char *text);

/* Files that say something else than what was made. */
void put(const char *name, const struct imagebuf *b);
void put_core(uint32_t pid, uint32_t state);
void relink(const char *target);

#endif
