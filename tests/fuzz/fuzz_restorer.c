/* SPDX-License-Identifier: MIT */
/*
 * A restorer that nobody has written: the input is messages of any length with any number of
 * descriptors, and moments at which the keeper that hears them dies, with or without the next
 * message in its inbox. What is noted must be what such a restore can say, the same for whoever
 * reads the notes, and no descriptor that came may stay open unnoted while all is well.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool/session.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One message, or one death: bits of its first byte; then that many bytes. */
enum {
	LEN = 7,
	FDS_SHIFT = 3,       /* how many descriptors: an index into NR_FDS */
	UNHEARD = 1 << 5,    /* the next one comes before this one is taken */
	DIES = 1 << 6,       /* the keeper, then */
	DIES_LATER = 1 << 7, /* ... having received it */
};

/* The last is more than there is room for. */
static const unsigned NR_FDS[4] = { 0, 1, 2, 60 };
enum { FDS_MAX = 60, OPEN_MAX_SEEN = 512 };

static const struct lz_fill_task TASKS[] = {
	{ .pid = 100, .memory = 0 },
	{ .pid = 200, .dead = true, .memory = -1 },
	{ .pid = 300, .memory = 1 },
};
enum { NR_TASKS = sizeof(TASKS) / sizeof(TASKS[0]) };

static struct lazyd_memory *memory[2];

struct play {
	struct lz_fill f;
	struct lz_fill_task task[NR_TASKS];
	bool was_open[OPEN_MAX_SEEN];
	bool may_leave; /* a keeper has died, or the restore has failed */
};

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Who knows the images and the session, and nothing else. */
static void succeed(struct play *p)
{
	struct lz_session *s = p->f.session;

	memcpy(p->task, TASKS, sizeof(TASKS));
	p->f = (struct lz_fill){ .task = p->task,
				 .nr_tasks = NR_TASKS,
				 .memory = memory,
				 .nr_memories = 2,
				 .session = s,
				 .o.service.log.fd = -1 };
}

static int begin(struct play *p)
{
	int pair[2], one = 1;

	for (unsigned i = 0; i < 2; i++)
		if (!memory[i] && lazyd_memory_new(&memory[i]))
			abort();
	for (int fd = 0; fd < OPEN_MAX_SEEN; fd++)
		p->was_open[fd] = is_open(fd);
	if (lz_session_new(&p->f.session) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		abort();
	succeed(p);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	(void)setsockopt(pair[0], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
	p->f.session->restorer_fd = pair[0];
	return pair[1];
}

static void say(int sock, int fd, const void *bytes, size_t len, unsigned nr_fds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec io = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1 };
	int fds[FDS_MAX];

	for (unsigned i = 0; i < nr_fds; i++)
		fds[i] = fd;
	if (nr_fds) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nr_fds * sizeof(int));
	}
	(void)sendmsg(sock, &h, MSG_NOSIGNAL);
}

/* Whatever was said, this is what may have been noted. */
static void check(const struct play *p, int r)
{
	const struct lz_session *s = p->f.session;
	bool reported[NR_TASKS] = { 0 };
	unsigned nr_reported = 0;
	bool finished = false;

	assert(s->nr_said <= 2 * NR_TASKS + 1);
	for (uint32_t i = 0; i < s->nr_said; i++) {
		const struct lz_said *m = &s->said[i];

		assert(!finished && m->task < NR_TASKS);
		if (m->type == LZ_SAID_FINISHED) {
			assert(nr_reported == NR_TASKS);
			finished = true;
			continue;
		}
		assert(!reported[m->task]);
		if (m->type == LZ_SAID_TASK) {
			assert(TASKS[m->task].memory >= 0);
			continue;
		}
		if (m->type == LZ_SAID_UFFD) {
			assert(i && m[-1].type == LZ_SAID_TASK && m[-1].task == m->task);
			assert(is_open(m->uffd) && m->uffd != m->pidfd && m->uffd != m->own);
			assert(m->pidfd < 0 || (is_open(m->pidfd) && is_open(m->own)));
		} else {
			assert(m->type == LZ_SAID_DEAD);
		}
		reported[m->task] = true;
		nr_reported++;
	}
	assert(r < 0 || nr_reported == p->f.nr_reported);
	assert((r == 1) == finished);
}

/* The next one has been received, and the keeper is no more. */
static void die(struct play *p, bool later)
{
	struct lz_session *s = p->f.session;

	if (later && p->f.nr_folded == s->nr_said)
		(void)lz_inbox_receive(&s->inbox, s->nr_said, s->restorer_fd,
				       p->f.expecting ? 1 : sizeof(int32_t),
				       p->f.expecting ? MSG_PEEK : 0);
	p->may_leave = true;
	succeed(p);
}

static void end(struct play *p)
{
	struct lz_session *s = p->f.session;

	for (uint32_t i = 0; i < s->nr_said; i++) {
		const int fds[] = { s->said[i].uffd, s->said[i].pidfd, s->said[i].own };

		for (unsigned n = 0; s->said[i].type == LZ_SAID_UFFD && n < 3; n++)
			if (fds[n] >= 0)
				(void)close(fds[n]);
	}
	lz_restorer_hang_up(&p->f);
	(void)close(s->kick_fd);
	(void)close(s->session_fd);
	(void)munmap(s, sizeof(*s));
	for (int fd = 0; fd < OPEN_MAX_SEEN; fd++) {
		if (is_open(fd) == p->was_open[fd])
			continue;
		assert(p->may_leave && !p->was_open[fd]);
		(void)close(fd);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct play p;
	int sock, r = 0;
	size_t at = 0;

	p = (struct play){ .may_leave = false };
	sock = begin(&p);
	while (!r && at < size) {
		uint8_t first = data[at++];
		size_t len = first & LEN, left = size - at;

		len = len < left ? len : left;
		if (len)
			say(sock, p.f.session->kick_fd, data + at, len,
			    NR_FDS[first >> FDS_SHIFT & 3]);
		at += len;
		if (first & (DIES | DIES_LATER))
			die(&p, first & DIES_LATER);
		if (first & UNHEARD)
			continue;
		r = lz_restorer_receive(&p.f);
		check(&p, r);
	}
	(void)close(sock);
	if (!r) {
		r = lz_restorer_receive(&p.f);
		check(&p, r);
		assert(r);
	}
	p.may_leave = p.may_leave || r < 0;
	end(&p);
	return 0;
}
