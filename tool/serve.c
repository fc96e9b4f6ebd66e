/* SPDX-License-Identifier: MIT */
/*
 * `lazyd serve`, and under CRIU's name `lazyd page-server --lazy-pages`: answers requests for the
 * pages of an images directory, of processes or of a VM (served.c), for as long as it runs. The
 * command line, the sockets, the signals; the rest is the library's.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool/addr.h"
#include "tool/confine.h"
#include "tool/out.h"
#include "tool/served.h"
#include "tool/service.h"
#include "tool/tool.h"

/* clang-format off */
static const char HELP[] =
	"usage: lazyd serve [options]   (also: lazyd page-server --lazy-pages, with CRIU's options)\n"
	"\n"
	"Serves the pages of a checkpoint to `lazyd fill --page-server` and `criu lazy-pages\n"
	"--page-server`, to many at once, until it is told to stop.\n"
	"\n"
	"  -D, --images-dir DIR        the checkpoint's images (default: .)\n"
	"      --pid PID               no checkpoint: the memory of process PID, which stands still;\n"
	"                              images that say what it has, without a page, are made in -D\n"
	"      --tree                  and of all processes below it\n"
	"      --stop                  stop them first (SIGSTOP); they are left so\n"
	"      --memory FILE           no checkpoint: the memory file of a VM's snapshot, for\n"
	"                              `lazyd fill --firecracker --page-server`\n"
	"      --layer FILE            a diff over it; again: over that\n"
	"      --snapshot FILE         the state file that goes with it: clients must name the same\n"
	"  -W, --work-dir DIR          where relative files are (default: -D)\n"
	"      --address ADDRESS       IPv4, IPv6, a name, a unix socket's path (127.0.0.1;\n"
	"                              page-server: all addresses, as CRIU's)\n"
	"      --port PORT             0: a free one is picked and printed (default)\n"
	"      --ps-socket N           serve the connection open as descriptor N, and no other\n"
	"      --once                  end when the first client has had all it wants, as CRIU's does\n"
	"      --lazy-pages            page-server wants it, as CRIU's does; nothing new to serve\n"
	"      --max-clients N         connections at a time (256); a lazyd makes two\n"
	"      --idle-timeout S        drop who neither asks nor takes for so long (600; 0: never)\n"
	"      --busy-poll US          look for requests so long before sleeping, while it pays (30)\n"
	LZ_SERVICE_HELP_TLS
	"      --tls-no-cn-verify      accepted: clients are known by who signed them, not by name\n"
	LZ_SERVICE_HELP_DAEMON
	"      --stats FILE            the final figures as JSON; - for standard output\n"
	"      --json                  print where it listens as JSON\n"
	"      --no-progress           no progress lines\n"
	"      --no-default-config     accepted: there is no configuration file\n"
	"\n"
	"SIGTERM or SIGINT: no new clients, end when those that are here have gone; a second one: now.\n"
	"Exit status: 0 served, 1 failed, 2 usage.\n";
/* clang-format on */

enum {
	OPT_ONCE = LZ_SERVICE_LAST,
	OPT_MAX_CLIENTS,
	OPT_IDLE_TIMEOUT,
	OPT_JSON,
	OPT_LAZY_PAGES,
	OPT_PID,
	OPT_TREE,
	OPT_STOP,
};

static const struct option OPTIONS[] = {
	LZ_SERVICE_NAMES,
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "max-clients", required_argument, NULL, OPT_MAX_CLIENTS },
	{ "idle-timeout", required_argument, NULL, OPT_IDLE_TIMEOUT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "lazy-pages", no_argument, NULL, OPT_LAZY_PAGES },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "tree", no_argument, NULL, OPT_TREE },
	{ "stop", no_argument, NULL, OPT_STOP },
	{ NULL, 0, NULL, 0 },
};

/* How often progress is shown. */
#define LOOK_NS INT64_C(100000000)
enum { BIND_TRIES = 50, BIND_NAP_NS = 20000000 };

struct serve {
	struct lz_service service;
	uint32_t max_clients, idle_timeout_s;
	bool once, json, lazy_pages;
	struct lz_served served;
	struct lz_addr at;
	struct lazyd_server *server;
	struct lazyd_tls *tls;
	int listen_fd;
};

/* ---- the command line ---- */

static int take_option(struct serve *s, int c)
{
	uint32_t pid = 0;
	int r;

	switch (c) {
	case OPT_MAX_CLIENTS:
		return lz_service_take_number(&s->service, 1, 65536,
					      "--max-clients takes a number from 1 to 65536, not",
					      &s->max_clients);
	case OPT_IDLE_TIMEOUT:
		return lz_service_take_number(&s->service, 0, LZ_SERVICE_SECONDS_MAX,
					      "--idle-timeout takes seconds, not",
					      &s->idle_timeout_s);
	case OPT_ONCE:
		s->once = true;
		return -1;
	case OPT_JSON:
		s->json = true;
		return -1;
	case OPT_LAZY_PAGES:
		s->lazy_pages = true;
		return -1;
	case OPT_PID:
		r = lz_service_take_number(&s->service, 1, 1 << 22, "--pid takes a process, not",
					   &pid);
		s->served.pid = (pid_t)pid;
		return r;
	case OPT_TREE:
		s->served.tree = true;
		return -1;
	case OPT_STOP:
		s->served.stop = true;
		return -1;
	case 'D':
		s->served.images = true;
		return lz_service_option(&s->service, c);
	case 'h':
		(void)fputs(HELP, stdout);
		return LZ_EXIT_OK;
	default:
		return lz_service_option(&s->service, c);
	}
}

static int parse(struct serve *s, int argc, char **argv)
{
	bool as_criu = strcmp(argv[0], "page-server") == 0;
	int c, r;

	*s = (struct serve){ .idle_timeout_s = 600, .once = as_criu, .listen_fd = -1 };
	lz_service_init(&s->service, argv[0]);
	s->service.address = as_criu ? "0.0.0.0" : "127.0.0.1";
	s->service.port = "0";
	optind = 0;
	while ((c = lz_out_option(argc, argv, LZ_SERVICE_LETTERS, OPTIONS)) != -1) {
		r = take_option(s, c);
		if (r >= 0)
			return r;
	}
	if (optind < argc)
		return lz_service_usage(&s->service, "unexpected word", argv[optind]);
	r = lz_served_check_options(&s->served, &s->service);
	if (r < 0)
		r = lz_service_check_options(&s->service);
	if (r >= 0)
		return r;
	if (as_criu && !s->lazy_pages)
		return lz_service_usage(
			&s->service,
			"lazyd takes no dumps, only serves the pages of one: --lazy-pages goes with",
			argv[0]);
	return -1;
}

/* ---- set-up ---- */

static void log_line(void *arg, enum lazyd_log level, const char *line)
{
	lz_log_say(arg, (int)level, "%s", line);
}

static int open_server(struct serve *s, int images_fd)
{
	struct lazyd_server_options o = { .size = sizeof(o),
					  .max_clients = s->max_clients,
					  .idle_timeout_s = s->idle_timeout_s,
					  .busy_poll_ns = s->service.busy_poll_us * UINT64_C(1000),
					  .once = s->once || s->service.ps_socket >= 0,
					  .log = log_line,
					  .log_arg = &s->service.log,
					  .tls = s->tls };

	return lz_served_open(&s->served, &s->service, images_fd, &o, &s->server);
}

static int start_listening(struct serve *s)
{
	char text[LZ_ADDR_TEXT_MAX], sentence[LZ_ADDR_TEXT_MAX + 128];
	int tries = 0;

	if (s->service.ps_socket >= 0)
		return LZ_EXIT_OK;
	if (lz_addr_parse(&s->at, s->service.address, s->service.port))
		return LZ_EXIT_FAILED;
	do {
		s->listen_fd = lz_addr_listen(&s->at);
		/* A server killed a moment ago: the kernel may still be closing its sockets. */
		if (s->listen_fd == -EADDRINUSE)
			(void)nanosleep(&(struct timespec){ .tv_nsec = BIND_NAP_NS }, NULL);
	} while (s->listen_fd == -EADDRINUSE && ++tries < BIND_TRIES);
	if (s->listen_fd >= 0)
		return LZ_EXIT_OK;
	(void)snprintf(sentence, sizeof(sentence), "cannot listen at %s (--address, --port): %s",
		       lz_addr_text(&s->at, -1, text), strerror(-s->listen_fd));
	return lz_service_refuse(&s->service, sentence);
}

/* In the process that will serve: a ring is its opener's. */
static int hand_over(struct serve *s)
{
	int r = s->service.ps_socket >= 0 ? lazyd_server_accept(s->server, s->service.ps_socket)
					  : lazyd_server_listen(s->server, s->listen_fd);
	char sentence[160];

	/* Of the connection that the caller has made there is only the one. */
	if (!r && s->service.ps_socket >= 0)
		lazyd_server_finish(s->server);
	if (!r)
		return LZ_EXIT_OK;
	(void)snprintf(sentence, sizeof(sentence), "the server cannot start: %s",
		       r == -EPERM ? "io_uring is forbidden here (see `lazyd check`)"
		       : r == -ENOTCONN || r == -ENOTSOCK ? "--ps-socket is no connected socket"
							  : strerror(-r));
	return lz_service_refuse(&s->service, sentence);
}

/* Where it listens: the only thing that standard output is for. */
static void announce(struct serve *s)
{
	char text[LZ_ADDR_TEXT_MAX];
	unsigned port;
	json_t *j;

	if (s->listen_fd < 0)
		return;
	port = lz_addr_port(s->listen_fd);
	(void)lz_addr_text(&s->at, s->listen_fd, text);
	lz_log_say(&s->service.log, LAZYD_LOG_INFO, "event=listening address=%s", text);
	if (s->json) {
		j = json_pack("{s:s, s:i}", "address", text, "port", (int)port);
		(void)json_dumpf(j, stdout, JSON_COMPACT);
		json_decref(j);
		(void)putchar('\n');
	} else {
		(void)printf("listening address=%s port=%u\n", text, port);
	}
	(void)fflush(stdout);
}

/* ---- serving ---- */

static struct lazyd_server *told; /* whom signals stop */
static volatile sig_atomic_t nr_terms;

static void on_term(int nr)
{
	(void)nr;
	nr_terms++;
	lazyd_server_stop(told);
}

/* From before there is a socket, which would be left behind, and a reader who may go. */
static void catch_signals(struct serve *s)
{
	struct sigaction a = { .sa_handler = on_term };
	sigset_t ours;

	told = s->server;
	(void)sigaction(SIGINT, &a, NULL);
	(void)sigaction(SIGTERM, &a, NULL);
	/* Whoever has started us may have had them blocked. */
	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, SIGINT);
	(void)sigaddset(&ours, SIGTERM);
	(void)sigprocmask(SIG_UNBLOCK, &ours, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* On a terminal: one line, drawn over itself. */
static void show(const struct serve *s)
{
	struct lazyd_server_stats n;

	lazyd_server_stats(s->server, &n);
	(void)fprintf(stderr, "\r%llu clients, %llu requests, %s sent\033[K",
		      (unsigned long long)n.nr_clients, (unsigned long long)n.requests,
		      lz_out_size(n.bytes_sent).s);
}

static int serve(struct serve *s)
{
	bool shows = !s->service.daemon && !s->service.no_progress && isatty(STDERR_FILENO);
	bool finishing = false;
	struct lazyd_server_stats n;
	int r = 1;

	while (r > 0 && nr_terms < 2) {
		/* It may have come before there was anything to be stopped. */
		if (nr_terms && !finishing) {
			finishing = true;
			lz_log_say(&s->service.log, LAZYD_LOG_WARN,
				   "event=signal no new clients; once more: end now");
			lazyd_server_finish(s->server);
		}
		r = lazyd_server_turn(s->server, shows ? LOOK_NS : -1);
		if (shows)
			show(s);
	}
	if (shows)
		(void)fputc('\n', stderr);
	if (r < 0)
		return lz_service_refuse(&s->service, strerror(-r));
	lazyd_server_stats(s->server, &n);
	if (s->service.ps_socket >= 0 && n.clients_dropped + n.clients_refused)
		return lz_service_refuse(&s->service,
					 "the client of --ps-socket had to be dropped");
	return LZ_EXIT_OK;
}

/* ---- the end ---- */

static int report(struct serve *s, int r)
{
	struct lazyd_server_stats n;
	json_t *j;

	lazyd_server_stats(s->server, &n);
	lz_log_say(&s->service.log, LAZYD_LOG_INFO,
		   "event=end status=%d clients=%llu requests=%llu pages=%llu bytes=%llu", r,
		   (unsigned long long)n.clients_total, (unsigned long long)n.requests,
		   (unsigned long long)n.pages, (unsigned long long)n.bytes_sent);
	if (!s->service.stats_file)
		return r;
	j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "clients_total",
		      (json_int_t)n.clients_total, "clients_refused", (json_int_t)n.clients_refused,
		      "clients_dropped", (json_int_t)n.clients_dropped, "requests",
		      (json_int_t)n.requests, "pages", (json_int_t)n.pages, "pages_zero",
		      (json_int_t)n.pages_zero, "pages_lost", (json_int_t)n.pages_lost,
		      "bytes_sent", (json_int_t)n.bytes_sent, "exit_status", r);
	lz_service_report(&s->service, j);
	return r;
}

int lz_tool_serve(int argc, char **argv)
{
	struct serve s;
	int images, r = parse(&s, argc, argv);

	if (r >= 0)
		return r;
	r = lz_served_open_files(&s.served, &s.service);
	if (r || lz_service_enter(&s.service, &images)) {
		lz_served_close(&s.served);
		return LZ_EXIT_FAILED;
	}
	r = lz_service_tls(&s.service, NULL, &s.tls);
	if (!r)
		r = open_server(&s, images);
	(void)close(images);
	if (!r)
		r = lz_service_ring(&s.service);
	if (!r) {
		catch_signals(&s);
		r = start_listening(&s);
	}
	if (!r) {
		announce(&s);
		r = lz_service_daemonize(&s.service);
	}
	if (!r)
		r = hand_over(&s);
	if (!r) {
		lz_confine_enter(&s.service.log, LZ_CONFINE_SERVE,
				 s.listen_fd >= 0 ? lz_addr_file(&s.at) : NULL, NULL);
		lz_service_ready(&s.service);
		r = report(&s, serve(&s));
	}
	if (s.listen_fd >= 0)
		lz_addr_unlisten(&s.at);
	lazyd_server_free(s.server);
	lazyd_tls_free(s.tls);
	lz_served_close(&s.served);
	return r;
}
