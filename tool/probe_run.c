/* SPDX-License-Identifier: MIT */
/*
 * Runs another program for what it says: nobody knows what that is, so it gets nothing to read, no
 * more than some seconds, and only its first words are kept.
 */
#include "tool/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/out.h"

enum { LIMIT_S = 10, LIMIT_BYTES = 1 << 20 };

bool lz_probe_find(const char *name, char path[LZ_PROBE_PATH_MAX])
{
	const char *p = getenv("PATH"), *end;
	struct stat st;

	for (p = p ? p : "/usr/sbin:/usr/bin:/sbin:/bin"; *p; p = *end ? end + 1 : end) {
		int n;

		end = strchrnul(p, ':');
		n = snprintf(path, LZ_PROBE_PATH_MAX, "%.*s/%s", (int)(end - p), p, name);
		/* Not where one happens to be: no other program looks there either. */
		if (*p == '/' && n < LZ_PROBE_PATH_MAX && stat(path, &st) == 0 &&
		    S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

__attribute__((noreturn)) static void become(const char *const argv[], int to, pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	/* A group of its own, to be killed with whatever it starts. */
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0)
		_exit(126);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(to, STDOUT_FILENO);
	(void)dup2(to, STDERR_FILENO);
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s", strerror(errno));
	_exit(126);
}

/* Keeps what there is room for; as read(). */
static ssize_t take(struct lz_run *r, size_t *len, int from)
{
	char more[4096];
	ssize_t n = read(from, more, sizeof(more));

	for (ssize_t i = 0; i < n && *len < sizeof(r->text) - 1; i++) {
		bool plain = (more[i] >= ' ' && more[i] <= '~') || more[i] == '\n';

		r->text[(*len)++] = plain ? more[i] : '?';
	}
	return n;
}

/* Until the program has ended, whoever else may hold the other end of @from. Why not, or NULL. */
static const char *listen_to(struct lz_run *r, int from, int pidfd)
{
	struct pollfd p[] = { { .fd = from, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
	uint64_t until = lz_out_now() + LIMIT_S * UINT64_C(1000000000), now;
	size_t len = 0, total = 0;
	bool ended = false;
	ssize_t n;

	for (;;) {
		n = take(r, &len, from);
		total += n > 0 ? (size_t)n : 0;
		if (total > LIMIT_BYTES)
			return "it has said more than 1 MiB";
		if (n > 0)
			continue;
		if (ended)
			return NULL;
		if (n == 0)
			p[0].fd = -1;
		now = lz_out_now();
		if (now >= until || poll(p, 2, (int)((until - now) / 1000000) + 1) == 0)
			return "it was not over after 10 s";
		ended = p[1].revents;
	}
}

int lz_probe_run(struct lz_run *r, const char *const argv[])
{
	pid_t parent = getpid(), pid;
	int pipes[2], pidfd, err = 0;

	*r = (struct lz_run){ .status = -1 };
	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	(void)fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	pid = fork();
	if (!pid)
		become(argv, pipes[1], parent);
	err = pid < 0 ? -errno : 0;
	(void)close(pipes[1]);
	if (pid > 0) {
		(void)setpgid(pid, pid);
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pidfd < 0)
			err = -errno;
		else
			r->cut = listen_to(r, pipes[0], pidfd);
		(void)kill(-pid, SIGKILL);
		(void)waitpid(pid, &r->status, 0);
		(void)close(pidfd);
	}
	(void)close(pipes[0]);
	return err;
}
