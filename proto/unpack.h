/* SPDX-License-Identifier: MIT */
/*
 * Protobuf messages from bytes. protobuf-c says only that there is no message; here it is said as
 * well whether the bytes were none or there was no memory for it: a file must not be called damaged
 * for that. Pure.
 */
#ifndef LZ_UNPACK_H
#define LZ_UNPACK_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The message of @what in @len bytes, to be freed by its own ..._free_unpacked(message, NULL). NULL
 * with *err -EBADMSG or -ENOMEM if there is none.
 */
void *lz_unpack(const ProtobufCMessageDescriptor *what, const uint8_t *bytes, size_t len, int *err);

#endif
