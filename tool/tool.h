/* SPDX-License-Identifier: MIT */
/*
 * The command: what its subcommands share, which is the way they are called and how they end.
 * Policy lives in tool/; of ours it knows uffd/lazyd.h and its own headers.
 */
#ifndef LZ_TOOL_H
#define LZ_TOOL_H

#include <stdbool.h>

/* The exit status of every subcommand. */
enum {
	LZ_EXIT_OK = 0,
	LZ_EXIT_FAILED = 1, /* set-up or images failed, or what was waited for never came */
	LZ_EXIT_USAGE = 2,
	LZ_EXIT_LOST = 3, /* pages were lost: poisoned, or their process killed */
};

struct lz_tool_command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns LZ_EXIT_X */
	const char *summary;
	bool helps; /* it has a --help of its own */
};

int lz_tool_fill(int argc, char **argv);
int lz_tool_serve(int argc, char **argv);
int lz_tool_check(int argc, char **argv);
int lz_tool_inspect(int argc, char **argv);
int lz_tool_workingset(int argc, char **argv);
int lz_tool_demo(int argc, char **argv);

#endif
