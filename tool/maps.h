/* SPDX-License-Identifier: MIT */
/* The areas of a process, as /proc/PID/maps and smaps have them. */
#ifndef LZ_MAPS_H
#define LZ_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct lz_maps_area {
	uint64_t start, end;
	uint32_t prot;   /* PROT_X */
	bool is_shared;  /* else private */
	bool is_kernels; /* [vdso] and its like */
	/* smaps tells also */
	bool may_be_huge;   /* the kernel would give it huge pages */
	bool is_registered; /* with a userfaultfd, for missing pages */
	uint64_t missing;   /* bytes that are neither in memory nor swapped out */
};

/*
 * Calls @take for one area after another until it returns other than 0, which is returned. smaps
 * costs a walk through the page tables. -ESRCH: there is no such process, or no longer; -EPROTO:
 * the file is no such one.
 */
enum lz_maps_file { LZ_MAPS, LZ_SMAPS };
int lz_maps_read(pid_t pid, enum lz_maps_file which,
		 int (*take)(const struct lz_maps_area *a, void *arg), void *arg);
/* The same of a file that is open. */
int lz_maps_parse(FILE *f, enum lz_maps_file which,
		  int (*take)(const struct lz_maps_area *a, void *arg), void *arg);

#endif
