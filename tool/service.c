/* SPDX-License-Identifier: MIT */
/* The daemon's side of CRIU's command line, in the order that its callers rely on. */
#include "tool/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/probe.h"
#include "tool/tool.h"

enum { PIDFILE_MAX = 16 };

void lz_service_init(struct lz_service *s, const char *command)
{
	*s = (struct lz_service){ .command = command,
				  .images_dir = ".",
				  .status_fd = -1,
				  .ps_socket = -1,
				  .busy_poll_us = 30,
				  .stats_fd = -1,
				  .pidfile_fd = -1,
				  .had = { -1, -1, -1, -1 },
				  .log = { .fd = STDERR_FILENO, .level = LAZYD_LOG_WARN } };
}

long lz_service_number(const char *text, long max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	return errno || end == text || *end || n < 0 || n > max ? -1 : n;
}

int lz_service_usage(const struct lz_service *s, const char *what, const char *value)
{
	lz_out_error("%s \"%s\": see `lazyd %s --help`", what, value, s->command);
	return LZ_EXIT_USAGE;
}

int lz_service_take_number(const struct lz_service *s, long least, long most, const char *takes,
			   uint32_t *to)
{
	long n = lz_service_number(optarg, most);

	if (n < least)
		return lz_service_usage(s, takes, optarg);
	*to = (uint32_t)n;
	return -1;
}

/* One that is open already. */
static int take_descriptor(const struct lz_service *s, const char *takes, int *to)
{
	uint32_t n = 0;
	int r = lz_service_take_number(s, 0, 1 << 20, takes, &n);

	/* Who goes on with what another has begun may have closed it long since. */
	if (r < 0 && !s->resumes && fcntl((int)n, F_GETFD) < 0)
		return lz_service_usage(s, takes, optarg);
	*to = (int)n;
	return r;
}

/* One of the options that say who we are, and whom to trust. */
static int take_tls_option(struct lz_service *s, int c)
{
	switch (c) {
	case LZ_SERVICE_TLS_CACERT:
		s->tls_files.cacert = optarg;
		s->tls_stray = "--tls-cacert";
		break;
	case LZ_SERVICE_TLS_CACRL:
		s->tls_files.cacrl = optarg;
		s->tls_stray = "--tls-cacrl";
		break;
	case LZ_SERVICE_TLS_CERT:
		s->tls_files.cert = optarg;
		s->tls_stray = "--tls-cert";
		break;
	case LZ_SERVICE_TLS_KEY:
		s->tls_files.key = optarg;
		s->tls_stray = "--tls-key";
		break;
	case LZ_SERVICE_TLS_NO_CN_VERIFY:
		s->tls_any_name = true;
		s->tls_stray = "--tls-no-cn-verify";
		break;
	default:
		s->tls = true;
		break;
	}
	return -1;
}

/* One of those that say where the wire is, or a VM. */
static int take_place(struct lz_service *s, int c)
{
	uint32_t n;

	switch (c) {
	case LZ_SERVICE_ADDRESS:
		s->address = optarg;
		return -1;
	case LZ_SERVICE_PORT:
		s->port = optarg;
		return lz_service_take_number(s, 0, 65535, "--port takes a number up to 65535, not",
					      &n);
	case LZ_SERVICE_PS_SOCKET:
		return take_descriptor(s, "--ps-socket takes the number of an open descriptor, not",
				       &s->ps_socket);
	case LZ_SERVICE_MEMORY:
		s->vm.memory = optarg;
		return -1;
	case LZ_SERVICE_LAYER:
		if (s->vm.nr_layers == LZ_LAYERS_MAX)
			return lz_service_usage(s, "there can be 64 of --layer, and one more is",
						optarg);
		s->vm.layer[s->vm.nr_layers++] = optarg;
		return -1;
	case LZ_SERVICE_SNAPSHOT:
		s->vm.state = optarg;
		return -1;
	default: /* what is wrong has been said */
		return LZ_EXIT_USAGE;
	}
}

int lz_service_option(struct lz_service *s, int c)
{
	long n;

	switch (c) {
	case 'D':
		s->images_dir = optarg;
		return -1;
	case 'W':
		s->work_dir = optarg;
		return -1;
	case 'o':
		s->log_file = optarg;
		return -1;
	case 'v':
		/* CRIU's way: -v is one more, -v4 is four. */
		n = optarg ? lz_service_number(optarg, 9) : s->log.level + 1;
		if (n < 0)
			return lz_service_usage(s, "verbosity takes a number from 0 to 9, not",
						optarg);
		s->log.level = (int)n;
		return -1;
	case 'd':
		s->daemon = true;
		return -1;
	case LZ_SERVICE_STATUS_FD:
		if (s->resumes) /* it has been told */
			return -1;
		return take_descriptor(s, "--status-fd takes the number of an open descriptor, not",
				       &s->status_fd);
	case LZ_SERVICE_PIDFILE:
		s->pidfile = optarg;
		return -1;
	case LZ_SERVICE_STATS:
		s->stats_file = optarg;
		return -1;
	case LZ_SERVICE_NO_PROGRESS:
		s->no_progress = true;
		return -1;
	case LZ_SERVICE_NO_DEFAULT_CONFIG:
		return -1;
	case LZ_SERVICE_TLS:
	case LZ_SERVICE_TLS_CACERT:
	case LZ_SERVICE_TLS_CACRL:
	case LZ_SERVICE_TLS_CERT:
	case LZ_SERVICE_TLS_KEY:
	case LZ_SERVICE_TLS_NO_CN_VERIFY:
		return take_tls_option(s, c);
	case LZ_SERVICE_BUSY_POLL:
		return lz_service_take_number(s, 0, 1000000,
					      "--busy-poll takes microseconds up to 1000000, not",
					      &s->busy_poll_us);
	default:
		return take_place(s, c);
	}
}

/* In the background these are /dev/null. */
static bool is_standard(const struct lz_service *s, int fd)
{
	return s->daemon && !s->resumes && fd >= STDIN_FILENO && fd <= STDERR_FILENO;
}

int lz_service_check_options(const struct lz_service *s)
{
	if (is_standard(s, s->ps_socket) || is_standard(s, s->status_fd))
		return lz_service_usage(s, "with --daemon descriptors 0 to 2 are /dev/null, so no",
					is_standard(s, s->ps_socket) ? "--ps-socket"
								     : "--status-fd");
	if (s->tls_stray && !s->tls)
		return lz_service_usage(s, "without --tls nothing is encrypted, so no",
					s->tls_stray);
	return -1;
}

/* ---- set-up ---- */

int lz_service_create(const char *name, int flags)
{
	/*
	 * A relative name is in the work directory, where others may be able to plant a link to a
	 * file of ours; an absolute one (/dev/stdout, say) is what the caller says it is.
	 */
	if (*name != '/')
		flags |= O_NOFOLLOW;
	return open(name, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
}

static const char *why_not_created(void)
{
	return errno == ELOOP ? "it is a symbolic link in the work directory" : strerror(errno);
}

/* What goes on may be in the files already. */
static int anew(const struct lz_service *s)
{
	return s->resumes ? 0 : O_TRUNC;
}

static int open_log(struct lz_service *s)
{
	const char *name = s->log_file;

	if (s->had.log >= 0)
		return 0;
	if (!name || strcmp(name, "-") == 0) {
		s->log.fd = name ? STDOUT_FILENO : STDERR_FILENO;
		return 0;
	}
	s->log.fd = lz_service_create(name, O_APPEND | anew(s));
	if (s->log.fd >= 0)
		return 0;
	lz_out_error("log file %s (-o): %s", name, why_not_created());
	return -1;
}

static int open_stats(struct lz_service *s)
{
	const char *name = s->stats_file;

	s->stats_fd = s->had.stats;
	if (!name || s->stats_fd >= 0)
		return 0;
	s->stats_fd = strcmp(name, "-") == 0 ? STDOUT_FILENO : lz_service_create(name, anew(s));
	if (s->stats_fd >= 0)
		return 0;
	lz_out_error("statistics %s (--stats): %s", name, why_not_created());
	return -1;
}

/* That must not be closed, for what is opened next would be taken for it. */
static void copy_standard(int *fd)
{
	if (*fd >= STDIN_FILENO && *fd <= STDERR_FILENO)
		*fd = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* There is no log yet, but for who is to take the place of another and goes on with that one's. */
static int refuse_directory(const struct lz_service *s, const char *what, const char *option,
			    const char *dir)
{
	char sentence[PATH_MAX + 128];

	(void)snprintf(sentence, sizeof(sentence), "%s directory %s (%s): %s", what, dir, option,
		       strerror(errno));
	if (s->had.log >= 0)
		(void)lz_service_refuse(s, sentence);
	else
		lz_out_error("%s", sentence);
	return -1;
}

int lz_service_enter(struct lz_service *s, int *images)
{
	const char *work = s->work_dir ? s->work_dir : s->images_dir;

	if (s->had.log >= 0)
		s->log.fd = s->had.log;
	copy_standard(&s->status_fd);
	copy_standard(&s->ps_socket);
	*images = open(s->images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*images < 0)
		return refuse_directory(s, "images", "-D", s->images_dir);
	if (chdir(work))
		return refuse_directory(s, "work", "-W", work);
	s->pidfile_fd = s->had.pidfile;
	return open_log(s) || open_stats(s) ? -1 : 0;
}

void lz_service_report(const struct lz_service *s, json_t *json)
{
	FILE *to = NULL;
	int r = -EBADF;

	/* Somebody may have died having written some of it. */
	if (s->stats_fd > STDERR_FILENO && !ftruncate(s->stats_fd, 0))
		(void)lseek(s->stats_fd, 0, SEEK_SET);
	if (s->stats_fd >= 0)
		to = fdopen(s->stats_fd, "w");
	if (to)
		r = lz_out_json(to, json);
	else
		json_decref(json);
	if (!r)
		return;
	lz_log_say(&s->log, LAZYD_LOG_ERROR, "event=stats file=%s error=\"%s\"", s->stats_file,
		   strerror(-r));
	if (!s->daemon)
		lz_out_error("%s (--stats) cannot be written: %s", s->stats_file, strerror(-r));
}

/* The log is where operators look; the terminal where people do. */
int lz_service_refuse(const struct lz_service *s, const char *sentence)
{
	lz_log_say(&s->log, LAZYD_LOG_ERROR, "event=set-up %s", sentence);
	if (s->log.fd != STDERR_FILENO)
		lz_out_error("%s", sentence);
	return LZ_EXIT_FAILED;
}

int lz_service_refuse_images(const struct lz_service *s, const struct lazyd_why *why)
{
	char sentence[PATH_MAX + LAZYD_WHY_MAX];

	(void)snprintf(sentence, sizeof(sentence), "images directory %s (-D): %s", s->images_dir,
		       why->text);
	return lz_service_refuse(s, sentence);
}

/*
 * Whoever reads it meanwhile reads the one pid or the other, with newlines behind it perhaps: there
 * is room first, then all of the new one in a single write.
 */
int lz_service_pidfile(const struct lz_service *s, pid_t pid)
{
	char text[PIDFILE_MAX];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);
	off_t end = lseek(s->pidfile_fd, 0, SEEK_END);

	if (end < 0)
		return -1;
	memset(text + n, '\n', sizeof(text) - (size_t)n);
	if (pwrite(s->pidfile_fd, text + n, sizeof(text) - (size_t)n, end) < 0 ||
	    pwrite(s->pidfile_fd, text, sizeof(text), 0) < 0)
		return -1;
	return ftruncate(s->pidfile_fd, n);
}

int lz_service_tls(const struct lz_service *s, const char *name, struct lazyd_tls **out)
{
	struct lazyd_tls_options o = s->tls_files;
	struct lazyd_why why = { { 0 } };

	*out = NULL;
	if (!s->tls)
		return LZ_EXIT_OK;
	o.size = sizeof(o);
	o.name = s->tls_any_name ? NULL : name;
	if (!lazyd_tls_new(out, &o, &why))
		return LZ_EXIT_OK;
	return lz_service_refuse(s, why.text);
}

static int open_pidfile(struct lz_service *s)
{
	if (!s->pidfile)
		return 0;
	s->pidfile_fd = lz_service_create(s->pidfile, O_TRUNC);
	if (s->pidfile_fd >= 0)
		return 0;
	lz_out_error("pidfile %s: %s", s->pidfile, why_not_created());
	return -1;
}

int lz_service_ring(const struct lz_service *s)
{
	char sentence[256];
	int r = lz_probe_ring_has();

	/* Of a lack of memory for it there may be an end. */
	if (!r || r == -ENOMEM)
		return LZ_EXIT_OK;
	(void)snprintf(sentence, sizeof(sentence), "there is no io_uring to be had: %s; %s",
		       strerror(-r), lz_probe_ring_remedy(-r));
	return lz_service_refuse(s, sentence);
}

int lz_service_daemonize(struct lz_service *s)
{
	pid_t pid;
	int fd;

	if (!s->daemon || s->resumes)
		return LZ_EXIT_OK;
	if (open_pidfile(s))
		return LZ_EXIT_FAILED;
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		return lz_service_refuse(s, strerror(errno));
	if (pid) {
		if (s->pidfile && dprintf(s->pidfile_fd, "%d", (int)pid) < 0) {
			lz_out_error("pidfile %s: %s", s->pidfile, strerror(errno));
			(void)kill(pid, SIGTERM);
			_exit(LZ_EXIT_FAILED);
		}
		_exit(LZ_EXIT_OK);
	}
	(void)setsid();
	fd = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3; i++)
		if (fd >= 0 && fd != i)
			(void)dup2(fd, i);
	if (fd > 2)
		(void)close(fd);
	return LZ_EXIT_OK;
}

void lz_service_ready(struct lz_service *s)
{
	char zero = 0;

	if (s->status_fd < 0)
		return;
	(void)!write(s->status_fd, &zero, 1);
	(void)close(s->status_fd);
	s->status_fd = -1;
}
