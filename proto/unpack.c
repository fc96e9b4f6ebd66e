/* SPDX-License-Identifier: MIT */
/* Unpacks with an allocator that remembers whether it had to refuse. */
#include "proto/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static void *take(void *refused, size_t size)
{
	void *p = malloc(size);

	if (!p)
		*(bool *)refused = true;
	return p;
}

static void give(void *refused, void *p)
{
	(void)refused;
	free(p);
}

void *lz_unpack(const ProtobufCMessageDescriptor *what, const uint8_t *bytes, size_t len, int *err)
{
	bool refused = false;
	ProtobufCAllocator from = { .alloc = take, .free = give, .allocator_data = &refused };
	void *message = protobuf_c_message_unpack(what, &from, len, bytes);

	*err = message ? 0 : refused ? -ENOMEM : -EBADMSG;
	return message;
}
