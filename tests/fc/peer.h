/* SPDX-License-Identifier: MIT */
/* What the parts of the peer share: what it was told to be, and the regions of its guest memory. */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>

enum { PAGE = 4096, MIB = 1 << 20, REGIONS_MAX = 8, EXTRA_MAX = 40 };

struct region {
	uint64_t offset, size;
	uint8_t *at;
};

extern struct options {
	const char *api, *layout, *die, *body, *give;
	unsigned extra, nr_threads, pieces, remove_percent;
	uint64_t operations;
	uint64_t seed;
	int user;
	bool huge, holds, leaves, quiet, advises, part, pauses, times;
} o;

extern struct region region[REGIONS_MAX];
extern unsigned nr_regions;
extern uint64_t page_size;

/* Ends with what @format says, and errno. */
__attribute__((format(printf, 1, 2), noreturn)) void bad(const char *format, ...);
/* Ends by a signal where --die says this step. */
void die_at(const char *step);
uint64_t next_random(uint64_t *seed);

/* peer_files.c: memory files, by the arguments after the word. */
int make_base(char **argv);
int make_diff(char **argv);

/* peer_shake.c: the handler's socket, and what a VMM says there. */
int dial(const char *path);
void shake_hands(int sock, int uffd);

#endif
