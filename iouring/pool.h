/* SPDX-License-Identifier: MIT */
/* Page-aligned buffers, one for each request: buffer i belongs to request i for its whole life. */
#ifndef LZ_POOL_H
#define LZ_POOL_H

#include <stddef.h>

struct lz_pool {
	void *base;
	size_t len; /* of one buffer */
	unsigned nr;
};

int lz_pool_init(struct lz_pool *p, unsigned nr, size_t len);
void lz_pool_fini(struct lz_pool *p);
void *lz_pool_buffer(const struct lz_pool *p, unsigned i);

#endif
