/* SPDX-License-Identifier: MIT */
/* The session of session.h: made by the first keeper, shared with all that follow. */
#include "tool/session.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

int lz_session_new(struct lz_session **out)
{
	struct lz_session *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	if (s == MAP_FAILED)
		return -errno;
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0) {
		r = -errno;
		(void)munmap(s, sizeof(*s));
		return r;
	}
	s->listen_fd = s->restorer_fd = s->signal_fd = s->keeper_pidfd = -1;
	*out = s;
	return 0;
}

void lz_session_kick(const struct lz_session *s)
{
	(void)!write(s->kick_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}
