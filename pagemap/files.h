/* SPDX-License-Identifier: MIT */
/*
 * A directory of CRIU images, read into memories: hands spans of bytes to the pure parsers and
 * turns what they refuse into one sentence that names file, record and byte.
 */
#ifndef LZ_FILES_H
#define LZ_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/why.h"

struct lz_memory;
struct lz_images;

/* One record of pstree.img, in its order. */
struct lz_task {
	uint32_t pid, ppid;
	bool dead; /* zombie: no memory (by core-<pid>.img, or by having no mm-<pid>.img) */
};

/* What inspect shows of one task's memory. All sizes in bytes. */
struct lz_task_report {
	uint64_t lazy_bytes;   /* what fill would owe */
	uint64_t eager_bytes;  /* present in pagemap, restored by CRIU itself */
	uint64_t parent_bytes; /* of lazy_bytes, those read from a parent snapshot here */
	uint64_t remote_bytes; /* of lazy_bytes, those asked of a page server */
	uint64_t absent_bytes; /* lazy but stored nowhere; of lazy_bytes only if remote */
	uint64_t area_bytes;   /* size of the lazy areas, holes included */
	uint64_t nr_entries;   /* pagemap records of the top level */
	uint64_t nr_runs;      /* runs of the plan: contiguous in memory and in file */
	uint32_t nr_areas;
	uint32_t depth; /* snapshots in the chain, 1 without a parent */
};

/*
 * Reads inventory, pstree and what is known of tasks; follows `parent` links. @dirfd stays the
 * caller's. -EBADMSG for malformed, -EPROTONOSUPPORT for images this version cannot read rightly,
 * -errno of the open or read; @why says more.
 */
int lz_images_open(struct lz_images **out, int dirfd, struct lz_why *why);
void lz_images_close(struct lz_images *i); /* NULL is fine */
size_t lz_images_nr_tasks(const struct lz_images *i);
const struct lz_task *lz_images_task(const struct lz_images *i, size_t n);
uint32_t lz_images_depth(const struct lz_images *i);

/*
 * The lazy memory of task @pid: plan, first segments, open pages files of every level. A page that
 * is lazy and stored nowhere in the chain is -ENODATA (its bytes are with a live source) unless
 * @report is given: then absent pages are counted and left out. A pages file that is shorter than
 * its pagemap says is not an error here: its pages are lost when they are read. The memory's
 * sources are numbered in the order in which ascending pages first need them, levels nobody needs
 * are not opened. A dead task has an empty memory. @out NULL: only @report is wanted, no pages file
 * is opened.
 */
int lz_images_memory(struct lz_images *i, uint32_t pid, struct lz_memory **out,
		     struct lz_task_report *report, struct lz_why *why);
/*
 * From now on memory() leaves to a page server what CRIU would: what the newest snapshot has,
 * though it be here, and what none has; and what a parent has whose pages file is not here. Such
 * pages are in the memory's remote source.
 */
void lz_images_set_remote(struct lz_images *i);
/*
 * For who serves these pages: every page of @pid that the chain has stored, lazy or not, in
 * whatever areas. No segments, no remote source, whatever was set; mm-<pid>.img is not needed.
 */
int lz_images_pages(struct lz_images *i, uint32_t pid, struct lz_memory **out, struct lz_why *why);
/*
 * How long a header of the page-server protocol is in the CRIU that made these images, as far as
 * they say: 24 bytes up to 4.1, 32 since. -errno if they could not be read for another reason than
 * that they are missing or damaged.
 */
int lz_images_header(const struct lz_images *i);

#endif
