/* SPDX-License-Identifier: MIT */
/*
 * The directories of a chain of snapshots, and the files in them: opens, reads, and names them in
 * sentences. It knows how a file is to be opened and nothing of what is in it.
 */
#ifndef LZ_DIR_H
#define LZ_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/why.h"
#include "proto/image.h"

struct lz_dir_level;

struct lz_dir {
	struct lz_dir_level *level; /* 0 is the directory itself, n + 1 the parent of n */
	size_t nr_levels;
};

enum { LZ_DIR_NAME_MAX = 64, LZ_DIR_PATH_MAX = 128 };

/* A file of one level, there or not. */
struct lz_dir_file {
	const struct lz_dir *dir;
	size_t level;
	char name[LZ_DIR_NAME_MAX];
};

/* A file's bytes, and the parser over them. */
struct lz_dir_image {
	uint8_t *bytes;
	struct lz_image image;
};

/* @dirfd stays the caller's. fini() after a failure too. */
int lz_dir_init(struct lz_dir *d, int dirfd, struct lz_why *why);
void lz_dir_fini(struct lz_dir *d);
/* Follows the `parent` links. A link to nowhere is an error, no link is the end of the chain. */
int lz_dir_follow(struct lz_dir *d, struct lz_why *why);

struct lz_dir_file lz_dir_file(const struct lz_dir *d, size_t level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The path below the first level, shortened where a long chain would make it unreadable. */
const char *lz_dir_path(const struct lz_dir_file *f, char path[LZ_DIR_PATH_MAX]);

bool lz_dir_has(const struct lz_dir_file *f);
/* A descriptor for reading a regular file, or -errno. */
int lz_dir_open(const struct lz_dir_file *f, struct lz_why *why);
/* Reads all of @f and checks its magic numbers. On success @i->bytes is to be freed. */
int lz_dir_read(const struct lz_dir_file *f, enum lz_image_magic magic, struct lz_dir_image *i,
		struct lz_why *why);
/* The sentence for @err, which a parser of @image, the contents of @f, has returned. */
int lz_dir_refuse(const struct lz_dir_file *f, const struct lz_image *image, int err,
		  struct lz_why *why);

#endif
