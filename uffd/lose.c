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
#include <unistd.h>

#include "uffd/loop.h"
#include "uffd/uffd.h"

/* How deep below a process its kin is looked for; each level takes two descriptors meanwhile. */
enum { DEPTH_MAX = 64 };

/* Poisons what @space is owed, through @ufd; *nr: how many pages that were. */
static int poison_owed(const struct lz_loop *l, uint32_t space, int ufd, uint64_t *nr)
{
	uint64_t page = 0, step, size;
	struct lz_range r;
	int64_t done;

	while (lz_engine_owed_range(l->engine, space, &page, &r)) {
		size = lz_engine_page_bytes(l->engine, space, r.start);
		for (step = lz_range_len(r); !lz_range_is_empty(r); r.start += (uint64_t)done) {
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
			*nr += (uint64_t)done / size;
		}
	}
	return 0;
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

/* Every process below @pid, as far as /proc names them; how many those are. Children are their parent's
 * thread's: there is a list for each. */
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
 * A child's own number is not known. It is among those below its ancestor only while each process
 * between the two lives, so what it is owed is poisoned as well, whoever was found.
 */
static int kill_kin(struct lz_loop *l, uint32_t space)
{
	struct lz_slot *slot = &l->state->slot[space];
	int pid = slot->pidfd >= 0 ? pid_of(slot->pidfd) : -1;
	unsigned found = pid > 0 ? kill_children(pid, 0) : 0;
	uint64_t n = 0;
	int r = poison_owed(l, space, slot->uffd, &n);

	if (!r || r == -ESRCH || r == -ENOSPC)
		return 0;
	/* No poison here. It may be none of those found: closed, its descriptor would turn what it
	 * waits for into zeros. */
	slot->uffd = -1;
	return found ? 0 : -ESRCH;
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

void lz_lose_child(struct lz_loop *l, uint32_t parent, unsigned index, int ufd)
{
	uint64_t n = 0;
	const struct lz_seg *seg;
	size_t nr;

	if (poison_owed(l, parent, ufd, &n))
		(void)lz_lose_kill(l, parent);
	lz_loop_log(l, LAZYD_LOG_ERROR,
		    "event=child-lost space=%u pages=%" PRIu64
		    " a forked child cannot be served (limit or memory)",
		    parent, n);
	l->state->stats.n.pages_lost += n;
	/* Left open by a death behind the note it must not catch faults. */
	seg = lz_engine_segs(l->engine, parent, &nr);
	for (size_t i = 0; i < nr; i++)
		(void)lz_uffd_unregister(ufd, (struct lz_range){ seg[i].start, seg[i].end });
	lz_state_lose_fork(l->state, parent, index);
	(void)close(ufd);
}

void lz_lose_moved(struct lz_loop *l, uint32_t space)
{
	lz_loop_log(l, LAZYD_LOG_ERROR, "event=move-lost space=%u out of memory; killing it",
		    space);
	(void)lz_lose_kill(l, space);
	lz_loop_feed(l, (struct lz_event){ .type = LZ_EV_EXIT, .space = space });
}
