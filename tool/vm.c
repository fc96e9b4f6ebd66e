/* SPDX-License-Identifier: MIT */
/*
 * One VM (facts of Firecracker 1.1 to 1.16): it connects during its load of a snapshot and sends
 * once, without an answer: the JSON of handshake.h and its userfaultfd, and maybe descriptors that
 * are not for us. From then on it waits for pages, whatever becomes of the connection: so who
 * cannot be served and has sent a userfaultfd is killed, and not left to wait for ever. A call is
 * heard beside the others and has its time; one mistake costs one VM. That a VM dies is told by its
 * pidfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* For what is sent in one piece by a program on the same machine. */
enum { CALL_MS = 10000 };

/* ---- a call ---- */

static int pidfd_of(int conn, pid_t pid)
{
	socklen_t len = sizeof(int);
	int fd;

	if (!getsockopt(conn, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

void lz_vm_call(struct lz_fill *f, struct lz_guest *g, int conn)
{
	struct lz_session *s = f->session;
	struct ucred who = { .pid = 0 };
	socklen_t len = sizeof(who);

	(void)getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &who, &len);
	memset(&g->control, 0, sizeof(g->control));
	memset(g->text, 0, sizeof(g->text));
	g->pid = who.pid;
	g->pidfd = pidfd_of(conn, who.pid);
	g->own = g->uffd = -1;
	g->attached = 0;
	g->end = LZ_GUEST_NOT_ENDED;
	g->since_ns = lz_out_now();
	g->conn = conn;
	__atomic_store_n(&g->state, LZ_GUEST_CALLS, __ATOMIC_RELEASE);
	if (g == &s->guest[s->nr_guests])
		s->nr_guests++;
	lz_store_keep(conn, "fill");
}

static void close_noted(int32_t *noted, const char *kind)
{
	int fd = *noted;

	*noted = -1;
	if (fd < 0)
		return;
	if (kind)
		lz_store_drop(fd, kind);
	(void)close(fd);
}

/* Free for another from here on: who dies leaves descriptors open, and none to be closed twice. */
static void forget(struct lz_guest *g)
{
	struct lz_guest was = { .conn = g->conn, .own = g->own, .pidfd = g->pidfd };

	if (!lz_guest_is_calling(g)) /* the engine's */
		was.pidfd = -1;
	g->conn = g->own = g->pidfd = -1;
	__atomic_store_n(&g->state, LZ_GUEST_NONE, __ATOMIC_RELEASE);
	close_noted(&was.conn, "fill");
	close_noted(&was.own, "task");
	close_noted(&was.pidfd, NULL);
}

/* True if it is dead, or will be. */
static bool slay(int pidfd)
{
	return pidfd >= 0 &&
	       (!syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) || errno == ESRCH);
}

/* As long as there is room it is zero: that is how much has come,
 * for whoever comes after a death too. */
static ssize_t receive(struct lz_guest *g)
{
	size_t have = strnlen(g->text, LZ_HANDSHAKE_MAX);
	struct iovec io = { .iov_base = g->text + have, .iov_len = LZ_HANDSHAKE_MAX - have };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1 };

	if (!have) {
		h.msg_control = g->control.bytes;
		h.msg_controllen = sizeof(g->control.bytes);
	}
	return recvmsg(g->conn, &h, MSG_CMSG_CLOEXEC);
}

void lz_vm_refuse(struct lz_fill *f, struct lz_guest *g, const char *sentence)
{
	struct lz_control control;
	struct lz_parcel p;
	bool slain;

	/* Whether it waits for pages is in what nobody has heard. */
	if (!*g->text)
		(void)receive(g);
	control = g->control;
	lz_parcel_open(&control, &p);
	slain = p.uffd >= 0 && slay(g->pidfd);
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=vm-refused pid=%d %s: %s",
		   (int)g->pid,
		   slain         ? "killed"
		   : p.uffd >= 0 ? "NOT killed, end it by hand"
				 : "turned away",
		   sentence);
	f->session->vms_refused++;
	forget(g);
	lz_parcel_close(&control);
}

/* On who has said nothing. It may be one that was heard long ago, and who heard it died then. */
static void hang_up(const struct lz_fill *f, struct lz_guest *g, const char *why)
{
	lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=no-vm pid=%d %s", (int)g->pid, why);
	forget(g);
}

static void welcome(struct lz_fill *f, struct lz_guest *g, const struct lz_regions *regions)
{
	struct lz_session *s = f->session;
	struct lz_parcel p;
	uint64_t size = 0;

	lz_parcel_open(&g->control, &p);
	for (uint32_t i = 0; i < regions->nr; i++)
		size += regions->place[i].len;
	g->own = fcntl(g->pidfd, F_DUPFD_CLOEXEC, 3);
	g->uffd = p.uffd;
	g->regions = *regions;
	if (!s->started_ns)
		s->started_ns = lz_out_now();
	/* Before the worker knows of them: it may close them at once. */
	lz_store_keep(g->uffd, "task");
	lz_store_keep(g->pidfd, "task");
	lz_store_keep(g->own, "task");
	g->since_ns = lz_out_now();
	__atomic_store_n(&g->state, LZ_GUEST_HERE, __ATOMIC_RELEASE);
	__atomic_store_n(&s->nr_heard, s->nr_heard + 1, __ATOMIC_RELEASE);
	lz_session_kick(s);
	lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
		   "event=vm-arrived pid=%d regions=%u bytes=%llu page_size=%llu", (int)g->pid,
		   regions->nr, (unsigned long long)size, (unsigned long long)regions->page_size);
	close_noted(&g->conn, "fill");
	lz_parcel_close_others(&g->control, &p);
}

/* With what has come so far. */
static void judge(struct lz_fill *f, struct lz_guest *g)
{
	struct lazyd_why why = { { 0 } };
	struct lz_regions regions;
	const char *no;
	struct lz_parcel p;
	int r, memory;

	lz_parcel_open(&g->control, &p);
	r = lz_handshake_read(&regions, g->text, strnlen(g->text, LZ_HANDSHAKE_MAX),
			      f->snapshot.size, &why);
	if (p.uffd < 0)
		lz_vm_refuse(f, g, "no userfaultfd came with what it said");
	else if (r == -EPROTO)
		lz_vm_refuse(f, g, why.text);
	else if (r)
		return;
	else if ((no = lz_guest_memory(f, &regions, &memory)))
		lz_vm_refuse(f, g, no);
	else if (lz_peer_is_gone(f))
		lz_vm_refuse(f, g, "the page server that has its memory is gone");
	else if (lz_fds_check_uffd(p.uffd, regions.place[0].at, regions.page_size))
		lz_vm_refuse(f, g, "what came is no userfaultfd in use");
	else if (g->pidfd < 0)
		lz_vm_refuse(f, g, "its process cannot be had (a pidfd), and so not be killed");
	else
		welcome(f, g, &regions);
}

static void hear(struct lz_fill *f, struct lz_guest *g)
{
	size_t have = strnlen(g->text, LZ_HANDSHAKE_MAX);
	ssize_t n = receive(g);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		lz_vm_refuse(f, g, strerror(errno));
	else if (!n && !have)
		hang_up(f, g, "it hung up without a word");
	else if (!n)
		lz_vm_refuse(f, g, "it hung up in the midst of what it said");
	else if (strnlen(g->text, LZ_HANDSHAKE_MAX) != have + (size_t)n)
		lz_vm_refuse(f, g, "it is no JSON: there is a byte of 0 in it");
	else
		judge(f, g);
}

/* ---- the end of one ---- */

static void bury(struct lz_fill *f, struct lz_guest *g)
{
	struct lz_session *s = f->session;
	double seconds = (double)(lz_out_now() - g->since_ns) / 1e9;

	if (g->end == LZ_GUEST_FULL) {
		s->vms_full++;
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO,
			   "event=vm-full pid=%d seconds=%.3f all of its memory is there",
			   (int)g->pid, seconds);
		if (s->huge_fd >= 0 && lz_huge_ask(s->huge_fd, g->own, false))
			lz_log_say(&f->o.service.log, LAZYD_LOG_WARN,
				   "event=not-collapsed pid=%d its pages stay small", (int)g->pid);
	} else {
		s->vms_gone++;
		lz_log_say(&f->o.service.log, LAZYD_LOG_INFO, "event=vm-gone pid=%d seconds=%.3f",
			   (int)g->pid, seconds);
	}
	forget(g);
}

/* Nobody else has its descriptors. */
static void give_up(struct lz_fill *f, struct lz_guest *g)
{
	bool slain = slay(g->own);
	int32_t uffd = g->uffd, pidfd = g->pidfd;

	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=vm-refused pid=%d %s: %s",
		   (int)g->pid, slain ? "killed" : "NOT killed, end it by hand",
		   "the engine cannot take it");
	f->session->vms_refused++;
	forget(g);
	close_noted(&uffd, "task");
	close_noted(&pidfd, "task");
}

void lz_vm_attend(struct lz_fill *f, struct lz_guest *g)
{
	uint32_t end = __atomic_load_n(&g->end, __ATOMIC_ACQUIRE);

	if (lz_guest_is_calling(g)) {
		hear(f, g);
		if (!lz_guest_is_calling(g) ||
		    lz_out_now() - g->since_ns <= CALL_MS * UINT64_C(1000000))
			return;
		if (*g->text)
			lz_vm_refuse(f, g, "it took too long to say what it wants");
		else
			hang_up(f, g, "it has said nothing");
	} else if (g->state == LZ_GUEST_HERE && end == LZ_GUEST_FAILED) {
		give_up(f, g);
	} else if (g->state == LZ_GUEST_HERE && end) {
		bury(f, g);
	}
}

/* ---- after a keeper's death ---- */

/* A service manager has kept the connection, and not what came by it: who has sent that is lost. */
static void call_again(struct lz_fill *f, struct lz_guest *g)
{
	bool listens;

	/* Nor the connection, or not yet. */
	if (!lz_fds_is_socket(g->conn, lz_addr_file(&f->vm_addr), &listens)) {
		g->conn = g->pidfd = -1;
		hang_up(f, g, "lazyd died as it connected");
		return;
	}
	memset(&g->control, 0, sizeof(g->control));
	g->pidfd = pidfd_of(g->conn, g->pid);
	if (!*g->text)
		return;
	(void)slay(g->pidfd);
	lz_vm_refuse(f, g, "it is killed, as lazyd died while it heard it");
}

void lz_vm_succeed(struct lz_fill *f, struct lz_guest *g)
{
	if (f->stored)
		call_again(f, g);
	else if (*g->text)
		judge(f, g);
}
