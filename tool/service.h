/* SPDX-License-Identifier: MIT */
/*
 * What `lazyd fill` and `lazyd serve` have in common as daemons that take CRIU's options:
 * directories, the log, going to the background, saying that they are ready; and where the wire is,
 * and a VM's files.
 */
#ifndef LZ_SERVICE_H
#define LZ_SERVICE_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tool/snapshot.h"
#include "uffd/lazyd.h"

struct lz_log {
	int fd;
	int level; /* enum lazyd_log; what is above it is not written */
};

/* One `key=value` line with time, pid and level, whole even where two processes write. */
__attribute__((format(printf, 3, 4))) void lz_log_say(const struct lz_log *log, int level,
						      const char *format, ...);

/* What a process has open that hands them over to the program it becomes; -1: none. */
struct lz_service_files {
	int log, stats, pidfile, record;
};

/* Strings are argv's. */
struct lz_service {
	const char *command; /* what usage errors name */
	const char *images_dir, *work_dir, *log_file, *pidfile, *stats_file;
	int status_fd; /* -1: none */
	/* Opened at the set-up, as what may be opened later is little; -1: none. */
	int stats_fd, pidfile_fd;
	bool daemon, no_progress;
	struct lz_service_files had;
	bool resumes; /* goes on with what another process has begun: its log, ready long since */
	bool tls, tls_any_name;
	const char *tls_stray;              /* an option that goes with --tls */
	struct lazyd_tls_options tls_files; /* NULL: CRIU's */
	const char *address, *port;         /* NULL: not said */
	int ps_socket;                      /* a connection that the caller has made; -1: none */
	uint32_t busy_poll_us;              /* 0: never */
	struct lz_snapshot_files vm;        /* a snapshot of one */
	struct lz_log log;
};

/* For getopt_long(): the letters and the long names; values from LZ_SERVICE_LAST on are free. */
#define LZ_SERVICE_LETTERS "D:W:o:v::dh"
enum {
	LZ_SERVICE_STATUS_FD = 256,
	LZ_SERVICE_PIDFILE,
	LZ_SERVICE_STATS,
	LZ_SERVICE_NO_PROGRESS,
	LZ_SERVICE_NO_DEFAULT_CONFIG,
	LZ_SERVICE_TLS,
	LZ_SERVICE_TLS_CACERT,
	LZ_SERVICE_TLS_CACRL,
	LZ_SERVICE_TLS_CERT,
	LZ_SERVICE_TLS_KEY,
	LZ_SERVICE_TLS_NO_CN_VERIFY,
	LZ_SERVICE_ADDRESS,
	LZ_SERVICE_PORT,
	LZ_SERVICE_PS_SOCKET,
	LZ_SERVICE_BUSY_POLL,
	LZ_SERVICE_MEMORY,
	LZ_SERVICE_LAYER,
	LZ_SERVICE_SNAPSHOT,
	LZ_SERVICE_LAST,
};
/* clang-format off */
#define LZ_SERVICE_NAMES \
	{ "images-dir", required_argument, NULL, 'D' }, \
	{ "work-dir", required_argument, NULL, 'W' }, \
	{ "log-file", required_argument, NULL, 'o' }, \
	{ "verbosity", optional_argument, NULL, 'v' }, \
	{ "daemon", no_argument, NULL, 'd' }, \
	{ "help", no_argument, NULL, 'h' }, \
	{ "status-fd", required_argument, NULL, LZ_SERVICE_STATUS_FD }, \
	{ "pidfile", required_argument, NULL, LZ_SERVICE_PIDFILE }, \
	{ "stats", required_argument, NULL, LZ_SERVICE_STATS }, \
	{ "no-progress", no_argument, NULL, LZ_SERVICE_NO_PROGRESS }, \
	{ "no-default-config", no_argument, NULL, LZ_SERVICE_NO_DEFAULT_CONFIG }, \
	{ "tls", no_argument, NULL, LZ_SERVICE_TLS }, \
	{ "tls-cacert", required_argument, NULL, LZ_SERVICE_TLS_CACERT }, \
	{ "tls-cacrl", required_argument, NULL, LZ_SERVICE_TLS_CACRL }, \
	{ "tls-cert", required_argument, NULL, LZ_SERVICE_TLS_CERT }, \
	{ "tls-key", required_argument, NULL, LZ_SERVICE_TLS_KEY }, \
	{ "tls-no-cn-verify", no_argument, NULL, LZ_SERVICE_TLS_NO_CN_VERIFY }, \
	{ "address", required_argument, NULL, LZ_SERVICE_ADDRESS }, \
	{ "port", required_argument, NULL, LZ_SERVICE_PORT }, \
	{ "ps-socket", required_argument, NULL, LZ_SERVICE_PS_SOCKET }, \
	{ "busy-poll", required_argument, NULL, LZ_SERVICE_BUSY_POLL }, \
	{ "memory", required_argument, NULL, LZ_SERVICE_MEMORY }, \
	{ "layer", required_argument, NULL, LZ_SERVICE_LAYER }, \
	{ "snapshot", required_argument, NULL, LZ_SERVICE_SNAPSHOT }

/* Of their --help what both say in the same words. */
#define LZ_SERVICE_HELP_DAEMON \
	"  -o, --log-file FILE         log there; - for standard output (default: standard error)\n" \
	"  -v, --verbosity[=N]         1 errors, 2 warnings (default), 3 what happens, 4 all\n" \
	"      --status-fd N           write one zero byte to descriptor N when ready, close it\n" \
	"  -d, --daemon                go to the background when ready\n" \
	"      --pidfile FILE          with -d: the daemon's pid\n"
#define LZ_SERVICE_HELP_TLS \
	"      --tls                   the wire speaks TLS; both ends show a certificate\n" \
	"      --tls-cacert FILE       trust only who this CA signed (default: whom the system trusts,\n" \
	"                              and /etc/pki/CA/cacert.pem if it is there)\n" \
	"      --tls-cacrl FILE        what has been revoked (/etc/pki/CA/cacrl.pem if it is there)\n" \
	"      --tls-cert FILE         our certificate (/etc/pki/criu/cert.pem)\n" \
	"      --tls-key FILE          its private key (/etc/pki/criu/private/key.pem)\n"
/* clang-format on */

void lz_service_init(struct lz_service *s, const char *command);
/* The option that getopt_long() returned as @c: -1 to go on, else the exit status. */
int lz_service_option(struct lz_service *s, int c);
/* Says that @value is wrong and returns LZ_EXIT_USAGE. */
int lz_service_usage(const struct lz_service *s, const char *what, const char *value);
/* After the last option: do they go together? The same. */
int lz_service_check_options(const struct lz_service *s);
/* A number from 0 to @max, or -1. */
long lz_service_number(const char *text, long max);
/* The option's, if it is from @least to @most; else says what that option @takes.
 * The same as option(). */
int lz_service_take_number(const struct lz_service *s, long least, long most, const char *takes,
			   uint32_t *to);
enum { LZ_SERVICE_SECONDS_MAX = 1000000000 };

/*
 * Opens the images directory, goes to the work directory, opens the log and the statistics:
 * everything after it is relative to that directory, as with CRIU. 0, or -1 with the reason
 * printed.
 */
int lz_service_enter(struct lz_service *s, int *images);
/* Writes the final figures to --stats' file, once, and drops @json; or says why not.
 * The exit status is about the tasks and nothing else. */
void lz_service_report(const struct lz_service *s, json_t *json);
/* Opens a file of ours for writing, made if need be;
 * a relative name may be no symbolic link. -1 and errno. */
int lz_service_create(const char *name, int flags);
/* What stopped the set-up, in the log and on the terminal; returns LZ_EXIT_FAILED. */
int lz_service_refuse(const struct lz_service *s, const char *sentence);
/* The same of the images, which it names: they may be others than those that are meant. */
int lz_service_refuse_images(const struct lz_service *s, const struct lazyd_why *why);
/* Puts @pid into the pidfile, for whoever goes on; 0, or -1 and errno. */
int lz_service_pidfile(const struct lz_service *s, pid_t pid);
/*
 * Is there an io_uring to be had? The one that will be used belongs to who opens it, later and in
 * the background; that there is none is said here. 0, or LZ_EXIT_FAILED with the reason printed.
 */
int lz_service_ring(const struct lz_service *s);
/* With -d: in the parent writes the pidfile and ends, in the child goes on as a daemon. */
int lz_service_daemonize(struct lz_service *s);
/*
 * With --tls: reads the files, relative to the work directory, for peers that must be @name (NULL:
 * anybody who is trusted). Without it *@out is NULL. 0, or LZ_EXIT_X with the reason printed.
 */
int lz_service_tls(const struct lz_service *s, const char *name, struct lazyd_tls **out);
/* Writes the zero byte to the descriptor that waits for it. */
void lz_service_ready(struct lz_service *s);

#endif
