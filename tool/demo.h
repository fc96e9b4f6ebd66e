/* SPDX-License-Identifier: MIT */
/* The demo's three processes, and what they share. */
#ifndef LZ_DEMO_H
#define LZ_DEMO_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "tool/probe.h"

enum { LZ_DEMO_PAGE = 4096 };

/* Written by the children, read when they have ended. */
struct lz_demo_shared {
	uint64_t nr_holes;
	uint64_t nr_wrong, first_wrong;
	uint64_t latency_ns[]; /* of the first access to each page, in the order of the accesses */
};

struct lz_demo {
	uint64_t addr, nr_pages;
	enum lz_uffd_way way; /* in which a userfaultfd is to be had */
	struct lz_demo_shared *shared;
};

/* Finds the way; -errno of the last one where there is none. */
int lz_demo_userfaultfd(struct lz_demo *d);

/* Run in a child of their own and do not return. @sock is the way to the parent. */

/* Fills the memory; says so by a byte and waits for the end of the connection. */
_Noreturn void lz_demo_first(const struct lz_demo *d, int sock);
/* Gives the parent a userfaultfd of the empty memory; touches and verifies all of it. */
_Noreturn void lz_demo_second(const struct lz_demo *d, int sock);

#endif
