/* SPDX-License-Identifier: MIT */
/* The public functions of a state: makes, shares, checks and maps its memory. */
#include "uffd/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uffd/lazyd.h"

/* What makes a mapping safe from whoever else has the descriptor: it cannot become shorter. */
enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

/* Reserved, not used: a page is taken when it is written. */
static int map(struct lazyd_state *s)
{
	int flags = MAP_SHARED | MAP_NORESERVE | (s->fd < 0 ? MAP_ANONYMOUS : 0);

	s->state = mmap(NULL, s->len, PROT_READ | PROT_WRITE, flags, s->fd, 0);
	return s->state == MAP_FAILED ? -errno : 0;
}

/* A file of that length raises a signal where the limit is lower: then there is none. */
static int open_file(size_t len)
{
	struct rlimit limit;
	int fd, r;

	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < len)
		return -1;
	fd = memfd_create("lazyd-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, (off_t)len) && !fcntl(fd, F_ADD_SEALS, SEALS))
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}

static int make(struct lazyd_state **out, uint64_t pages, bool is_file)
{
	struct lazyd_state *s;
	int r = 0;

	if (!out || pages > LZ_STATE_PAGES_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->len = lz_state_size(pages);
	s->fd = is_file ? open_file(s->len) : -1;
	if (s->fd < -1)
		r = s->fd;
	if (!r)
		r = map(s);
	if (r) {
		if (s->fd >= 0)
			(void)close(s->fd);
		free(s);
		return r;
	}
	lz_state_init(s->state, pages);
	*out = s;
	return 0;
}

int lazyd_state_new(struct lazyd_state **out, uint64_t pages)
{
	return make(out, pages, true);
}

int lz_shared_private(struct lazyd_state **out, uint64_t pages)
{
	return make(out, pages, false);
}

int lazyd_state_fd(const struct lazyd_state *s)
{
	return s->fd < 0 ? -EFBIG : s->fd;
}

int lazyd_state_open(struct lazyd_state **out, int fd)
{
	struct lazyd_state *s;
	struct stat st;
	int seals, r;

	if (fstat(fd, &st))
		return -errno;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || st.st_size < (off_t)sizeof(struct lz_state))
		return -EPROTO;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fd = fd;
	s->len = (size_t)st.st_size;
	r = map(s);
	if (!r && !lz_state_is_one(s->state, s->len)) {
		(void)munmap(s->state, s->len);
		r = -EPROTO;
	}
	if (r) {
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

void lazyd_state_free(struct lazyd_state *s)
{
	if (!s)
		return;
	(void)munmap(s->state, s->len);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s);
}
