/* SPDX-License-Identifier: MIT */
/*
 * The directories of a chain of snapshots. Files are read into the heap rather than mapped: what is
 * parsed must not change, nor end, under the parser.
 */
#include "pagemap/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	/* Each is an open directory, and up to one open pages file a task. */
	DEPTH_MAX = 256,
	/* A pagemap of 1,000,000 entries has 20 MB. */
	FILE_MAX = 1 << 30,
};

struct lz_dir_level {
	int fd;
	dev_t dev;
	ino_t ino;
};

int lz_dir_init(struct lz_dir *d, int dirfd, struct lz_why *why)
{
	struct lz_dir_level *level = calloc(1, sizeof(*level));
	struct stat st;

	*d = (struct lz_dir){ .level = level };
	if (!level)
		return lz_why_say(why, -ENOMEM, "not enough memory to open images");
	level->fd = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (level->fd < 0)
		return lz_why_say(why, -errno, "the images directory cannot be opened: %s",
				  strerror(errno));
	d->nr_levels = 1;
	if (fstat(level->fd, &st) < 0)
		return lz_why_say(why, -errno, "the images directory cannot be looked at: %s",
				  strerror(errno));
	level->dev = st.st_dev;
	level->ino = st.st_ino;
	return 0;
}

void lz_dir_fini(struct lz_dir *d)
{
	for (size_t n = 0; n < d->nr_levels; n++)
		close(d->level[n].fd);
	free(d->level);
}

static int check_level(const struct lz_dir *d, const struct stat *st, struct lz_why *why)
{
	for (size_t n = 0; n < d->nr_levels; n++) {
		if (d->level[n].dev == st->st_dev && d->level[n].ino == st->st_ino)
			return lz_why_say(
				why, -ELOOP,
				"the parent link of level %zu leads back to level %zu: no "
				"snapshot is its own parent, make the link anew",
				d->nr_levels - 1, n);
	}
	if (d->nr_levels == DEPTH_MAX)
		return lz_why_say(why, -EMLINK,
				  "there are %d snapshots in the chain and yet another parent: "
				  "dump once without one",
				  DEPTH_MAX);
	return 0;
}

/* 1: the parent of the last level is now the last. 0: it has none. */
static int follow(struct lz_dir *d, struct lz_why *why)
{
	size_t nr = d->nr_levels;
	int at = d->level[nr - 1].fd, fd, err;
	struct lz_dir_level *level;
	struct stat st;

	if (fstatat(at, "parent", &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	fd = openat(at, "parent", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return lz_why_say(
			why, -errno,
			"the parent link of level %zu leads to no directory (%s): put the "
			"snapshot's parents where its links say",
			nr - 1, strerror(errno));
	err = fstat(fd, &st) < 0 ? lz_why_say(why, -errno, "the parent of level %zu: %s", nr - 1,
					      strerror(errno))
				 : check_level(d, &st, why);
	level = err ? NULL : reallocarray(d->level, nr + 1, sizeof(*level));
	if (!err && !level)
		err = lz_why_say(why, -ENOMEM, "not enough memory to open images");
	if (err) {
		close(fd);
		return err;
	}
	level[nr] = (struct lz_dir_level){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	d->level = level;
	d->nr_levels++;
	return 1;
}

int lz_dir_follow(struct lz_dir *d, struct lz_why *why)
{
	int more;

	do
		more = follow(d, why);
	while (more > 0);
	return more;
}

struct lz_dir_file lz_dir_file(const struct lz_dir *d, size_t level, const char *format, ...)
{
	struct lz_dir_file f = { .dir = d, .level = level };
	va_list args;

	va_start(args, format);
	vsnprintf(f.name, sizeof(f.name), format, args);
	va_end(args);
	return f;
}

const char *lz_dir_path(const struct lz_dir_file *f, char path[LZ_DIR_PATH_MAX])
{
	static const char *const prefix[] = { "", "parent/", "parent/parent/" };

	if (f->level < sizeof(prefix) / sizeof(prefix[0]))
		snprintf(path, LZ_DIR_PATH_MAX, "%s%s", prefix[f->level], f->name);
	else
		snprintf(path, LZ_DIR_PATH_MAX, "(parent/ x %zu)/%s", f->level, f->name);
	return path;
}

static int open_file(const struct lz_dir_file *f, uint64_t *size)
{
	/* O_NONBLOCK: what is not a regular file must not make us wait for its other end. */
	int fd = openat(f->dir->level[f->level].fd, f->name,
			O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	/* And it must not stay: io_uring fails reads of such a file that would have to wait. */
	if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFL, 0) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (err) {
		close(fd);
		return err;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

static int refuse_file(const struct lz_dir_file *f, int err, struct lz_why *why)
{
	char path[LZ_DIR_PATH_MAX];

	lz_dir_path(f, path);
	switch (err) {
	case -ENOENT:
		return lz_why_say(why, err, "%s is missing: copy all images of the dump", path);
	case -EINVAL:
	case -EISDIR:
		return lz_why_say(why, err, "%s is no regular file: copy it again", path);
	case -EMFILE:
		return lz_why_say(why, err,
				  "%s cannot be opened: raise the limit on open files "
				  "(ulimit -n)",
				  path);
	case -EFBIG:
		return lz_why_say(why, err,
				  "%s is larger than %d bytes, which no such image is: "
				  "copy it again",
				  path, FILE_MAX);
	default:
		return lz_why_say(why, err, "%s cannot be read: %s", path, strerror(-err));
	}
}

bool lz_dir_has(const struct lz_dir_file *f)
{
	return !faccessat(f->dir->level[f->level].fd, f->name, F_OK, 0) || errno != ENOENT;
}

int lz_dir_open(const struct lz_dir_file *f, struct lz_why *why)
{
	uint64_t size = 0;
	int fd = open_file(f, &size);

	return fd < 0 ? refuse_file(f, fd, why) : fd;
}

/* Reads up to *len bytes, and puts there how many there were. */
static int read_all(int fd, uint8_t *bytes, size_t *len)
{
	size_t have = 0;

	while (have < *len) {
		ssize_t n = read(fd, bytes + have, *len - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += (size_t)n;
	}
	*len = have;
	return 0;
}

int lz_dir_read(const struct lz_dir_file *f, enum lz_image_magic magic, struct lz_dir_image *i,
		struct lz_why *why)
{
	uint64_t size = 0;
	uint8_t *bytes;
	size_t len;
	int fd = open_file(f, &size), err;

	if (fd >= 0 && size > FILE_MAX) {
		close(fd);
		fd = -EFBIG;
	}
	if (fd < 0)
		return refuse_file(f, fd, why);
	len = size;
	bytes = malloc(len + !len);
	err = bytes ? read_all(fd, bytes, &len) : -ENOMEM;
	close(fd);
	if (err) {
		free(bytes);
		return refuse_file(f, err, why);
	}
	err = lz_image_init(&i->image, bytes, len, magic);
	if (err) {
		lz_dir_refuse(f, &i->image, err, why);
		free(bytes);
		return err;
	}
	i->bytes = bytes;
	return 0;
}

int lz_dir_refuse(const struct lz_dir_file *f, const struct lz_image *image, int err,
		  struct lz_why *why)
{
	const char *remedy = err == -EBADMSG ? "; the file is damaged, copy it again" : "";
	char path[LZ_DIR_PATH_MAX];

	if (err == -ENOMEM)
		return refuse_file(f, err, why);
	lz_dir_path(f, path);
	if (!image->record)
		return lz_why_say(why, err, "%s, at byte %" PRIu64 ", %s%s", path, image->byte,
				  image->what, remedy);
	return lz_why_say(why, err, "%s: record %" PRIu64 ", at byte %" PRIu64 ", %s%s", path,
			  image->record, image->byte, image->what, remedy);
}
