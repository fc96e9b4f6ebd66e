/* SPDX-License-Identifier: MIT */
/*
 * The process that makes huge pages for --collapse. Keeper and worker cannot: Landlock keeps them
 * from looking at other processes, and what it takes (CAP_SYS_NICE, CAP_SYS_PTRACE) is not to be
 * where bytes from outside are read. So it is forked before they confine themselves, hears nothing
 * but pidfds, and outlives either of them, and a program that is replaced: its socket is in the
 * session. It is nobody's child, so that nobody has to wait for it. It is worth no alarm when it
 * dies: pages stay small.
 */
#ifndef LZ_HUGE_H
#define LZ_HUGE_H

#include <stdbool.h>
#include <stdint.h>

#include "tool/service.h"

struct lz_huge_result {
	uint64_t bytes, failed; /* see struct lz_collapsed */
	uint32_t nr_processes;
};

/* The socket to it, or -errno. */
int lz_huge_begin(const struct lz_log *log);
/* That process is full. It is gone about at once, beside what else happens. 0 or -errno;
 * -EAGAIN: some hundreds have been asked for and not yet had, and not @waits. */
int lz_huge_ask(int fd, int pidfd, bool waits);
/*
 * All have been named; waits for what is still under way, or for SIGTERM or SIGINT at @signal_fd,
 * which is read, and closes @fd. False: nobody knows what has become of it.
 */
bool lz_huge_end(int fd, int signal_fd, struct lz_huge_result *result);

#endif
