/* SPDX-License-Identifier: MIT */
/*
 * `lazyd inspect`: what a directory of images holds, task by task, and what would keep `lazyd fill`
 * from serving it; with --pid, whether all memory of a running process is there. Reads the images
 * or /proc and nothing else; no page is looked at.
 */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/service.h"
#include "tool/whole.h"

struct task {
	struct lazyd_task task;
	struct lazyd_task_report report;
	char problem[LAZYD_WHY_MAX]; /* why fill cannot serve it; empty: it can */
};

struct inspection {
	const char *dir;
	struct task *task;
	size_t nr;
	struct lazyd_task_report total; /* .depth: the deepest */
	size_t nr_problems;
};

static void add_up(struct lazyd_task_report *sum, const struct lazyd_task_report *r)
{
	sum->lazy_bytes += r->lazy_bytes;
	sum->eager_bytes += r->eager_bytes;
	sum->parent_bytes += r->parent_bytes;
	sum->absent_bytes += r->absent_bytes;
	sum->lost_bytes += r->lost_bytes;
	sum->area_bytes += r->area_bytes;
	sum->nr_entries += r->nr_entries;
	sum->nr_runs += r->nr_runs;
	sum->nr_areas += r->nr_areas;
	sum->depth = sum->depth > r->depth ? sum->depth : r->depth;
}

static void inspect_task(struct lazyd_images *images, struct task *t)
{
	struct lazyd_memory *m = NULL;
	struct lazyd_why why = { "" };
	int r = lazyd_images_report(images, t->task.pid, &t->report, &why);

	if (!r && t->report.absent_bytes) {
		/* Reported, but nothing that fill could begin with: it says why. */
		r = lazyd_images_memory(images, t->task.pid, &m, &why);
		lazyd_memory_put(m);
	}
	if (r)
		(void)snprintf(t->problem, sizeof(t->problem), "%s",
			       why.text[0] ? why.text : strerror(-r));
	else if (t->report.lost_bytes)
		(void)snprintf(t->problem, sizeof(t->problem),
			       "%s of its pages are behind the end of their pages file: "
			       "it was cut short, copy it again",
			       lz_out_size(t->report.lost_bytes).s);
}

static int inspect(struct inspection *in, struct lazyd_images *images)
{
	struct lazyd_task task;

	while (!lazyd_images_task(images, in->nr, &task)) {
		struct task *all = reallocarray(in->task, in->nr + 1, sizeof(*all));

		if (!all)
			return -ENOMEM;
		in->task = all;
		all[in->nr] = (struct task){ .task = task };
		inspect_task(images, &all[in->nr]);
		in->nr_problems += all[in->nr].problem[0] != '\0';
		add_up(&in->total, &all[in->nr].report);
		in->nr++;
	}
	return 0;
}

static double pages_per_run(const struct lazyd_task_report *r)
{
	uint64_t pages = r->lazy_bytes / lz_out_pages(1); /* without what is absent */

	return r->nr_runs ? (double)pages / (double)r->nr_runs : 0;
}

/* ---- for people ---- */

static void print_row(const char *pid, const char *ppid, const struct lazyd_task_report *r)
{
	printf("%8s %8s %10s %10s %10s %10s %8" PRIu32 " %9" PRIu64 " %9.1f %5" PRIu32 "\n", pid,
	       ppid, lz_out_size(r->lazy_bytes).s, lz_out_size(r->eager_bytes).s,
	       lz_out_size(r->parent_bytes).s, lz_out_size(r->absent_bytes).s, r->nr_areas,
	       r->nr_runs, pages_per_run(r), r->depth);
}

static void print_text(const struct inspection *in)
{
	char pid[16], ppid[16];

	printf("%8s %8s %10s %10s %10s %10s %8s %9s %9s %5s\n", "pid", "parent", "lazy", "eager",
	       "in parents", "absent", "areas", "runs", "pages/run", "depth");
	for (size_t i = 0; i < in->nr; i++) {
		const struct task *t = &in->task[i];

		(void)snprintf(pid, sizeof(pid), "%" PRIu32, t->task.pid);
		(void)snprintf(ppid, sizeof(ppid), "%" PRIu32, t->task.ppid);
		if (t->task.dead)
			printf("%8s %8s %10s\n", pid, ppid, "zombie");
		else
			print_row(pid, ppid, &t->report);
	}
	print_row("all", "", &in->total);
	for (size_t i = 0; i < in->nr; i++)
		if (in->task[i].problem[0])
			printf("problem: task %" PRIu32 ": %s\n", in->task[i].task.pid,
			       in->task[i].problem);
	if (!in->nr_problems)
		printf("lazyd fill can serve this.\n");
}

/* ---- for programs ---- */

static json_t *report_json(const struct lazyd_task_report *r)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "lazy_bytes",
			 (json_int_t)r->lazy_bytes, "eager_bytes", (json_int_t)r->eager_bytes,
			 "parent_bytes", (json_int_t)r->parent_bytes, "absent_bytes",
			 (json_int_t)r->absent_bytes, "lost_bytes", (json_int_t)r->lost_bytes,
			 "area_bytes", (json_int_t)r->area_bytes, "entries",
			 (json_int_t)r->nr_entries, "areas", (json_int_t)r->nr_areas, "runs",
			 (json_int_t)r->nr_runs, "pages_per_run", pages_per_run(r), "depth",
			 (json_int_t)r->depth);
}

static int print_json(const struct inspection *in)
{
	json_t *tasks = json_array(), *problems = json_array();
	int r = 0;

	for (size_t i = 0; i < in->nr; i++) {
		const struct task *t = &in->task[i];
		json_t *json = report_json(&t->report);

		r |= json_object_set_new(json, "pid", json_integer(t->task.pid));
		r |= json_object_set_new(json, "ppid", json_integer(t->task.ppid));
		r |= json_object_set_new(json, "zombie", json_boolean(t->task.dead));
		r |= json_array_append_new(tasks, json);
		if (t->problem[0])
			r |= json_array_append_new(problems, json_pack("{s:I, s:s}", "pid",
								       (json_int_t)t->task.pid,
								       "problem", t->problem));
	}
	return r ? -ENOMEM
		 : lz_out_print(json_pack("{s:s, s:o, s:o, s:o}", "dir", in->dir, "tasks", tasks,
					  "total", report_json(&in->total), "problems", problems));
}

static int inspect_images(const char *dir, bool json)
{
	struct inspection in = { .dir = dir };
	struct lazyd_images *images = NULL;
	struct lazyd_why why = { "" };
	int r, fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		lz_out_error("%s cannot be opened: %s", dir, strerror(errno));
		return LZ_EXIT_FAILED;
	}
	r = lazyd_images_open(&images, fd, &why);
	if (!r)
		r = inspect(&in, images);
	if (!r && json)
		r = print_json(&in);
	else if (!r)
		print_text(&in);
	if (r)
		lz_out_error("%s: %s", dir, why.text[0] ? why.text : strerror(-r));
	lazyd_images_close(images);
	(void)close(fd);
	free(in.task);
	return r || in.nr_problems ? LZ_EXIT_FAILED : LZ_EXIT_OK;
}

/* ---- a running process ---- */

static int inspect_process(pid_t pid, unsigned seconds, bool json)
{
	struct lz_whole w;
	int r = lz_whole_wait(pid, seconds, &w);

	if (r) {
		lz_out_error("process %d cannot be looked at: %s", (int)pid, strerror(-r));
		return LZ_EXIT_FAILED;
	}
	if (json)
		r = lz_out_print(json_pack("{s:I, s:b, s:I, s:I, s:I}", "pid", (json_int_t)pid,
					   "whole", !w.pid, "processes", (json_int_t)w.nr_processes,
					   "areas", (json_int_t)w.nr_areas, "missing_bytes",
					   (json_int_t)w.missing_bytes));
	else if (w.pid)
		printf("process %d is not whole: up to %s in %" PRIu64
		       " areas are still to come; do not checkpoint it yet.\n",
		       (int)w.pid, lz_out_size(w.missing_bytes).s, w.nr_areas);
	else
		printf("All memory of process %d and of those below it is there (%" PRIu64
		       " processes).\n",
		       (int)pid, w.nr_processes);
	return r || w.pid ? LZ_EXIT_FAILED : LZ_EXIT_OK;
}

int lz_tool_inspect(int argc, char **argv)
{
	static const struct option options[] = {
		{ "images-dir", required_argument, NULL, 'D' },
		{ "pid", required_argument, NULL, 'p' },
		{ "wait", required_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	const char *dir = ".";
	long pid = 0, seconds = 0;
	bool json = false;
	int c;

	while ((c = lz_out_option(argc, argv, "D:", options)) != -1) {
		if (c == 'D')
			dir = optarg;
		else if (c == 'j')
			json = true;
		else if (c == 'p')
			pid = lz_service_number(optarg, INT_MAX);
		else if (c == 'w')
			seconds = lz_service_number(optarg, 1000000000);
		else
			return LZ_EXIT_USAGE;
		if (pid < 0 || (c == 'p' && !pid) || seconds < 0) {
			lz_out_error("--%s takes a number, not '%s'", c == 'p' ? "pid" : "wait",
				     optarg);
			return LZ_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		lz_out_error("inspect takes no '%s'; lazyd --help shows what it takes",
			     argv[optind]);
		return LZ_EXIT_USAGE;
	}
	if (seconds && !pid) {
		lz_out_error("inspect --wait waits for the memory of a process: of which --pid?");
		return LZ_EXIT_USAGE;
	}
	return pid ? inspect_process((pid_t)pid, (unsigned)seconds, json)
		   : inspect_images(dir, json);
}
