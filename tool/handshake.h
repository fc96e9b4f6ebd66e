/* SPDX-License-Identifier: MIT */
/*
 * What a VM says of its memory: the JSON that Firecracker sends to the handler of its page faults,
 * once, beside its userfaultfd. One text, one judgement: no file, no socket, no process.
 *
 * An array of objects, one a region of guest memory, in any order:
 *	base_host_virt_addr	where it is in Firecracker's process
 *	size, offset		which bytes of the memory file it is
 *	page_size		4096 or 2097152 (since 1.12)
 *	page_size_kib		the same, in bytes whatever its name says (since 1.7)
 * Before 1.7 there is neither: 4096. Other keys are for others.
 */
#ifndef LZ_HANDSHAKE_H
#define LZ_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "uffd/lazyd.h"

/* Firecracker sends 1 to 3 regions, of 150 bytes each;
 * and one more for each slot of memory that can be plugged in. */
enum { LZ_REGIONS_MAX = LAZYD_PLACES_MAX, LZ_HANDSHAKE_MAX = 16384 };

struct lz_regions {
	uint64_t page_size; /* of all of them */
	uint64_t end;       /* of the file's bytes, the last that any has */
	uint32_t nr;
	struct lazyd_place place[LZ_REGIONS_MAX]; /* the memory's addresses: the file's offsets */
};

/*
 * Judges the @len bytes that have come so far; @size: how long the memory file is, 0: not known.
 * 0; -EAGAIN: it is not whole yet; -EPROTO: it is no such text, or one that cannot be served, as
 * the sentence says.
 */
int lz_handshake_read(struct lz_regions *out, const char *text, size_t len, uint64_t size,
		      struct lazyd_why *why);

#endif
