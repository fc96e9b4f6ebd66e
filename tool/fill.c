/* SPDX-License-Identifier: MIT */
/*
 * `lazyd fill`, and under CRIU's name `lazyd lazy-pages`: the images, the set-up in the order that
 * CRIU's callers rely on (listen, then daemonize, then say ready), the result.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/collapse.h"
#include "tool/confine.h"
#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* Descriptors of a task or a VM; and those of the worker,
 * and of children while their parents are filled. */
enum { DESCRIPTORS = 3, OTHERS = 64 };

/* ---- set-up ---- */

static int refuse(const struct lz_fill *f, const char *sentence)
{
	return lz_service_refuse(&f->o.service, sentence);
}

static int count_tasks(const struct lz_fill *f)
{
	struct lazyd_task t;
	int n = 0;

	while (!lazyd_images_task(f->images, (size_t)n, &t))
		n++;
	return n;
}

static int read_images(struct lz_fill *f, int dirfd, uint64_t *max_pages)
{
	struct lazyd_why why = { { 0 } };
	struct lazyd_task t;
	int nr, r = lazyd_images_open(&f->images, dirfd, &why);

	if (r)
		return lz_service_refuse_images(&f->o.service, &why);
	r = lz_peer_prepare(f);
	if (r)
		return r;
	nr = count_tasks(f);
	if (nr > LZ_TASKS_MAX)
		return refuse(f,
			      "the images hold more than 4096 tasks, more than one daemon serves");
	f->task = calloc((size_t)nr + 1, sizeof(*f->task));
	f->memory = calloc((size_t)nr + 1, sizeof(*f->memory));
	if (!f->task || !f->memory)
		return refuse(f, strerror(ENOMEM));
	for (; f->nr_tasks < (uint32_t)nr; f->nr_tasks++) {
		struct lz_fill_task *to = &f->task[f->nr_tasks];

		(void)lazyd_images_task(f->images, f->nr_tasks, &t);
		*to = (struct lz_fill_task){ .pid = t.pid, .dead = t.dead, .memory = -1 };
		if (t.dead)
			continue;
		to->memory = f->nr_memories;
		r = lazyd_images_memory(f->images, t.pid, &f->memory[f->nr_memories], &why);
		if (r)
			return lz_service_refuse_images(&f->o.service, &why);
		if (lazyd_memory_pages(f->memory[f->nr_memories]) > *max_pages)
			*max_pages = lazyd_memory_pages(f->memory[f->nr_memories]);
		f->nr_memories++;
	}
	return LZ_EXIT_OK;
}

static int share(struct lz_fill *f, uint64_t max_pages)
{
	int r = lazyd_state_new(&f->state, max_pages);

	if (r)
		return refuse(f, strerror(-r));
	r = lz_session_new(&f->session);
	if (r)
		return refuse(f, strerror(-r));
	r = lazyd_state_fd(f->state);
	f->session->state_fd = r < 0 ? -1 : r;
	f->session->fingerprint = lz_session_fingerprint(f);
	f->session->peer = f->peer;
	return LZ_EXIT_OK;
}

/* ---- the end ---- */

/* What became of the tasks is told by the exit status, whether this can be written or not. */
static void write_stats(const struct lz_fill *f, const struct lazyd_stats *s, double seconds, int r)
{
	json_t *j = lz_out_stats_json(s, seconds);

	if (j && f->o.vm.socket) {
		(void)json_object_set_new(j, "vms_full", json_integer(f->session->vms_full));
		(void)json_object_set_new(j, "vms_gone", json_integer(f->session->vms_gone));
		(void)json_object_set_new(j, "vms_refused", json_integer(f->session->vms_refused));
	}
	if (j && f->o.collapse)
		(void)json_object_set_new(j, "bytes_collapsed",
					  json_integer((json_int_t)f->huge.bytes));
	if (j)
		(void)json_object_set_new(j, "exit_status", json_integer(r));
	lz_service_report(&f->o.service, j);
}

static int report(struct lz_fill *f, int r)
{
	struct lazyd_stats s;
	uint64_t started_ns = f->session->started_ns;
	double seconds = started_ns ? (double)(lz_out_now() - started_ns) / 1e9 : 0;

	lazyd_stats(NULL, f->state, &s);
	lz_log_say(
		&f->o.service.log, LAZYD_LOG_INFO,
		"event=end status=%d seconds=%.3f demand=%llu neighbour=%llu replay=%llu sweep=%llu zero=%llu gone=%llu lost=%llu",
		r, seconds, (unsigned long long)s.pages_demand,
		(unsigned long long)s.pages_neighbour, (unsigned long long)s.pages_replay,
		(unsigned long long)s.pages_sweep, (unsigned long long)s.pages_zero,
		(unsigned long long)s.pages_gone, (unsigned long long)s.pages_lost);
	if (started_ns && !f->o.service.daemon && !f->o.service.no_progress)
		lz_out_summary(stderr, &s, seconds);
	if (f->o.service.stats_file)
		write_stats(f, &s, seconds, r);
	lz_record_end(f);
	return r;
}

static void fini(struct lz_fill *f)
{
	for (int i = 0; i < f->nr_memories; i++)
		lazyd_memory_put(f->memory[i]);
	lz_replace_close(&f->record);
	free(f->replay);
	free(f->memory);
	free(f->task);
	lazyd_images_close(f->images);
	lazyd_tls_free(f->tls);
	lazyd_state_free(f->state);
	lz_snapshot_close(&f->snapshot);
}

static void unlisten(struct lz_fill *f)
{
	if (f->o.vm.socket)
		lz_firecracker_end(f);
	else
		lz_restorer_unlisten(f);
}

static void keep(const struct lz_session *s)
{
	lz_store_keep(s->state_fd, "fill");
	lz_store_keep(s->kick_fd, "fill");
	lz_store_keep(s->listen_fd, "fill");
	/* Without it nothing is gone on with: not before all is there. */
	lz_store_keep(s->session_fd, "session");
}

static void confine(const struct lz_fill *f)
{
	unsigned roles = LZ_CONFINE_FILL;

	if (f->resume)
		roles |= LZ_CONFINE_AGAIN;
	if (f->others_images)
		roles |= LZ_CONFINE_OTHERS;
	if (f->remote.size && f->o.service.ps_socket < 0)
		roles |= f->peer.at[0].sa.ss_family == AF_UNIX ? LZ_CONFINE_UNIX : LZ_CONFINE_INET;
	/* The service manager's store is told by one. */
	if (getenv("NOTIFY_SOCKET"))
		roles |= LZ_CONFINE_UNIX;
	if (f->o.record)
		roles |= LZ_CONFINE_RECORD;
	lz_confine_enter(&f->o.service.log, roles,
			 f->o.vm.socket ? lz_addr_file(&f->vm_addr) : "lazy-pages.socket",
			 f->o.record);
}

/* One that is replaced has left its own; one whose descriptors were stored could not. */
static bool starts_huge(const struct lz_fill *f)
{
	return f->o.collapse && (!f->resume || f->stored);
}

/* Before this process cannot do it any more. */
static void prepare_huge(struct lz_fill *f)
{
	int fd;

	if (!starts_huge(f))
		return;
	fd = lz_huge_begin(&f->o.service.log);
	f->session->huge_fd = fd < 0 ? -1 : fd;
	if (fd < 0)
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
			   "event=not-collapsed error=\"%s\" no process to do it", strerror(-fd));
}

static int start_listening(struct lz_fill *f)
{
	const struct lz_service *v = &f->o.service;
	const char *vms = f->o.vm.socket, *work = v->work_dir ? v->work_dir : v->images_dir;
	int r = vms ? lz_firecracker_listen(f) : lz_restorer_listen(f);
	char sentence[PATH_MAX + 128];

	if (!r)
		return LZ_EXIT_OK;
	(void)snprintf(sentence, sizeof(sentence), "cannot listen at %s%s: %s", vms ? vms : work,
		       vms ? " (--firecracker)" : "/lazy-pages.socket (-W, else -D)", strerror(-r));
	return refuse(f, sentence);
}

/* From the socket on: listen, then daemonize, then say ready; CRIU's callers rely on that order. */
static int begin(struct lz_fill *f)
{
	int r = lz_service_ring(&f->o.service);

	if (!r)
		r = start_listening(f);
	if (!r)
		r = lz_service_daemonize(&f->o.service);
	if (!r && lz_keeper_hold_signals(f))
		r = refuse(f, "signalfd() failed");
	if (!r && !lz_session_lock(f->session))
		r = refuse(f, strerror(errno));
	if (!r) {
		prepare_huge(f);
		confine(f);
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=ready tasks=%u", f->nr_tasks);
		keep(f->session);
		lz_service_ready(&f->o.service);
		lz_store_ready();
	}
	return r;
}

/* All is full; VMs have been named when they were. */
static void make_huge(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	int r = s->huge_fd < 0 ? -ENOENT : 0;

	for (uint32_t i = 0; !r && i < s->nr_said; i++)
		if (s->said[i].type == LZ_SAID_UFFD && s->said[i].own >= 0)
			r = lz_huge_ask(s->huge_fd, s->said[i].own, true);
	if (s->huge_fd >= 0 && !lz_huge_end(s->huge_fd, s->signal_fd, &f->huge) && !r)
		r = -EINTR;
	s->huge_fd = -1;
	if (r && r != -ENOENT) /* that has been told */
		lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
			   "event=not-collapsed error=\"%s\" some pages stay small", strerror(-r));
}

/* Keeper and worker: each may find itself the other, as long as there is anything to do. */
static int serve(struct lz_fill *f)
{
	uint32_t nr = f->o.vm.socket ? LZ_GUESTS_MAX : f->nr_tasks;
	int r;

	lz_fds_reserve(f->session->session_fd, DESCRIPTORS * nr + OTHERS);
	if (f->resume == LZ_RESUME_GO)
		r = lz_keeper_succeed(f, f->stored ? "restarted version=" LAZYD_VERSION
						   : "upgraded version=" LAZYD_VERSION);
	else
		r = lz_keeper_run(f);
	while (r == LZ_KEEPER_CHILD) {
		lz_worker_run(f);
		r = lz_keeper_succeed(f, "keeper-died its worker goes on as keeper");
	}
	if (f->o.collapse && r == LZ_EXIT_OK)
		make_huge(f);
	r = report(f, r);
	lz_keeper_end(f);
	return r;
}

/* There it is looked for who must not be left and, in the last resort, whom to kill, by number. */
static bool has_proc(void)
{
	char link[16];
	ssize_t n = readlink("/proc/self", link, sizeof(link) - 1);

	link[n < 0 ? 0 : n] = '\0';
	return strtol(link, NULL, 10) == getpid();
}

static int fill(struct lz_fill *f, int argc, char **argv)
{
	uint64_t max_pages = 0;
	int images = -1, r = lz_fill_options_take(f, argc, argv);
	struct stat st;

	if (r >= 0)
		return r;
	if (starts_huge(f) && !lz_collapse_is_allowed())
		return refuse(
			f,
			"--collapse changes other processes' memory, which takes CAP_SYS_NICE: run as root, or give it to the container");
	if (!has_proc())
		return refuse(f, "there is no /proc, or it is another pid namespace's: mount one");
	r = lz_guest_open_files(f);
	if (r)
		return r;
	if (lz_service_enter(&f->o.service, &images))
		return LZ_EXIT_FAILED;
	if (f->o.vm.socket) {
		r = lz_guest_read_files(f, &max_pages);
	} else {
		f->others_images = fstat(images, &st) || st.st_uid != geteuid();
		r = read_images(f, images, &max_pages);
	}
	(void)close(images);
	if (!r)
		r = lz_record_prepare(f);
	if (!r)
		r = f->resume ? lz_upgrade_adopt(f) : share(f, max_pages);
	if (r || f->resume == LZ_RESUME_CHECK)
		return r;
	if (f->resume) {
		prepare_huge(f);
		confine(f);
	} else {
		r = begin(f);
	}
	if (!r)
		r = serve(f);
	unlisten(f);
	return r;
}

int lz_tool_fill(int argc, char **argv)
{
	struct lz_fill f = { .record.fd = -1 };
	int r;

	/* Before a store gives numbers back that one before had with more of them allowed. */
	lz_fds_raise_limit();
	r = lz_upgrade_begin(&f);
	if (!r)
		r = fill(&f, argc, argv);
	/* It could when it was asked; now somebody else must end what cannot be gone on with. */
	if (r && f.resume == LZ_RESUME_GO && f.session && !f.state) {
		lz_last_kill(&f, "the program that was to go on cannot");
		lz_last_hold(&f);
	}
	fini(&f);
	return r;
}
