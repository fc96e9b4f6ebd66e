/* SPDX-License-Identifier: MIT */
/* The files of snapshot.h, and how they lie over one another. */
#include "tool/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* The next bytes of a file that are no hole, at or behind where was last looked. */
struct extent {
	uint64_t start, end;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct lazyd_why *why, int r,
							const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return r;
}

/* In whole grains, for a file system's blocks may be smaller. */
static int look(int fd, uint64_t from, uint64_t size, uint64_t grain, struct extent *e)
{
	off_t start, end;

	if (from < e->end)
		return 0;
	start = lseek(fd, (off_t)from, SEEK_DATA);
	if (start < 0 && errno == ENXIO) {
		*e = (struct extent){ size, UINT64_MAX };
		return 0;
	}
	end = start < 0 ? start : lseek(fd, start, SEEK_HOLE);
	if (end < 0)
		return -errno;
	e->start = (uint64_t)start & ~(grain - 1);
	e->end = ((uint64_t)end + grain - 1) & ~(grain - 1);
	return 0;
}

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
		return refuse(why, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(why, -EINVAL, "%s is no regular file", name);
	size = (uint64_t)st.st_size;
	if (!n && (!size || size % PAGE))
		return refuse(why, -EINVAL,
			      "%s has %" PRIu64 " bytes, which is no memory: not whole pages", name,
			      size);
	if (n && size != s->size)
		return refuse(why, -EINVAL,
			      "%s has %" PRIu64 " bytes and is no diff of %s, which has %" PRIu64,
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
	struct extent e = { 0 };
	struct stat st;

	if (!n)
		return 0;
	if (look(s->fd[n], 0, s->size, PAGE, &e) || fstat(s->fd[n], &st))
		return refuse(why, -errno, "%s: %s", s->name[n], strerror(errno));
	if (e.start || e.end < s->size || (uint64_t)st.st_blocks * 512 >= s->size)
		return 0;
	return refuse(why, -ENOTSUP,
		      "%s: its file system does not tell where the holes of a diff are",
		      s->name[n]);
}

int lz_snapshot_open(struct lz_snapshot *s, const char *memory, const char *const *layer,
		     unsigned nr_layers, struct lazyd_why *why)
{
	int r = 0;

	*s = (struct lz_snapshot){ .fingerprint = UINT64_C(0xcbf29ce484222325) };
	for (unsigned n = 0; !r && n <= nr_layers; n++) {
		s->name[n] = n ? layer[n - 1] : memory;
		s->fd[n] = open(s->name[n], O_RDONLY | O_CLOEXEC);
		if (s->fd[n] < 0)
			return refuse(why, -errno, "%s: %s", s->name[n], strerror(errno));
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

static int add_files(const struct lz_snapshot *s, struct lazyd_memory *m)
{
	int r = 0;

	for (unsigned n = 0; r >= 0 && n < s->nr; n++) {
		int fd = fcntl(s->fd[n], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return -errno;
		r = lazyd_memory_add_file(m, fd, s->name[n]);
		if (r < 0)
			(void)close(fd);
	}
	return r < 0 ? r : 0;
}

/* From @at on, up to where any file begins or ends to have bytes: of which file. -1: it is a hole of all. */
static int top_file(const struct lz_snapshot *s, uint64_t grain, struct extent *e, uint64_t at,
		    uint64_t *end, int *file)
{
	*file = -1;
	*end = s->size;
	for (unsigned n = s->nr; n-- && *file < 0;) {
		int r = look(s->fd[n], at, s->size, grain, &e[n]);
		uint64_t edge = e[n].start > at ? e[n].start : e[n].end;

		if (r)
			return r;
		if (e[n].start <= at)
			*file = (int)n;
		*end = edge < *end ? edge : *end;
	}
	return 0;
}

static int add_pieces(const struct lz_snapshot *s, uint64_t page_size, struct lazyd_memory *m)
{
	/* Of one file alone a hole can be read like all else. */
	uint64_t grain = s->nr == 1 ? page_size : PAGE, end;
	struct extent e[LZ_LAYERS_MAX + 1] = { 0 };
	int file, r = 0;

	for (uint64_t at = 0; !r && at < s->size; at = end) {
		r = top_file(s, grain, e, at, &end, &file);
		if (!r && file >= 0)
			r = lazyd_memory_add_piece(m, at, end - at, file, at);
	}
	return r;
}

int lz_snapshot_memory(const struct lz_snapshot *s, uint64_t page_size, struct lazyd_memory **out,
		       struct lazyd_why *why)
{
	struct lazyd_memory *m;
	int r = lazyd_memory_new(&m);

	if (!r)
		r = add_files(s, m);
	if (!r)
		r = lazyd_memory_add_area(m, 0, s->size, page_size);
	if (!r)
		r = add_pieces(s, page_size, m);
	if (r) {
		lazyd_memory_put(m);
		return refuse(why, r, "%s: %s", s->name[0], strerror(-r));
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
	return r ? refuse(why, r, "%s: %s", s->name[0], strerror(-r)) : 0;
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
		return refuse(why, -errno, "%s: %s", state, strerror(errno));
	r = lazyd_file_identity(fd, identity, &inner);
	(void)close(fd);
	return r ? refuse(why, r, "%s: %s", state, inner.text) : 0;
}
