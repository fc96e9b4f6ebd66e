/* SPDX-License-Identifier: MIT */
/* The command line of `lazyd fill`. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tool/out.h"
#include "tool/session.h"
#include "tool/tool.h"

/* clang-format off */
static const char HELP[] =
	"usage: lazyd fill [options]          (also: lazyd lazy-pages, with CRIU's options)\n"
	"\n"
	"Gives restored processes their memory: a page when it is touched, the rest behind.\n"
	"Start it, then `criu restore --lazy-pages` with the same -D and -W.\n"
	"\n"
	"  -D, --images-dir DIR        the checkpoint's images (default: .)\n"
	"  -W, --work-dir DIR          where the socket and relative files are (default: -D)\n"
	LZ_SERVICE_HELP_DAEMON
	"      --page-server           the pages come from a page server: `lazyd serve`,\n"
	"                              `criu page-server --lazy-pages` or `criu dump --lazy-pages`\n"
	"      --address ADDRESS       of it: IPv4, IPv6, a name, a unix socket (127.0.0.1)\n"
	"      --port PORT\n"
	"      --ps-socket N           a connection to it that is open as descriptor N\n"
	"      --ps-header 24|32       to a CRIU up to 4.1, or from 4.2 on (default: as the images)\n"
	LZ_SERVICE_HELP_TLS
	"      --tls-no-cn-verify      its certificate need not name --address\n"
	"      --source-timeout S      its pages are lost when it is silent for so long (60; 0: never)\n"
	"      --on-lost poison|kill   pages that cannot be had: SIGBUS (default), or SIGKILL\n"
	"      --restore-timeout S     give up a restore not heard of for so long (600; 0: never)\n"
	"      --stuck-timeout S       replace a worker that has not got on for so long (60; 0: never)\n"
	"      --busy-poll US          look for faults so long before sleeping, while it pays (30)\n"
	"      --copiers N             threads that place pages while no faults come, up to 3 (0)\n"
	"      --record FILE           write down which pages are touched first: a working set\n"
	"      --record-window S       those of the first S seconds only (0: all)\n"
	"      --replay FILE           fill the pages of a working set before all others\n"
	"      --no-sweep              fill what is touched, and --replay, and nothing else\n"
	"      --collapse              then give processes that use huge pages their huge pages back\n"
	"      --firecracker SOCKET    wait there for VMs that load a snapshot (backend_type Uffd),\n"
	"                              until told to stop; pages that cannot be had kill the VM\n"
	"      --memory FILE           the snapshot's memory file\n"
	"      --layer FILE            a diff over it; again: over that\n"
	"      --snapshot FILE         with --page-server, in the place of both: the state file that\n"
	"                              the VMs load, which `lazyd serve --memory` must have been given\n"
	"      --allow-user UID[-UID]  who may connect, beside root and the user that runs this\n"
	"      --max-vms N             VMs at a time, others wait (256)\n"
	"      --detach-when-full      end when the VMs that have come have all of their memory\n"
	"      --stats FILE            the final figures as JSON; - for standard output\n"
	"      --no-progress           no bar and no progress lines\n"
	"      --no-default-config     accepted: there is no configuration file\n"
	"\n"
	"SIGTERM or SIGINT: go on until nothing is owed, --no-sweep or not; a second one: fail\n"
	"closed what is.\n"
	"SIGUSR2: become the program that is now where this one was started from.\n"
	"Exit status: 0 filled, 1 failed, 2 usage, 3 pages were lost.\n";
/* clang-format on */

enum {
	OPT_ON_LOST = LZ_SERVICE_LAST,
	OPT_RESTORE_TIMEOUT,
	OPT_PAGE_SERVER,
	OPT_PS_HEADER,
	OPT_SOURCE_TIMEOUT,
	OPT_COPIERS,
	OPT_STUCK_TIMEOUT,
	OPT_RECORD,
	OPT_RECORD_WINDOW,
	OPT_REPLAY,
	OPT_NO_SWEEP,
	OPT_COLLAPSE,
};

enum { VMS_DEFAULT = 256 };
/* What is a default depends on who is waited for. */
static const uint32_t NOT_SAID = UINT32_MAX;

static const struct option OPTIONS[] = {
	LZ_SERVICE_NAMES,
	LZ_GUEST_NAMES,
	{ "on-lost", required_argument, NULL, OPT_ON_LOST },
	{ "restore-timeout", required_argument, NULL, OPT_RESTORE_TIMEOUT },
	{ "page-server", no_argument, NULL, OPT_PAGE_SERVER },
	{ "ps-header", required_argument, NULL, OPT_PS_HEADER },
	{ "source-timeout", required_argument, NULL, OPT_SOURCE_TIMEOUT },
	{ "copiers", required_argument, NULL, OPT_COPIERS },
	{ "stuck-timeout", required_argument, NULL, OPT_STUCK_TIMEOUT },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "record-window", required_argument, NULL, OPT_RECORD_WINDOW },
	{ "replay", required_argument, NULL, OPT_REPLAY },
	{ "no-sweep", no_argument, NULL, OPT_NO_SWEEP },
	{ "collapse", no_argument, NULL, OPT_COLLAPSE },
	{ NULL, 0, NULL, 0 },
};

static int take_seconds(const struct lz_service *s, const char *takes, uint32_t *to)
{
	return lz_service_take_number(s, 0, LZ_SERVICE_SECONDS_MAX, takes, to);
}

/* One option; -1 to go on, else the exit status. */
static int take_option(struct lz_fill_options *o, int c)
{
	struct lz_service *s = &o->service;
	long n;

	switch (c) {
	case OPT_ON_LOST:
		if (strcmp(optarg, "poison") != 0 && strcmp(optarg, "kill") != 0)
			return lz_service_usage(s, "--on-lost takes poison or kill, not", optarg);
		o->on_lost = *optarg == 'k' ? LAZYD_LOST_KILL : LAZYD_LOST_POISON;
		return -1;
	case OPT_RESTORE_TIMEOUT:
		return take_seconds(s, "--restore-timeout takes seconds, not",
				    &o->restore_timeout_s);
	case OPT_STUCK_TIMEOUT:
		return take_seconds(s, "--stuck-timeout takes seconds, not", &o->stuck_timeout_s);
	case OPT_SOURCE_TIMEOUT:
		return take_seconds(s, "--source-timeout takes seconds, not", &o->source_timeout_s);
	case OPT_RECORD:
		o->record = optarg;
		return -1;
	case OPT_RECORD_WINDOW:
		return take_seconds(s, "--record-window takes seconds, not", &o->record_window_s);
	case OPT_REPLAY:
		o->replay = optarg;
		return -1;
	case OPT_NO_SWEEP:
		o->no_sweep = true;
		return -1;
	case OPT_COLLAPSE:
		o->collapse = true;
		return -1;
	case OPT_COPIERS:
		return lz_service_take_number(s, 0, LAZYD_COPIERS_MAX,
					      "--copiers takes a number up to 3, not", &o->copiers);
	case OPT_PAGE_SERVER:
		o->page_server = true;
		return -1;
	case OPT_PS_HEADER:
		n = lz_service_number(optarg, 32);
		if (n != 24 && n != 32)
			return lz_service_usage(s, "--ps-header takes 24 or 32, not", optarg);
		o->ps_header = (int)n;
		return -1;
	case LZ_GUEST_FIRECRACKER:
	case LZ_GUEST_ALLOW_USER:
	case LZ_GUEST_MAX_VMS:
	case LZ_GUEST_DETACH:
		return lz_guest_option(o, c);
	case 'h':
		(void)fputs(HELP, stdout);
		return LZ_EXIT_OK;
	default:
		return lz_service_option(s, c);
	}
}

/* Where the pages come from, if not from here. */
static int check_peer(struct lz_fill_options *o)
{
	struct lz_service *s = &o->service;
	bool named = s->address, is_unix;

	if (!named)
		s->address = "127.0.0.1";
	is_unix = lz_addr_is_unix(s->address);
	if (s->port && !lz_service_number(s->port, 0))
		return lz_service_usage(s, "--port takes a number from 1 to 65535, not", s->port);
	/* Callers of CRIU's may say so all the same. */
	if (!o->page_server && !s->resumes && (s->port || named || s->tls))
		lz_out_error(
			"without --page-server the pages come from the images, and not from %s",
			s->port ? "--port"
			: named ? "--address"
				: "--tls");
	if (o->page_server && s->tls && !s->tls_any_name &&
	    (is_unix || (s->ps_socket >= 0 && !named)))
		return lz_service_usage(
			s,
			"--tls needs --tls-no-cn-verify, or a name for the peer's certificate, at",
			is_unix ? s->address : "--ps-socket");
	if (o->page_server && !s->port && s->ps_socket < 0 && !is_unix)
		return lz_service_usage(s, "which --port has the page server at", s->address);
	return -1;
}

int lz_fill_options_take(struct lz_fill *f, int argc, char **argv)
{
	struct lz_fill_options *o = &f->o;
	int c, r;

	*o = (struct lz_fill_options){ .on_lost = NOT_SAID,
				       .restore_timeout_s = NOT_SAID,
				       .source_timeout_s = 60,
				       .stuck_timeout_s = 60,
				       .vm = { .uid_from = 1 } };
	lz_service_init(&o->service, "fill");
	o->service.resumes = f->resume;
	o->service.had = f->had;
	optind = 0;
	while ((c = lz_out_option(argc, argv, LZ_SERVICE_LETTERS, OPTIONS)) != -1) {
		r = take_option(o, c);
		if (r >= 0)
			return r;
	}
	if (optind < argc)
		return lz_service_usage(&o->service, "unexpected word", argv[optind]);
	r = lz_service_check_options(&o->service);
	if (r < 0)
		r = lz_guest_check_options(o);
	if (r >= 0)
		return r;
	if (o->record_window_s && !o->record)
		return lz_service_usage(&o->service, "--record-window is of no use without",
					"--record");
	/* A VM whose page is poisoned ends too, later and less clearly;
	 * and its like come at any time. */
	if (o->on_lost == NOT_SAID)
		o->on_lost = o->vm.socket ? LAZYD_LOST_KILL : LAZYD_LOST_POISON;
	if (o->restore_timeout_s == NOT_SAID)
		o->restore_timeout_s = o->vm.socket ? 0 : 600;
	o->vm.max = o->vm.max ? o->vm.max : VMS_DEFAULT;
	return check_peer(o);
}
