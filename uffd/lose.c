/* SPDX-License-Identifier: MIT */
/*
 * Fails closed, outside of what the engine decides, who cannot be served: children and moves that
 * cannot be followed, processes whose pages are lost.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "uffd/loop.h"
#include "uffd/uffd.h"

/* How deep below a process its kin is looked for; each level takes two descriptors meanwhile. */
enum { DEPTH_MAX = 64 };
/* A second in all: who is killed takes its time to die. */
enum { KILL_TRIES = 1000, KILL_NAP_NS = 1000000 };

/* @size: of the pages in it. */
static int poison(int ufd, struct lz_range r, uint64_t size)
{
	uint64_t step = lz_range_len(r);
	int64_t done;

	for (; !lz_range_is_empty(r); r.start += (uint64_t)done) {
		if (step > lz_range_len(r))
			step = lz_range_len(r);
		done = lz_uffd_poison(ufd, (struct lz_range){ r.start, r.start + step });
		if (done == -ENOENT && step > size) { /* a seam may be within */
			step = size;
			done = 0;
		} else if (done == -ENOENT || done == -EEXIST) {
			done = (int64_t)size;
		} else if (done < 0) {
			return (int)done;
		}
	}
	return 0;
}

/* Poisons what @space is owed, through @ufd; *nr: how many pages it is owed, come what may. */
static int poison_owed(const struct lz_loop *l, uint32_t space, int ufd, uint64_t *nr)
{
	uint64_t page = 0, size;
	struct lz_range owed;
	int r = 0;

	while (lz_engine_owed_range(l->engine, space, &page, &owed)) {
		size = lz_engine_page_bytes(l->engine, space, owed.start);
		*nr += lz_range_len(owed) / size;
		r = r ? r : poison(ufd, owed, size);
	}
	return r;
}

/* Who was to be poisoned has ended. */
static bool is_gone(int r)
{
	return r == -ESRCH || r == -ENOSPC;
}

/* ---- killing ---- */

static int pid_of(int pidfd)
{
	char path[64], line[128];
	int pid = -1;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	while (f && pid < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "Pid:", 4) == 0)
			pid = (int)strtol(line + 4, NULL, 10);
	if (f)
		(void)fclose(f);
	return pid;
}

static unsigned kill_children(int pid, int depth);

/* Those of one thread's, and all that are below them. */
static unsigned kill_list(FILE *f, int depth)
{
	unsigned n = 0;
	int child;

	while (fscanf(f, "%d", &child) == 1) {
		n += 1 + kill_children(child, depth);
		(void)kill(child, SIGKILL);
	}
	return n;
}

/* Every process below @pid, as far as /proc names them; how many those are.
 * Children are their parent's thread's: there is a list for each. */
static unsigned kill_children(int pid, int depth)
{
	const struct dirent *e;
	unsigned n = 0;
	char path[64];
	FILE *f;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (d && (e = readdir(d))) {
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid, e->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		n += kill_list(f, depth + 1);
		(void)fclose(f);
	}
	if (d)
		(void)closedir(d);
	return n;
}

/*
 * Kills all that is below the process of @pidfd, until he is dead whose userfaultfd @ufd is: false
 * if he was not among them. A child is below its parent not before fork() has come to its end
 * there, and no longer than that lives.
 */
static bool kill_holder(const struct lz_loop *l, uint32_t space, int pidfd, int ufd)
{
	const struct timespec nap = { .tv_nsec = KILL_NAP_NS };
	const struct lz_seg *seg;
	bool is_dead = false;
	int pid = 1;
	size_t nr;

	seg = lz_engine_segs(l->engine, space, &nr);
	for (unsigned n = 0; pid > 0 && !is_dead && n < KILL_TRIES; n++) {
		if (n)
			(void)nanosleep(&nap, NULL);
		pid = pidfd >= 0 ? pid_of(pidfd) : -1;
		if (pid > 0)
			(void)kill_children(pid, 0);
		is_dead = lz_uffd_is_dead(ufd, nr ? seg[nr - 1].end : 0x10000);
	}
	return is_dead;
}

/*
 * A child's own number is not known. It is among those below its ancestor only while each process
 * between the two lives, so what it is owed is poisoned as well, whoever was found.
 */
static int kill_kin(struct lz_loop *l, uint32_t space)
{
	struct lz_slot *slot = &l->state->slot[space];
	int pid = slot->pidfd >= 0 ? pid_of(slot->pidfd) : -1;
	uint64_t n = 0;
	int r;

	if (pid > 0)
		(void)kill_children(pid, 0);
	r = poison_owed(l, space, slot->uffd, &n);
	if (!r || is_gone(r) || kill_holder(l, space, slot->pidfd, slot->uffd))
		return 0;
	/* Closed, its descriptor would turn what it waits for into zeros. */
	slot->uffd = -1;
	return -ESRCH;
}

int lz_lose_kill(struct lz_loop *l, uint32_t space)
{
	const struct lz_slot *slot = &l->state->slot[space];
	int r = slot->kin ? kill_kin(l, space) : slot->pidfd < 0 ? -ESRCH : 0;

	if (r || slot->pidfd < 0)
		return r;
	if (syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return -errno;
	return 0;
}

/* ---- layout events that cannot be followed ---- */

/* Without poison, where it cannot be found either, its descriptor stays open for as long as this
 * process and its like live, and its threads wait: that is still better than zeros. */
static const char *lose_child(const struct lz_loop *l, uint32_t parent, int ufd, uint64_t *nr)
{
	int r = poison_owed(l, parent, ufd, nr);

	if (!r)
		return "poisoned";
	if (is_gone(r)) {
		*nr = 0;
		return "gone";
	}
	return kill_holder(l, parent, l->state->slot[parent].pidfd, ufd) ? "killed" : NULL;
}

void lz_lose_child(struct lz_loop *l, uint32_t parent, unsigned index, int ufd)
{
	const struct lz_seg *seg;
	const char *how;
	uint64_t n = 0;
	size_t nr;

	how = lose_child(l, parent, ufd, &n);
	lz_loop_log(l, LAZYD_LOG_ERROR,
		    "event=child-lost space=%u pages=%" PRIu64
		    " how=%s a forked child cannot be served (limit or memory)%s",
		    parent, n, how ? how : "waits",
		    how ? "" : "; its threads wait for their pages: end it by hand");
	l->state->stats.n.pages_lost += n;
	/* Left open by a death behind the note it must not catch faults. */
	seg = lz_engine_segs(l->engine, parent, &nr);
	for (size_t i = 0; how && i < nr; i++)
		(void)lz_uffd_unregister(ufd, (struct lz_range){ seg[i].start, seg[i].end });
	lz_state_lose_fork(l->state, parent, index);
	if (how)
		(void)close(ufd);
}

void lz_lose_moved(struct lz_loop *l, uint32_t space)
{
	lz_loop_log(l, LAZYD_LOG_ERROR, "event=move-lost space=%u out of memory; killing it",
		    space);
	(void)lz_lose_kill(l, space);
	lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_EXIT, .space = space });
}
