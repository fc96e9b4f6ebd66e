/* SPDX-License-Identifier: MIT */
/* The rest of what matters here: the kernel, capabilities, limits,
 * and ways to look at processes. */
#include "tool/probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What Debian 12's headers (Linux 6.1) do not know yet. */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* struct pm_scan_arg of Linux 6.7. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, returned;
};
#define LZ_PAGEMAP_SCAN _IOWR('f', 16, struct scan_arg)
enum { SCAN_PRESENT = 1 << 3 };

struct lz_finding *lz_probe_add(struct lz_findings *f, const char *section, const char *name,
				enum lz_probe_state state)
{
	struct lz_finding *n = &f->at[f->nr++];

	assert(f->nr <= sizeof(f->at) / sizeof(f->at[0]));
	*n = (struct lz_finding){ .section = section, .name = name, .state = state };
	return n;
}

long long lz_probe_sysctl(const char *path)
{
	char name[128];
	long long n = -1;
	FILE *file;

	(void)snprintf(name, sizeof(name), "/proc/sys/%s", path);
	file = fopen(name, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%lld", &n) != 1)
		n = -1;
	(void)fclose(file);
	return n;
}

static void add(struct lz_findings *f, const char *section, const char *name, bool good,
		enum lz_probe_state without, const char *cause, const char *remedy)
{
	struct lz_finding *n = lz_probe_add(f, section, name, good ? LZ_PROBE_OK : without);

	if (good)
		return;
	(void)snprintf(n->cause, sizeof(n->cause), "%s", cause);
	(void)snprintf(n->remedy, sizeof(n->remedy), "%s", remedy);
}

void lz_probe_kernel(struct lz_findings *f)
{
	struct lz_finding *n;
	struct utsname u;
	long page = sysconf(_SC_PAGESIZE);

	if (uname(&u) == 0) {
		n = lz_probe_add(f, "kernel", "release", LZ_PROBE_OK);
		(void)snprintf(n->value, sizeof(n->value), "%.40s %.20s", u.release, u.machine);
	}
	add(f, "kernel", "page size", page == 4096, LZ_PROBE_NO,
	    "images hold pages of 4096 bytes, and so must this kernel",
	    "use a kernel with such pages");
	(void)snprintf(f->at[f->nr - 1].value, sizeof(n->value), "%ld", page);
}

void lz_probe_caps(struct lz_findings *f)
{
	static const struct {
		cap_value_t cap;
		const char *name, *without;
	} caps[] = {
		{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE",
		  "criu restore cannot make a userfaultfd that sees forks and faults of the kernel" },
		{ CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE",
		  "criu restore needs it, or CAP_SYS_ADMIN" },
		{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN",
		  "criu restore needs it for namespaces, mounts and cgroups" },
		{ CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE",
		  "limits cannot be raised above the hard ones" },
		{ CAP_KILL, "CAP_KILL",
		  "tasks of other users cannot be killed when pages are lost" },
		{ CAP_FOWNER, "CAP_FOWNER",
		  "images of other users are read, not taken from the page cache" },
	};
	cap_t set = cap_get_proc();

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		cap_flag_value_t v = CAP_CLEAR;

		if (set)
			(void)cap_get_flag(set, caps[i].cap, CAP_EFFECTIVE, &v);
		add(f, "capabilities", caps[i].name, v == CAP_SET, LZ_PROBE_LIMITED,
		    caps[i].without, "run as root, or give it to the container");
	}
	(void)cap_free(set);
}

void lz_probe_confinement(struct lz_findings *f)
{
	uint32_t action = SECCOMP_RET_ERRNO;
	long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0,
				LANDLOCK_CREATE_RULESET_VERSION);

	add(f, "confinement", "seccomp",
	    !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action), LZ_PROBE_LIMITED,
	    "fill and serve go on without a filter of system calls",
	    "needs a kernel with CONFIG_SECCOMP_FILTER; in a container, allow seccomp");
	add(f, "confinement", "Landlock", landlock > 0, LZ_PROBE_LIMITED,
	    "fill and serve go on without limits on names in the file system",
	    "needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and landlock among its lsm=");
	if (landlock > 0)
		(void)snprintf(f->at[f->nr - 1].value, sizeof(f->at[0].value), "version %ld",
			       landlock);
}

static void limit_text(char *to, size_t size, rlim_t n)
{
	if (n == RLIM_INFINITY)
		(void)snprintf(to, size, "unlimited");
	else
		(void)snprintf(to, size, "%llu", (unsigned long long)n);
}

static void add_limit(struct lz_findings *f, const char *name, int which, rlim_t enough,
		      const char *cause, const char *remedy)
{
	struct rlimit r = { 0, 0 };
	char now[24], most[24];

	(void)getrlimit((__rlimit_resource_t)which, &r);
	add(f, "limits", name, r.rlim_cur >= enough, LZ_PROBE_LIMITED, cause, remedy);
	limit_text(now, sizeof(now), r.rlim_cur);
	limit_text(most, sizeof(most), r.rlim_max);
	(void)snprintf(f->at[f->nr - 1].value, sizeof(f->at[0].value), "%s, at most %s", now, most);
}

void lz_probe_limits(struct lz_findings *f)
{
	long long maps = lz_probe_sysctl("vm/max_map_count");

	add_limit(f, "open files", RLIMIT_NOFILE, 1024,
		  "two for every task and every child that it forks during the fill",
		  "ulimit -n 65536");
	add_limit(f, "locked memory, bytes", RLIMIT_MEMLOCK, 8 << 20,
		  "the buffers of reads are 4 MiB; without room they are not registered",
		  "ulimit -l 8192");
	add(f, "limits", "vm.max_map_count", maps >= 65530, LZ_PROBE_LIMITED,
	    "a task with more areas than that cannot be restored", "sysctl vm.max_map_count=65530");
	(void)snprintf(f->at[f->nr - 1].value, sizeof(f->at[0].value), "%lld", maps);
}

/* ---- processes ---- */

static bool has_pidfd(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static bool has_passpidfd(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, r;

	if (fd < 0)
		return false;
	r = setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	(void)close(fd);
	return r == 0;
}

static bool has_pagemap_scan(int pagemap, void *page, size_t len)
{
	struct scan_arg arg = { .size = sizeof(arg),
				.start = (uintptr_t)page,
				.end = (uintptr_t)page + len,
				.mask = SCAN_PRESENT };

	return ioctl(pagemap, LZ_PAGEMAP_SCAN, &arg) >= 0;
}

/* Written, all bits cleared, written again: is the one bit that stands the page's? */
static bool has_soft_dirty(int pagemap, volatile char *page, size_t len)
{
	int clear = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	off_t at = (off_t)((uintptr_t)page / len * sizeof(uint64_t));
	uint64_t before = 0, after = 0;
	bool cleared;

	if (clear < 0)
		return false;
	*page = 1;
	cleared = write(clear, "4", 1) == 1;
	(void)close(clear);
	if (!cleared || pread(pagemap, &before, sizeof(before), at) != (ssize_t)sizeof(before))
		return false;
	*page = 2;
	if (pread(pagemap, &after, sizeof(after), at) != (ssize_t)sizeof(after))
		return false;
	return !(before >> 55 & 1) && after >> 55 & 1;
}

void lz_probe_processes(struct lz_findings *f)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool can = page != MAP_FAILED && pagemap >= 0;

	add(f, "processes", "pidfd_open", has_pidfd(), LZ_PROBE_LIMITED,
	    "the death of a task is noticed at the next fill only, and none can be killed",
	    "needs Linux 5.3");
	add(f, "processes", "SO_PASSPIDFD", has_passpidfd(), LZ_PROBE_LIMITED,
	    "tasks are found by their number, which another may have got meanwhile",
	    "needs Linux 6.5");
	add(f, "processes", "PAGEMAP_SCAN", can && has_pagemap_scan(pagemap, page, len),
	    LZ_PROBE_ABSENT, "this kernel does not have it", "needs Linux 6.7");
	add(f, "processes", "soft-dirty pages", can && has_soft_dirty(pagemap, page, len),
	    LZ_PROBE_ABSENT, "criu pre-dump --track-mem needs it",
	    "a kernel with CONFIG_MEM_SOFT_DIRTY has it");
	if (page != MAP_FAILED)
		(void)munmap(page, len);
	if (pagemap >= 0)
		(void)close(pagemap);
}
