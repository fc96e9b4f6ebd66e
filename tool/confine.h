/* SPDX-License-Identifier: MIT */
/*
 * What a daemon can no longer do once it is set up: capabilities, new privileges, system calls,
 * writing by name in the file system. It speaks with whoever connects and reads what others wrote;
 * one of them that gets hold of it is to find nothing to go on with. Nothing here can be undone.
 *
 * A call that is not on the list of confine_calls.c fails with EPERM and is logged by the kernel's
 * audit; the process is not killed. With the death of both keeper and worker their tasks lose their
 * memory: too much for a path of some libc that nobody foresaw, and every call here is checked.
 * Whoever has taken the process over has no use for a call that fails. (Calls of another ABI, i386
 * or x32, do kill: no libc makes them.)
 *
 * Keeper and worker of fill have the same: each may have to be the other at any moment, start a
 * worker, and become a newer binary. A program that is started so has no more than who started it.
 *
 * What a filter of calls does not see: operations of an io_uring are restricted by the ring itself
 * (iouring/ring.c), and names and new connections by Landlock, for a worker's successor has to set
 * up a ring of its own and so could a worker that somebody has taken over. What Landlock knows
 * nothing of that one could do: connect to a unix socket that has a path.
 *
 * Where the kernel lacks one of these the others are used, and the log says so: the tasks come
 * first.
 */
#ifndef LZ_CONFINE_H
#define LZ_CONFINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "tool/service.h"

/* A sanitizer's runtime, or the counting of coverage, makes calls and reads and writes files that
 * the product does not: such a build gives up capabilities and new privileges only, and says so. */
#ifdef LZ_INSTRUMENTED
enum { LZ_CONFINE_INSTRUMENTED = 1 };
#else
enum { LZ_CONFINE_INSTRUMENTED = 0 };
#endif

enum lz_confine_role {
	LZ_CONFINE_FILL = 1,    /* keeper and worker */
	LZ_CONFINE_SERVE = 2,   /* the server */
	LZ_CONFINE_INET = 4,    /* with FILL: connects to a page server by IP ... */
	LZ_CONFINE_UNIX = 8,    /* ... or by a unix socket, or is a service manager's */
	LZ_CONFINE_OTHERS = 16, /* with FILL: the images are another user's */
	/* In the place of a program that has done it. What that gave up stays so; the kernel bounds
	 * how often there can be more, and then it is no mistake that there is not. */
	LZ_CONFINE_AGAIN = 32,
	LZ_CONFINE_RECORD = 64, /* with FILL: a file is replaced at the end */
	LZ_CONFINE_COLLAPSE =
		128, /* alone: the process of huge.h, which Landlock would not let look at others */
};

/*
 * After the set-up, in the process that goes on: from now on files are opened for reading only, so
 * that all that is written is open already. @roles: FILL, with what applies of the others, or
 * SERVE, or COLLAPSE. @removes: a file that is removed at the end; others beside it can be too.
 * NULL: there is none. @replaces: with RECORD, a file in whose place another beside it will be
 * renamed; others there can be too. NULL: there is none. Logs what is left, and what could not be
 * taken away.
 */
void lz_confine_enter(const struct lz_log *log, unsigned roles, const char *removes,
		      const char *replaces);

/* confine_calls.c: allows the calls of @roles from here on; returns their number, or -errno. */
int lz_confine_calls(unsigned roles);

#endif
