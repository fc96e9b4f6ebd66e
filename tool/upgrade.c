/* SPDX-License-Identifier: MIT */
/*
 * A running fill becomes another program, under the same pid: that which now is where this one was
 * started from. It gets the session and the state by their descriptors, and all others under their
 * old numbers. It is first started beside, to read the command line, the images, session and state,
 * and to say in the session that it could go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* "check:N:..." or "go:N:...": descriptors of the session, the log, the statistics,
 * the pidfile, the record. */
static const char NAME[] = "LAZYD_RESUME";

enum { ARGV_BYTES = 1 << 17, ARGV_MAX = 512 };

/* ---- in the new program ---- */

/* @fd: the session's; @is_said: by who was here before, and not by a service manager. */
static int resume(struct lz_fill *f, int fd, bool is_said)
{
	if (fd < 0 || (is_said && f->had.log < 0) || lz_session_open(&f->session, fd)) {
		lz_out_error("there is no session to go on with, or one of another version");
		return LZ_EXIT_FAILED;
	}
	if (f->resume == LZ_RESUME_GO && !lz_session_lock(f->session)) {
		f->resume =
			LZ_RESUME_CHECK; /* which ends here; the tasks are none of its business */
		lz_out_error("somebody else serves the tasks of this session");
		return LZ_EXIT_FAILED;
	}
	/* What the dead had for themselves, and nobody has kept. */
	if (f->stored) {
		f->session->signal_fd = f->session->keeper_pidfd = -1;
		lz_inbox_lose_descriptors(&f->session->inbox, f->session->nr_said);
	}
	return LZ_EXIT_OK;
}

int lz_upgrade_begin(struct lz_fill *f)
{
	const char *value = getenv(NAME), *numbers = value ? strchr(value, ':') : NULL;
	struct lz_service_files had;
	int fd = -1, r = LZ_EXIT_OK;

	f->had = (struct lz_service_files){ -1, -1, -1, -1 };
	if (numbers && sscanf(numbers, ":%d:%d:%d:%d:%d", &fd, &had.log, &had.stats, &had.pidfile,
			      &had.record) == 5)
		f->had = had;
	if (!value)
		fd = lz_store_take();
	f->stored = !value && fd >= 0;
	if (readlink("/proc/self/exe", f->exe, sizeof(f->exe) - 1) < 0)
		f->exe[0] = '\0';
	if (value || f->stored) {
		f->resume = f->stored || *value == 'g' ? LZ_RESUME_GO : LZ_RESUME_CHECK;
		(void)unsetenv(NAME);
		r = resume(f, fd, value);
	}
	/* Not under a number that the session names, before it has been looked for there. */
	f->start_dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return r;
}

/* Those that must live on: what is served and who is, what is written, what the session names. */
static bool is_needed(const struct lz_fill *f, int fd, const char *link)
{
	const struct lz_service *v = &f->o.service;
	const struct lz_session *s = f->session;
	const int named[] = { s->session_fd,  s->state_fd, s->kick_fd,  s->listen_fd,
			      s->restorer_fd, v->log.fd,   v->stats_fd, v->pidfile_fd,
			      f->record.fd,   s->huge_fd };
	bool listens;

	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		if (fd == named[i])
			return true;
	if (fd == s->keeper_pidfd)
		return false;
	if (f->o.vm.socket && lz_fds_is_socket(fd, lz_addr_file(&f->vm_addr), &listens))
		return true;
	return strcmp(link, "anon_inode:[userfaultfd]") == 0 ||
	       strcmp(link, "anon_inode:[pidfd]") == 0 || strncmp(link, "pidfd:", 6) == 0;
}

struct marking {
	const struct lz_fill *f;
	int flags;
};

static void mark_if_needed(void *arg, int fd, const char *link)
{
	const struct marking *m = arg;

	if (is_needed(m->f, fd, link))
		(void)fcntl(fd, F_SETFD, m->flags);
}

/* @flags: FD_CLOEXEC, or 0 to have them live on. */
static int mark(const struct lz_fill *f, int flags)
{
	return lz_fds_each(mark_if_needed, &(struct marking){ f, flags });
}

int lz_upgrade_adopt(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	bool is_same = s->fingerprint == lz_session_fingerprint(f);
	int r;

	for (uint32_t i = 0; is_same && i < s->nr_said; i++)
		is_same = s->said[i].task < f->nr_tasks;
	if (!is_same)
		return lz_service_refuse(&f->o.service, "the images are not those of the session");
	r = lazyd_state_open(&f->state, s->state_fd);
	if (r)
		return lz_service_refuse(&f->o.service,
					 r == -EPROTO ? "the state is one of another version"
						      : strerror(-r));
	if (f->resume == LZ_RESUME_CHECK)
		s->understood = getpid();
	else
		(void)mark(f, FD_CLOEXEC);
	return LZ_EXIT_OK;
}

/* ---- in the old one ---- */

struct command {
	char *argv[ARGV_MAX + 1];
	char bytes[ARGV_BYTES];
};

/* The command line as it was given: main() and getopt have moved the words about since. */
static struct command *command_line(void)
{
	struct command *c = calloc(1, sizeof(*c));
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = c && fd >= 0 ? read(fd, c->bytes, sizeof(c->bytes)) : -1;
	unsigned n = 0;

	if (fd >= 0)
		(void)close(fd);
	if (len <= 0 || len == (ssize_t)sizeof(c->bytes)) {
		free(c);
		return NULL;
	}
	for (char *at = c->bytes; at < c->bytes + len && n < ARGV_MAX; at += strlen(at) + 1)
		c->argv[n++] = at;
	return c;
}

static int set_environment(const struct lz_fill *f, const char *what)
{
	const struct lz_service *v = &f->o.service;
	char value[64];

	(void)snprintf(value, sizeof(value), "%s:%d:%d:%d:%d:%d", what, (int)f->session->session_fd,
		       v->log.fd, v->stats_fd, v->pidfile_fd, f->record.fd);
	return setenv(NAME, value, 1) ? -errno : 0;
}

static int spawn(const struct lz_fill *f, struct command *c, pid_t *pid)
{
	const struct lz_service *v = &f->o.service;
	const int needed[] = { f->session->session_fd, f->session->state_fd, v->log.fd, v->stats_fd,
			       v->pidfile_fd,          f->record.fd };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	/* To itself: without the flag that would close it. */
	for (size_t i = 0; !r && i < sizeof(needed) / sizeof(needed[0]); i++)
		if (needed[i] >= 0)
			r = posix_spawn_file_actions_adddup2(&actions, needed[i], needed[i]);
	if (!r)
		r = posix_spawn_file_actions_addfchdir_np(&actions, f->start_dir);
	(void)posix_spawnattr_setsigmask(&attributes, &f->old_signals);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (!r)
		r = posix_spawn(pid, f->exe, &actions, &attributes, c->argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

pid_t lz_upgrade_check(struct lz_fill *f)
{
	struct command *c = f->exe[0] && f->session->state_fd >= 0 ? command_line() : NULL;
	pid_t pid = -1;
	int r = c ? set_environment(f, "check") : -ENOTSUP;

	f->session->understood = 0;
	if (!r)
		r = spawn(f, c, &pid);
	(void)unsetenv(NAME);
	free(c);
	return r ? r : pid;
}

int lz_upgrade_exec(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	int32_t signal_fd = s->signal_fd, keeper_pidfd = s->keeper_pidfd;
	struct command *c = command_line();
	int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = c && cwd >= 0 ? set_environment(f, "go") : -errno;

	if (!r)
		r = mark(f, 0);
	if (!r && !fchdir(f->start_dir)) {
		/* These end with this program; the signals stay blocked. */
		s->signal_fd = s->keeper_pidfd = -1;
		(void)execve(f->exe, c->argv, environ);
		r = -errno;
		s->signal_fd = signal_fd;
		s->keeper_pidfd = keeper_pidfd;
		(void)!fchdir(cwd);
	} else if (!r) {
		r = -errno;
	}
	(void)mark(f, FD_CLOEXEC);
	(void)unsetenv(NAME);
	if (cwd >= 0)
		(void)close(cwd);
	free(c);
	return r;
}
