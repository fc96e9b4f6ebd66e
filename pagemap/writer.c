/* SPDX-License-Identifier: MIT */
/*
 * Writes CRIU images. A record of the pagemap is held back until it is known how far it goes; pages
 * are written as they come. Files are made anew, never overwritten in place: a copy of an image
 * directory may share them by hard links.
 */
#include "pagemap/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/mm.pb-c.h"
#include "proto/criu/pagemap.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "proto/image.h"

enum { PAGE_SHIFT = 12, PAGE_MASK = (1 << PAGE_SHIFT) - 1, NAME_MAX_LEN = 64 };
enum { IMG_VERSION = 2 };
/* What CRIU says of a plain private anonymous mapping, in mmap's and in its own bits. */
enum { VMA_FLAGS = 0x22, VMA_STATUS = 1 << 0 | 1 << 9 };

struct out {
	FILE *file;
	char name[NAME_MAX_LEN];
};

struct lz_writer {
	enum lz_pagemap_format format;
	struct out pagemap, pages;
	uint64_t vaddr, nr_pages; /* the record held back; none if 0 pages */
	uint32_t flags;
	uint64_t end;     /* nothing may begin below it */
	uint64_t written; /* bytes of pages, holes included */
	int failed;       /* what has, first of all: there will be no image */
};

static int refuse(const struct out *o, int err, struct lz_why *why)
{
	return lz_why_say(why, err, "%s cannot be written: %s", o->name, strerror(-err));
}

__attribute__((format(printf, 4, 5))) static int create(struct out *o, int dirfd,
							struct lz_why *why, const char *format, ...)
{
	va_list args;
	int fd, err;

	va_start(args, format);
	vsnprintf(o->name, sizeof(o->name), format, args);
	va_end(args);
	o->file = NULL;
	if (unlinkat(dirfd, o->name, 0) < 0 && errno != ENOENT)
		return refuse(o, -errno, why);
	fd = openat(dirfd, o->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return refuse(o, -errno, why);
	o->file = fdopen(fd, "w");
	if (!o->file) {
		err = -errno;
		close(fd);
		return refuse(o, err, why);
	}
	return 0;
}

/* Says @err, or else what goes wrong on the way. */
static int finish(struct out *o, int err, struct lz_why *why)
{
	if (o->file && fclose(o->file) && !err)
		err = refuse(o, -errno, why);
	o->file = NULL;
	return err;
}

static int put_head(struct out *o, enum lz_image_magic magic, struct lz_why *why)
{
	uint8_t head[8];
	size_t len = lz_image_head(head, magic);

	return fwrite(head, len, 1, o->file) == 1 ? 0 : refuse(o, -errno, why);
}

static int put_record(struct out *o, const ProtobufCMessage *message, struct lz_why *why)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *record;
	int err = 0;

	if (len > LZ_IMAGE_RECORD_MAX)
		return refuse(o, -EFBIG, why);
	record = malloc(4 + len);
	if (!record)
		return refuse(o, -ENOMEM, why);
	lz_image_put_size(record, (uint32_t)len);
	protobuf_c_message_pack(message, record + 4);
	if (fwrite(record, 4 + len, 1, o->file) != 1)
		err = refuse(o, -errno, why);
	free(record);
	return err;
}

int lz_writer_open(struct lz_writer **out, int dirfd, uint32_t pid, uint32_t pages_id,
		   enum lz_pagemap_format format, struct lz_why *why)
{
	Lz__Criu__PagemapHead head = LZ__CRIU__PAGEMAP_HEAD__INIT;
	struct lz_writer *w = calloc(1, sizeof(*w));
	int err;

	why->text[0] = '\0';
	if (!w)
		return lz_why_say(why, -ENOMEM, "not enough memory to write images");
	w->format = format;
	head.pages_id = pages_id;
	err = create(&w->pages, dirfd, why, "pages-%" PRIu32 ".img", pages_id);
	if (!err)
		err = create(&w->pagemap, dirfd, why, "pagemap-%" PRIu32 ".img", pid);
	if (!err)
		err = put_head(&w->pagemap, LZ_IMAGE_PAGEMAP, why);
	if (!err)
		err = put_record(&w->pagemap, &head.base, why);
	if (err) {
		finish(&w->pagemap, err, why);
		finish(&w->pages, err, why);
		free(w);
		return err;
	}
	*out = w;
	return 0;
}

static int put_entry(struct lz_writer *w, uint64_t vaddr, uint64_t nr_pages, struct lz_why *why)
{
	Lz__Criu__PagemapEntry entry = LZ__CRIU__PAGEMAP_ENTRY__INIT;

	entry.vaddr = vaddr;
	entry.has_flags = 1;
	entry.flags = w->flags;
	if (w->format == LZ_PAGEMAP_4_1) {
		entry.compat_nr_pages = (uint32_t)nr_pages;
	} else {
		entry.has_nr_pages = 1;
		entry.nr_pages = nr_pages;
	}
	return put_record(&w->pagemap, &entry.base, why);
}

/* Writes the record held back: more than one if its number of pages has too few bits. */
static int flush(struct lz_writer *w, struct lz_why *why)
{
	uint64_t max = w->format == LZ_PAGEMAP_4_1 ? UINT32_MAX : UINT64_MAX;
	int err = 0;

	while (w->nr_pages && !err) {
		uint64_t nr = w->nr_pages < max ? w->nr_pages : max;

		err = put_entry(w, w->vaddr, nr, why);
		w->vaddr += nr << PAGE_SHIFT;
		w->nr_pages -= nr;
	}
	return err;
}

static int put_pages(struct lz_writer *w, const uint8_t *bytes, uint64_t len, struct lz_why *why)
{
	uint64_t have = 0;

	while (bytes && have < len) {
		ssize_t n = pwrite(fileno(w->pages.file), bytes + have, len - have,
				   (off_t)(w->written + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return refuse(&w->pages, n ? -errno : -ENOSPC, why);
		have += (uint64_t)n;
	}
	w->written += len;
	return 0;
}

static int check_entry(const struct lz_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		       const void *bytes, struct lz_why *why)
{
	const uint32_t where = flags & (LZ_PAGE_PARENT | LZ_PAGE_PRESENT);

	if (vaddr & PAGE_MASK || !nr_pages || nr_pages > (UINT64_MAX - vaddr) >> PAGE_SHIFT)
		return lz_why_say(why, -EINVAL, "%s: there are no %" PRIu64 " pages at 0x%" PRIx64,
				  w->pagemap.name, nr_pages, vaddr);
	if (vaddr < w->end)
		return lz_why_say(why, -EINVAL,
				  "%s: pages from 0x%" PRIx64 " on come after those up to "
				  "0x%" PRIx64,
				  w->pagemap.name, vaddr, w->end);
	if (flags & ~7u || !flags || where == (LZ_PAGE_PARENT | LZ_PAGE_PRESENT) ||
	    (bytes && !(flags & LZ_PAGE_PRESENT)))
		return lz_why_say(why, -EINVAL,
				  "%s: flags 0x%" PRIx32 " %s bytes mean nothing at 0x%" PRIx64,
				  w->pagemap.name, flags, bytes ? "with" : "without", vaddr);
	if (flags & LZ_PAGE_PRESENT && nr_pages > (INT64_MAX - w->written) >> PAGE_SHIFT)
		return lz_why_say(why, -EFBIG, "%s: no file holds %" PRIu64 " pages more",
				  w->pages.name, nr_pages);
	return 0;
}

static int add(struct lz_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
	       const void *bytes, struct lz_why *why)
{
	int err;

	if (flags & LZ_PAGE_PRESENT) {
		err = put_pages(w, bytes, nr_pages << PAGE_SHIFT, why);
		if (err)
			return err;
	}
	if (!w->nr_pages || vaddr != w->end || flags != w->flags) {
		err = flush(w, why);
		if (err)
			return err;
		w->vaddr = vaddr;
		w->flags = flags;
	}
	w->nr_pages += nr_pages;
	w->end = vaddr + (nr_pages << PAGE_SHIFT);
	return 0;
}

static int say_failed(const struct lz_writer *w, struct lz_why *why)
{
	return lz_why_say(why, w->failed,
			  "%s is no image: what was added before was not written: %s",
			  w->pagemap.name, strerror(-w->failed));
}

int lz_writer_add(struct lz_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		  const void *bytes, struct lz_why *why)
{
	int err;

	why->text[0] = '\0';
	if (w->failed)
		return say_failed(w, why);
	err = check_entry(w, vaddr, nr_pages, flags, bytes, why);
	if (!err)
		err = w->failed = add(w, vaddr, nr_pages, flags, bytes, why);
	return err;
}

int lz_writer_close(struct lz_writer *w, struct lz_why *why)
{
	int err;

	why->text[0] = '\0';
	err = w->failed ? say_failed(w, why) : flush(w, why);
	/* A hole at the end has no byte behind it that would make the file long enough. */
	if (!err && ftruncate(fileno(w->pages.file), (off_t)w->written) < 0)
		err = refuse(&w->pages, -errno, why);
	err = finish(&w->pages, err, why);
	err = finish(&w->pagemap, err, why);
	free(w);
	return err;
}

int lz_writer_inventory(int dirfd, struct lz_why *why)
{
	Lz__Criu__InventoryEntry entry = LZ__CRIU__INVENTORY_ENTRY__INIT;
	struct out o;
	int err;

	why->text[0] = '\0';
	entry.img_version = IMG_VERSION;
	entry.has_fdinfo_per_id = 1;
	entry.fdinfo_per_id = 1;
	err = create(&o, dirfd, why, "inventory.img");
	if (!err)
		err = put_head(&o, LZ_IMAGE_INVENTORY, why);
	if (!err)
		err = put_record(&o, &entry.base, why);
	return finish(&o, err, why);
}

int lz_writer_pstree(int dirfd, const struct lz_task *task, size_t nr, struct lz_why *why)
{
	struct out o;
	int err;

	why->text[0] = '\0';
	err = create(&o, dirfd, why, "pstree.img");
	if (!err)
		err = put_head(&o, LZ_IMAGE_PSTREE, why);
	for (size_t n = 0; n < nr && !err; n++) {
		Lz__Criu__PstreeEntry entry = LZ__CRIU__PSTREE_ENTRY__INIT;

		entry.pid = task[n].pid;
		entry.ppid = task[n].ppid;
		/* One group and session, the first task's. */
		entry.has_pgid = entry.has_sid = 1;
		entry.pgid = entry.sid = task[0].pid;
		entry.n_threads = 1;
		entry.threads = &entry.pid;
		err = put_record(&o, &entry.base, why);
	}
	return finish(&o, err, why);
}

static void describe(Lz__Criu__VmaEntry *vma, const struct lz_writer_area *area)
{
	lz__criu__vma_entry__init(vma);
	vma->start = area->start;
	vma->end = area->end;
	vma->has_pgoff = vma->has_shmid = vma->has_prot = vma->has_fd = 1;
	vma->prot = area->prot;
	vma->flags = VMA_FLAGS;
	vma->status = VMA_STATUS;
	vma->fd = -1;
}

/* What reads them takes no others. */
static int check_areas(uint32_t pid, const struct lz_writer_area *area, size_t nr,
		       struct lz_why *why)
{
	uint64_t end = 0;

	for (size_t n = 0; n < nr; end = area[n++].end)
		if (area[n].start < end || area[n].start >= area[n].end ||
		    (area[n].start | area[n].end) & PAGE_MASK)
			return lz_why_say(why, -EINVAL,
					  "mm-%" PRIu32 ".img: 0x%" PRIx64 "-0x%" PRIx64
					  ", area number %zu, is empty, not of whole pages or not "
					  "behind the one before it",
					  pid, area[n].start, area[n].end, n + 1);
	return 0;
}

int lz_writer_mm(int dirfd, uint32_t pid, const struct lz_writer_area *area, size_t nr,
		 struct lz_why *why)
{
	Lz__Criu__MmEntry entry = LZ__CRIU__MM_ENTRY__INIT;
	Lz__Criu__VmaEntry *vma = calloc(nr + !nr, sizeof(*vma));
	Lz__Criu__VmaEntry **list = calloc(nr + !nr, sizeof(Lz__Criu__VmaEntry *));
	struct out o = { .file = NULL };
	int err;

	why->text[0] = '\0';
	err = check_areas(pid, area, nr, why);
	if (!err && (!vma || !list))
		err = lz_why_say(why, -ENOMEM, "not enough memory to write %zu areas", nr);
	for (size_t n = 0; n < nr && !err; n++) {
		describe(&vma[n], &area[n]);
		list[n] = &vma[n];
	}
	entry.has_start_code = entry.has_end_code = 1;
	entry.has_start_data = entry.has_end_data = 1;
	entry.has_start_stack = entry.has_start_brk = entry.has_brk = 1;
	entry.has_arg_start = entry.has_arg_end = 1;
	entry.has_env_start = entry.has_env_end = entry.has_exe_file_id = 1;
	entry.n_vmas = nr;
	entry.vmas = list;
	if (!err)
		err = create(&o, dirfd, why, "mm-%" PRIu32 ".img", pid);
	if (!err)
		err = put_head(&o, LZ_IMAGE_MM, why);
	if (!err)
		err = put_record(&o, &entry.base, why);
	err = finish(&o, err, why);
	free(list);
	free(vma);
	return err;
}

int lz_writer_parent(int dirfd, const char *target, struct lz_why *why)
{
	why->text[0] = '\0';
	if (unlinkat(dirfd, "parent", 0) < 0 && errno != ENOENT)
		return lz_why_say(why, -errno, "the parent link is in the way: %s",
				  strerror(errno));
	if (symlinkat(target, dirfd, "parent") < 0)
		return lz_why_say(why, -errno, "the parent link cannot be made: %s",
				  strerror(errno));
	return 0;
}
