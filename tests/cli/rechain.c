/* SPDX-License-Identifier: MIT */
/*
 * rechain SRC_DIR DST_DIR LEVELS [--lazy]: a dump becomes a chain of snapshots. Each task's pages
 * are spread over DST_DIR and its parents DST_DIR/snapshot-1, -2, ... as pre-dumps would have done
 * (which not every kernel can do); everything else is copied to DST_DIR. The pagemaps keep their
 * encoding. With --lazy what was lazy stays so, in a parent or not, and the rest is in DST_DIR;
 * without, nothing is lazy, and criu restore reads all of it by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap/writer.h"
#include "proto/criu/pagemap.pb-c.h"
#include "proto/image.h"

enum { LEVELS_MAX = 64, TASKS_MAX = 4096, PAGE_SHIFT = 12 };

struct mapping {
	const uint8_t *bytes;
	size_t len;
};

static int src, dst[LEVELS_MAX];
static uint32_t nr_levels;
static bool lazy;
static struct lz_why why;
/* Pages files that have been written anew. */
static uint32_t done[TASKS_MAX];
static size_t nr_done;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("rechain: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

static int open_dir(int at, const char *name, bool make)
{
	int fd;

	if (make && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		die("cannot make %s: %s", name, strerror(errno));
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die("cannot open %s: %s", name, strerror(errno));
	return fd;
}

static struct mapping map_file(const char *name)
{
	int fd = openat(src, name, O_RDONLY | O_CLOEXEC);
	struct mapping m = { .bytes = NULL };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("cannot open %s: %s", name, strerror(errno));
	m.len = (size_t)st.st_size;
	if (m.len) {
		m.bytes = mmap(NULL, m.len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (m.bytes == MAP_FAILED)
			die("cannot map %s: %s", name, strerror(errno));
	}
	close(fd);
	return m;
}

static void unmap_file(struct mapping m)
{
	union {
		const uint8_t *bytes;
		void *map;
	} u = { .bytes = m.bytes };

	if (m.len)
		munmap(u.map, m.len);
}

static void copy_file(const char *name)
{
	int from = openat(src, name, O_RDONLY | O_CLOEXEC);
	int to = openat(dst[0], name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (from < 0 || to < 0)
		die("cannot copy %s: %s", name, strerror(errno));
	while ((n = sendfile(to, from, NULL, 1 << 30)) > 0)
		;
	if (n < 0)
		die("cannot copy %s: %s", name, strerror(errno));
	close(from);
	close(to);
}

/* The records of one pagemap, read one by one. */
struct reader {
	const char *name;
	struct mapping map;
	struct lz_image image;
};

static bool next_record(struct reader *r, const uint8_t **payload, size_t *len)
{
	int more = lz_image_next(&r->image, payload, len);

	if (more < 0)
		die("%s: %s", r->name, r->image.what);
	return more;
}

/* Slices of 1 to 23 pages go to one level after the other. */
static uint64_t slice(uint64_t vaddr)
{
	return 1 + (vaddr >> PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) % 23;
}

static void spread(struct lz_writer **w, const Lz__Criu__PagemapEntry *e, uint64_t nr_pages,
		   const uint8_t *bytes)
{
	static uint32_t turn;
	uint32_t keep = lazy ? e->flags & LZ_PAGE_LAZY : 0;
	uint64_t vaddr = e->vaddr;

	while (nr_pages) {
		uint64_t nr = slice(vaddr) < nr_pages ? slice(vaddr) : nr_pages;
		uint32_t stored = lazy && !keep ? 0 : turn++ % nr_levels;

		for (uint32_t l = 0; l <= stored; l++) {
			bool here = l == stored;
			uint32_t flags = (here ? LZ_PAGE_PRESENT : LZ_PAGE_PARENT) | (l ? 0 : keep);

			if (lz_writer_add(w[l], vaddr, nr, flags, here ? bytes : NULL, &why))
				die("%s", why.text);
		}
		vaddr += nr << PAGE_SHIFT;
		bytes += nr << PAGE_SHIFT;
		nr_pages -= nr;
	}
}

static void spread_all(struct reader *r, uint32_t pid, uint32_t pages_id,
		       enum lz_pagemap_format format, struct mapping pages)
{
	struct lz_writer *w[LEVELS_MAX];
	const uint8_t *payload;
	size_t len, at = 0;

	for (uint32_t l = 0; l < nr_levels; l++)
		if (lz_writer_open(&w[l], dst[l], pid, pages_id, format, &why))
			die("%s", why.text);
	while (next_record(r, &payload, &len)) {
		Lz__Criu__PagemapEntry *e = lz__criu__pagemap_entry__unpack(NULL, len, payload);
		uint64_t nr;

		if (!e || !(e->flags & LZ_PAGE_PRESENT))
			die("%s: record %" PRIu64 " is not of pages stored here", r->name,
			    r->image.record);
		nr = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
		if (nr > (pages.len - at) >> PAGE_SHIFT)
			die("%s has more pages than pages-%" PRIu32 ".img", r->name, pages_id);
		spread(w, e, nr, pages.bytes + at);
		at += nr << PAGE_SHIFT;
		lz__criu__pagemap_entry__free_unpacked(e, NULL);
	}
	for (uint32_t l = 0; l < nr_levels; l++)
		if (lz_writer_close(w[l], &why))
			die("%s", why.text);
}

/* As the first entry says it. */
static enum lz_pagemap_format format_of(struct reader r)
{
	enum lz_pagemap_format format = LZ_PAGEMAP_4_2;
	Lz__Criu__PagemapEntry *e;
	const uint8_t *payload;
	size_t len;

	if (!next_record(&r, &payload, &len))
		return format;
	e = lz__criu__pagemap_entry__unpack(NULL, len, payload);
	if (e && !e->has_nr_pages)
		format = LZ_PAGEMAP_4_1;
	if (e)
		lz__criu__pagemap_entry__free_unpacked(e, NULL);
	return format;
}

static void rechain_task(const char *name, uint32_t pid)
{
	struct reader r = { .name = name, .map = map_file(name) };
	Lz__Criu__PagemapHead *head;
	struct mapping pages;
	const uint8_t *payload;
	char pages_name[32];
	size_t len;

	if (lz_image_init(&r.image, r.map.bytes, r.map.len, LZ_IMAGE_PAGEMAP))
		die("%s %s", name, r.image.what);
	head = next_record(&r, &payload, &len) ? lz__criu__pagemap_head__unpack(NULL, len, payload)
					       : NULL;
	if (!head || nr_done == TASKS_MAX)
		die("%s has no head, or there are too many tasks", name);
	snprintf(pages_name, sizeof(pages_name), "pages-%" PRIu32 ".img", head->pages_id);
	pages = map_file(pages_name);
	spread_all(&r, pid, head->pages_id, format_of(r), pages);
	done[nr_done++] = head->pages_id;
	lz__criu__pagemap_head__free_unpacked(head, NULL);
	unmap_file(pages);
	unmap_file(r.map);
}

static bool is_numbered(const char *name, const char *prefix, uint32_t *number)
{
	size_t len = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, len) || name[len] < '0' || name[len] > '9')
		return false;
	*number = (uint32_t)strtoul(name + len, &end, 10);
	return !strcmp(end, ".img");
}

static bool is_done(const char *name)
{
	uint32_t id;

	if (!is_numbered(name, "pages-", &id))
		return false;
	for (size_t n = 0; n < nr_done; n++)
		if (done[n] == id)
			return true;
	return false;
}

static void for_all(bool pagemaps)
{
	DIR *d = fdopendir(openat(src, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	if (!d)
		die("cannot list the images: %s", strerror(errno));
	while ((e = readdir(d))) {
		uint32_t pid = 0;
		bool pagemap = is_numbered(e->d_name, "pagemap-", &pid);
		struct stat st;

		if (fstatat(src, e->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (pagemap && pagemaps)
			rechain_task(e->d_name, pid);
		else if (!pagemap && !pagemaps && !is_done(e->d_name))
			copy_file(e->d_name);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	char name[32];

	lazy = argc == 5 && !strcmp(argv[4], "--lazy");
	nr_levels = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	if (argc < 4 || argc > 5 || (argc == 5 && !lazy) || !nr_levels || nr_levels > LEVELS_MAX) {
		fprintf(stderr, "usage: rechain SRC_DIR DST_DIR LEVELS [--lazy]\n");
		return 2;
	}
	src = open_dir(AT_FDCWD, argv[1], false);
	dst[0] = open_dir(AT_FDCWD, argv[2], true);
	for (uint32_t l = 1; l < nr_levels; l++) {
		snprintf(name, sizeof(name), "snapshot-%" PRIu32, l);
		dst[l] = open_dir(dst[0], name, true);
		snprintf(name, sizeof(name), "%ssnapshot-%" PRIu32, l > 1 ? "../" : "", l);
		if (lz_writer_parent(dst[l - 1], name, &why))
			die("%s", why.text);
	}
	for_all(true);
	for_all(false);
	return 0;
}
