/* SPDX-License-Identifier: MIT */
/*
 * Is all memory of a process there? While pages of a lazy restore are missing, the areas that they
 * belong to are registered with a userfaultfd, and the kernel says so in /proc/PID/smaps. A
 * checkpoint taken meanwhile would lack those pages, and CRIU would not say so.
 */
#ifndef LZ_WHOLE_H
#define LZ_WHOLE_H

#include <stdint.h>
#include <sys/types.h>

struct lz_whole {
	uint64_t nr_processes, nr_areas; /* looked at; registered */
	uint64_t missing_bytes;          /* in those, at most: holes of the image count too */
	pid_t pid;                       /* the first that lacks something; 0: none does */
};

/*
 * Looks at @pid and at all below it. 0, or -errno: -ESRCH where there is no process @pid. One found
 * whole stays whole, and so do the children that it forks from then on.
 */
int lz_whole_look(pid_t pid, struct lz_whole *w);
/* The same again and again until all is there, for @seconds at most. */
int lz_whole_wait(pid_t pid, unsigned seconds, struct lz_whole *w);

#endif
