/* SPDX-License-Identifier: MIT */
/*
 * Writes CRIU images: pagemap-<pid>.img with its pages-<id>.img, and the few small images
 * (inventory, pstree, mm) that a directory needs to be read by lz_images_open(). What it writes, a
 * real `criu restore` reads. Not a dumper: it is told what to write.
 */
#ifndef LZ_WRITER_H
#define LZ_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "pagemap/files.h"

/* CRIU's PE_* flags of a pagemap entry. */
enum lz_page_flag {
	LZ_PAGE_PARENT = 1,
	LZ_PAGE_LAZY = 2,
	LZ_PAGE_PRESENT = 4,
};

/* Which encoding of the number of pages: field 2 up to 4.1, field 5 from 4.2. */
enum lz_pagemap_format { LZ_PAGEMAP_4_1, LZ_PAGEMAP_4_2 };

/* One private anonymous mapping for mm-<pid>.img. */
struct lz_writer_area {
	uint64_t start, end;
	uint32_t prot; /* PROT_* */
};

struct lz_writer;

/* Creates pagemap-<pid>.img and pages-<pages_id>.img in @dirfd, mode 0600, replacing old ones. */
int lz_writer_open(struct lz_writer **out, int dirfd, uint32_t pid, uint32_t pages_id,
		   enum lz_pagemap_format format, struct lz_why *why);
/*
 * Adds nr_pages pages of 4096 bytes from @vaddr on, ascending. @bytes only with LZ_PAGE_PRESENT;
 * NULL there too leaves a hole in the pages file: zeros that take no room. Adjacent entries with
 * equal flags become one record. -EINVAL or -EFBIG, with nothing changed, for what no reader would
 * take; after any other failure all that follows fails too, close() included.
 */
int lz_writer_add(struct lz_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		  const void *bytes, struct lz_why *why);
/* Writes out and closes, on failure too; without it, or after a failure, the files are no image. */
int lz_writer_close(struct lz_writer *w, struct lz_why *why);

/* The small images. inventory says img_version 2; pstree has one record a task. */
int lz_writer_inventory(int dirfd, struct lz_why *why);
int lz_writer_pstree(int dirfd, const struct lz_task *task, size_t nr, struct lz_why *why);
int lz_writer_mm(int dirfd, uint32_t pid, const struct lz_writer_area *area, size_t nr,
		 struct lz_why *why);
/* Makes the `parent` link. */
int lz_writer_parent(int dirfd, const char *target, struct lz_why *why);

#endif
