/* SPDX-License-Identifier: MIT */
/*
 * Areas of a task that are restored lazily. The numbers below are what stands in images made on
 * Linux, whatever machine reads them.
 */
#include "pagemap/vmas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "pagemap/range.h"
#include "proto/criu/mm.pb-c.h"
#include "proto/image.h"
#include "proto/unpack.h"

enum { PAGE_SHIFT = 12, PAGE_MASK = (1 << PAGE_SHIFT) - 1 };

enum { MAP_PRIVATE = 0x2, MAP_ANONYMOUS = 0x20, MAP_LOCKED = 0x2000, MAP_HUGETLB = 0x40000 };

enum {
	STATUS_VSYSCALL = 1 << 2,
	STATUS_VDSO = 1 << 3,
	STATUS_VVAR = 1 << 12,
	/* No mapping but a note on one: a guard region inside another area (since 4.2). */
	STATUS_GUARD = 1 << 16,
};

static bool is_lazy(const Lz__Criu__VmaEntry *vma)
{
	const uint32_t wanted = MAP_PRIVATE | MAP_ANONYMOUS;
	const uint32_t unwanted = MAP_LOCKED | MAP_HUGETLB;

	return (vma->flags & (wanted | unwanted)) == wanted &&
	       !(vma->status & (STATUS_VSYSCALL | STATUS_VDSO | STATUS_VVAR | STATUS_GUARD));
}

static int append(struct lz_image *mm, const Lz__Criu__VmaEntry *vma, size_t n, struct lz_seg *seg,
		  size_t *nr)
{
	if (vma->start >= vma->end || (vma->start | vma->end) & PAGE_MASK)
		return lz_image_refuse(mm, -EBADMSG,
				       "has an area, number %zu, that is empty or not of whole "
				       "pages: 0x%" PRIx64 "-0x%" PRIx64,
				       n, vma->start, vma->end);
	if (*nr && vma->start < seg[*nr - 1].end)
		return lz_image_refuse(mm, -EBADMSG,
				       "has an area, number %zu at 0x%" PRIx64
				       ", that begins before the end of the one before it, "
				       "0x%" PRIx64,
				       n, vma->start, seg[*nr - 1].end);
	seg[(*nr)++] = (struct lz_seg){
		.start = vma->start,
		.end = vma->end,
		.identity = vma->start,
		.page_shift = PAGE_SHIFT,
	};
	return 0;
}

static int gather(struct lz_image *mm, const Lz__Criu__MmEntry *entry, struct lz_seg **out,
		  size_t *nr)
{
	struct lz_seg *seg;
	size_t wanted = 0;
	int err = 0;

	for (size_t n = 0; n < entry->n_vmas; n++)
		wanted += is_lazy(entry->vmas[n]);
	*nr = 0;
	*out = NULL;
	if (!wanted)
		return 0;
	seg = calloc(wanted, sizeof(*seg));
	if (!seg)
		return -ENOMEM;
	for (size_t n = 0; n < entry->n_vmas && !err; n++) {
		if (is_lazy(entry->vmas[n]))
			err = append(mm, entry->vmas[n], n + 1, seg, nr);
	}
	if (err)
		free(seg);
	else
		*out = seg;
	return err;
}

int lz_vmas_read(struct lz_image *mm, struct lz_seg **out, size_t *nr)
{
	Lz__Criu__MmEntry *entry;
	const uint8_t *payload;
	size_t len;
	int err = lz_image_next(mm, &payload, &len);

	if (err < 0)
		return err;
	if (!err)
		return lz_image_refuse(mm, -EBADMSG, "holds no record");
	entry = lz_unpack(&lz__criu__mm_entry__descriptor, payload, len, &err);
	if (!entry)
		return lz_image_refuse(mm, err, "is no description of a task's areas");
	err = gather(mm, entry, out, nr);
	lz__criu__mm_entry__free_unpacked(entry, NULL);
	return err;
}
