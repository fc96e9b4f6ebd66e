/* SPDX-License-Identifier: MIT */
/*
 * A directory of CRIU images, read into tasks: whose memory there is. What it was is load.c's.
 */
#include "pagemap/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "pagemap/files_priv.h"
#include "proto/criu/core.pb-c.h"
#include "proto/criu/inventory.pb-c.h"
#include "proto/criu/pagemap.pb-c.h"
#include "proto/criu/pstree.pb-c.h"
#include "proto/unpack.h"

enum { TASKS_AT_FIRST = 16 };
enum { VERSION_OLD = 1, VERSION = 2 };
enum { TASK_DEAD = 2, TASK_ZOMBIE = 6 };
enum { HEADER_OLD = 24, HEADER = 32 };

static int check_version(const struct lz_dir_file *f, uint32_t version, struct lz_why *why)
{
	if (version == VERSION)
		return 0;
	if (version == VERSION_OLD)
		return lz_why_say(
			why, -EPROTONOSUPPORT,
			"%s says version 1: images of CRIU before 2.0 have no lazy pages, "
			"restore them with criu alone",
			f->name);
	return lz_why_say(why, -EPROTONOSUPPORT,
			  "%s says version %" PRIu32 ", this program knows version %d: use a newer "
			  "one",
			  f->name, version, VERSION);
}

/* The first record as a message; NULL if there is none, and what is wrong then is said. */
static void *first_record(struct lz_image *image, const ProtobufCMessageDescriptor *what, int *err,
			  const char *otherwise)
{
	const uint8_t *payload;
	void *message = NULL;
	size_t len;
	int more = lz_image_next(image, &payload, &len);

	*err = more < 0 ? more : -EBADMSG;
	if (more > 0)
		message = lz_unpack(what, payload, len, err);
	if (more >= 0 && !message)
		lz_image_refuse(image, *err, "%s", otherwise);
	return message;
}

static int read_inventory(const struct lz_images *i, struct lz_why *why)
{
	struct lz_dir_file f = lz_dir_file(&i->dir, 0, "inventory.img");
	Lz__Criu__InventoryEntry *entry;
	struct lz_dir_image in;
	int err = lz_dir_read(&f, LZ_IMAGE_INVENTORY, &in, why);

	if (err)
		return err;
	entry = first_record(&in.image, &lz__criu__inventory_entry__descriptor, &err,
			     "is no inventory");
	/*
	 * Unknown fields are let pass: what they say of sockets, plugins or the dump is the
	 * restorer's. What page data means is said in the pagemaps, and there none passes.
	 */
	if (entry) {
		err = check_version(&f, entry->img_version, why);
		lz__criu__inventory_entry__free_unpacked(entry, NULL);
	} else {
		lz_dir_refuse(&f, &in.image, err, why);
	}
	free(in.bytes);
	return err;
}

static int read_state(const struct lz_images *i, struct lz_task *task, struct lz_why *why)
{
	struct lz_dir_file core = lz_dir_file(&i->dir, 0, "core-%" PRIu32 ".img", task->pid);
	struct lz_dir_file mm = lz_dir_file(&i->dir, 0, "mm-%" PRIu32 ".img", task->pid);
	static const char no_state[] = "does not say what state the task is in";
	Lz__Criu__CoreEntry *entry;
	struct lz_dir_image in;
	int err = lz_dir_read(&core, LZ_IMAGE_CORE, &in, why);

	if (err == -ENOENT) {
		/* Filling memory does not need it, so it may well not have been copied. */
		why->text[0] = '\0';
		task->dead = !lz_dir_has(&mm);
		return 0;
	}
	if (err)
		return err;
	entry = first_record(&in.image, &lz__criu__core_entry__descriptor, &err, no_state);
	if (entry && entry->tc) {
		uint32_t state = entry->tc->task_state;

		task->dead = state == TASK_DEAD || state == TASK_ZOMBIE;
	} else {
		if (entry)
			err = lz_image_refuse(&in.image, -EBADMSG, no_state);
		lz_dir_refuse(&core, &in.image, err, why);
	}
	lz__criu__core_entry__free_unpacked(entry, NULL);
	free(in.bytes);
	return err;
}

static int add_task(struct lz_images *i, struct lz_image *image, const uint8_t *payload, size_t len)
{
	Lz__Criu__PstreeEntry *entry;
	struct lz_task task;
	int err;

	entry = lz_unpack(&lz__criu__pstree_entry__descriptor, payload, len, &err);
	if (!entry)
		return lz_image_refuse(image, err, "is no task");
	task = (struct lz_task){ .pid = entry->pid, .ppid = entry->ppid };
	lz__criu__pstree_entry__free_unpacked(entry, NULL);
	if (!task.pid || task.pid > INT32_MAX)
		return lz_image_refuse(image, -EBADMSG, "has pid %" PRIu32 ", which no task has",
				       task.pid);
	if (i->nr_tasks == i->room) {
		size_t room = i->room ? 2 * i->room : TASKS_AT_FIRST;
		struct lz_task *all = reallocarray(i->task, room, sizeof(*all));

		if (!all)
			return -ENOMEM;
		i->task = all;
		i->room = room;
	}
	i->task[i->nr_tasks++] = task;
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Images are named by pid: two tasks of one pid would be given each other's memory. */
static int check_pids(const struct lz_images *i, struct lz_image *image)
{
	uint32_t *pid = calloc(i->nr_tasks, sizeof(*pid));
	int err = 0;

	if (!pid)
		return -ENOMEM;
	for (size_t n = 0; n < i->nr_tasks; n++)
		pid[n] = i->task[n].pid;
	qsort(pid, i->nr_tasks, sizeof(*pid), compare_pids);
	for (size_t n = 1; n < i->nr_tasks && !err; n++) {
		if (pid[n] == pid[n - 1])
			err = lz_image_refuse(image, -EBADMSG,
					      "is the last, and two tasks have pid %" PRIu32,
					      pid[n]);
	}
	free(pid);
	return err;
}

static int read_pstree(struct lz_images *i, struct lz_why *why)
{
	struct lz_dir_file f = lz_dir_file(&i->dir, 0, "pstree.img");
	struct lz_dir_image in;
	const uint8_t *payload;
	size_t len;
	int err = lz_dir_read(&f, LZ_IMAGE_PSTREE, &in, why);

	if (err)
		return err;
	while ((err = lz_image_next(&in.image, &payload, &len)) > 0) {
		err = add_task(i, &in.image, payload, len);
		if (err)
			break;
	}
	if (!err && !i->nr_tasks)
		err = lz_image_refuse(&in.image, -EBADMSG, "holds no record");
	if (!err)
		err = check_pids(i, &in.image);
	if (err)
		lz_dir_refuse(&f, &in.image, err, why);
	free(in.bytes);
	return err;
}

int lz_images_open(struct lz_images **out, int dirfd, struct lz_why *why)
{
	struct lz_images *i = calloc(1, sizeof(*i));
	int err;

	why->text[0] = '\0';
	if (!i)
		return lz_why_say(why, -ENOMEM, "not enough memory to open images");
	err = lz_dir_init(&i->dir, dirfd, why);
	if (!err)
		err = read_inventory(i, why);
	if (!err)
		err = read_pstree(i, why);
	for (size_t n = 0; !err && n < i->nr_tasks; n++)
		err = read_state(i, &i->task[n], why);
	if (!err)
		err = lz_dir_follow(&i->dir, why);
	if (err) {
		lz_images_close(i);
		return err;
	}
	*out = i;
	return 0;
}

void lz_images_close(struct lz_images *i)
{
	if (!i)
		return;
	lz_dir_fini(&i->dir);
	free(i->task);
	free(i);
}

size_t lz_images_nr_tasks(const struct lz_images *i)
{
	return i->nr_tasks;
}

const struct lz_task *lz_images_task(const struct lz_images *i, size_t n)
{
	return &i->task[n];
}

uint32_t lz_images_depth(const struct lz_images *i)
{
	return (uint32_t)i->dir.nr_levels;
}

void lz_images_set_remote(struct lz_images *i)
{
	i->remote = true;
}

/* 0: no entry says it. -errno: it could not be asked; what is missing or damaged says nothing. */
static int header_of(const struct lz_images *i, uint32_t pid)
{
	struct lz_dir_file f = lz_dir_file(&i->dir, 0, "pagemap-%" PRIu32 ".img", pid);
	Lz__Criu__PagemapEntry *entry = NULL;
	struct lz_dir_image in;
	struct lz_why unused;
	const uint8_t *payload;
	int header, err;
	size_t len;

	err = lz_dir_read(&f, LZ_IMAGE_PAGEMAP, &in, &unused);
	if (err)
		return err == -ENOENT || err == -EBADMSG ? 0 : err;
	/* The first record is the head. */
	if (lz_image_next(&in.image, &payload, &len) > 0 &&
	    lz_image_next(&in.image, &payload, &len) > 0)
		entry = lz_unpack(&lz__criu__pagemap_entry__descriptor, payload, len, &err);
	header = entry && entry->has_nr_pages ? HEADER : entry ? HEADER_OLD : 0;
	lz__criu__pagemap_entry__free_unpacked(entry, NULL);
	free(in.bytes);
	return err == -ENOMEM ? err : header;
}

int lz_images_header(const struct lz_images *i)
{
	int header = 0;

	for (size_t n = 0; n < i->nr_tasks && !header; n++)
		header = header_of(i, i->task[n].pid);
	return header ? header : HEADER;
}
