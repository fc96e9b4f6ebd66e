/* SPDX-License-Identifier: MIT */
/* The area of copiers_area.h. Not here: any test. */
#define _GNU_SOURCE 1
#include "copiers_area.h"

#include <check.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/fds.h"

struct lz_copiers copiers;
uint8_t *area, *bytes;
int uffd = -1;

bool has_uffd(void)
{
	int fd = fds_uffd(UFFD_FEATURE_EVENT_REMOVE);

	if (fd < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(-fd));
		return false;
	}
	close(fd);
	return true;
}

static void *map(uint64_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	(void)madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	return p;
}

void set_up(uint64_t features, unsigned nr)
{
	struct uffdio_register reg = { .range.len = PAGES * PAGE,
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	uffd = fds_uffd(features);
	ck_assert_int_ge(uffd, 0);
	area = map(PAGES);
	bytes = map(PAGES);
	for (uint64_t i = 0; i < PAGES * PAGE; i++)
		bytes[i] = (uint8_t)(1 + (i * 7 + i / PAGE) % 255);
	reg.range.start = (uintptr_t)area;
	ck_assert_int_eq(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	ck_assert_int_eq(lz_copiers_open(&copiers, nr), 0);
	ck_assert_uint_eq(copiers.nr, nr);
}

void tear_down(void)
{
	lz_copiers_close(&copiers);
	close(uffd);
	munmap(area, PAGES * PAGE);
	munmap(bytes, PAGES * PAGE);
}

struct lz_range pages(uint64_t first, uint64_t nr)
{
	uint64_t at = (uintptr_t)area + first * PAGE;

	return (struct lz_range){ at, at + nr * PAGE };
}

uint64_t page_of(uint64_t at)
{
	return (at - (uintptr_t)area) / PAGE;
}

void check_bytes(uint64_t first, uint64_t nr)
{
	ck_assert(!memcmp(area + first * PAGE, bytes + first * PAGE, nr * PAGE));
}

struct lz_copy copy_of(uint64_t first, uint64_t nr, const uint8_t *from)
{
	return (struct lz_copy){ .fd = uffd,
				 .dst = pages(first, nr),
				 .src = from,
				 .space = 7,
				 .req = (uint32_t)(first / SLICE_PAGES) };
}

bool take(enum lz_copiers_how how, struct lz_copy *c)
{
	if (!lz_copiers_take(&copiers, how, c))
		return false;
	ck_assert_int_eq(c->fd, uffd);
	ck_assert_uint_eq(c->space, 7);
	ck_assert_uint_eq(page_of(c->dst.start) / SLICE_PAGES, c->req);
	return true;
}
