/* SPDX-License-Identifier: MIT */
/*
 * The buffers of pool.h: one anonymous mapping. Which buffer is in use is not known here, it is the
 * request's.
 */
#include "iouring/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

int lz_pool_init(struct lz_pool *p, unsigned nr, size_t len)
{
	void *base;
	size_t total;

	assert(nr && len && len % (size_t)sysconf(_SC_PAGESIZE) == 0);
	if (__builtin_mul_overflow(nr, len, &total))
		return -ENOMEM;
	base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	*p = (struct lz_pool){ .base = base, .len = len, .nr = nr };
	return 0;
}

void lz_pool_fini(struct lz_pool *p)
{
	munmap(p->base, p->nr * p->len);
	*p = (struct lz_pool){ 0 };
}

void *lz_pool_buffer(const struct lz_pool *p, unsigned i)
{
	assert(i < p->nr);
	return (uint8_t *)p->base + i * p->len;
}
