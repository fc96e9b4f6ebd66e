/* SPDX-License-Identifier: MIT */
/*
 * The public functions of the other end: puts the plans of an images directory behind a page server, and
 * tells it where a task's pages lie. What is said to whom is iouring/server.c's.
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

static int64_t find(void *arg, uint32_t pid, uint64_t vaddr, uint64_t max,
		    struct lz_source **source, uint64_t *offset)
{
	const struct lazyd_server *s = arg;
	const struct task key = { .pid = pid };
	const struct task *t = bsearch(&key, s->task, s->nr_tasks, sizeof(key), by_pid);
	const struct lz_run *run;
	uint64_t nr;
	int64_t page;

	if (!t)
		return -ENOENT;
	page = lz_plan_page(t->memory->plan, vaddr, &run);
	if (page < 0)
		return 0;
	nr = lz_plan_run_pages(t->memory->plan, run) - ((uint64_t)page - run->first);
	*source = t->source[run->source];
	*offset = run->offset + (((uint64_t)page - run->first) << run->page_shift);
	return (int64_t)(nr < max ? nr : max);
}

static void log_line(void *arg, int level, const char *line)
{
	const struct lazyd_server *s = arg;

	if (s->log)
		s->log(s->log_arg, (enum lazyd_log)level, line);
}

/* What becomes of the page is the client's affair; that the file is at fault is only known here. */
static void lost(void *arg, const struct lz_source *source, uint64_t offset, int64_t result)
{
	const struct lazyd_server *s = arg;
	const struct task *t = s->task;
	char line[512];
	size_t i = 0;

	while (t->source[i] != source)
		if (++i == t->memory->nr_sources)
			t++, i = 0;
	if (t->told[i])
		return;
	t->told[i] = true;
	(void)snprintf(line, sizeof(line),
		       "event=bytes-lost source=%s offset=%" PRIu64
		       " %s; clients are told that its pages are lost",
		       t->memory->source[i].name, offset,
		       result == -ESTALE    ? "the file has been written to since the start"
		       : result == -ENODATA ? "the file has got a hole there"
		       : result < 0         ? strerror((int)-result)
					    : "the file is shorter than its pagemap says");
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
	for (size_t i = 0; !r && i < m->nr_sources; i++) {
		const struct lz_memory_source *from = &m->source[i];
		struct lz_file_look as = { from->mtime_ns, from->blocks };

		r = lz_file_open(&t->source[i], from->fd, from->size, &as);
	}
	return r;
}

static int load(struct lazyd_server *s, struct lz_images *images, struct lz_why *why)
{
	size_t nr = lz_images_nr_tasks(images);
	int r = 0;

	s->task = calloc(nr + 1, sizeof(*s->task));
	if (!s->task)
		return lz_why_say(why, -ENOMEM, "not enough memory for %zu tasks", nr);
	for (size_t n = 0; !r && n < nr; n++) {
		const struct lz_task *from = lz_images_task(images, n);
		struct task *t = &s->task[s->nr_tasks];

		if (from->dead)
			continue;
		t->pid = from->pid;
		r = lz_images_pages(images, from->pid, &t->memory, why);
		if (r)
			break;
		s->nr_tasks++;
		r = open_sources(t);
		if (r)
			lz_why_say(why, r, "the pages files of pid %u cannot be opened: %s", t->pid,
				   strerror(-r));
	}
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

	if (!out || !images || !options || options->size > sizeof(o))
		return -EINVAL;
	memcpy(&o, options, options->size);
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
		.once = o.once,
		.tls = (const struct lz_tls *)o.tls,
	};
	r = load(s, (struct lz_images *)images, &w);
	if (!r)
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
	for (size_t i = 0; i < s->nr_tasks; i++) {
		struct task *t = &s->task[i];

		for (size_t n = 0; t->source && n < t->memory->nr_sources; n++)
			if (t->source[n])
				t->source[n]->ops->close(t->source[n]);
		free(t->source);
		free(t->told);
		lz_memory_put(t->memory);
	}
	free(s->task);
	free(s);
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

void lazyd_server_stats(const struct lazyd_server *s, struct lazyd_server_stats *stats)
{
	struct lz_server_stats n = { 0 };

	if (s->server)
		lz_server_stats(s->server, &n);
	*stats = (struct lazyd_server_stats){
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
}
