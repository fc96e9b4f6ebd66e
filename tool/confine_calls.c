/* SPDX-License-Identifier: MIT */
/*
 * The system calls of daemons that are set up: one table, a group a reason. A call more is a line
 * more. Found by reading, and by strace of fill and serve under tests/cli and tests/net.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool/collapse.h"
#include "tool/confine.h"
#include "tool/scan.h"

/* Debian 12's headers and libseccomp do not know its name; the number is every machine's. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

enum {
	FILL = LZ_CONFINE_FILL,
	SERVE = LZ_CONFINE_SERVE,
	BOTH = FILL | SERVE,
	INET = LZ_CONFINE_INET,
	UNIX = LZ_CONFINE_UNIX,
	RECORD = LZ_CONFINE_RECORD,
	COLLAPSE = LZ_CONFINE_COLLAPSE,
	ALL = BOTH | COLLAPSE,
	NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
		     CLONE_NEWPID | CLONE_NEWNET,
	WRITING = O_ACCMODE | O_CREAT | O_TRUNC,
};

/* clang-format off */
/* The first four are by the number of the argument; lines of one call are alternatives. */
#define IF(arg, value) { arg, SCMP_CMP_EQ, value, 0 }
#define IF_NONE_OF(arg, bits) { arg, SCMP_CMP_MASKED_EQ, bits, 0 }
#define IF_MASKED(arg, mask, value) { arg, SCMP_CMP_MASKED_EQ, mask, value }

static const struct call {
	int nr;
	unsigned roles;
	struct scmp_arg_cmp when; /* op 0: always */
} CALLS[] = {
	/* memory: heap, buffers, pages files as maps */
	{ .nr = SCMP_SYS(brk), .roles = ALL },
	{ .nr = SCMP_SYS(mmap), .roles = ALL },
	{ .nr = SCMP_SYS(munmap), .roles = ALL },
	{ .nr = SCMP_SYS(mremap), .roles = ALL },
	{ .nr = SCMP_SYS(mprotect), .roles = BOTH },
	{ .nr = SCMP_SYS(madvise), .roles = ALL },
	{ .nr = SCMP_SYS(mincore), .roles = BOTH },
	{ .nr = SYS_cachestat, .roles = BOTH },
	/* what is open: images, log, statistics, events, /proc/self/fd */
	{ .nr = SCMP_SYS(read), .roles = ALL },
	{ .nr = SCMP_SYS(pread64), .roles = ALL },
	{ .nr = SCMP_SYS(preadv2), .roles = BOTH },
	{ .nr = SCMP_SYS(write), .roles = ALL },
	{ .nr = SCMP_SYS(pwrite64), .roles = FILL },
	{ .nr = SCMP_SYS(ftruncate), .roles = BOTH },
	{ .nr = SCMP_SYS(lseek), .roles = ALL },
	{ .nr = SCMP_SYS(fstat), .roles = ALL },
	{ .nr = SCMP_SYS(newfstatat), .roles = ALL },
	{ .nr = SCMP_SYS(fcntl), .roles = BOTH },
	{ .nr = SCMP_SYS(close), .roles = ALL },
	{ .nr = SCMP_SYS(dup), .roles = FILL },
	{ .nr = SCMP_SYS(dup2), .roles = FILL },
	{ .nr = SCMP_SYS(dup3), .roles = FILL },
	{ .nr = SCMP_SYS(getdents64), .roles = FILL },
	{ .nr = SCMP_SYS(readlink), .roles = FILL },
	{ .nr = SCMP_SYS(readlinkat), .roles = FILL },
	/* names: nothing is written that is not open; the socket is removed at the end */
	{ .nr = SCMP_SYS(openat), .roles = FILL | COLLAPSE, .when = IF_NONE_OF(2, WRITING) },
	{ .nr = SCMP_SYS(unlink), .roles = BOTH },
	/* --record: the file is on the disk before it has its name */
	{ .nr = SCMP_SYS(fsync), .roles = RECORD },
	{ .nr = SCMP_SYS(rename), .roles = RECORD },
	/* --collapse: which pages a task has, and that they are to become large ones */
	{ .nr = SCMP_SYS(ioctl), .roles = COLLAPSE, .when = IF(1, PAGEMAP_SCAN) },
	{ .nr = SCMP_SYS(process_madvise), .roles = COLLAPSE, .when = IF(3, MADV_COLLAPSE) },
	/* a terminal: whether it is one, how wide it is */
	{ .nr = SCMP_SYS(ioctl), .roles = BOTH, .when = IF(1, TCGETS) },
	{ .nr = SCMP_SYS(ioctl), .roles = BOTH, .when = IF(1, TIOCGWINSZ) },
	/* the userfaultfds: all that can be asked of one */
	{ .nr = SCMP_SYS(ioctl), .roles = FILL, .when = IF_MASKED(1, 0xff00, UFFDIO << 8) },
	/* waiting, and being woken; a new worker makes its own */
	{ .nr = SCMP_SYS(io_uring_enter), .roles = BOTH },
	{ .nr = SCMP_SYS(io_uring_setup), .roles = FILL },
	{ .nr = SCMP_SYS(io_uring_register), .roles = FILL },
	{ .nr = SCMP_SYS(sched_yield), .roles = BOTH },
	{ .nr = SCMP_SYS(poll), .roles = ALL },
	{ .nr = SCMP_SYS(ppoll), .roles = ALL },
	{ .nr = SCMP_SYS(epoll_create1), .roles = FILL },
	{ .nr = SCMP_SYS(epoll_ctl), .roles = FILL },
	{ .nr = SCMP_SYS(epoll_wait), .roles = FILL },
	{ .nr = SCMP_SYS(epoll_pwait), .roles = FILL },
	{ .nr = SCMP_SYS(eventfd2), .roles = FILL },
	{ .nr = SCMP_SYS(timerfd_create), .roles = FILL },
	{ .nr = SCMP_SYS(timerfd_settime), .roles = BOTH },
	{ .nr = SCMP_SYS(signalfd4), .roles = FILL },
	{ .nr = SCMP_SYS(futex), .roles = ALL },
	{ .nr = SCMP_SYS(nanosleep), .roles = BOTH },
	{ .nr = SCMP_SYS(clock_nanosleep), .roles = BOTH },
	/* the clock, where it is no vDSO's */
	{ .nr = SCMP_SYS(clock_gettime), .roles = ALL },
	{ .nr = SCMP_SYS(gettimeofday), .roles = ALL },
	{ .nr = SCMP_SYS(time), .roles = ALL },
	{ .nr = SCMP_SYS(getrandom), .roles = BOTH },
	/* who comes, and what is said: the restorer's descriptors, clients, page servers */
	{ .nr = SCMP_SYS(accept4), .roles = BOTH },
	{ .nr = SCMP_SYS(recvmsg), .roles = ALL },
	{ .nr = SCMP_SYS(recvfrom), .roles = BOTH },
	{ .nr = SCMP_SYS(sendmsg), .roles = BOTH },
	{ .nr = SCMP_SYS(sendto), .roles = ALL },
	{ .nr = SCMP_SYS(shutdown), .roles = BOTH },
	{ .nr = SCMP_SYS(getsockopt), .roles = BOTH },
	{ .nr = SCMP_SYS(setsockopt), .roles = BOTH },
	{ .nr = SCMP_SYS(getsockname), .roles = BOTH },
	{ .nr = SCMP_SYS(getpeername), .roles = BOTH },
	/* to a page server, again when the link was cut; its name was looked up at the set-up */
	{ .nr = SCMP_SYS(socket), .roles = INET, .when = IF(0, AF_INET) },
	{ .nr = SCMP_SYS(socket), .roles = INET, .when = IF(0, AF_INET6) },
	{ .nr = SCMP_SYS(socket), .roles = UNIX, .when = IF(0, AF_UNIX) },
	{ .nr = SCMP_SYS(connect), .roles = INET | UNIX },
	/* signals */
	{ .nr = SCMP_SYS(rt_sigaction), .roles = ALL },
	{ .nr = SCMP_SYS(rt_sigprocmask), .roles = ALL },
	{ .nr = SCMP_SYS(rt_sigreturn), .roles = ALL },
	{ .nr = SCMP_SYS(restart_syscall), .roles = ALL },
	{ .nr = SCMP_SYS(getpid), .roles = ALL },
	{ .nr = SCMP_SYS(gettid), .roles = ALL },
	{ .nr = SCMP_SYS(tgkill), .roles = ALL }, /* abort() */
	{ .nr = SCMP_SYS(exit), .roles = ALL },
	{ .nr = SCMP_SYS(exit_group), .roles = ALL },
	/* who one is */
	{ .nr = SCMP_SYS(getuid), .roles = FILL },
	{ .nr = SCMP_SYS(geteuid), .roles = FILL },
	{ .nr = SCMP_SYS(getgid), .roles = UNIX },
	{ .nr = SCMP_SYS(getegid), .roles = UNIX },
	/* a worker, its successor, the next keeper; each ends the other */
	{ .nr = SCMP_SYS(clone), .roles = FILL, .when = IF_NONE_OF(0, NAMESPACES) },
	{ .nr = SCMP_SYS(wait4), .roles = FILL },
	{ .nr = SCMP_SYS(waitid), .roles = FILL },
	{ .nr = SCMP_SYS(kill), .roles = FILL, .when = IF(1, SIGKILL) },
	{ .nr = SCMP_SYS(prctl), .roles = FILL },
	{ .nr = SCMP_SYS(seccomp), .roles = FILL },
	{ .nr = SCMP_SYS(landlock_create_ruleset), .roles = FILL },
	{ .nr = SCMP_SYS(landlock_add_rule), .roles = FILL },
	{ .nr = SCMP_SYS(landlock_restrict_self), .roles = FILL },
	/* the last resort for tasks that nobody can serve any more */
	{ .nr = SCMP_SYS(pidfd_open), .roles = FILL },
	{ .nr = SCMP_SYS(pidfd_send_signal), .roles = FILL, .when = IF(1, SIGKILL) },
	{ .nr = SCMP_SYS(pidfd_send_signal), .roles = FILL, .when = IF(1, SIGCHLD) },
	/* a newer binary in the keeper's place, beside it at first:
	 * its start, its set-up, its own confinement */
	{ .nr = SCMP_SYS(execve), .roles = FILL },
	{ .nr = SCMP_SYS(access), .roles = FILL },
	{ .nr = SCMP_SYS(faccessat), .roles = FILL },
	{ .nr = SCMP_SYS(faccessat2), .roles = FILL },
	{ .nr = SCMP_SYS(arch_prctl), .roles = FILL },
	{ .nr = SCMP_SYS(set_tid_address), .roles = FILL },
	{ .nr = SCMP_SYS(set_robust_list), .roles = FILL },
	{ .nr = SCMP_SYS(rseq), .roles = FILL },
	{ .nr = SCMP_SYS(prlimit64), .roles = FILL, .when = IF(0, 0) },
	{ .nr = SCMP_SYS(getcwd), .roles = FILL },
	{ .nr = SCMP_SYS(chdir), .roles = FILL },
	{ .nr = SCMP_SYS(fchdir), .roles = FILL },
	{ .nr = SCMP_SYS(uname), .roles = FILL },
	{ .nr = SCMP_SYS(capget), .roles = FILL },
	{ .nr = SCMP_SYS(capset), .roles = FILL },
};
/* clang-format on */
enum { NR_CALLS = sizeof(CALLS) / sizeof(CALLS[0]) };

static int load(scmp_filter_ctx c, int r)
{
	/* The kernel's own reason; what is refused is to be found in the audit log;
	 * faster is nicer. None of them has to be. */
	(void)seccomp_attr_set(c, SCMP_FLTATR_API_SYSRAWRC, 1);
	(void)seccomp_attr_set(c, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!r)
		r = seccomp_load(c);
	seccomp_release(c);
	return r;
}

int lz_confine_calls(unsigned roles)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int n = 0, last = -1, r;

	if (!c)
		return -ENOMEM;
	/* Its arguments cannot be looked at; a libc that hears ENOSYS uses clone. */
	r = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; !r && i < NR_CALLS; i++) {
		const struct call *k = &CALLS[i];

		if (!(k->roles & roles))
			continue;
		r = seccomp_rule_add_array(c, SCMP_ACT_ALLOW, k->nr, k->when.op ? 1 : 0, &k->when);
		n += k->nr != last;
		last = k->nr;
	}
	r = load(c, r);
	return r ? r : n;
}
