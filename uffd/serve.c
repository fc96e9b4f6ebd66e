/* SPDX-License-Identifier: MIT */
/*
 * The public functions of the other end: puts the plans of an images directory, and of memories
 * made by hand, behind a page server, and tells it where a task's pages lie. What is said to whom
 * is iouring/server.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iouring/server.h"
#include "pagemap/files.h"
#include "pagemap/identity.h"
#include "pagemap/memory.h"
#include "uffd/lazyd.h"
#include "uffd/sized.h"
#include "uffd/sources.h"

enum {
	CLIENTS_DEFAULT = 256,
	/* What a lazyd may ask for in one request: 1 MiB. */
	REQUEST_PAGES_MAX = 256,
};

struct task {
	uint32_t pid;
	struct lz_memory *memory;
	struct lz_source **source;
	bool *told; /* for each: its first lost page has been logged */
};

struct lazyd_server {
	struct lz_server *server; /* once it has been given a socket */
	struct lz_server_options options;
	struct task *task; /* by pid */
	size_t nr_tasks;
	void (*log)(void *arg, enum lazyd_log level, const char *line);
	void *log_arg;
};

static int by_pid(const void *a, const void *b)
{
	uint32_t x = ((const struct task *)a)->pid, y = ((const struct task *)b)->pid;

	return (x > y) - (x < y);
}

/* What is in an area and in no piece; @vaddr is such a page, or in no area. */
static int64_t find_zeros(const struct lz_memory *m, uint64_t vaddr, uint64_t max,
			  struct lz_source **source, uint64_t *offset)
{
	uint64_t page = lz_plan_page_from(m->plan, vaddr), end;
	const struct lz_run *run;

	for (size_t i = 0; i < m->nr_segs; i++) {
		if (vaddr < m->seg[i].start || vaddr >= m->seg[i].end)
			continue;
		end = m->seg[i].end;
		run = page < lz_plan_nr_pages(m->plan) ? lz_plan_run(m->plan, page) : NULL;
		if (run && lz_plan_identity(run, page) < end)
			end = lz_plan_identity(run, page);
		*source = lz_sources_zeros();
		*offset = vaddr;
		end = (end - vaddr) >> 12;
		return (int64_t)(end < max ? end : max);
	}
	return 0;
}

static int64_t find(void *arg, uint32_t pid, uint64_t vaddr, uint64_t max,
		    struct lz_source **source, uint64_t *offset)
{
	const struct lazyd_server *s = arg;
	const struct task key = { .pid = pid };
	const struct task *t = s->nr_tasks
				       ? bsearch(&key, s->task, s->nr_tasks, sizeof(key), by_pid)
				       : NULL;
	const struct lz_run *run;
	uint64_t nr, skip;

	if (!t)
		return -ENOENT;
	if (lz_plan_page(t->memory->plan, vaddr, &run) < 0)
		return find_zeros(t->memory, vaddr, max, source, offset);
	/* Asked for by pages of 4 KiB, whatever the memory's are. */
	skip = vaddr - run->identity;
	nr = ((lz_plan_run_pages(t->memory->plan, run) << run->page_shift) - skip) >> 12;
	*source = t->source[run->source];
	*offset = run->offset + skip;
	return (int64_t)(nr < max ? nr : max);
}

static void log_line(void *arg, int level, const char *line)
{
	const struct lazyd_server *s = arg;

	if (s->log)
		s->log(s->log_arg, (enum lazyd_log)level, line);
}

static struct task *task_of(const struct lazyd_server *s, const struct lz_source *source, size_t *n)
{
	for (size_t i = 0; i < s->nr_tasks; i++)
		for (*n = 0; *n < s->task[i].memory->nr_sources; (*n)++)
			if (s->task[i].source[*n] == source)
				return &s->task[i];
	return NULL;
}

static const char *why_lost(const struct lz_memory_source *from, int64_t result)
{
	if (result == -ESTALE)
		return "the file has been written to since the start";
	if (result == -ENODATA)
		return "the file has got a hole there";
	if (result < 0)
		return strerror((int)-result);
	if (from->kind == LZ_FROM_PROCESS)
		return "the process has ended, or runs another program";
	return from->kind == LZ_FROM_CALL ? "it has given fewer bytes than it was asked for"
					  : "the file is shorter than its pagemap says";
}

/* What becomes of the page is the client's affair;
 * that the source is at fault is only known here. */
static void lost(void *arg, const struct lz_source *source, uint64_t offset, int64_t result)
{
	const struct lazyd_server *s = arg;
	char line[512];
	size_t i;
	const struct task *t = task_of(s, source, &i);

	if (!t || t->told[i])
		return;
	t->told[i] = true;
	(void)snprintf(line, sizeof(line),
		       "event=bytes-lost source=%s offset=%" PRIu64
		       " %s; clients are told that its pages are lost",
		       t->memory->source[i].name, offset, why_lost(&t->memory->source[i], result));
	log_line(arg, LAZYD_LOG_ERROR, line);
}

/* ---- opening ---- */

static int open_sources(struct task *t)
{
	const struct lz_memory *m = t->memory;
	int r = 0;

	t->source = calloc(m->nr_sources + 1, sizeof(struct lz_source *));
	t->told = calloc(m->nr_sources + 1, sizeof(*t->told));
	if (!t->source || !t->told)
		return -ENOMEM;
	for (size_t i = 0; !r && i < m->nr_sources; i++)
		r = lz_sources_open(&m->source[i], false, &t->source[i]);
	return r;
}

static void close_task(struct task *t)
{
	for (size_t n = 0; t->source && n < t->memory->nr_sources; n++)
		if (t->source[n])
			t->source[n]->ops->close(t->source[n]);
	free(t->source);
	free(t->told);
	lz_memory_put(t->memory);
}

/* Takes @memory, on success only; tasks are to be sorted again before they are looked for. */
static int add_task(struct lazyd_server *s, uint32_t pid, struct lz_memory *memory)
{
	struct task t = { .pid = pid, .memory = memory };
	struct task *all = reallocarray(s->task, s->nr_tasks + 1, sizeof(*all));
	int r = all ? open_sources(&t) : -ENOMEM;

	if (all)
		s->task = all;
	if (r) {
		t.memory = lz_memory_get(memory);
		close_task(&t);
		return r;
	}
	s->task[s->nr_tasks++] = t;
	return 0;
}

static int load(struct lazyd_server *s, struct lz_images *images, struct lz_why *why)
{
	size_t nr = lz_images_nr_tasks(images);
	int r = 0;

	for (size_t n = 0; !r && n < nr; n++) {
		const struct lz_task *from = lz_images_task(images, n);
		struct lz_memory *memory;

		if (from->dead)
			continue;
		r = lz_images_pages(images, from->pid, &memory, why);
		if (r)
			break;
		r = add_task(s, from->pid, memory);
		if (!r)
			continue;
		lz_memory_put(memory);
		lz_why_say(why, r, "the pages files of pid %u cannot be opened: %s", from->pid,
			   strerror(-r));
	}
	if (s->nr_tasks)
		qsort(s->task, s->nr_tasks, sizeof(*s->task), by_pid);
	return r;
}

/* Not before there is a socket: a ring is the property of the process that opens it. */
static int start(struct lazyd_server *s)
{
	return s->server ? 0 : lz_server_open(&s->server, &s->options);
}

int lazyd_server_new(struct lazyd_server **out, struct lazyd_images *images,
		     const struct lazyd_server_options *options, struct lazyd_why *why)
{
	struct lazyd_server_options o = { 0 };
	struct lazyd_server *s;
	struct lz_why w = { 0 };
	int r;

	if (!out || !options || !lz_sized_take(&o, sizeof(o), options, options->size) ||
	    (!images && !o.identity))
		return lz_sized_refuse(why ? why->text : NULL);
	s = calloc(1, sizeof(*s));
	if (!s) {
		if (why)
			(void)strcpy(why->text, "not enough memory to serve images");
		return -ENOMEM;
	}
	s->log = o.log;
	s->log_arg = o.log_arg;
	s->options = (struct lz_server_options){
		.find = find,
		.log = log_line,
		.lost = lost,
		.arg = s,
		.giver = { .max_request_pages = REQUEST_PAGES_MAX,
			   .software = "lazyd " LAZYD_VERSION },
		.max_clients = o.max_clients ? o.max_clients : CLIENTS_DEFAULT,
		.idle_ns = o.idle_timeout_s * UINT64_C(1000000000),
		.busy_poll_ns = o.busy_poll_ns,
		.once = o.once,
		.tls = (const struct lz_tls *)o.tls,
	};
	r = images ? load(s, (struct lz_images *)images, &w) : 0;
	if (!r && o.identity)
		memcpy(s->options.giver.identity, o.identity, LAZYD_IDENTITY_LEN);
	else if (!r)
		r = lz_images_identity((struct lz_images *)images, s->options.giver.identity, &w);
	if (why)
		memcpy(why->text, w.text, sizeof(why->text));
	if (r) {
		lazyd_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void lazyd_server_free(struct lazyd_server *s)
{
	if (!s)
		return;
	if (s->server)
		lz_server_close(s->server);
	for (size_t i = 0; i < s->nr_tasks; i++)
		close_task(&s->task[i]);
	free(s->task);
	free(s);
}

int lazyd_server_add(struct lazyd_server *s, uint32_t pid, struct lazyd_memory *m)
{
	struct lz_memory *memory = (struct lz_memory *)m;
	const struct task key = { .pid = pid };
	int r;

	if (s->server)
		return -EBUSY;
	if (s->nr_tasks && bsearch(&key, s->task, s->nr_tasks, sizeof(key), by_pid))
		return -EEXIST;
	for (size_t i = 0; i < memory->nr_sources; i++)
		if (memory->source[i].kind == LZ_FROM_PLACE || memory->source[i].call.in_place)
			return -EINVAL;
	lz_memory_use(memory);
	r = add_task(s, pid, memory);
	if (r)
		return r;
	(void)lz_memory_get(memory);
	qsort(s->task, s->nr_tasks, sizeof(*s->task), by_pid);
	return 0;
}

/* ---- serving ---- */

int lazyd_server_listen(struct lazyd_server *s, int fd)
{
	int r = start(s);

	return r ? r : lz_server_listen(s->server, fd);
}

int lazyd_server_accept(struct lazyd_server *s, int fd)
{
	int r = start(s);

	return r ? r : lz_server_accept(s->server, fd);
}

int lazyd_server_turn(struct lazyd_server *s, int64_t timeout_ns)
{
	return s->server ? lz_server_turn(s->server, timeout_ns) : -EINVAL;
}

void lazyd_server_finish(struct lazyd_server *s)
{
	if (s->server)
		lz_server_finish(s->server);
}

void lazyd_server_stop(struct lazyd_server *s)
{
	if (s->server)
		lz_server_stop(s->server);
}

void lazyd_server_stats_sized(const struct lazyd_server *s, struct lazyd_server_stats *stats,
			      size_t size)
{
	struct lz_server_stats n = { 0 };
	struct lazyd_server_stats out;

	if (s->server)
		lz_server_stats(s->server, &n);
	out = (struct lazyd_server_stats){
		.nr_clients = n.nr_clients,
		.clients_total = n.clients_total,
		.clients_refused = n.clients_refused,
		.clients_dropped = n.clients_dropped,
		.requests = n.requests,
		.pages = n.pages,
		.pages_zero = n.pages_zero,
		.pages_lost = n.pages_lost,
		.bytes_sent = n.bytes_sent,
	};
	lz_sized_fill(stats, size, &out, sizeof(out));
}
