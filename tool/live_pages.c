/* SPDX-License-Identifier: MIT */
/*
 * Asks the kernel: PAGEMAP_SCAN (Linux 6.7), which tells of zero pages too, or else the words of
 * /proc/PID/pagemap, which do not: a server finds those when it reads them.
 */
#include "tool/live_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tool/scan.h"

#define WORD_PRESENT (UINT64_C(1) << 63)
#define WORD_SWAPPED (UINT64_C(1) << 62)
#define WORD_FILE (UINT64_C(1) << 61) /* a file's, or shared */

enum { PAGE = 4096, REGIONS = 512, WORDS = 4096 };

int lz_live_pages_add_area(struct lz_live_task *t, const struct lz_maps_area *a)
{
	struct lazyd_area *all = reallocarray(t->area, t->nr_areas + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	t->area = all;
	t->area[t->nr_areas++] = (struct lazyd_area){ .start = a->start,
						      .end = a->end,
						      .prot = a->prot };
	return 0;
}

static int add(struct lz_live_task *t, uint64_t start, uint64_t end)
{
	struct lz_live_range *all, *last = t->nr_pages ? &t->page[t->nr_pages - 1] : NULL;

	if (last && last->end == start) {
		last->end = end;
		return 0;
	}
	/* By doubling: there may be a million of them. */
	if (!(t->nr_pages & (t->nr_pages - 1))) {
		all = reallocarray(t->page, t->nr_pages ? 2 * t->nr_pages : 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		t->page = all;
	}
	t->page[t->nr_pages++] = (struct lz_live_range){ start, end };
	return 0;
}

/* -ENOTTY: there is no such call. */
static int scan(struct lz_live_task *t, int fd, const struct lazyd_area *a)
{
	static struct page_region region[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = a->start,
		.end = a->end,
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
		.category_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	int n, r = 0;

	while (!r && arg.start < arg.end) {
		n = ioctl(fd, PAGEMAP_SCAN, &arg);
		if (n < 0)
			return -errno;
		for (int i = 0; !r && i < n; i++)
			r = add(t, region[i].start, region[i].end);
		arg.start = arg.walk_end;
	}
	return r;
}

static int read_words(struct lz_live_task *t, int fd, const struct lazyd_area *a)
{
	static uint64_t word[WORDS];
	int r = 0;

	for (uint64_t at = a->start; !r && at < a->end;) {
		uint64_t nr = (a->end - at) / PAGE;
		ssize_t n = pread(fd, word, (nr < WORDS ? nr : WORDS) * sizeof(*word),
				  (off_t)(at / PAGE * sizeof(*word)));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		nr = (uint64_t)n / sizeof(*word);
		for (uint64_t i = 0; !r && i < nr; i++, at += PAGE)
			if (word[i] & (WORD_PRESENT | WORD_SWAPPED) && !(word[i] & WORD_FILE))
				r = add(t, at, at + PAGE);
	}
	return r;
}

int lz_live_pages(struct lz_live_task *t, bool scans)
{
	char path[64];
	int fd, r = 0;

	(void)snprintf(path, sizeof(path), "/proc/%u/pagemap", t->task.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; !r && i < t->nr_areas; i++) {
		r = scans ? scan(t, fd, &t->area[i]) : -ENOTTY;
		if (r == -ENOTTY || r == -EINVAL) {
			scans = false;
			r = read_words(t, fd, &t->area[i]);
		}
	}
	(void)close(fd);
	return r;
}
