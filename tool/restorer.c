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
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5 */
#endif

static const char NAME[] = "lazy-pages.socket";
static const uint32_t FINISHED = 0x52535446;

/* Another fill in the same work directory puts its own there. 0: none. */
static uint64_t inode_there(void)
{
	struct stat st;

	return lstat(NAME, &st) ? 0 : st.st_ino;
}

int lz_restorer_listen(struct lz_fill *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(NAME) - 1);
	int one = 1, fd, r;

	memcpy(a.sun_path, NAME, sizeof(NAME) - 1);
	(void)unlink(NAME);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of the socket is that of the file which bind() makes:
	 * it is never another one. */
	if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 10)) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	/* Before accept: they hold for all that arrives. The second is new; creds do without. */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	f->session->listen_ino = inode_there();
	f->session->listen_fd = fd;
	return 0;
}

/* Noted before the number can be somebody else's. */
static void drop(int32_t *noted)
{
	int fd = *noted;

	*noted = -1;
	lz_store_drop(fd, "fill");
	if (fd >= 0)
		(void)close(fd);
}

void lz_restorer_unlisten(struct lz_fill *f)
{
	if (f->session->listen_fd < 0)
		return;
	if (inode_there() == f->session->listen_ino)
		(void)unlink(NAME);
	drop(&f->session->listen_fd);
}

void lz_restorer_hang_up(struct lz_fill *f)
{
	drop(&f->session->restorer_fd);
}

static void connected(struct lz_fill *f)
{
	int one = 1, fd = f->session->restorer_fd;

	lz_store_keep(fd, "fill");
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	/* One restore a daemon: a second one is to fail at its connect, not to wait for ever. */
	lz_restorer_unlisten(f);
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=restorer-connected");
}

/*
 * As they were at the connect. A user whom our user namespace does not know shows as the overflow
 * uid, which is nobody's here.
 */
bool lz_restorer_admits(const struct lz_fill *f, int fd)
{
	struct ucred who = { .pid = -1, .uid = (uid_t)-1 };
	const struct lz_vm_options *vm = &f->o.vm;
	socklen_t len = sizeof(who);

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) &&
	    (who.uid == geteuid() || who.uid == 0 ||
	     (who.uid >= vm->uid_from && who.uid <= vm->uid_upto)))
		return true;
	lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
		   "event=stranger uid=%d pid=%d turned away: only uid %d and root may restore%s",
		   (int)who.uid, (int)who.pid, (int)geteuid(),
		   vm->socket ? ", and those of --allow-user" : "");
	return false;
}

int lz_restorer_accept(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return 0;
	if (fd < 0) {
		r = -errno;
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
			   "event=accept error=\"%s\" no restore can be taken", strerror(-r));
		return r;
	}
	if (!lz_restorer_admits(f, fd)) {
		(void)close(fd);
		return 0;
	}
	s->restorer_fd = fd;
	connected(f);
	return 0;
}

/* A connection that was accepted and not noted; or one that nobody needs. */
static void take_or_close(void *arg, int fd, const char *link)
{
	struct lz_fill *f = arg;
	struct lz_session *s = f->session;
	bool listens;

	(void)link;
	if (fd == s->listen_fd || fd == s->restorer_fd || !lz_fds_is_socket(fd, NAME, &listens))
		return;
	if (!listens && s->phase == LZ_FILL_RESTORING && s->restorer_fd < 0 &&
	    lz_restorer_admits(f, fd))
		s->restorer_fd = fd;
	else
		(void)close(fd);
}

void lz_restorer_succeed(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	bool listens;

	/* Noted, and the service manager has not got it. */
	if (f->stored && !lz_fds_is_socket(s->restorer_fd, NAME, &listens))
		s->restorer_fd = -1;
	(void)lz_fds_each(take_or_close, f);
	if (s->phase != LZ_FILL_RESTORING) {
		lz_restorer_unlisten(f);
		lz_restorer_hang_up(f);
	} else if (s->restorer_fd >= 0 && s->listen_fd >= 0) {
		connected(f);
	}
	/* Not after the next message has been asked for: what comes then may be behind that. */
	if (s->restorer_fd >= 0 && s->nr_said && s->said[s->nr_said - 1].type == LZ_SAID_UFFD &&
	    s->inbox.number != s->nr_said + 1)
		lz_inbox_drop_parcel(s->restorer_fd);
}

/* ---- receiving ---- */

static struct lz_fill_task *task_of(struct lz_fill *f, int32_t pid)
{
	uint32_t magnitude = pid < 0 ? -(uint32_t)pid : (uint32_t)pid;

	for (uint32_t i = 0; i < f->nr_tasks; i++)
		if (f->task[i].pid == magnitude && !f->task[i].reported)
			return &f->task[i];
	return NULL;
}

static int pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Written whole, then counted: that is the moment from which on the message has been taken. */
static void note(struct lz_session *s, struct lz_said m)
{
	s->said[s->nr_said] = m;
	__atomic_store_n(&s->nr_said, s->nr_said + 1, __ATOMIC_RELEASE);
}

/* Brings what follows from the notes up to date, whoever has made them. */
static void fold(struct lz_fill *f)
{
	for (; f->nr_folded < f->session->nr_said; f->nr_folded++) {
		const struct lz_said *m = &f->session->said[f->nr_folded];
		struct lz_fill_task *t = &f->task[m->task];

		f->expecting = m->type == LZ_SAID_TASK ? t : NULL;
		if (m->type == LZ_SAID_DEAD || m->type == LZ_SAID_UFFD) {
			t->reported = true;
			f->nr_reported++;
		}
	}
}

static int take_descriptor(struct lz_fill *f, struct lz_parcel *p)
{
	const struct lz_fill_task *t = f->expecting;
	struct lz_session *s = f->session;
	struct lz_said m = { .type = LZ_SAID_UFFD, .task = (uint32_t)(t - f->task), .own = -1 };

	if (p->uffd < 0) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=no-descriptor pid=%u none came: SELinux may forbid it, or too many are open (ulimit -n)",
			t->pid);
		return -EPROTO;
	}
	if (p->pidfd < 0 && p->pid > 0)
		p->pidfd = pidfd_open(p->pid);
	m.uffd = p->uffd;
	m.pidfd = p->pidfd;
	if (m.pidfd >= 0)
		m.own = fcntl(m.pidfd, F_DUPFD_CLOEXEC, 3);
	if (!s->started_ns)
		s->started_ns = lz_out_now();
	/* Before the worker knows of them: it may close them at once. */
	lz_store_keep(m.uffd, "task");
	lz_store_keep(m.pidfd, "task");
	lz_store_keep(m.own, "task");
	note(s, m);
	lz_session_kick(s);
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
		   "event=task-arrived pid=%u host_pid=%d pages=%llu", t->pid, (int)p->pid,
		   (unsigned long long)lazyd_memory_pages(f->memory[t->memory]));
	return 1;
}

static int take_pid(struct lz_fill *f, int32_t pid)
{
	const struct lz_fill_task *t;

	if ((uint32_t)pid == FINISHED && f->nr_reported == f->nr_tasks) {
		note(f->session, (struct lz_said){ .type = LZ_SAID_FINISHED });
		return 1;
	}
	t = task_of(f, pid);
	if (!t || (pid > 0 && t->memory < 0)) {
		lz_log_say(
			&f->o.service.log, LAZYD_LOG_ERROR,
			"event=unknown-task pid=%d the images (-D) do not hold it: are they those being restored?",
			(int)pid);
		return -EPROTO;
	}
	note(f->session, (struct lz_said){ .type = pid > 0 ? LZ_SAID_TASK : LZ_SAID_DEAD,
					   .task = (uint32_t)(t - f->task) });
	return 1;
}

static int take(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	bool expecting = f->expecting;
	struct lz_parcel p;
	int r = lz_inbox_receive(&s->inbox, s->nr_said, s->restorer_fd,
				 expecting ? 1 : sizeof(int32_t), expecting ? MSG_PEEK : 0);

	if (r <= 0)
		return r;
	lz_parcel_open(&s->inbox.control, &p);
	r = expecting ? take_descriptor(f, &p) : take_pid(f, s->inbox.what.pid);
	if (r < 0)
		return r;
	/* Who dies before what came is closed leaves a descriptor too many, until all is over. */
	if (expecting) {
		lz_inbox_drop_parcel(s->restorer_fd);
		lz_parcel_close_others(&s->inbox.control, &p);
	} else {
		lz_parcel_close(&s->inbox.control);
	}
	return r;
}

static bool has_finished(const struct lz_session *s)
{
	return s->nr_said && s->said[s->nr_said - 1].type == LZ_SAID_FINISHED;
}

int lz_restorer_receive(struct lz_fill *f)
{
	int r;

	do {
		fold(f);
		r = has_finished(f->session) ? 2 : take(f);
	} while (r == 1);
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

/* ---- a restore, from the first word to the last ---- */

/* Not to wait for ever for one that does not come, or not on. */
static int check_patience(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	uint64_t limit = (uint64_t)f->o.restore_timeout_s * UINT64_C(1000000000);

	if (s->nr_terms && s->listen_fd >= 0) {
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
			   "event=stopped before any restore came");
		return -ECANCELED;
	}
	if (!limit || lz_out_now() - s->heard_ns <= limit)
		return 0;
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
		   s->listen_fd >= 0
			   ? "event=restore-never-came waited_s=%u (--restore-timeout; 0: for ever)"
			   : "event=restore-stalled waited_s=%u (--restore-timeout; 0: for ever)",
		   f->o.restore_timeout_s);
	return -ETIME;
}

int lz_restorer_attend(struct lz_fill *f, bool connects, bool speaks)
{
	struct lz_session *s = f->session;
	int r = connects ? lz_restorer_accept(f) : 0;

	/* Who is turned away is not a sign of life. */
	if (speaks || (connects && s->restorer_fd >= 0))
		s->heard_ns = lz_out_now();
	if (!r && speaks)
		r = lz_restorer_receive(f);
	if (!r)
		r = check_patience(f);
	if (r > 0)
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=restore-finished");
	return r;
}

/* Whose userfaultfd it is that comes with what nobody has heard. How many processes were killed. */
static unsigned kill_sender(struct lz_control *control)
{
	struct lz_parcel p;
	unsigned n = 0;
	int pidfd;

	lz_parcel_open(control, &p);
	pidfd = p.pidfd < 0 && p.pid > 0 ? pidfd_open(p.pid) : -1;
	if (p.uffd >= 0 && (p.pidfd >= 0 || pidfd >= 0))
		n = lz_last_kill_tree(p.pidfd >= 0 ? p.pidfd : pidfd);
	if (pidfd >= 0)
		(void)close(pidfd);
	lz_parcel_close(control);
	return n;
}

void lz_restorer_refuse(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	char what[sizeof(int32_t)];
	struct iovec io = { .iov_base = what, .iov_len = sizeof(what) };
	struct lz_control control = { 0 };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control };
	unsigned n = 0;

	if (s->listen_fd >= 0)
		(void)lz_restorer_accept(f);
	lz_restorer_unlisten(f);
	if (s->restorer_fd < 0)
		return;
	/* From here on it cannot send. */
	(void)shutdown(s->restorer_fd, SHUT_RD);
	while ((h.msg_controllen = sizeof(control),
		recvmsg(s->restorer_fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) > 0)) {
		n += kill_sender(&control);
		memset(&control, 0, sizeof(control));
	}
	if (n)
		lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
			   "event=killed-tasks count=%u reason=\"their restore has failed\"", n);
	lz_restorer_hang_up(f);
}
