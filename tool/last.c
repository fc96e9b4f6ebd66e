/* SPDX-License-Identifier: MIT */
/*
 * The last resort of session.h, where nobody can serve the tasks any more: they are killed, with
 * all that is below them, and whoever was not found keeps waiting, for the descriptors stay open.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool/fds.h"
#include "tool/session.h"
#include "tool/tool.h"
#include "tool/tree.h"

enum {
	PAGE = 4096,
	/* A second in all for those that were killed; then it is told that there are others. */
	QUIET_LOOKS = 100,
	QUIET_MS = 10,
	HOLD_MS = 200,
	/* Not to be placed anything at; mmap_min_addr as everybody sets it. */
	SOMEWHERE = 0x10000,
};

/* ---- killing ---- */

/* The lowest first: who has ended is no way any more to those below it. */
static unsigned kill_below(pid_t pid)
{
	struct lz_tree t = { 0 };
	int r = lz_tree_add(&t, pid);
	unsigned n = 0;

	for (size_t i = 0; !r && i < t.nr; i++)
		r = lz_tree_add_children(&t, t.pid[i]);
	for (size_t i = t.nr; i > 1; i--)
		n += !kill(t.pid[i - 1], SIGKILL);
	lz_tree_free(&t);
	return n;
}

unsigned lz_last_kill_tree(int pidfd)
{
	pid_t pid = lz_fds_pid(pidfd);
	unsigned n = 0;

	if (pid > 0) {
		n = kill_below(pid);
		/* Those that a fork() under way has brought meanwhile. */
		(void)kill_below(pid);
	}
	return n + !syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

void lz_last_kill(struct lz_fill *f, const char *reason)
{
	struct lz_session *s = f->session;
	unsigned n = 0;

	for (uint32_t i = 0; i < s->nr_said; i++)
		if (s->said[i].type == LZ_SAID_UFFD && s->said[i].own >= 0)
			n += lz_last_kill_tree(s->said[i].own);
	for (uint32_t i = 0; i < s->nr_guests; i++)
		if (s->guest[i].state == LZ_GUEST_HERE && s->guest[i].own >= 0)
			n += lz_last_kill_tree(s->guest[i].own);
	lz_log_say(&f->o.service.log, LAZYD_LOG_ERROR, "event=killed-tasks count=%u reason=\"%s\"",
		   n, reason);
	s->status = LZ_EXIT_LOST;
}

/* ---- holding ---- */

struct count {
	void *nothing; /* a page that cannot be read: no copy of it is placed anywhere */
	unsigned nr;
};

static void count_living(void *arg, int fd, const char *link)
{
	struct count *c = arg;
	struct uffdio_copy copy = { .dst = SOMEWHERE, .src = (uintptr_t)c->nothing, .len = PAGE };

	if (strcmp(link, "anon_inode:[userfaultfd]") != 0)
		return;
	if (ioctl(fd, UFFDIO_COPY, &copy) && errno != ESRCH)
		c->nr++;
}

unsigned lz_last_count(void)
{
	struct count c = { .nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
					   0) };

	/* Who cannot look, for want of a descriptor say, does not know that nobody lives. */
	if (lz_fds_each(count_living, &c))
		c.nr++;
	if (c.nothing != MAP_FAILED)
		(void)munmap(c.nothing, PAGE);
	return c.nr;
}

void lz_last_hold(struct lz_fill *f)
{
	unsigned nr;

	for (unsigned n = 0; (nr = lz_last_count()); n += n <= QUIET_LOOKS) {
		if (n == QUIET_LOOKS)
			lz_log_say(
				&f->o.service.log, LAZYD_LOG_ERROR,
				"event=holding count=%u processes wait for pages that nobody can bring; end them by hand: if this one ends first they read zeros",
				nr);
		(void)poll(NULL, 0, n < QUIET_LOOKS ? QUIET_MS : HOLD_MS);
	}
}
