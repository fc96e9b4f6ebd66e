/* SPDX-License-Identifier: MIT */
/* The replacing of replace.h. */
#include "tool/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/service.h"

/* A rename would put a file in the place of a directory's or a device's name. */
static int look_at(const char *name)
{
	struct stat st;

	if (stat(name, &st))
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

int lz_replace_open(struct lz_replace *r, const char *name, int had)
{
	int err = had < 0 ? look_at(name) : 0;

	*r = (struct lz_replace){ .fd = -1, .name = name };
	if (!err && asprintf(&r->temporary, "%s.new", name) < 0) {
		r->temporary = NULL;
		err = -ENOMEM;
	}
	if (err)
		return err;
	r->fd = had < 0 ? lz_service_create(r->temporary, 0) : had;
	if (r->fd < 0)
		err = -errno;
	else if (had < 0 && flock(r->fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!err)
		return 0;
	if (r->fd >= 0)
		(void)close(r->fd);
	free(r->temporary);
	*r = (struct lz_replace){ .fd = -1 };
	return err;
}

int lz_replace_begin(struct lz_replace *r)
{
	struct stat named = { 0 }, ours;

	if (fstat(r->fd, &ours) || (stat(r->temporary, &named) && errno != ENOENT))
		return -errno;
	r->is_done = named.st_ino != ours.st_ino || named.st_dev != ours.st_dev;
	if (r->is_done)
		return 0;
	if (ftruncate(r->fd, 0) || lseek(r->fd, 0, SEEK_SET))
		return -errno;
	return 1;
}

int lz_replace_end(struct lz_replace *r)
{
	r->is_done = !fsync(r->fd) && !rename(r->temporary, r->name);
	return r->is_done ? 0 : -errno;
}

void lz_replace_close(struct lz_replace *r)
{
	if (r->fd < 0)
		return;
	if (!r->is_done)
		(void)unlink(r->temporary);
	(void)close(r->fd);
	free(r->temporary);
	*r = (struct lz_replace){ .fd = -1 };
}
