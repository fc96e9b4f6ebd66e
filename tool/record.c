/* SPDX-License-Identifier: MIT */
/*
 * `lazyd fill --record` and `--replay`: the files of working sets at both ends of a fill. What is
 * touched first is noted in the state, and so survives whoever dies; the file is written by the
 * keeper that sees the end, to a descriptor that was opened before anybody was confined.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* What is wrong with a file that an option names, in the log and on the terminal. */
static int refuse(const struct lz_fill *f, const char *option, const char *name, const char *what)
{
	char sentence[LAZYD_WHY_MAX];

	(void)snprintf(sentence, sizeof(sentence), "%s (%s) %s", name, option, what);
	return lz_service_refuse(&f->o.service, sentence);
}

static int fail(const struct lz_fill *f, const char *option, const char *name, int error)
{
	char sentence[LAZYD_WHY_MAX];

	(void)snprintf(sentence, sizeof(sentence), "%s (%s)%s: %s", name, option,
		       *name == '/' ? "" : ", in the work directory (-W, else -D)",
		       strerror(error));
	return lz_service_refuse(&f->o.service, sentence);
}

/* ---- replaying ---- */

static int memory_of(const struct lz_fill *f, uint32_t pid, uint32_t *task)
{
	for (uint32_t i = 0; i < f->nr_tasks; i++, *task = (*task + 1) % f->nr_tasks)
		if (f->task[*task].pid == pid)
			return f->task[*task].memory;
	return -1;
}

/* Those of tasks that have a memory, with its number in the place of the pid. */
static void take_of_tasks(struct lz_fill *f, const struct lazyd_workingset *w)
{
	struct lazyd_touch t;
	uint32_t task = 0;

	for (size_t n = 0; !lazyd_workingset_touch(w, n, &t); n++) {
		int memory = memory_of(f, t.owner, &task);

		t.owner = (uint32_t)memory;
		if (memory >= 0)
			f->replay[f->nr_replay++] = t;
	}
}

/* All VMs have the same. */
static void take_of_vms(struct lz_fill *f, const struct lazyd_workingset *w)
{
	while (!lazyd_workingset_touch(w, f->nr_replay, &f->replay[f->nr_replay]))
		f->nr_replay++;
}

static int take_touches(struct lz_fill *f, const struct lazyd_workingset *w)
{
	size_t nr = 0;
	struct lazyd_touch t;

	while (!lazyd_workingset_touch(w, nr, &t))
		nr++;
	f->replay = calloc(nr + 1, sizeof(*f->replay));
	if (!f->replay)
		return -ENOMEM;
	(f->o.vm.socket ? take_of_vms : take_of_tasks)(f, w);
	return 0;
}

static int load(struct lz_fill *f)
{
	const char *name = f->o.replay;
	struct lazyd_workingset *w = NULL;
	struct lazyd_why why = { "" };
	int fd = open(name, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return fail(f, "--replay", name, errno);
	r = lazyd_workingset_read(&w, fd, &why);
	(void)close(fd);
	if (r)
		return why.text[0] ? refuse(f, "--replay", name, why.text)
				   : fail(f, "--replay", name, -r);
	if (memcmp(lazyd_workingset_identity(w), f->identity, sizeof(f->identity)) != 0)
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
			   "event=replay-ignored file=%s it is of other %s", name,
			   f->o.vm.socket ? "memory" : "images");
	else
		r = take_touches(f, w);
	lazyd_workingset_free(w);
	return r ? fail(f, "--replay", name, -r) : LZ_EXIT_OK;
}

/* ---- from the set-up ---- */

int lz_record_prepare(struct lz_fill *f)
{
	struct lazyd_why why = { "" };
	int r;

	if (!f->o.record && !f->o.replay)
		return LZ_EXIT_OK;
	r = 0;
	if (!f->o.vm.socket)
		r = lazyd_images_identity(f->images, f->identity, &why);
	else if (!f->o.page_server) /* else it is --snapshot's, which is known */
		r = lazyd_memory_identity(f->memory[0], f->identity, &why);
	if (r)
		return lz_service_refuse(&f->o.service, why.text);
	r = f->o.replay ? load(f) : LZ_EXIT_OK;
	/* Who only looks whether it could go on is not to write anything. */
	if (r || !f->o.record || f->resume == LZ_RESUME_CHECK)
		return r;
	r = lz_replace_open(&f->record, f->o.record, f->had.record);
	if (!r)
		return LZ_EXIT_OK;
	switch (r) {
	case -EBUSY:
		return refuse(f, "--record", f->o.record, "is being recorded to by another lazyd");
	case -EINVAL:
		return refuse(f, "--record", f->o.record, "is there and is no file");
	case -ELOOP:
		return refuse(f, "--record", f->o.record,
			      "would be written through a symbolic link in the work directory");
	default:
		return fail(f, "--record", f->o.record, -r);
	}
}

int lz_record_replay(const struct lz_fill *f, struct lazyd *l, int memory)
{
	int r = 0;

	for (size_t n = 0; !r && n < f->nr_replay; n++) {
		struct lazyd_touch t = f->replay[n];

		if (f->o.vm.socket)
			t.owner = (uint32_t)memory;
		r = lazyd_replay(l, &t);
	}
	return r == -ENOSPC ? 0 : r; /* the rest is the sweep's */
}

/* ---- to the end ---- */

static uint32_t pid_of(const struct lz_fill *f, uint32_t memory, uint32_t *task)
{
	for (uint32_t i = 0; i < f->nr_tasks; i++, *task = (*task + 1) % f->nr_tasks)
		if (f->task[*task].memory == (int)memory)
			return f->task[*task].pid;
	return 0;
}

/* The order of the notes; a page is in it once. */
static int collect(const struct lz_fill *f, struct lazyd_workingset *w)
{
	struct lazyd_stats s;
	struct lazyd_touch t;
	uint32_t task = 0;
	int r = 0;

	for (size_t n = 0; !r && !lazyd_recorded(NULL, f->state, n, &t); n++) {
		t.owner = pid_of(f, t.owner, &task);
		r = lazyd_workingset_add(w, &t);
	}
	lazyd_stats(NULL, f->state, &s);
	if (s.record_over)
		lazyd_workingset_mark(w, LAZYD_WORKINGSET_CUT);
	if (s.pages_neighbour || s.pages_sweep || s.pages_replay)
		lazyd_workingset_mark(w, LAZYD_WORKINGSET_SWEPT);
	return r == -ENOSPC ? 0 : r;
}

static int save(struct lz_fill *f)
{
	struct lazyd_workingset *w = NULL;
	int r = lazyd_workingset_new(&w, f->identity);

	if (!r)
		r = collect(f, w);
	if (!r)
		r = lazyd_workingset_write(w, f->record.fd);
	if (!r)
		r = lz_replace_end(&f->record);
	lazyd_workingset_free(w);
	return r;
}

static void write_file(struct lz_fill *f)
{
	int r = lz_replace_begin(&f->record);

	if (r > 0)
		r = save(f);
	f->recorded = !r;
	if (!r)
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=recorded file=%s",
			   f->o.record);
	else
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
			   "event=record file=%s error=\"%s\" it is as it was", f->o.record,
			   strerror(-r));
	if (r && !f->o.service.daemon)
		lz_out_error("%s (--record) cannot be written: %s", f->o.record, strerror(-r));
}

void lz_record_attend(struct lz_fill *f)
{
	struct lazyd_stats s;

	if (f->record.fd < 0 || f->recorded)
		return;
	lazyd_stats(NULL, f->state, &s);
	if (s.record_over)
		write_file(f);
}

void lz_record_end(struct lz_fill *f)
{
	if (f->record.fd >= 0 && !f->recorded && f->session->started_ns)
		write_file(f);
}
