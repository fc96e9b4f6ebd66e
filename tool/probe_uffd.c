/* SPDX-License-Identifier: MIT */
/* What of userfaultfd(2) is to be had here, and in which way. */
#include "tool/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What Debian 12's headers (Linux 6.1) do not know yet. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define EVENTS                                                                            \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP)

static const char SECTION[] = "userfaultfd";

int lz_probe_uffd_open(enum lz_uffd_way way)
{
	int flags = O_CLOEXEC | O_NONBLOCK, device, fd, err;

	if (way != LZ_UFFD_DEVICE) {
		flags |= way == LZ_UFFD_USER_MODE ? UFFD_USER_MODE_ONLY : 0;
		fd = (int)syscall(SYS_userfaultfd, flags);
		return fd < 0 ? -errno : fd;
	}
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
	err = -errno;
	(void)close(device);
	return fd < 0 ? err : fd;
}

int lz_probe_uffd_api(int uffd, uint64_t features, uint64_t *got)
{
	/* One feature that the caller may not have is a no to all of them; FORK wants privilege. */
	const uint64_t sets[] = { features, features & ~(uint64_t)UFFD_FEATURE_EVENT_FORK, 0 };
	struct uffdio_api api;
	int r = -EINVAL;

	for (size_t i = 0; r && i < sizeof(sets) / sizeof(sets[0]); i++) {
		api = (struct uffdio_api){ .api = UFFD_API, .features = sets[i] };
		r = ioctl(uffd, UFFDIO_API, &api) ? -errno : 0;
		*got = sets[i];
	}
	return r;
}

const char *lz_probe_uffd_remedy(enum lz_uffd_way way, int err)
{
	if (way == LZ_UFFD_DEVICE)
		return err == ENOENT ? "needs Linux 6.1 and /dev of the host"
				     : "chmod or setfacl /dev/userfaultfd for this user";
	if (err == ENOSYS)
		return "needs a kernel with CONFIG_USERFAULTFD";
	if (err == EINVAL)
		return "needs Linux 5.11";
	if (err == EPERM && (way == LZ_UFFD_USER_MODE || !geteuid()))
		return "in a container, have its seccomp profile allow userfaultfd";
	if (err == EPERM)
		return "run as root, or sysctl vm.unprivileged_userfaultfd=1";
	return "look for a limit on open files or memory";
}

/* ---- findings ---- */

static const struct ability {
	unsigned bit;
	const char *name;
	enum lz_probe_state without;
	const char *since;
} features[] = {
	{ 1, "event fork", LZ_PROBE_NO, "4.11" },
	{ 2, "event remap", LZ_PROBE_NO, "4.11" },
	{ 3, "event remove", LZ_PROBE_NO, "4.11" },
	{ 6, "event unmap", LZ_PROBE_NO, "4.11" },
	{ 4, "missing hugetlbfs", LZ_PROBE_ABSENT, "4.11" },
	{ 5, "missing shmem", LZ_PROBE_ABSENT, "4.11" },
	{ 7, "sigbus", LZ_PROBE_ABSENT, "4.14" },
	{ 8, "thread id", LZ_PROBE_ABSENT, "4.14" },
	{ 0, "write protect", LZ_PROBE_ABSENT, "5.7" },
	{ 9, "minor hugetlbfs", LZ_PROBE_ABSENT, "5.13" },
	{ 10, "minor shmem", LZ_PROBE_ABSENT, "5.14" },
	{ 11, "exact address", LZ_PROBE_ABSENT, "5.18" },
	{ 12, "write protect hugetlbfs, shmem", LZ_PROBE_ABSENT, "5.19" },
	{ 13, "write protect unpopulated", LZ_PROBE_ABSENT, "6.4" },
	{ 14, "poison", LZ_PROBE_ABSENT, "6.6" },
	{ 15, "write protect async", LZ_PROBE_ABSENT, "6.7" },
	{ 16, "move", LZ_PROBE_ABSENT, "6.8" },
};

static const struct ability ioctls[] = {
	{ 0x02, "UFFDIO_WAKE", LZ_PROBE_NO, "4.3" },
	{ 0x03, "UFFDIO_COPY", LZ_PROBE_NO, "4.3" },
	{ 0x04, "UFFDIO_ZEROPAGE", LZ_PROBE_NO, "4.3" },
	{ 0x08, "UFFDIO_POISON", LZ_PROBE_LIMITED, "6.6" },
	{ 0x05, "UFFDIO_MOVE", LZ_PROBE_ABSENT, "6.8" },
};

static void add_abilities(struct lz_findings *f, uint64_t have, const struct ability *a, size_t nr)
{
	for (; nr--; a++) {
		bool has = have >> a->bit & 1;
		struct lz_finding *n = lz_probe_add(f, SECTION, a->name,
						    has ? LZ_PROBE_OK : a->without);

		if (has)
			continue;
		(void)snprintf(n->cause, sizeof(n->cause), "this kernel does not have it%s",
			       a->without == LZ_PROBE_LIMITED ? "; tasks with lost pages are killed"
							      : "");
		(void)snprintf(n->remedy, sizeof(n->remedy), "needs Linux %s", a->since);
	}
}

/* The ioctls that a registered range of plain memory has; 0 where it cannot be registered. */
static uint64_t range_ioctls(int fd)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 0;
	reg.range = (struct uffdio_range){ (uintptr_t)page, len };
	if (ioctl(fd, UFFDIO_REGISTER, &reg))
		reg.ioctls = 0;
	(void)munmap(page, len);
	return reg.ioctls;
}

static void add_features(struct lz_findings *f, enum lz_uffd_way way)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = lz_probe_uffd_open(way);
	struct lz_finding *n;
	uint64_t got;

	if (fd < 0)
		return;
	if (ioctl(fd, UFFDIO_API, &api))
		api.features = 0;
	add_abilities(f, api.features, features, sizeof(features) / sizeof(features[0]));
	add_abilities(f, range_ioctls(fd), ioctls, sizeof(ioctls) / sizeof(ioctls[0]));
	(void)close(fd);
	fd = lz_probe_uffd_open(way);
	if (fd < 0)
		return;
	n = lz_probe_add(f, SECTION, "all events for this user", LZ_PROBE_OK);
	if (lz_probe_uffd_api(fd, EVENTS, &got) || got != EVENTS) {
		n->state = LZ_PROBE_LIMITED;
		(void)snprintf(n->cause, sizeof(n->cause), "fork events need CAP_SYS_PTRACE");
		(void)snprintf(n->remedy, sizeof(n->remedy), "run criu restore as root");
	}
	(void)close(fd);
}

void lz_probe_uffd(struct lz_findings *f)
{
	static const char *const names[] = {
		[LZ_UFFD_SYSCALL] = "system call",
		[LZ_UFFD_DEVICE] = "/dev/userfaultfd",
		[LZ_UFFD_USER_MODE] = "system call, user mode only",
	};
	enum lz_uffd_way good = LZ_UFFD_WAYS;
	long long sysctl = lz_probe_sysctl("vm/unprivileged_userfaultfd");
	struct lz_finding *n;
	int fd[LZ_UFFD_WAYS];

	for (unsigned w = 0; w < LZ_UFFD_WAYS; w++) {
		fd[w] = lz_probe_uffd_open((enum lz_uffd_way)w);
		if (fd[w] < 0)
			continue;
		(void)close(fd[w]);
		good = good == LZ_UFFD_WAYS ? (enum lz_uffd_way)w : good;
	}
	for (unsigned w = 0; w < LZ_UFFD_WAYS; w++) {
		n = lz_probe_add(f, SECTION, names[w], LZ_PROBE_OK);
		if (fd[w] >= 0)
			continue;
		n->state = good == LZ_UFFD_WAYS ? LZ_PROBE_NO : LZ_PROBE_LIMITED;
		if (w != LZ_UFFD_SYSCALL && fd[LZ_UFFD_SYSCALL] >= 0)
			n->state = LZ_PROBE_ABSENT;
		(void)snprintf(n->cause, sizeof(n->cause), "%s", strerror(-fd[w]));
		(void)snprintf(n->remedy, sizeof(n->remedy), "%s",
			       lz_probe_uffd_remedy((enum lz_uffd_way)w, -fd[w]));
	}
	if (sysctl >= 0)
		(void)snprintf(
			lz_probe_add(f, SECTION, "vm.unprivileged_userfaultfd", LZ_PROBE_OK)->value,
			sizeof(n->value), "%lld", sysctl);
	if (good != LZ_UFFD_WAYS)
		add_features(f, good);
}
