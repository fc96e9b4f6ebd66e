/* SPDX-License-Identifier: MIT */
/*
 * Huge pages, given back to a process whose memory has come in small ones: UFFDIO_COPY makes no
 * other. MADV_COLLAPSE (Linux 6.1) copies a block of small pages into one huge page at once, where
 * khugepaged would come to it some minutes later, or never. Whether a process had huge pages its
 * images do not tell; that the kernel would give it some does /proc/PID/smaps: areas with
 * MADV_HUGEPAGE, all of them where transparent_hugepage/enabled says "always".
 */
#ifndef LZ_COLLAPSE_H
#define LZ_COLLAPSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

/* Not in the libc of Debian 12. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct lz_collapsed {
	uint64_t bytes; /* that are in huge pages now */
	/* Of blocks that the kernel refused: memory is short, or pages are pinned. */
	uint64_t failed;
	int error; /* why, the last of them: -errno */
};

/* May this process ask that of another? It takes CAP_SYS_NICE. */
bool lz_collapse_is_allowed(void);

/*
 * Of @pid, which @pidfd is too: the blocks of private anonymous memory that are wholly there and
 * not zero, so that no more memory is in use after than before. Adds to @to. The process runs on
 * meanwhile; who faults while a block is at work waits for it, about a millisecond. @goes_on is
 * asked before each block. 0 or -errno: -ESRCH, it has ended.
 */
int lz_collapse(pid_t pid, int pidfd, struct lz_collapsed *to, bool (*goes_on)(void *arg),
		void *arg);

#endif
