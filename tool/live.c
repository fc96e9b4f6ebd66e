/* SPDX-License-Identifier: MIT */
/* Looks at the processes of live.h; live_pages.c has which of their pages are theirs. */
#include "tool/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool/live_pages.h"
#include "tool/maps.h"
#include "tool/out.h"
#include "tool/tree.h"

/* A process that has been sent SIGSTOP is waited for in such steps, for so many of them. */
enum { STOP_NAP_NS = 1000000, STOP_NAPS = 5000, LINE = 512 };

static FILE *open_proc(pid_t pid, const char *what)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return fopen(path, "re");
}

/* ---- standing still ---- */

/* What its stat says of a process or thread: the state, '?' if it has gone, and the parent. */
static char read_stat(pid_t pid, const char *what, int *parent)
{
	char line[LINE], state = '?';
	FILE *f = open_proc(pid, what);
	const char *p;

	*parent = 0;
	if (!f)
		return state;
	p = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (p)
		(void)sscanf(p + 1, " %c %d", &state, parent);
	(void)fclose(f);
	return state;
}

static char state_of(pid_t pid, const char *tid)
{
	char what[64];
	int parent;

	(void)snprintf(what, sizeof(what), "task/%.16s/stat", tid);
	return read_stat(pid, what, &parent);
}

/* Are we @pid, or with @tree below it? */
static bool has_us(pid_t pid, bool tree)
{
	int at = getpid();

	while (tree && at && at != pid)
		(void)read_stat(at, "stat", &at);
	return at == pid;
}

/* By a freezer, in which its threads look as if they slept. */
static bool is_frozen(pid_t pid)
{
	char line[LINE], path[LINE + 64];
	bool frozen = false;
	FILE *f = open_proc(pid, "cgroup");

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3))
			continue;
		(void)fclose(f);
		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.events", line + 3);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			frozen = frozen || !strcmp(line, "frozen 1\n");
		break;
	}
	if (f)
		(void)fclose(f);
	return frozen;
}

static bool stands_still(pid_t pid)
{
	char path[64];
	bool still = true;
	const struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		still = still && (e->d_name[0] == '.' || strchr("TtZX?", state_of(pid, e->d_name)));
	if (d)
		(void)closedir(d);
	return d && (still || is_frozen(pid));
}

static int stop(pid_t pid, struct lazyd_why *why)
{
	if (kill(pid, SIGSTOP))
		return lz_out_why(why, -errno, "process %d cannot be stopped: %s", (int)pid,
				  strerror(errno));
	for (int i = 0; i < STOP_NAPS; i++) {
		if (stands_still(pid))
			return 0;
		(void)nanosleep(&(struct timespec){ .tv_nsec = STOP_NAP_NS }, NULL);
	}
	return lz_out_why(why, -ETIME, "process %d does not stop", (int)pid);
}

/* ---- areas ---- */

static int add_area(const struct lz_maps_area *a, void *task)
{
	struct lz_live_task *t = task;

	if (a->is_kernels)
		return 0;
	if (!a->is_shared)
		return lz_live_pages_add_area(t, a);
	t->nr_shared++;
	return 0;
}

static int look_at(struct lz_live *l, struct lz_live_task *t, struct lazyd_why *why)
{
	pid_t pid = (pid_t)t->task.pid;
	int r = lz_maps_read(pid, LZ_MAPS, add_area, t);

	if (!r)
		r = lz_live_pages(t, true);
	for (size_t i = 0; i < t->nr_pages; i++)
		l->bytes += t->page[i].end - t->page[i].start;
	l->nr_shared += t->nr_shared;
	return r ? lz_out_why(why, r, "the memory of process %d cannot be looked at: %s", (int)pid,
			      strerror(-r))
		 : 0;
}

/* ---- processes ---- */

static int add_task(struct lz_live *l, pid_t pid, pid_t parent)
{
	struct lz_live_task *all = reallocarray(l->task, l->nr + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	l->task = all;
	l->task[l->nr++] = (struct lz_live_task){
		.task = { .pid = (uint32_t)pid, .ppid = (uint32_t)parent },
	};
	return 0;
}

/* Those of @pid, which stands still: it makes no more. */
static int add_children(struct lz_live *l, pid_t pid)
{
	struct lz_tree t = { 0 };
	int r = lz_tree_add_children(&t, pid);

	for (size_t i = 0; !r && i < t.nr; i++)
		r = add_task(l, t.pid[i], pid);
	lz_tree_free(&t);
	return r;
}

int lz_live_look(struct lz_live *l, pid_t pid, bool tree, bool stops, struct lazyd_why *why)
{
	int r = 0;

	*l = (struct lz_live){ 0 };
	if (kill(pid, 0))
		return lz_out_why(why, -errno, "there is no process %d to be looked at: %s",
				  (int)pid, strerror(errno));
	if (has_us(pid, tree))
		return lz_out_why(
			why, -EINVAL,
			"this lazyd is %s process %d, and cannot stand still: start it elsewhere",
			pid == getpid() ? "itself" : "below", (int)pid);
	r = add_task(l, pid, 0);
	for (size_t i = 0; !r && i < l->nr; i++) {
		pid_t at = (pid_t)l->task[i].task.pid;

		if (stops)
			r = stop(at, why);
		else if (!stands_still(at))
			r = lz_out_why(
				why, -EBUSY,
				"process %d runs, and its memory changes: stop or freeze it, or --stop",
				(int)at);
		if (!r)
			r = look_at(l, &l->task[i], why);
		if (!r && tree)
			r = add_children(l, at);
	}
	if (r)
		lz_live_free(l);
	return r;
}

void lz_live_free(struct lz_live *l)
{
	for (size_t i = 0; i < l->nr; i++) {
		free(l->task[i].area);
		free(l->task[i].page);
	}
	free(l->task);
	*l = (struct lz_live){ 0 };
}

/* ---- what becomes of it ---- */

static int write_task(const struct lz_live_task *t, int dirfd, uint32_t id, struct lazyd_why *why)
{
	struct lazyd_writer *w;
	int r = lazyd_writer_areas(dirfd, t->task.pid, t->area, t->nr_areas, why);

	if (!r)
		r = lazyd_writer_open(&w, dirfd, t->task.pid, id, why);
	if (r)
		return r;
	for (size_t i = 0; !r && i < t->nr_pages; i++)
		r = lazyd_writer_add(w, t->page[i].start, (t->page[i].end - t->page[i].start) >> 12,
				     LAZYD_PAGE_LAZY, NULL, why);
	if (lazyd_writer_close(w, r ? NULL : why) && !r)
		r = -EIO;
	return r;
}

int lz_live_write(const struct lz_live *l, int dirfd, struct lazyd_why *why)
{
	struct lazyd_task *task = calloc(l->nr, sizeof(*task));
	int r = task ? 0 : lz_out_why(why, -ENOMEM, "not enough memory");

	for (size_t i = 0; !r && i < l->nr; i++)
		task[i] = l->task[i].task;
	if (!r)
		r = lazyd_writer_tasks(dirfd, task, l->nr, why);
	for (size_t i = 0; !r && i < l->nr; i++)
		r = write_task(&l->task[i], dirfd, (uint32_t)i + 1, why);
	free(task);
	return r;
}

static int serve_task(const struct lz_live_task *t, struct lazyd_server *s)
{
	struct lazyd_memory *m;
	char path[64];
	int fd, source, r = lazyd_memory_new(&m);

	if (r)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/%u/mem", t->task.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	source = fd < 0 ? -errno : lazyd_memory_add_process(m, fd, path);
	if (source < 0 && fd >= 0)
		(void)close(fd);
	r = source < 0 ? source : 0;
	for (size_t i = 0; !r && i < t->nr_pages; i++)
		r = lazyd_memory_add_piece(m, t->page[i].start, t->page[i].end - t->page[i].start,
					   source, 0);
	if (!r)
		r = lazyd_server_add(s, t->task.pid, m);
	lazyd_memory_put(m);
	return r;
}

int lz_live_serve(const struct lz_live *l, struct lazyd_server *s, struct lazyd_why *why)
{
	int r = 0;

	for (size_t i = 0; !r && i < l->nr; i++) {
		r = serve_task(&l->task[i], s);
		if (r)
			(void)lz_out_why(why, r, "the memory of process %u cannot be served: %s",
					 l->task[i].task.pid, strerror(-r));
	}
	return r;
}
