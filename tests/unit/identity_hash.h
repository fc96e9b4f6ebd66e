/* SPDX-License-Identifier: MIT */
/* An identity that can be returned and compared. */
#ifndef IDENTITY_HASH_H
#define IDENTITY_HASH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pagemap/identity.h"

struct hash {
	uint8_t bytes[LZ_IDENTITY_BYTES];
};

static inline bool same(struct hash a, struct hash b)
{
	return !memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

#endif
