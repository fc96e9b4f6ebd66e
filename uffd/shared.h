/* SPDX-License-Identifier: MIT */
/* The memory of a state: a memfd, so that it outlives execve() and can be handed to somebody. */
#ifndef LZ_SHARED_H
#define LZ_SHARED_H

#include <stddef.h>
#include <stdint.h>

#include "uffd/state.h"

struct lazyd_state {
	struct lz_state *state;
	size_t len;
	int fd; /* -1: nobody else is to have it */
};

/* The same without a descriptor. */
int lz_shared_private(struct lazyd_state **out, uint64_t pages);

#endif
