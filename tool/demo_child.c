/* SPDX-License-Identifier: MIT */
/* The children of demo.h: one whose memory is written out, one that is given it lazily. */
#include "tool/demo.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/parcel.h"

enum { WORDS = LZ_DEMO_PAGE / sizeof(uint64_t), HOLE_PAGES = 16 };

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Every eighth stretch of pages stays untouched, and single ones among the others. */
static bool is_hole(uint64_t page)
{
	return mix(page / HOLE_PAGES) % 8 == 0 || mix(~page) % 64 == 0;
}

static uint64_t word(uint64_t page, uint64_t i)
{
	return is_hole(page) ? 0 : mix(page * WORDS + i) | 1;
}

static void map(const struct lz_demo *d)
{
	size_t len = d->nr_pages * LZ_DEMO_PAGE;
	void *at = (void *)(uintptr_t)d->addr;

	/* Huge pages would fill the holes. */
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    at ||
	    (madvise(at, len, MADV_NOHUGEPAGE) && errno != EINVAL)) {
		lz_out_error("%s cannot be mapped: %s", lz_out_size(len).s, strerror(errno));
		_exit(1);
	}
}

static uint64_t *page_at(const struct lz_demo *d, uint64_t page)
{
	return (uint64_t *)(uintptr_t)(d->addr + page * LZ_DEMO_PAGE);
}

/* Nothing of a demo is to be left when its first process is killed. */
static void end_with_parent(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void lz_demo_first(const struct lz_demo *d, int sock)
{
	char byte = 0;

	end_with_parent();
	map(d);
	for (uint64_t page = 0; page < d->nr_pages; page++) {
		uint64_t *at = page_at(d, page);

		if (is_hole(page)) {
			d->shared->nr_holes++;
			continue;
		}
		for (uint64_t i = 0; i < WORDS; i++)
			at[i] = word(page, i);
	}
	(void)send(sock, &byte, 1, MSG_NOSIGNAL);
	(void)recv(sock, &byte, 1, 0);
	_exit(0);
}

int lz_demo_userfaultfd(struct lz_demo *d)
{
	int fd = -ENOSYS;

	for (unsigned way = 0; way < LZ_UFFD_WAYS; way++) {
		fd = lz_probe_uffd_open((enum lz_uffd_way)way);
		if (fd < 0)
			continue;
		(void)close(fd);
		d->way = (enum lz_uffd_way)way;
		return 0;
	}
	return fd;
}

static int give_memory_away(const struct lz_demo *d, int sock)
{
	struct uffdio_register reg = { .range = { d->addr, d->nr_pages * LZ_DEMO_PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = lz_probe_uffd_open(d->way), r = fd < 0 ? fd : 0;
	uint64_t got;

	if (!r)
		r = lz_probe_uffd_api(fd,
				      UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
					      UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP,
				      &got);
	if (!r && ioctl(fd, UFFDIO_REGISTER, &reg))
		r = -errno;
	if (!r)
		r = lz_parcel_send(sock, fd, 0);
	(void)close(fd);
	return r;
}

static uint64_t *random_order(uint64_t n)
{
	uint64_t *order = malloc(n * sizeof(*order));

	for (uint64_t i = 0; order && i < n; i++) {
		uint64_t k = mix(i) % (i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	return order;
}

static bool is_right(const struct lz_demo *d, uint64_t page)
{
	const uint64_t *at = page_at(d, page);

	for (uint64_t i = 0; i < WORDS; i++)
		if (at[i] != word(page, i))
			return false;
	return true;
}

void lz_demo_second(const struct lz_demo *d, int sock)
{
	uint64_t *order = random_order(d->nr_pages), begun;
	int r;

	end_with_parent();
	map(d);
	r = order ? give_memory_away(d, sock) : -ENOMEM;
	if (r) {
		lz_out_error("the second child cannot give its memory away: %s", strerror(-r));
		_exit(1);
	}
	for (uint64_t i = 0; i < d->nr_pages; i++) {
		begun = lz_out_now();
		(void)*(volatile uint64_t *)page_at(d, order[i]);
		d->shared->latency_ns[i] = lz_out_now() - begun;
		if (is_right(d, order[i]))
			continue;
		if (!d->shared->nr_wrong++)
			d->shared->first_wrong = order[i];
	}
	_exit(0);
}
