/* SPDX-License-Identifier: MIT */
/* The files of snapshot.h, and how they lie over one another. */
#include "tool/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/out.h"

enum { PAGE = 4096 };

/* FNV-1a. */
static void mix(uint64_t *hash, uint64_t value)
{
	for (unsigned i = 0; i < sizeof(value); i++) {
		*hash ^= value >> 8 * i & 0xff;
		*hash *= UINT64_C(0x100000001b3);
	}
}

static int check_file(struct lz_snapshot *s, unsigned n, struct lazyd_why *why)
{
	const char *name = s->name[n];
	uint64_t size;
	struct stat st;

	if (fstat(s->fd[n], &st))
		return lz_out_why(why, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return lz_out_why(why, -EINVAL, "%s is no regular file", name);
	size = (uint64_t)st.st_size;
	if (!n && (!size || size % PAGE))
		return lz_out_why(why, -EINVAL,
				  "%s has %" PRIu64 " bytes, which is no memory: not whole pages",
				  name, size);
	if (n && size != s->size)
		return lz_out_why(why, -EINVAL,
				  "%s has %" PRIu64
				  " bytes and is no diff of %s, which has %" PRIu64,
				  name, size, s->name[0], s->size);
	s->size = size;
	mix(&s->fingerprint, st.st_dev);
	mix(&s->fingerprint, st.st_ino);
	mix(&s->fingerprint, size);
	mix(&s->fingerprint,
	    (uint64_t)st.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st.st_mtim.tv_nsec);
	return 0;
}

/* Where holes are not told all of a diff would count, and hide what is below it. */
static int check_holes(const struct lz_snapshot *s, unsigned n, struct lazyd_why *why)
{
	struct stat st;
	off_t hole;

	if (!n)
		return 0;
	hole = lseek(s->fd[n], 0, SEEK_HOLE);
	if (hole < 0 || fstat(s->fd[n], &st))
		return lz_out_why(why, -errno, "%s: %s", s->name[n], strerror(errno));
	if ((uint64_t)hole < s->size || (uint64_t)st.st_blocks * 512 >= s->size)
		return 0;
	return lz_out_why(why, -ENOTSUP,
			  "%s: its file system does not tell where the holes of a diff are",
			  s->name[n]);
}

int lz_snapshot_open(struct lz_snapshot *s, const struct lz_snapshot_files *files,
		     struct lazyd_why *why)
{
	int r = 0;

	*s = (struct lz_snapshot){ .fingerprint = UINT64_C(0xcbf29ce484222325) };
	for (unsigned n = 0; !r && n <= files->nr_layers; n++) {
		s->name[n] = n ? files->layer[n - 1] : files->memory;
		s->fd[n] = open(s->name[n], O_RDONLY | O_CLOEXEC);
		if (s->fd[n] < 0)
			return lz_out_why(why, -errno, "%s: %s", s->name[n], strerror(errno));
		s->nr++;
		r = check_file(s, n, why);
		if (!r)
			r = check_holes(s, n, why);
	}
	return r;
}

void lz_snapshot_close(struct lz_snapshot *s)
{
	for (unsigned n = 0; n < s->nr; n++)
		(void)close(s->fd[n]);
	s->nr = 0;
}

/* ---- as a memory ---- */

static int add_files(const struct lz_snapshot *s, struct lazyd_memory *m, int *source)
{
	for (unsigned n = 0; n < s->nr; n++) {
		int fd = fcntl(s->fd[n], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return -errno;
		source[n] = lazyd_memory_add_file(m, fd, s->name[n]);
		if (source[n] < 0) {
			(void)close(fd);
			return source[n];
		}
	}
	return 0;
}

int lz_snapshot_memory(const struct lz_snapshot *s, uint64_t page_size, struct lazyd_memory **out,
		       struct lazyd_why *why)
{
	int source[LZ_LAYERS_MAX + 1], r;
	struct lazyd_memory *m;

	r = lazyd_memory_new(&m);
	if (r)
		return lz_out_why(why, r, "%s: %s", s->name[0], strerror(-r));
	r = add_files(s, m, source);
	if (!r)
		r = lazyd_memory_add_area(m, 0, s->size, page_size);
	if (!r)
		r = lazyd_memory_add_layers(m, 0, s->size, source, s->nr, 0);
	if (r) {
		lazyd_memory_put(m);
		return lz_out_why(why, r, "%s: %s", s->name[0], strerror(-r));
	}
	*out = m;
	return 0;
}

/* ---- for VMs elsewhere ---- */

int lz_snapshot_serve(const struct lz_snapshot *s, struct lazyd_server *to, struct lazyd_why *why)
{
	struct lazyd_memory *m;
	int r = lz_snapshot_memory(s, PAGE, &m, why);

	if (r)
		return r;
	r = lazyd_server_add(to, LZ_SNAPSHOT_TASK, m);
	lazyd_memory_put(m);
	return r ? lz_out_why(why, r, "%s: %s", s->name[0], strerror(-r)) : 0;
}

int lz_snapshot_elsewhere(uint64_t size, uint64_t page_size, struct lazyd_memory **out)
{
	struct lazyd_memory *m;
	int r = lazyd_memory_new(&m), source;

	if (r)
		return r;
	source = lazyd_memory_add_remote(m, LZ_SNAPSHOT_TASK);
	r = source < 0 ? source : lazyd_memory_add_area(m, 0, size, page_size);
	if (!r)
		r = lazyd_memory_add_piece(m, 0, size, source, 0);
	if (r)
		lazyd_memory_put(m);
	else
		*out = m;
	return r;
}

int lz_snapshot_identity(const char *state, uint8_t identity[LAZYD_IDENTITY_LEN],
			 struct lazyd_why *why)
{
	struct lazyd_why inner;
	int fd = open(state, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return lz_out_why(why, -errno, "%s: %s", state, strerror(errno));
	r = lazyd_file_identity(fd, identity, &inner);
	(void)close(fd);
	return r ? lz_out_why(why, r, "%s: %s", state, inner.text) : 0;
}
