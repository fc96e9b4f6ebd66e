/* SPDX-License-Identifier: MIT */
/* Images without a dump. Everything on disk goes through the writer; only damage goes past it. */
#include "tests/lib/imagegen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/criu/mm.pb-c.h"
#include "proto/criu/pagemap.pb-c.h"

const char *const imagegen_damage_name[] = { "cut",   "empty", "magic", "size",
					     "noise", "field", "repeat" };

uint64_t imagegen_range(const struct imagegen *g, uint64_t n)
{
	uint64_t base = g->base ? g->base : UINT64_C(0x10000000000);

	return base + n * (g->nr_pages + g->gap_pages) * IMAGEGEN_PAGE;
}

uint64_t imagegen_end(const struct imagegen *g)
{
	return imagegen_range(g, g->nr_ranges);
}

static uint64_t word(uint32_t pid, uint64_t vaddr, uint64_t n)
{
	uint64_t x = (vaddr + 8 * n) ^ (uint64_t)pid << 48;

	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

void imagegen_fill(uint32_t pid, uint64_t vaddr, uint8_t page[IMAGEGEN_PAGE])
{
	for (uint64_t n = 0; n < IMAGEGEN_PAGE / 8; n++) {
		uint64_t w = word(pid, vaddr, n);

		memcpy(page + 8 * n, &w, 8);
	}
}

bool imagegen_is(uint32_t pid, uint64_t vaddr, const uint8_t page[IMAGEGEN_PAGE])
{
	uint8_t wanted[IMAGEGEN_PAGE];

	imagegen_fill(pid, vaddr, wanted);
	return !memcmp(page, wanted, IMAGEGEN_PAGE);
}

static uint32_t pid_of(const struct imagegen *g, uint32_t task)
{
	return (g->first_pid ? g->first_pid : 1000) + task;
}

static uint32_t levels_of(const struct imagegen *g)
{
	return g->nr_levels ? g->nr_levels : 1;
}

static bool is_nth(uint64_t n, uint32_t every)
{
	return every && n % every == every - 1;
}

/* The flags of range @n in @level; 0: it is not there. */
static uint32_t flags_of(const struct imagegen *g, uint64_t n, uint32_t level)
{
	uint32_t lazy = level || is_nth(n, g->eager_every) ? 0 : LZ_PAGE_LAZY;
	uint64_t stored = n % levels_of(g);

	if (is_nth(n, g->absent_every))
		return level ? 0 : LZ_PAGE_LAZY;
	if (level > stored)
		return 0;
	return (level == stored ? LZ_PAGE_PRESENT : LZ_PAGE_PARENT) | lazy;
}

static int put_range(const struct imagegen *g, struct lz_writer *w, uint32_t pid, uint64_t n,
		     uint32_t flags, struct lz_why *why)
{
	uint64_t vaddr = imagegen_range(g, n);
	uint8_t page[IMAGEGEN_PAGE];
	int err = 0;

	if (g->sparse || !(flags & LZ_PAGE_PRESENT))
		return lz_writer_add(w, vaddr, g->nr_pages, flags, NULL, why);
	for (uint64_t p = 0; p < g->nr_pages && !err; p++, vaddr += IMAGEGEN_PAGE) {
		imagegen_fill(pid, vaddr, page);
		err = lz_writer_add(w, vaddr, 1, flags, page, why);
	}
	return err;
}

static int make_pagemap(const struct imagegen *g, int dirfd, uint32_t task, uint32_t level,
			struct lz_why *why)
{
	uint32_t pid = pid_of(g, task);
	struct lz_writer *w;
	int err = lz_writer_open(&w, dirfd, pid, task + 1, g->format, why), closed;
	struct lz_why other;

	if (err)
		return err;
	for (uint64_t n = 0; n < g->nr_ranges && !err; n++) {
		uint32_t flags = flags_of(g, n, level);

		if (flags)
			err = put_range(g, w, pid, n, flags, why);
	}
	closed = lz_writer_close(w, err ? &other : why);
	return err ? err : closed;
}

static int make_areas(const struct imagegen *g, int dirfd, uint32_t task, struct lz_why *why)
{
	uint64_t start = imagegen_range(g, 0), end = imagegen_end(g);
	uint64_t step = g->area_pages ? g->area_pages * IMAGEGEN_PAGE : end - start;
	uint64_t nr = step ? (end - start + step - 1) / step : 0;
	struct lz_writer_area *area = calloc(nr + 1, sizeof(*area));
	int err;

	if (!area)
		return lz_why_say(why, -ENOMEM, "not enough memory for areas");
	for (uint64_t n = 0; n < nr; n++) {
		area[n] = (struct lz_writer_area){ .start = start + n * step,
						   .end = start + (n + 1) * step,
						   .prot = PROT_READ | PROT_WRITE };
		if (area[n].end > end)
			area[n].end = end;
	}
	err = lz_writer_mm(dirfd, pid_of(g, task), area, nr, why);
	free(area);
	return err;
}

static int make_tree(const struct imagegen *g, int dirfd, struct lz_why *why)
{
	struct lz_task *task = calloc(g->nr_tasks + 1, sizeof(*task));
	int err;

	if (!task)
		return lz_why_say(why, -ENOMEM, "not enough memory for tasks");
	for (uint32_t n = 0; n < g->nr_tasks; n++) {
		task[n].pid = pid_of(g, n);
		task[n].ppid = n ? pid_of(g, n - 1) : 0;
	}
	err = lz_writer_pstree(dirfd, task, g->nr_tasks, why);
	free(task);
	return err;
}

/* The directory of @level below @dirfd, made if it is not there. */
static int open_level(int dirfd, uint32_t level, struct lz_why *why)
{
	char name[32] = ".";
	int fd;

	if (level)
		snprintf(name, sizeof(name), "snapshot-%" PRIu32, level);
	if (level && mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return lz_why_say(why, -errno, "cannot make %s", name);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? lz_why_say(why, -errno, "cannot open %s", name) : fd;
}

static int make_level(const struct imagegen *g, int dirfd, uint32_t level, struct lz_why *why)
{
	uint32_t living = g->nr_tasks - (g->dead_last && g->nr_tasks);
	int fd = open_level(dirfd, level, why), err = 0;
	char parent[32];

	if (fd < 0)
		return fd;
	for (uint32_t task = 0; task < living && !err; task++) {
		err = make_pagemap(g, fd, task, level, why);
		if (!err && !level)
			err = make_areas(g, fd, task, why);
	}
	if (!err && level + 1 < levels_of(g)) {
		snprintf(parent, sizeof(parent), "%ssnapshot-%" PRIu32, level ? "../" : "",
			 level + 1);
		err = lz_writer_parent(fd, parent, why);
	}
	close(fd);
	return err;
}

int imagegen_make(int dirfd, const struct imagegen *g, struct lz_why *why)
{
	int err = lz_writer_inventory(dirfd, why);

	if (!err)
		err = make_tree(g, dirfd, why);
	for (uint32_t level = 0; level < levels_of(g) && !err; level++)
		err = make_level(g, dirfd, level, why);
	return err;
}

static uint32_t size_at(const struct imagebuf *b, size_t at)
{
	return (uint32_t)(b->bytes[at] | b->bytes[at + 1] << 8 | b->bytes[at + 2] << 16) |
	       (uint32_t)b->bytes[at + 3] << 24;
}

/* An entry that is right but for its field 6, in a pagemap; noise anywhere else. */
static const uint8_t strange[] = { 0x08, 0, 0x10, 1, 0x32, 1, 'x' };

static void damage_bytes(struct imagebuf *b, size_t first, enum imagegen_damage damage)
{
	size_t at = first, last = first;

	switch (damage) {
	case IMAGEGEN_CUT:
		b->len--;
		break;
	case IMAGEGEN_EMPTY:
		b->len = 0;
		break;
	case IMAGEGEN_MAGIC:
		b->bytes[first - 1] ^= 1;
		break;
	case IMAGEGEN_SIZE:
		memset(b->bytes + first, 0xff, 4);
		break;
	case IMAGEGEN_NOISE:
		memset(b->bytes + first + 4, 0xff, size_at(b, first));
		break;
	case IMAGEGEN_FIELD:
		imagebuf_record(b, strange, sizeof(strange));
		break;
	default:
		for (; at < b->len; at += 4 + size_at(b, at))
			last = at;
		imagebuf_put(b, b->bytes + last, b->len - last);
	}
}

int imagegen_hurt(int dirfd, const char *name, enum imagegen_damage damage)
{
	size_t first = strcmp(name, "inventory.img") ? 8 : 4;
	struct imagebuf b = { .bytes = NULL };
	uint8_t bytes[4096];
	int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC), err = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		imagebuf_put(&b, bytes, (size_t)n);
	if (n < 0)
		err = -errno;
	else if (b.len < first + 4)
		err = -EINVAL;
	if (!err) {
		damage_bytes(&b, first, damage);
		if (pwrite(fd, b.bytes, b.len, 0) != (ssize_t)b.len ||
		    ftruncate(fd, (off_t)b.len) < 0)
			err = -errno;
	}
	close(fd);
	imagebuf_free(&b);
	return err;
}

void imagebuf_put(struct imagebuf *b, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	/* What is put may be a part of the buffer itself. */
	bool inside = b->bytes && from >= b->bytes && from < b->bytes + b->len;
	size_t at = inside ? (size_t)(from - b->bytes) : 0;
	uint8_t *all = realloc(b->bytes, b->len + len + 1);

	if (!all)
		abort();
	if (len)
		memcpy(all + b->len, inside ? all + at : from, len);
	b->bytes = all;
	b->len += len;
}

void imagebuf_head(struct imagebuf *b, enum lz_image_magic magic)
{
	uint8_t head[8];

	imagebuf_put(b, head, lz_image_head(head, magic));
}

void imagebuf_record(struct imagebuf *b, const void *payload, size_t len)
{
	uint8_t size[4];

	lz_image_put_size(size, (uint32_t)len);
	imagebuf_put(b, size, sizeof(size));
	imagebuf_put(b, payload, len);
}

void imagebuf_message(struct imagebuf *b, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *payload = malloc(len + 1);

	if (!payload)
		abort();
	protobuf_c_message_pack(message, payload);
	imagebuf_record(b, payload, len);
	free(payload);
}

void imagebuf_free(struct imagebuf *b)
{
	free(b->bytes);
	*b = (struct imagebuf){ .bytes = NULL };
}

void imagebuf_pagemap(struct imagebuf *b, uint32_t pages_id)
{
	Lz__Criu__PagemapHead head = LZ__CRIU__PAGEMAP_HEAD__INIT;

	head.pages_id = pages_id;
	imagebuf_head(b, LZ_IMAGE_PAGEMAP);
	imagebuf_message(b, &head.base);
}

void imagebuf_entry(struct imagebuf *b, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		    enum lz_pagemap_format format)
{
	Lz__Criu__PagemapEntry entry = LZ__CRIU__PAGEMAP_ENTRY__INIT;

	entry.vaddr = vaddr;
	entry.has_flags = 1;
	entry.flags = flags;
	if (format == LZ_PAGEMAP_4_1) {
		entry.compat_nr_pages = (uint32_t)nr_pages;
	} else {
		entry.has_nr_pages = 1;
		entry.nr_pages = nr_pages;
	}
	imagebuf_message(b, &entry.base);
}

void imagebuf_mm(struct imagebuf *b, const struct imagebuf_vma *vma, size_t nr)
{
	Lz__Criu__MmEntry mm = LZ__CRIU__MM_ENTRY__INIT;
	Lz__Criu__VmaEntry *entry = calloc(nr + 1, sizeof(*entry));
	Lz__Criu__VmaEntry **list = calloc(nr + 1, sizeof(Lz__Criu__VmaEntry *));

	if (!entry || !list)
		abort();
	for (size_t n = 0; n < nr; n++) {
		lz__criu__vma_entry__init(&entry[n]);
		entry[n].start = vma[n].start;
		entry[n].end = vma[n].end;
		entry[n].flags = vma[n].flags;
		entry[n].status = vma[n].status;
		list[n] = &entry[n];
	}
	mm.n_vmas = nr;
	mm.vmas = list;
	imagebuf_head(b, LZ_IMAGE_MM);
	imagebuf_message(b, &mm.base);
	free(list);
	free(entry);
}
