/* SPDX-License-Identifier: MIT */
/* Between main.c, live.c and task.c: what the cases do not need. */
#ifndef LIVE_HOUSE_H
#define LIVE_HOUSE_H

#include "tests/live/live.h"

enum { LIVE_SKIPPED = 77 };

/* The server, before the case: addresses, file, description of the memory. */
void live_house_build(struct live *l);
/* The task: memory, userfaultfd, the case's part, end. */
__attribute__((noreturn)) void live_house_task(struct live *l);
/* The memory of a kind that is not anonymous; what is in place is put there. */
void live_house_memfd(struct live *l);
/* In the task: that memory at its place. */
void live_house_map(struct live *l);
const char *live_house_kind(unsigned with);
/* Lets the kernel make large pages of ordinary ones, as far as this user may. */
void live_house_want_huge(void);
/* Is page @n of the image in place? */
bool live_house_in_place(const struct live *l, uint64_t n);
/* What is missing for cases made @with that, or NULL. */
const char *live_house_lacks(unsigned with);

#endif
