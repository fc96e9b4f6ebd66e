/* SPDX-License-Identifier: MIT */
/*
 * The memory of one task, read from its images. What stands in the records of a pagemap is
 * chain.c's, which areas are lazy is vmas.c's; here they are brought together with the files that
 * have the bytes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "pagemap/chain.h"
#include "pagemap/files_priv.h"
#include "pagemap/memory.h"
#include "pagemap/vmas.h"

enum { PAGE_SHIFT = 12 };
/* Of a level's source, where it is not yet the number of one. */
enum { NOT_OPENED = -1, IS_REMOTE = -2 };

struct load {
	const struct lz_dir *dir;
	uint32_t pid;
	bool opens;  /* pages files */
	bool counts; /* absent pages, instead of refusing them */
	bool all;    /* pages, and no areas */
	bool remote; /* what is absent or of level 0 is with a page server */
	struct lz_why *why;
	struct lz_memory *memory;
	struct lz_task_report report;
	/* The levels that have a pagemap of the task, up to the first that has not. */
	size_t nr_levels;
	uint8_t **bytes;
	struct lz_chain_level *level;
	int *source; /* of each level's pages file */
	int server;  /* the source of what is remote */
};

static int load_areas(struct load *l)
{
	struct lz_dir_file f = lz_dir_file(l->dir, 0, "mm-%" PRIu32 ".img", l->pid);
	struct lz_dir_image in;
	int err = lz_dir_read(&f, LZ_IMAGE_MM, &in, l->why);

	if (err)
		return err;
	err = lz_vmas_read(&in.image, &l->memory->seg, &l->memory->nr_segs);
	if (err)
		lz_dir_refuse(&f, &in.image, err, l->why);
	free(in.bytes);
	for (size_t n = 0; !err && n < l->memory->nr_segs; n++)
		l->report.area_bytes += l->memory->seg[n].end - l->memory->seg[n].start;
	return err;
}

static int load_pagemaps(struct load *l)
{
	for (; l->nr_levels < l->dir->nr_levels; l->nr_levels++) {
		size_t n = l->nr_levels;
		struct lz_dir_file f = lz_dir_file(l->dir, n, "pagemap-%" PRIu32 ".img", l->pid);
		struct lz_dir_image in;
		int err = lz_dir_read(&f, LZ_IMAGE_PAGEMAP, &in, l->why);

		if (err == -ENOENT && n) {
			/* The task is younger than this snapshot. */
			l->why->text[0] = '\0';
			break;
		}
		if (err)
			return err;
		l->bytes[n] = in.bytes;
		l->level[n].image = in.image;
		l->source[n] = NOT_OPENED;
	}
	return 0;
}

static int refuse_pagemap(struct load *l, size_t level, int err)
{
	struct lz_dir_file f = lz_dir_file(l->dir, level, "pagemap-%" PRIu32 ".img", l->pid);

	return lz_dir_refuse(&f, &l->level[level].image, err, l->why);
}

static struct lz_dir_file pages_file(const struct load *l, size_t level)
{
	return lz_dir_file(l->dir, level, "pages-%" PRIu32 ".img", l->level[level].pages_id);
}

/* A parent whose pages are not here is the page server's too. */
static void find_remote(struct load *l)
{
	for (size_t n = 0; n < l->nr_levels; n++) {
		struct lz_dir_file f = pages_file(l, n);

		if (!n || !lz_dir_has(&f))
			l->source[n] = IS_REMOTE;
	}
}

static int open_pages(struct load *l, size_t level)
{
	struct lz_dir_file f = pages_file(l, level);
	char path[LZ_DIR_PATH_MAX];
	int source, fd;

	if (!l->opens) {
		l->source[level] = (int)level;
		return 0;
	}
	fd = lz_dir_open(&f, l->why);
	if (fd < 0)
		return fd;
	source = lz_memory_add_source(l->memory, fd, lz_dir_path(&f, path));
	if (source < 0) {
		close(fd);
		return lz_why_say(l->why, source, "not enough memory to open %s", path);
	}
	l->source[level] = source;
	return 0;
}

static int open_server(struct load *l)
{
	int source = l->opens ? lz_memory_add_remote(l->memory, l->pid, "the page server")
			      : (int)l->nr_levels;

	if (source < 0)
		return lz_why_say(l->why, source, "not enough memory for the plan of pid %" PRIu32,
				  l->pid);
	l->server = source;
	return 0;
}

static int refuse_absent(struct load *l, const struct lz_chain_piece *piece)
{
	return refuse_pagemap(l, 0,
			      lz_image_refuse(&l->level[0].image, -ENODATA,
					      "leaves the pages from 0x%" PRIx64
					      " on with the place of the dump: they come from its "
					      "page server, not from these images",
					      piece->start));
}

static int add_piece(struct load *l, const struct lz_chain_piece *piece)
{
	struct lz_piece p = {
		.identity = piece->start,
		.len = piece->len,
		.page_shift = PAGE_SHIFT,
	};
	bool remote = piece->absent || l->source[piece->level] == IS_REMOTE;
	int err = 0;

	if (piece->absent) {
		l->report.absent_bytes += piece->len;
		if (!l->remote)
			return l->counts ? 0 : refuse_absent(l, piece);
	}
	if (remote && l->server == NOT_OPENED)
		err = open_server(l);
	else if (!remote && l->source[piece->level] == NOT_OPENED)
		err = open_pages(l, piece->level);
	if (err)
		return err;
	l->report.lazy_bytes += piece->len;
	if (remote) {
		l->report.remote_bytes += piece->len;
		p.source = (uint32_t)l->server;
		p.offset = lz_plan_nr_pages(l->memory->plan) << PAGE_SHIFT;
	} else {
		l->report.parent_bytes += piece->level ? piece->len : 0;
		p.source = (uint32_t)l->source[piece->level];
		p.offset = piece->offset;
	}
	err = lz_plan_add(l->memory->plan, &p);
	if (err)
		return lz_why_say(l->why, err, "not enough memory for the plan of pid %" PRIu32,
				  l->pid);
	return 0;
}

static int load_plan(struct load *l)
{
	struct lz_chain_piece piece;
	struct lz_chain chain;
	int more = lz_chain_init(&chain, l->level, l->nr_levels, l->memory->seg,
				 l->memory->nr_segs);

	chain.all = l->all;
	if (!more) {
		if (l->remote)
			find_remote(l);
		while ((more = lz_chain_next(&chain, &piece)) > 0) {
			int err = add_piece(l, &piece);

			if (err)
				return err;
		}
	}
	if (more < 0)
		return refuse_pagemap(l, chain.failed, more);
	l->report.eager_bytes = chain.eager_bytes;
	l->report.nr_entries = chain.nr_entries;
	return 0;
}

static int load(struct load *l)
{
	size_t nr = l->dir->nr_levels;
	int err = -ENOMEM;

	l->bytes = calloc(nr, sizeof(*l->bytes));
	l->level = calloc(nr, sizeof(*l->level));
	l->source = calloc(nr, sizeof(*l->source));
	if (!l->bytes || !l->level || !l->source)
		lz_why_say(l->why, err, "not enough memory for %zu pagemaps", nr);
	else
		err = l->all ? 0 : load_areas(l);
	if (!err)
		err = load_pagemaps(l);
	if (!err)
		err = load_plan(l);
	for (size_t n = 0; n < l->nr_levels; n++)
		free(l->bytes[n]);
	free(l->bytes);
	free(l->level);
	free(l->source);
	return err;
}

static const struct lz_task *find_task(const struct lz_images *i, uint32_t pid)
{
	for (size_t n = 0; n < i->nr_tasks; n++) {
		if (i->task[n].pid == pid)
			return &i->task[n];
	}
	return NULL;
}

/* A task whose images say nothing of its state may have pages all the same. */
static bool has_memory(const struct load *l, const struct lz_task *task)
{
	struct lz_dir_file f = lz_dir_file(l->dir, 0, "pagemap-%" PRIu32 ".img", l->pid);

	return !task->dead || (l->all && lz_dir_has(&f));
}

static int load_task(const struct lz_images *i, struct load *l)
{
	const struct lz_task *task = find_task(i, l->pid);
	int err;

	l->why->text[0] = '\0';
	if (!task)
		return lz_why_say(l->why, -ESRCH, "pstree.img has no task of pid %" PRIu32, l->pid);
	err = lz_memory_new(&l->memory);
	if (err)
		return lz_why_say(l->why, err, "not enough memory for the plan of pid %" PRIu32,
				  l->pid);
	if (has_memory(l, task))
		err = load(l);
	if (err)
		lz_memory_put(l->memory);
	else
		lz_plan_seal(l->memory->plan);
	return err;
}

int lz_images_memory(struct lz_images *i, uint32_t pid, struct lz_memory **out,
		     struct lz_task_report *report, struct lz_why *why)
{
	struct load l = {
		.dir = &i->dir,
		.pid = pid,
		.opens = out,
		.counts = report,
		.remote = i->remote,
		.why = why,
		.server = NOT_OPENED,
	};
	int err = load_task(i, &l);

	if (err)
		return err;
	if (report) {
		l.report.nr_runs = lz_plan_nr_runs(l.memory->plan);
		l.report.nr_areas = (uint32_t)l.memory->nr_segs;
		l.report.depth = (uint32_t)l.nr_levels;
		*report = l.report;
	}
	if (out)
		*out = l.memory;
	else
		lz_memory_put(l.memory);
	return 0;
}

int lz_images_pages(struct lz_images *i, uint32_t pid, struct lz_memory **out, struct lz_why *why)
{
	struct load l = {
		.dir = &i->dir,
		.pid = pid,
		.opens = true,
		.counts = true,
		.all = true,
		.why = why,
		.server = NOT_OPENED,
	};
	int err = load_task(i, &l);

	if (!err)
		*out = l.memory;
	return err;
}
