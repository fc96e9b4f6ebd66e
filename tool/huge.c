/* SPDX-License-Identifier: MIT */
/* Both ends of the socket of huge.h: what the keeper says, and the process that hears it. */
#include "tool/huge.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/collapse.h"
#include "tool/confine.h"
#include "tool/fds.h"
#include "tool/parcel.h"

/* ---- the process ---- */

struct maker {
	const struct lz_log *log;
	int fd;
	struct lz_huge_result result;
};

/* Who asked does not wait any more: told to stop, or dead. */
static bool is_wanted(void *arg)
{
	const struct maker *m = arg;
	struct pollfd p = { .fd = m->fd };

	return poll(&p, 1, 0) == 0;
}

static void make(struct maker *m, int pidfd)
{
	struct lz_collapsed c = { 0 };
	pid_t pid = lz_fds_pid(pidfd);
	int r = pid > 0 ? lz_collapse(pid, pidfd, &c, is_wanted, m) : -ESRCH;

	m->result.nr_processes++;
	m->result.bytes += c.bytes;
	m->result.failed += c.failed;
	if (r && r != -ESRCH)
		lz_log_say(m->log, LAZYD_LOG_WARN,
			   "event=not-collapsed pid=%d error=\"%s\" its pages stay small", (int)pid,
			   strerror(-r));
	else
		lz_log_say(m->log, c.failed ? LAZYD_LOG_WARN : LAZYD_LOG_INFO,
			   "event=collapsed pid=%d bytes=%llu failed=%llu%s%s", (int)pid,
			   (unsigned long long)c.bytes, (unsigned long long)c.failed,
			   c.failed ? " error=" : "", c.failed ? strerror(-c.error) : "");
}

static void close_inherited(void *arg, int fd, const char *link)
{
	const struct maker *m = arg;

	(void)link;
	if (fd != m->fd && fd != m->log->fd)
		(void)close(fd);
}

static _Noreturn void run(struct maker *m)
{
	int pidfd;

	(void)lz_fds_each(close_inherited, m);
	lz_confine_enter(m->log, LZ_CONFINE_COLLAPSE, NULL, NULL);
	while ((pidfd = lz_parcel_receive(m->fd)) >= 0) {
		make(m, pidfd);
		(void)close(pidfd);
	}
	(void)send(m->fd, &m->result, sizeof(m->result), MSG_NOSIGNAL);
	_exit(0);
}

int lz_huge_begin(const struct lz_log *log)
{
	struct maker m = { .log = log };
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid) {
		m.fd = pair[1];
		(void)close(pair[0]);
		pid = fork();
		if (!pid)
			run(&m);
		_exit(pid < 0);
	}
	(void)close(pair[1]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	else
		(void)close(pair[0]);
	return pid > 0 ? pair[0] : -EAGAIN;
}

/* ---- who asks ---- */

int lz_huge_ask(int fd, int pidfd, bool waits)
{
	return lz_parcel_send(fd, pidfd, waits ? 0 : MSG_DONTWAIT);
}

static bool is_told_to_stop(int signal_fd)
{
	struct signalfd_siginfo si;
	bool stop = false;

	while (read(signal_fd, &si, sizeof(si)) == sizeof(si))
		stop = stop || si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT;
	return stop;
}

bool lz_huge_end(int fd, int signal_fd, struct lz_huge_result *result)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = signal_fd, .events = POLLIN } };
	bool known = false, stop = false;
	char end;

	(void)shutdown(fd, SHUT_WR);
	while (!p[0].revents && !stop) {
		(void)poll(p, 2, -1);
		stop = p[1].revents && is_told_to_stop(signal_fd);
	}
	if (p[0].revents)
		known = recv(fd, result, sizeof(*result), 0) == sizeof(*result);
	if (known)
		(void)recv(fd, &end, 1, 0); /* its own end */
	(void)close(fd);
	return known;
}
