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
/* What is missing for cases made @with that, or NULL. */
const char *live_house_lacks(unsigned with);

#endif
