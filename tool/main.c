/* SPDX-License-Identifier: MIT */
/*
 * The command `lazyd`: finds the subcommand among the words and hands the others over to it.
 * Callers of CRIU put options before the subcommand, so the options that take an argument are known
 * here; what they mean is not.
 */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"

static const struct lz_tool_command commands[] = {
	{ "fill", lz_tool_fill, "fill the memory of one lazy restore from its images", true },
	{ "lazy-pages", lz_tool_fill, "the same, for callers of criu lazy-pages", true },
	{ "serve", lz_tool_serve, "serve the pages of a checkpoint to other hosts", true },
	{ "page-server", lz_tool_serve, "the same, for callers of criu page-server --lazy-pages",
	  true },
	{ "check", lz_tool_check, "what this machine can do, and the remedy where it cannot",
	  false },
	{ "inspect", lz_tool_inspect, "what the images hold; is a process whole again", false },
	{ "workingset", lz_tool_workingset, "look at, draw, merge what fill has recorded", false },
	{ "demo", lz_tool_demo, "show it all on this machine, without CRIU", false },
};
enum { NR_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const char options_help[] =
	"fill, serve: -D, --images-dir DIR; -W, --work-dir DIR; -o, --log-file FILE; -v[N]\n"
	"  -d, --daemon; --pidfile FILE; --status-fd N; --stats FILE; --no-progress\n"
	"fill: --page-server --address ADDR --port PORT; --on-lost=poison|kill\n"
	"  --record FILE; --replay FILE; --no-sweep\n"
	"serve: --address ADDR; --port PORT; --once\n"
	"  both have more: lazyd fill --help, lazyd serve --help\n"
	"check [--criu] [--criu-path FILE] [--runc-path FILE] [--json]\n"
	"inspect [-D DIR] [--json] or inspect --pid PID [--wait SECONDS] [--json]\n"
	"workingset inspect FILE [--json]; svg FILE [-o FILE]; merge FILE FILE... -o FILE\n"
	"demo [--size MiB] [--json] [--keep DIR] [--no-progress]\n";

/* Options whose argument may be the next word: ours, and those that callers of CRIU pass. */
static bool takes_next(const char *word)
{
	static const char *const names[] = {
		"images-dir",      "work-dir",  "log-file",      "status-fd",     "pidfile",
		"config",          "libdir",    "stats",         "action-script", "on-lost",
		"restore-timeout", "port",      "address",       "ps-socket",     "tls-cacert",
		"tls-cacrl",       "tls-cert",  "tls-key",       "size",          "keep",
		"source-timeout",  "ps-header", "max-clients",   "idle-timeout",  "criu-path",
		"runc-path",       "busy-poll", "pid",           "wait",          "stuck-timeout",
		"record",          "replay",    "record-window", "output",        "copiers",
		"firecracker",     "memory",    "layer",         "snapshot",      "allow-user",
		"max-vms",
	};
	const char *c = word + 1;

	if (*c == '-') {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(c + 1, names[i]) == 0)
				return true;
		return false;
	}
	/* The first letter that takes an argument takes the rest of the word, if there is one. */
	c += strcspn(c, "DWov");
	return *c && *c != 'v' && !c[1];
}

static const struct lz_tool_command *find_command(const char *word)
{
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (strcmp(word, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static int help(void)
{
	printf("lazyd %s gives a restored process its memory one page fault at a time.\n"
	       "Usage: lazyd [OPTION]... SUBCOMMAND [OPTION]...\n\n",
	       lazyd_version());
	for (size_t i = 0; i < NR_COMMANDS; i++)
		printf("  %-12s %s\n", commands[i].name, commands[i].summary);
	printf("\n%s\n-h, --help; -V, --version. More: man lazyd\n", options_help);
	return LZ_EXIT_OK;
}

/*
 * Whatever is opened gets the lowest number that is free: where a standard stream is closed, a
 * socket or a userfaultfd would be written to in its place, and go when that is put on /dev/null.
 */
static int open_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -1;
	return 0;
}

/* What others print is all that they were asked for; a service is asked for other things. */
static int printed(int status, bool serves)
{
	if (serves || (!fflush(stdout) && !ferror(stdout)))
		return status;
	lz_out_error("standard output cannot be written: %s", strerror(errno));
	return status ? status : LZ_EXIT_FAILED;
}

int main(int argc, char **argv)
{
	const struct lz_tool_command *command = NULL;
	const char *unknown = NULL;
	char *name;
	int at = 0;

	if (open_streams())
		return LZ_EXIT_FAILED;
	/* Who does not want to hear of its own children leaves that to us, and we must hear of
	 * ours. */
	(void)signal(SIGCHLD, SIG_DFL);
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if ((strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) &&
		    !(command && command->helps))
			return printed(help(), false);
		if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
			printf("lazyd %s\n", lazyd_version());
			return printed(LZ_EXIT_OK, false);
		}
		if (word[0] == '-' && word[1]) {
			i += takes_next(word);
		} else if (!command) {
			command = find_command(word);
			unknown = unknown ? unknown : word;
			at = i;
		}
	}
	if (!command) {
		if (unknown)
			lz_out_error("there is no subcommand '%s'; lazyd --help lists them",
				     unknown);
		else
			lz_out_error("which subcommand? lazyd --help lists them");
		return LZ_EXIT_USAGE;
	}
	/* The subcommand becomes argv[0] of what it is given; all else keeps its order. */
	name = argv[at];
	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
	argv[1] = name;
	return printed(command->run(argc - 1, argv + 1), command->helps);
}
