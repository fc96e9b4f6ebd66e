/* SPDX-License-Identifier: MIT */
/*
 * CRIU's lazy-pages socket (facts of CRIU 4.1 and 4.2): a stream socket `lazy-pages.socket` in the
 * work directory, one connection, shared by all tasks of a restore. For each record of pstree.img:
 * an int32 pid (negative: a dead task, nothing follows), then one byte with a userfaultfd. At the
 * end the u32 0x52535446. The pid is the task's own view of itself; who really sent it is what the
 * kernel says of the sender (SO_PASSCRED, SO_PASSPIDFD).
 *
 * Who may connect: the user that runs this, and root. The socket's mode keeps others away; where
 * somebody has loosened that, they are turned away and the listening goes on. From who may, an end
 * before the magic is a failed restore even if not a byte came: whoever started the daemon for that
 * restore waits for its end, as with CRIU's.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/session.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5 */
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

static const char NAME[] = "lazy-pages.socket";
static const uint32_t FINISHED = 0x52535446;

int lz_restorer_listen(struct lz_fill *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(NAME) - 1);
	int one = 1, fd, r;

	memcpy(a.sun_path, NAME, sizeof(NAME) - 1);
	(void)unlink(NAME);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The mode of the socket is that of the file which bind() makes: it is never another one. */
	if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 10)) {
		r = -errno;
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=listen socket=%s error=\"%s\": is the work directory (-W, else -D) writable?",
			NAME, strerror(-r));
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	/* Before accept: they hold for all that arrives. The second is new; creds do without. */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	f->listen_fd = fd;
	return 0;
}

void lz_restorer_unlisten(struct lz_fill *f)
{
	if (f->listen_fd < 0)
		return;
	(void)close(f->listen_fd);
	f->listen_fd = -1;
	(void)unlink(NAME);
}

/*
 * As they were at the connect. A user whom our user namespace does not know shows as the overflow uid,
 * which is nobody's here.
 */
static bool may_connect(const struct lz_fill *f, int fd)
{
	struct ucred who = { .pid = -1, .uid = (uid_t)-1 };
	socklen_t len = sizeof(who);

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) &&
	    (who.uid == geteuid() || who.uid == 0))
		return true;
	lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
		   "event=stranger uid=%d pid=%d turned away: only uid %d and root may restore",
		   (int)who.uid, (int)who.pid, (int)geteuid());
	return false;
}

int lz_restorer_accept(struct lz_fill *f)
{
	int one = 1, fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	if (!may_connect(f, fd)) {
		(void)close(fd);
		return 0;
	}
	f->restorer_fd = fd;
	(void)setsockopt(f->restorer_fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(f->restorer_fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	/* One restore a daemon: a second one is to fail at its connect, not to wait for ever. */
	lz_restorer_unlisten(f);
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=restorer-connected");
	return 0;
}

/* ---- receiving ---- */

struct parcel {
	int uffd, pidfd; /* -1: none came */
	pid_t pid;
};

static void take_control(struct msghdr *h, struct parcel *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const unsigned char *at = CMSG_DATA(c);
		size_t nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		struct ucred cred;
		int fd;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, at, sizeof(cred));
			p->pid = cred.pid;
			continue;
		}
		for (size_t i = 0; i < nr; i++) {
			memcpy(&fd, at + i * sizeof(fd), sizeof(fd));
			if (c->cmsg_type == SCM_PIDFD && p->pidfd < 0)
				p->pidfd = fd;
			else if (c->cmsg_type == SCM_RIGHTS && p->uffd < 0)
				p->uffd = fd;
			else if (fd >= 0)
				(void)close(fd);
		}
	}
}

/* Receives exactly @len bytes: 1, 0 when there is nothing (yet), -ECONNRESET at the end. */
static int receive(int fd, void *to, size_t len, struct parcel *p)
{
	union {
		struct cmsghdr align;
		char room[256];
	} control;
	struct iovec io = { .iov_base = to, .iov_len = len };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	*p = (struct parcel){ -1, -1, -1 };
	n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	take_control(&h, p);
	if ((size_t)n == len)
		return 1;
	if (p->uffd >= 0)
		(void)close(p->uffd);
	if (p->pidfd >= 0)
		(void)close(p->pidfd);
	return n ? -EPROTO : -ECONNRESET;
}

static struct lz_fill_task *task_of(struct lz_fill *f, int32_t pid)
{
	for (uint32_t i = 0; i < f->nr_tasks; i++)
		if (f->task[i].pid == (uint32_t)(pid < 0 ? -pid : pid) && !f->task[i].reported)
			return &f->task[i];
	return NULL;
}

static int pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Hands a task's userfaultfd to the worker: written whole, then counted, then told. */
static void arrived(struct lz_fill *f, struct lz_fill_task *t, struct parcel *p)
{
	struct lz_session *s = f->session;

	if (p->pidfd < 0 && p->pid > 0)
		p->pidfd = pidfd_open(p->pid);
	t->pidfd = p->pidfd >= 0 ? dup(p->pidfd) : -1;
	s->arrival[s->nr_arrivals] = (struct lz_arrival){ .uffd = p->uffd,
							  .pidfd = p->pidfd,
							  .memory = t->memory };
	__atomic_store_n(&s->nr_arrivals, s->nr_arrivals + 1, __ATOMIC_RELEASE);
	(void)!write(f->kick_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
	if (!f->started_ns)
		f->started_ns = lz_out_now();
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
		   "event=task-arrived pid=%u host_pid=%d pages=%llu", t->pid, (int)p->pid,
		   (unsigned long long)lazyd_memory_pages(f->memory[t->memory]));
}

static int take_descriptor(struct lz_fill *f)
{
	struct lz_fill_task *t = f->expecting;
	struct parcel p;
	char byte;
	int r = receive(f->restorer_fd, &byte, 1, &p);

	if (r <= 0)
		return r;
	if (p.uffd < 0) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=no-descriptor pid=%u the restorer sent none (SELinux may forbid it)",
			t->pid);
		if (p.pidfd >= 0)
			(void)close(p.pidfd);
		return -EPROTO;
	}
	f->expecting = NULL;
	t->reported = true;
	f->nr_reported++;
	arrived(f, t, &p);
	return 1;
}

static int take_pid(struct lz_fill *f)
{
	struct lz_fill_task *t;
	struct parcel p;
	int32_t pid;
	int r = receive(f->restorer_fd, &pid, sizeof(pid), &p);

	if (r <= 0)
		return r;
	if (p.uffd >= 0)
		(void)close(p.uffd);
	if (p.pidfd >= 0)
		(void)close(p.pidfd);
	if ((uint32_t)pid == FINISHED && f->nr_reported == f->nr_tasks)
		return 2;
	t = task_of(f, pid);
	if (!t || (pid > 0 && t->memory < 0)) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=unknown-task pid=%d the images (-D) do not hold it: are they those being restored?",
			(int)pid);
		return -EPROTO;
	}
	if (pid > 0) {
		f->expecting = t;
		return 1;
	}
	t->reported = true;
	f->nr_reported++;
	return 1;
}

int lz_restorer_receive(struct lz_fill *f)
{
	int r;

	do
		r = f->expecting ? take_descriptor(f) : take_pid(f);
	while (r == 1);
	if (r == -ECONNRESET)
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=restore-failed tasks=%u of %u the restorer hung up before it had finished; see its log",
			f->nr_reported, f->nr_tasks);
	else if (r < 0)
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=restore-failed error=\"%s\" the restorer does not speak CRIU's lazy-pages protocol",
			strerror(-r));
	return r == 2 ? 1 : r;
}
