/* SPDX-License-Identifier: MIT */
/* The session of session.h: made by the first keeper, in a memfd, shared with all that follow. */
#include "tool/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/tool.h"

static const uint64_t MAGIC = UINT64_C(0x6e6f697373657a6c);
/* It cannot become shorter than its mapping, whoever else has it. */
enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW };
/* Ten seconds in all: a process that has much memory takes its time to die. */
enum { LOCK_TRIES = 5000, LOCK_MS = 2 };

/* NULL with errno. */
static struct lz_session *map(int fd)
{
	struct lz_session *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return s == MAP_FAILED ? NULL : s;
}

int lz_session_new(struct lz_session **out)
{
	int fd = memfd_create("lazyd-session", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
	struct lz_session *s;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*s)) || fcntl(fd, F_ADD_SEALS, SEALS))
		goto fail;
	s = map(fd);
	if (!s)
		goto fail;
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0)
		goto fail_mapped;
	s->magic = MAGIC;
	s->version = LZ_SESSION_VERSION;
	s->size = sizeof(*s);
	s->session_fd = fd;
	s->state_fd = s->listen_fd = s->restorer_fd = s->signal_fd = s->keeper_pidfd = s->huge_fd =
		-1;
	s->heard_ns = lz_out_now();
	*out = s;
	return 0;

fail_mapped:
	r = -errno;
	(void)munmap(s, sizeof(*s));
	(void)close(fd);
	return r;
fail:
	r = -errno;
	(void)close(fd);
	return r;
}

int lz_session_open(struct lz_session **out, int fd)
{
	struct lz_session *s;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) || st.st_size != sizeof(*s))
		return -EPROTO;
	s = map(fd);
	if (!s)
		return -errno;
	if (s->magic == MAGIC && s->version == LZ_SESSION_VERSION && s->size == sizeof(*s) &&
	    s->nr_said <= LZ_SAID_MAX && s->nr_guests <= LZ_GUESTS_MAX) {
		*out = s;
		return 0;
	}
	(void)munmap(s, sizeof(*s));
	return -EPROTO;
}

/* A lock is the descriptor table's: it lasts as long as keeper or worker
 * lives, and over execve(). */
bool lz_session_lock(const struct lz_session *s)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	bool is_mine = false;

	/* Who was killed a moment ago may still be at it. */
	for (unsigned n = 0; !is_mine && n < LOCK_TRIES; n++) {
		is_mine = !fcntl(s->session_fd, F_SETLK, &lock);
		if (!is_mine)
			(void)poll(NULL, 0, LOCK_MS);
	}
	return is_mine;
}

/* FNV-1a. */
static void mix(uint64_t *hash, uint64_t value)
{
	for (unsigned i = 0; i < sizeof(value); i++) {
		*hash ^= value >> 8 * i & 0xff;
		*hash *= UINT64_C(0x100000001b3);
	}
}

uint64_t lz_session_fingerprint(const struct lz_fill *f)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	mix(&hash, f->nr_tasks);
	mix(&hash, f->snapshot.fingerprint);
	for (uint32_t i = 0; i < f->nr_tasks; i++) {
		const struct lz_fill_task *t = &f->task[i];

		mix(&hash, t->pid);
		mix(&hash, t->memory >= 0 ? lazyd_memory_pages(f->memory[t->memory]) : UINT64_MAX);
	}
	return hash;
}

void lz_session_kick(const struct lz_session *s)
{
	(void)!write(s->kick_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}
