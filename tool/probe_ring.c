/* SPDX-License-Identifier: MIT */
/*
 * What of io_uring(7) is to be had here: set-up, flags, operations, and whether a userfaultfd can
 * be read through it, which is tried on a child's fault.
 */
#include "tool/probe.h"

#include <errno.h>
#include <liburing.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

enum { ENTRIES = 8, OP_READ_MULTISHOT = 49, FAULT_S = 3 };

static const char SECTION[] = "io_uring";

const char *lz_probe_ring_remedy(int err)
{
	if (err == EPERM)
		return "sysctl kernel.io_uring_disabled=0; in a container, allow io_uring in seccomp";
	if (err == ENOSYS || err == EOPNOTSUPP || err == EINVAL)
		return "needs Linux 5.11 with CONFIG_IO_URING";
	if (err == ENOMEM)
		return "raise the limit on locked memory (ulimit -l)";
	return "look for a limit on open files or memory";
}

static struct lz_finding *add(struct lz_findings *f, const char *name, int err,
			      enum lz_probe_state without)
{
	struct lz_finding *n = lz_probe_add(f, SECTION, name, err ? without : LZ_PROBE_OK);

	if (err) {
		(void)snprintf(n->cause, sizeof(n->cause), "%s", strerror(-err));
		(void)snprintf(n->remedy, sizeof(n->remedy), "%s", lz_probe_ring_remedy(-err));
	}
	return n;
}

static int open_ring(struct io_uring *ring, unsigned flags)
{
	struct io_uring_params p = { .flags = flags };

	return io_uring_queue_init_params(ENTRIES, ring, &p);
}

int lz_probe_ring_has(void)
{
	const unsigned features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
	struct io_uring ring;
	int r = open_ring(&ring, 0);

	if (r)
		return r;
	r = (ring.features & features) == features ? 0 : -EOPNOTSUPP;
	io_uring_queue_exit(&ring);
	return r;
}

static void add_flags(struct lz_findings *f)
{
	static const struct {
		const char *name, *since;
		unsigned flags;
	} sets[] = {
		{ "SUBMIT_ALL", "5.18", IORING_SETUP_SUBMIT_ALL },
		{ "DEFER_TASKRUN", "6.1",
		  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
			  IORING_SETUP_TASKRUN_FLAG },
	};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct io_uring ring;
		int r = open_ring(&ring, sets[i].flags);
		struct lz_finding *n = add(f, sets[i].name, r, LZ_PROBE_LIMITED);

		if (!r)
			io_uring_queue_exit(&ring);
		else
			(void)snprintf(n->remedy, sizeof(n->remedy), "needs Linux %s",
				       sets[i].since);
	}
}

static void add_operations(struct lz_findings *f, struct io_uring *ring)
{
	static const struct {
		const char *name;
		int op;
		enum lz_probe_state without;
	} ops[] = {
		{ "READ", IORING_OP_READ, LZ_PROBE_NO },
		{ "READ_FIXED", IORING_OP_READ_FIXED, LZ_PROBE_LIMITED },
		{ "POLL_ADD", IORING_OP_POLL_ADD, LZ_PROBE_NO },
		{ "ASYNC_CANCEL", IORING_OP_ASYNC_CANCEL, LZ_PROBE_NO },
		{ "READ_MULTISHOT", OP_READ_MULTISHOT, LZ_PROBE_ABSENT },
	};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		int has = probe && io_uring_opcode_supported(probe, ops[i].op);

		add(f, ops[i].name, has ? 0 : -EOPNOTSUPP, ops[i].without);
	}
	io_uring_free_probe(probe);
}

static void add_buffers(struct lz_findings *f, struct io_uring *ring)
{
	/* As many bytes as an engine registers. */
	size_t len = 4 << 20;
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = { at, len };
	int r = at == MAP_FAILED ? -errno : io_uring_register_buffers(ring, &iov, 1);

	add(f, "registered buffers", r, LZ_PROBE_LIMITED);
	if (at != MAP_FAILED)
		(void)munmap(at, len);
}

/* Without them what is asked of a ring is not seen by any filter of system calls. */
static void add_restrictions(struct lz_findings *f)
{
	struct io_uring_restriction may = { .opcode = IORING_RESTRICTION_SQE_OP,
					    .sqe_op = IORING_OP_READ };
	struct io_uring ring;
	int r = open_ring(&ring, IORING_SETUP_R_DISABLED);

	if (!r) {
		r = io_uring_register((unsigned)ring.ring_fd, IORING_REGISTER_RESTRICTIONS, &may,
				      1);
		io_uring_queue_exit(&ring);
	}
	add(f, "restrictions", r, LZ_PROBE_NO);
}

/* ---- does a read of a userfaultfd complete through the ring? ---- */

/* The child: touches a page that its own userfaultfd, in the table it shares, is to catch. */
_Noreturn static void touch(enum lz_uffd_way way, int to_parent)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = lz_probe_uffd_open(way);
	uint64_t got;

	reg.range = (struct uffdio_range){ (uintptr_t)page, len };
	if (page == MAP_FAILED || fd < 0 || lz_probe_uffd_api(fd, 0, &got) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		_exit(1);
	if (write(to_parent, &fd, sizeof(fd)) != (ssize_t)sizeof(fd))
		_exit(1);
	_exit(*(volatile char *)page);
}

/* Waits with @ring for the fault's message; 0 or -errno. */
static int read_fault(struct io_uring *ring, int fd, struct uffd_msg *msg)
{
	struct __kernel_timespec limit = { .tv_sec = FAULT_S };
	struct io_uring_cqe *cqe = NULL;
	int r;

	io_uring_prep_poll_multishot(io_uring_get_sqe(ring), fd, POLLIN);
	r = io_uring_submit(ring);
	if (r >= 0)
		r = io_uring_wait_cqe_timeout(ring, &cqe, &limit);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	if (r < 0)
		return r;
	if (read(fd, msg, sizeof(*msg)) != sizeof(*msg))
		return -EBADMSG;
	return msg->event == UFFD_EVENT_PAGEFAULT ? 0 : -EBADMSG;
}

/* Serves one fault of a child, which shares our descriptors and nothing else. */
static int serve_fault(struct io_uring *ring, enum lz_uffd_way way)
{
	struct uffd_msg msg;
	struct uffdio_zeropage zero = { .range.len = (uint64_t)sysconf(_SC_PAGESIZE) };
	struct pollfd said = { .events = POLLIN };
	int pipes[2], fd, r = -ECHILD, status;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		touch(way, pipes[1]);
	said.fd = pipes[0];
	if (pid > 0 && poll(&said, 1, FAULT_S * 1000) == 1 &&
	    read(pipes[0], &fd, sizeof(fd)) == (ssize_t)sizeof(fd)) {
		r = read_fault(ring, fd, &msg);
		zero.range.start = msg.arg.pagefault.address & ~(zero.range.len - 1);
		if (!r && ioctl(fd, UFFDIO_ZEROPAGE, &zero))
			r = -errno;
		if (r)
			(void)kill(pid, SIGKILL);
		(void)close(fd);
	} else if (pid > 0) {
		(void)kill(pid, SIGKILL);
	}
	if (pid > 0 && (waitpid(pid, &status, 0) != pid || status) && !r)
		r = -ECHILD;
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	return r;
}

static void add_userfaultfd(struct lz_findings *f, unsigned flags)
{
	unsigned way = 0;
	struct io_uring ring;
	struct lz_finding *n;
	int fd = -1, r;

	while (way < LZ_UFFD_WAYS && (fd = lz_probe_uffd_open((enum lz_uffd_way)way)) < 0)
		way++;
	if (fd < 0)
		return; /* its own section says so */
	(void)close(fd);
	r = open_ring(&ring, flags);
	if (!r) {
		r = serve_fault(&ring, (enum lz_uffd_way)way);
		io_uring_queue_exit(&ring);
	}
	n = lz_probe_add(f, SECTION, "watches a userfaultfd", r ? LZ_PROBE_LIMITED : LZ_PROBE_OK);
	if (!r)
		return;
	(void)snprintf(n->cause, sizeof(n->cause), "%s; it is polled anew for each fault",
		       strerror(-r));
	(void)snprintf(n->remedy, sizeof(n->remedy), "Linux 5.13 saves a system call a fault");
}

void lz_probe_ring(struct lz_findings *f)
{
	const unsigned deferred = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER;
	long long sysctl = lz_probe_sysctl("kernel/io_uring_disabled");
	struct io_uring ring;
	struct lz_finding *n;
	int r;

	if (sysctl >= 0) {
		n = lz_probe_add(f, SECTION, "kernel.io_uring_disabled", LZ_PROBE_OK);
		(void)snprintf(n->value, sizeof(n->value), "%lld", sysctl);
	}
	r = open_ring(&ring, 0);
	add(f, "set-up", r, LZ_PROBE_NO);
	if (r)
		return;
	add(f, "EXT_ARG", ring.features & IORING_FEAT_EXT_ARG ? 0 : -EOPNOTSUPP, LZ_PROBE_NO);
	add(f, "NODROP", ring.features & IORING_FEAT_NODROP ? 0 : -EOPNOTSUPP, LZ_PROBE_NO);
	add_operations(f, &ring);
	add_buffers(f, &ring);
	io_uring_queue_exit(&ring);
	add_restrictions(f);
	add_flags(f);
	if (open_ring(&ring, deferred)) {
		add_userfaultfd(f, 0);
	} else {
		io_uring_queue_exit(&ring);
		add_userfaultfd(f, deferred);
	}
}
