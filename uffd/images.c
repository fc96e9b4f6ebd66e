/* SPDX-License-Identifier: MIT */
/* The public functions that read and write CRIU images: thin names over pagemap/. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pagemap/files.h"
#include "pagemap/identity.h"
#include "pagemap/memory.h"
#include "pagemap/writer.h"
#include "uffd/lazyd.h"
#include "uffd/sized.h"

_Static_assert((int)LAZYD_WHY_MAX == (int)LZ_WHY_MAX, "one sentence, one size");
_Static_assert((int)LAZYD_IDENTITY_LEN == (int)LZ_IDENTITY_BYTES, "one hash");
_Static_assert((int)LAZYD_PAGE_LAZY == (int)LZ_PAGE_LAZY, "CRIU's flags");
_Static_assert((int)LAZYD_PAGE_PARENT == (int)LZ_PAGE_PARENT, "CRIU's flags");
_Static_assert((int)LAZYD_PAGE_PRESENT == (int)LZ_PAGE_PRESENT, "CRIU's flags");

static int tell(int r, const struct lz_why *from, struct lazyd_why *to)
{
	if (to)
		memcpy(to->text, from->text, sizeof(to->text));
	return r;
}

/* ---- reading ---- */

int lazyd_images_open(struct lazyd_images **out, int dirfd, struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(lz_images_open((struct lz_images **)out, dirfd, &w), &w, why);
}

void lazyd_images_close(struct lazyd_images *images)
{
	lz_images_close((struct lz_images *)images);
}

int lazyd_images_task(const struct lazyd_images *images, size_t n, struct lazyd_task *task)
{
	const struct lz_images *i = (const struct lz_images *)images;
	const struct lz_task *t;

	if (n >= lz_images_nr_tasks(i))
		return -ENOENT;
	t = lz_images_task(i, n);
	*task = (struct lazyd_task){ .pid = t->pid, .ppid = t->ppid, .dead = t->dead };
	return 0;
}

int lazyd_images_memory(struct lazyd_images *images, uint32_t pid, struct lazyd_memory **out,
			struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(lz_images_memory((struct lz_images *)images, pid, (struct lz_memory **)out,
				     NULL, &w),
		    &w, why);
}

void lazyd_images_remote(struct lazyd_images *images)
{
	lz_images_set_remote((struct lz_images *)images);
}

int lazyd_images_identity(struct lazyd_images *images, uint8_t identity[LAZYD_IDENTITY_LEN],
			  struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(lz_images_identity((struct lz_images *)images, identity, &w), &w, why);
}

int lazyd_memory_identity(const struct lazyd_memory *m, uint8_t identity[LAZYD_IDENTITY_LEN],
			  struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(lz_memory_identity((const struct lz_memory *)m, identity, &w), &w, why);
}

int lazyd_file_identity(int fd, uint8_t identity[LAZYD_IDENTITY_LEN], struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(lz_file_identity(fd, identity, &w), &w, why);
}

int lazyd_images_header(struct lazyd_images *images)
{
	return lz_images_header((struct lz_images *)images);
}

/* Bytes of the plan that its files are too short to have. */
static uint64_t behind_the_end(const struct lz_memory *m)
{
	const struct lz_run *run = lz_plan_runs(m->plan);
	uint64_t lost = 0;

	for (size_t i = 0; i < lz_plan_nr_runs(m->plan); i++) {
		const struct lz_memory_source *source = &m->source[run[i].source];
		uint64_t size = source->size;
		uint64_t len = lz_plan_run_pages(m->plan, &run[i]) << run[i].page_shift;

		if (source->kind == LZ_FROM_FILE && run[i].offset + len > size)
			lost += run[i].offset >= size ? len : run[i].offset + len - size;
	}
	return lost;
}

int lazyd_images_report_sized(struct lazyd_images *images, uint32_t pid,
			      struct lazyd_task_report *report, size_t size, struct lazyd_why *why)
{
	struct lz_why w = { 0 };
	struct lz_task_report t = { 0 };
	struct lazyd_task_report n;
	struct lz_memory *m = NULL;
	uint64_t lost = 0;
	int r = lz_images_memory((struct lz_images *)images, pid, &m, &t, &w);

	if (!r) {
		lost = behind_the_end(m);
		lz_memory_put(m);
	}
	n = (struct lazyd_task_report){
		.lazy_bytes = t.lazy_bytes,
		.eager_bytes = t.eager_bytes,
		.parent_bytes = t.parent_bytes,
		.absent_bytes = t.absent_bytes,
		.area_bytes = t.area_bytes,
		.lost_bytes = lost,
		.remote_bytes = t.remote_bytes,
		.nr_entries = t.nr_entries,
		.nr_runs = t.nr_runs,
		.nr_areas = t.nr_areas,
		.depth = t.depth,
	};
	lz_sized_fill(report, size, &n, sizeof(n));
	return tell(r, &w, why);
}

/* ---- writing ---- */

int lazyd_writer_tasks(int dirfd, const struct lazyd_task *tasks, size_t nr, struct lazyd_why *why)
{
	struct lz_why w = { 0 };
	struct lz_task *t = calloc(nr + 1, sizeof(*t));
	int r = t ? 0 : lz_why_say(&w, -ENOMEM, "not enough memory to write %zu tasks", nr);

	for (size_t i = 0; !r && i < nr; i++)
		t[i] = (struct lz_task){ .pid = tasks[i].pid,
					 .ppid = tasks[i].ppid,
					 .dead = tasks[i].dead != 0 };
	if (!r)
		r = lz_writer_inventory(dirfd, &w);
	if (!r)
		r = lz_writer_pstree(dirfd, t, nr, &w);
	free(t);
	return tell(r, &w, why);
}

int lazyd_writer_areas(int dirfd, uint32_t pid, const struct lazyd_area *areas, size_t nr,
		       struct lazyd_why *why)
{
	struct lz_why w = { 0 };
	struct lz_writer_area *a = calloc(nr + 1, sizeof(*a));
	int r = a ? 0 : lz_why_say(&w, -ENOMEM, "not enough memory to write %zu areas", nr);

	for (size_t i = 0; !r && i < nr; i++)
		a[i] = (struct lz_writer_area){ .start = areas[i].start,
						.end = areas[i].end,
						.prot = areas[i].prot };
	if (!r)
		r = lz_writer_mm(dirfd, pid, a, nr, &w);
	free(a);
	return tell(r, &w, why);
}

int lazyd_writer_open(struct lazyd_writer **out, int dirfd, uint32_t pid, uint32_t pages_id,
		      struct lazyd_why *why)
{
	struct lz_why w = { 0 };

	return tell(
		lz_writer_open((struct lz_writer **)out, dirfd, pid, pages_id, LZ_PAGEMAP_4_2, &w),
		&w, why);
}

int lazyd_writer_add(struct lazyd_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		     const void *bytes, struct lazyd_why *why)
{
	struct lz_why y = { 0 };

	return tell(lz_writer_add((struct lz_writer *)w, vaddr, nr_pages, flags, bytes, &y), &y,
		    why);
}

int lazyd_writer_close(struct lazyd_writer *w, struct lazyd_why *why)
{
	struct lz_why y = { 0 };

	return tell(lz_writer_close((struct lz_writer *)w, &y), &y, why);
}
