/* SPDX-License-Identifier: MIT */
/*
 * The socket that VMs come to: who is accepted, when nobody else is, and what is found there after
 * a keeper's death. What one of them says, and what becomes of it, is in vm.c.
 *
 * Who may connect: as with CRIU's socket, and the users of --allow-user: a jailed Firecracker is
 * another user.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/fds.h"
#include "tool/out.h"
#include "tool/session.h"

enum {
	/* Heard at a time; others wait to be accepted. */
	CALLS_MAX = LZ_FIRECRACKER_POLLS - 1,
	/* How often the time of calls is looked at, and whether there is a worker again. */
	LOOK_MS = 100,
	WORKER_MS = 10,
};

/* ---- the socket ---- */

int lz_firecracker_listen(struct lz_fill *f)
{
	const struct lz_vm_options *o = &f->o.vm;
	int fd = lz_addr_listen(&f->vm_addr), r = fd < 0 ? fd : 0;

	if (!r && o->uid_from <= o->uid_upto && chmod(lz_addr_file(&f->vm_addr), 0666))
		r = -errno;
	if (r) {
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	f->session->listen_fd = fd;
	return 0;
}

static unsigned count_calls(const struct lz_session *s)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->nr_guests; i++)
		n += lz_guest_is_calling(&s->guest[i]);
	return n;
}

/* Is nobody being heard or served? Of those who are heard: @calling. */
static bool is_idle(const struct lz_session *s, bool calling)
{
	for (uint32_t i = 0; i < s->nr_guests; i++)
		if (s->guest[i].state != LZ_GUEST_NONE &&
		    (!calling || lz_guest_is_calling(&s->guest[i])))
			return false;
	return true;
}

static struct lz_guest *free_record(const struct lz_fill *f)
{
	struct lz_session *s = f->session;

	for (uint32_t i = 0; i < s->nr_guests; i++)
		if (s->guest[i].state == LZ_GUEST_NONE)
			return &s->guest[i];
	return s->nr_guests < f->o.vm.max ? &s->guest[s->nr_guests] : NULL;
}

/* False when nobody else can be taken now. */
static bool accept_one(struct lz_fill *f)
{
	struct lz_guest *g = count_calls(f->session) < CALLS_MAX ? free_record(f) : NULL;
	int fd = g ? accept4(f->session->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;

	if (fd < 0) {
		if (g && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			lz_log_say(&f->o.service.log, LAZYD_LOG_WARN, "event=accept error=\"%s\"",
				   strerror(errno));
		return false;
	}
	if (lz_restorer_admits(f, fd))
		lz_vm_call(f, g, fd);
	else
		(void)close(fd);
	return true;
}

void lz_firecracker_unlisten(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	int fd = s->listen_fd;

	if (fd < 0)
		return;
	/* Who has connected by now has been told by nobody that it is too late. */
	lz_addr_unlisten(&f->vm_addr);
	while (accept_one(f)) {
	}
	s->listen_fd = -1;
	lz_store_drop(fd, "fill");
	(void)close(fd);
}

/* ---- who comes, and the end ---- */

/*
 * A worker that is to go on closes by number what a dead one was closing: nobody else's userfaultfd
 * may have got that number by then.
 */
static bool may_receive(const struct lz_session *s)
{
	return !__atomic_load_n(&s->stopped_ns, __ATOMIC_ACQUIRE);
}

static bool is_too_late(const struct lz_fill *f)
{
	const struct lz_session *s = f->session;
	uint64_t limit = (uint64_t)f->o.restore_timeout_s * UINT64_C(1000000000);

	return limit && !s->started_ns && lz_out_now() - s->heard_ns > limit;
}

/* They come one by one, and there is no last one but by somebody's word. */
static bool is_over(const struct lz_fill *f)
{
	const struct lz_session *s = f->session;

	return s->nr_terms || (f->o.vm.detach && (s->vms_full || s->vms_gone) && is_idle(s, false));
}

int lz_firecracker_attend(struct lz_fill *f)
{
	struct lz_session *s = f->session;
	bool is_gone;

	if (!may_receive(s))
		return 0;
	for (uint32_t i = 0; i < s->nr_guests; i++)
		lz_vm_attend(f, &s->guest[i]);
	while (s->listen_fd >= 0 && accept_one(f)) {
	}
	is_gone = lz_peer_is_gone(f);
	if (s->listen_fd >= 0 && (is_gone || is_over(f)))
		lz_firecracker_unlisten(f);
	if (s->listen_fd < 0 && is_idle(s, true))
		return is_gone ? -ENOLINK : 1;
	if (!is_too_late(f))
		return 0;
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR,
		   "event=no-vm-came waited_s=%u (--restore-timeout; 0: for ever)",
		   f->o.restore_timeout_s);
	lz_firecracker_unlisten(f);
	return -ETIME;
}

void lz_firecracker_end(struct lz_fill *f)
{
	if (!f->session)
		return;
	lz_firecracker_unlisten(f);
	for (uint32_t i = 0; i < f->session->nr_guests; i++)
		if (lz_guest_is_calling(&f->session->guest[i]))
			lz_vm_refuse(f, &f->session->guest[i], "lazyd ends");
}

unsigned lz_firecracker_poll(const struct lz_fill *f, struct pollfd *p, int *timeout_ms)
{
	const struct lz_session *s = f->session;
	unsigned n = 0;

	if (!may_receive(s)) {
		*timeout_ms = WORKER_MS;
		return 0;
	}
	*timeout_ms = -1;
	for (uint32_t i = 0; i < s->nr_guests; i++)
		if (lz_guest_is_calling(&s->guest[i]))
			p[n++] = (struct pollfd){ .fd = s->guest[i].conn, .events = POLLIN };
	if (n)
		*timeout_ms = LOOK_MS;
	if (s->listen_fd >= 0 && n < CALLS_MAX && free_record(f))
		p[n++] = (struct pollfd){ .fd = s->listen_fd, .events = POLLIN };
	return n;
}

/* ---- after a keeper's death ---- */

static bool is_noted(const struct lz_session *s, int fd)
{
	bool is = fd == s->listen_fd;

	for (uint32_t i = 0; i < s->nr_guests; i++)
		is = is || (lz_guest_is_calling(&s->guest[i]) && s->guest[i].conn == fd);
	return is;
}

/* Accepted and not noted; or done with, and then it will be found to say nothing. */
static void take_or_close(void *arg, int fd, const char *link)
{
	struct lz_fill *f = arg;
	struct lz_guest *g;
	bool listens;

	(void)link;
	if (is_noted(f->session, fd) || !lz_fds_is_socket(fd, lz_addr_file(&f->vm_addr), &listens))
		return;
	g = listens || !lz_restorer_admits(f, fd) ? NULL : free_record(f);
	if (g)
		lz_vm_call(f, g, fd);
	else
		(void)close(fd);
}

void lz_firecracker_succeed(struct lz_fill *f)
{
	struct lz_session *s = f->session;

	/* Noted, and then counted. */
	if (s->nr_guests < LZ_GUESTS_MAX && s->guest[s->nr_guests].state != LZ_GUEST_NONE)
		s->nr_guests++;
	for (uint32_t i = 0; i < s->nr_guests; i++)
		if (lz_guest_is_calling(&s->guest[i]))
			lz_vm_succeed(f, &s->guest[i]);
	(void)lz_fds_each(take_or_close, f);
}
