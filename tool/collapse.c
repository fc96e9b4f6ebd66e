/* SPDX-License-Identifier: MIT */
/* Blocks are found as the pages of a live process are (live_pages.c),
 * in areas that smaps calls eligible. */
#include "tool/collapse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tool/live_pages.h"
#include "tool/maps.h"

enum { BLOCK_USUAL = 2 << 20 };

bool lz_collapse_is_allowed(void)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t on = CAP_CLEAR;

	if (caps)
		(void)cap_get_flag(caps, CAP_SYS_NICE, CAP_EFFECTIVE, &on);
	(void)cap_free(caps);
	return on == CAP_SET;
}

static uint64_t block_size(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re");
	uint64_t n;

	if (!f || fscanf(f, "%" SCNu64, &n) != 1 || !n || n & (n - 1))
		n = BLOCK_USUAL;
	if (f)
		(void)fclose(f);
	return n;
}

/* The private ones that are eligible. */
static int add_area(const struct lz_maps_area *a, void *task)
{
	return a->may_be_huge && !a->is_shared ? lz_live_pages_add_area(task, a) : 0;
}

/* 0, or what ends it all: who has ended, may not be asked,
 * or is of a kernel that does not know this. */
static int collapse_block(int pidfd, uint64_t at, uint64_t len, struct lz_collapsed *to)
{
	struct iovec block = { .iov_base = (void *)(uintptr_t)at, .iov_len = len };

	if (syscall(SYS_process_madvise, pidfd, &block, 1, MADV_COLLAPSE, 0) >= 0) {
		to->bytes += len;
		return 0;
	}
	if (errno == ESRCH || errno == EPERM || errno == EACCES || errno == ENOSYS)
		return -errno;
	to->failed += len;
	to->error = -errno;
	return 0;
}

int lz_collapse(pid_t pid, int pidfd, struct lz_collapsed *to, bool (*goes_on)(void *arg),
		void *arg)
{
	struct lz_live_task t = { .task = { .pid = (uint32_t)pid } };
	uint64_t block = block_size();
	int r = lz_maps_read(pid, LZ_SMAPS, add_area, &t);

	if (!r)
		r = lz_live_pages(&t, true);
	for (size_t i = 0; !r && i < t.nr_pages; i++) {
		uint64_t at = (t.page[i].start + block - 1) & ~(block - 1);

		for (; !r && at + block <= t.page[i].end && goes_on(arg); at += block)
			r = collapse_block(pidfd, at, block, to);
	}
	free(t.area);
	free(t.page);
	return r;
}
