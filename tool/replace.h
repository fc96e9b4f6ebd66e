/* SPDX-License-Identifier: MIT */
/*
 * A file that is there whole or as it was before: written under another name beside it, then
 * renamed. The other name is the file's with ".new" behind it; whoever writes to it holds a lock.
 */
#ifndef LZ_REPLACE_H
#define LZ_REPLACE_H

#include <stdbool.h>

struct lz_replace {
	int fd; /* to write to; -1: not open */
	const char *name;
	char *temporary;
	bool is_done; /* the temporary is no more, or somebody else's */
};

/*
 * @name stays the caller's. @had: the descriptor of the temporary, from the program that was here
 * before; -1: none. 0 or -errno: -EBUSY, somebody else is at it; -EINVAL, it is there and no file.
 */
int lz_replace_open(struct lz_replace *r, const char *name, int had);
/*
 * Empties what may have been written by somebody who died before the end: 1. 0: the file has been
 * replaced already. -errno.
 */
int lz_replace_begin(struct lz_replace *r);
/* What has been written is the file from now on, whatever happens to the machine. 0 or -errno. */
int lz_replace_end(struct lz_replace *r);
/* Without end(): the file stays as it was. Closes and frees. */
void lz_replace_close(struct lz_replace *r);

#endif
