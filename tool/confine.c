/* SPDX-License-Identifier: MIT */
/* The confinement of confine.h but for the list of system calls. */
#include "tool/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "uffd/lazyd.h"

/* Linux 6.2 and 6.10; the headers of Debian 12 are older. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* What Landlock is asked for, up to Linux 6.12; an older version takes the beginning of it. */
struct ruleset {
	uint64_t fs;
	uint64_t net;    /* version 4: bind and connect of TCP are its two bits */
	uint64_t scoped; /* version 6: connecting to abstract unix sockets is its first */
};

/* ---- capabilities ---- */

/*
 * Of fill: the last resort kills tasks, which may be another user's. Of images that are another
 * user's mincore() tells CAP_FOWNER the truth, and nobody else: without it they would all be read
 * through the ring. Huge pages in another process take CAP_SYS_NICE, and CAP_SYS_PTRACE where that
 * one may do more than this or is another user's. Nothing more that it does asks for one: what a
 * userfaultfd does it does for whoever holds it, files are open, and memory is locked by the limit.
 * Of serve: none.
 */
static const struct {
	cap_value_t cap;
	unsigned role;
} KEPT[] = {
	{ CAP_KILL, LZ_CONFINE_FILL },
	{ CAP_FOWNER, LZ_CONFINE_OTHERS },
	{ CAP_SYS_PTRACE, LZ_CONFINE_COLLAPSE },
	{ CAP_SYS_NICE, LZ_CONFINE_COLLAPSE },
};
enum { NR_KEPT = sizeof(KEPT) / sizeof(KEPT[0]) };

/* The ring of a new worker pins its buffers, and by then CAP_IPC_LOCK is gone. */
static void raise_memlock(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY }, l;

	if (!setrlimit(RLIMIT_MEMLOCK, &all) || getrlimit(RLIMIT_MEMLOCK, &l))
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &l);
}

static bool is_kept(cap_value_t c, unsigned roles)
{
	for (int i = 0; i < NR_KEPT; i++)
		if (KEPT[i].cap == c && KEPT[i].role & roles)
			return true;
	return false;
}

/* What is there of those that @roles keep; all else goes from every set. */
static int drop_capabilities(unsigned roles)
{
	cap_t had = cap_get_proc(), caps = cap_init();
	int r = had && caps ? 0 : -ENOMEM;

	/* The bounding set first, which takes CAP_SETPCAP; who has not got that has nothing to
	 * bound: with no_new_privs no program that is started gains any. */
	for (cap_value_t c = 0; !r && cap_get_bound(c) >= 0; c++)
		if (!is_kept(c, roles))
			(void)cap_drop_bound(c);
	for (int i = 0; !r && i < NR_KEPT; i++) {
		const cap_value_t *c = &KEPT[i].cap;
		cap_flag_value_t on = CAP_CLEAR;

		if (!is_kept(*c, roles))
			continue;
		if (cap_get_flag(had, *c, CAP_PERMITTED, &on) ||
		    cap_set_flag(caps, CAP_PERMITTED, 1, c, on) ||
		    cap_set_flag(caps, CAP_EFFECTIVE, 1, c, on))
			r = -errno;
	}
	(void)cap_reset_ambient();
	if (!r && cap_set_proc(caps))
		r = -errno;
	(void)cap_free(had);
	(void)cap_free(caps);
	return r;
}

/* "cap_kill", "none": what is effective. */
static void name_capabilities(char *text, size_t len)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t on;
	size_t n = 0;

	(void)snprintf(text, len, "none");
	for (cap_value_t c = 0; caps && cap_get_bound(c) >= 0; c++) {
		char *name;

		if (cap_get_flag(caps, c, CAP_EFFECTIVE, &on) || on != CAP_SET)
			continue;
		name = cap_to_name(c);
		n += (size_t)snprintf(text + n, n < len ? len - n : 0, "%s%s", n ? "," : "",
				      name ? name : "?");
		(void)cap_free(name);
	}
	(void)cap_free(caps);
}

/* ---- names ---- */

enum {
	READING = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
		  LANDLOCK_ACCESS_FS_READ_DIR,
	TCP = 3,
	ABSTRACT = 1,
};

/* All that a kernel with Landlock of that version can refuse. */
static uint64_t all_of(long version)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (version >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		all |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (version >= 5)
		all |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return all;
}

/* @allowed beneath the directory of @file. */
struct exception {
	const char *file; /* NULL: there is none */
	uint64_t allowed;
};

static int add_exception(int set, const struct exception *x)
{
	struct landlock_path_beneath_attr beneath = { .allowed_access = x->allowed };
	char *copy = strdup(x->file);
	int r = 0;

	if (!copy)
		return -ENOMEM;
	beneath.parent_fd = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (beneath.parent_fd < 0 ||
	    syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0))
		r = -errno;
	if (beneath.parent_fd >= 0)
		(void)close(beneath.parent_fd);
	free(copy);
	return r;
}

/*
 * From here on what is in @refused cannot be done, but for two exceptions. What is open stays what
 * it was. Landlock's version, or -errno.
 */
static int refuse_names(struct ruleset refused, const struct exception but[2])
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	size_t known = version >= 6   ? sizeof(refused)
		       : version >= 4 ? offsetof(struct ruleset, scoped)
				      : offsetof(struct ruleset, net);
	int set, r;

	if (version < 0)
		return -errno;
	refused.fs &= all_of(version);
	set = (int)syscall(SYS_landlock_create_ruleset, &refused, known, 0);
	r = set < 0 ? -errno : 0;
	for (int i = 0; !r && i < 2; i++)
		r = but[i].file ? add_exception(set, &but[i]) : 0;
	if (!r && syscall(SYS_landlock_restrict_self, set, 0))
		r = -errno;
	if (set >= 0)
		(void)close(set);
	return r ? r : (int)version;
}

/*
 * A rename within a directory removes one name and makes another. Who has no business with peers
 * may not connect to any: the filter of system calls does not see what a ring is asked for.
 */
static int refuse_writing(unsigned roles, const char *removes, const char *replaces)
{
	const struct ruleset refused = {
		.fs = roles & LZ_CONFINE_FILL ? ~(uint64_t)READING : ~UINT64_C(0),
		.net = roles & LZ_CONFINE_INET ? 0 : TCP,
		.scoped = roles & LZ_CONFINE_UNIX ? 0 : ABSTRACT,
	};
	const struct exception but[2] = {
		{ removes, LANDLOCK_ACCESS_FS_REMOVE_FILE },
		{ replaces, LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG },
	};

	return refuse_names(refused, but);
}

/* ---- all of it ---- */

static void complain(const struct lz_log *log, const char *what, int r)
{
	if (r < 0)
		lz_log_say(log, LAZYD_LOG_WARN, "event=not-confined what=%s error=\"%s\"", what,
			   strerror(-r));
}

/* 16 layers of Landlock there can be, and filters of 32768 instructions. */
static int or_full(unsigned roles, int r)
{
	return roles & LZ_CONFINE_AGAIN && (r == -E2BIG || r == -ENOMEM) ? 0 : r;
}

void lz_confine_enter(const struct lz_log *log, unsigned roles, const char *removes,
		      const char *replaces)
{
	char names[256];
	int calls, landlock = 0;

	/* The log's gmtime_r() reads the zone's file at its first call. */
	tzset();
	raise_memlock();
	complain(log, "no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0);
	/* Capabilities may be what it takes to reach the directories that the exceptions are in. */
	if (!LZ_CONFINE_INSTRUMENTED && !(roles & LZ_CONFINE_COLLAPSE)) {
		landlock = or_full(roles, refuse_writing(roles, removes, replaces));
		complain(log, "names", landlock);
	}
	complain(log, "capabilities", drop_capabilities(roles));
	name_capabilities(names, sizeof(names));
	if (LZ_CONFINE_INSTRUMENTED) {
		lz_log_say(log, LAZYD_LOG_INFO,
			   "event=confined capabilities=%s and no more: this build has a sanitizer",
			   names);
		return;
	}
	calls = or_full(roles, lz_confine_calls(roles));
	complain(log, "system calls", calls);
	lz_log_say(log, LAZYD_LOG_INFO,
		   "event=confined capabilities=%s system_calls=%d landlock=%d", names,
		   calls > 0 ? calls : 0, landlock > 0 ? landlock : 0);
}
