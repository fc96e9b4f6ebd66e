/* SPDX-License-Identifier: MIT */
/* A process and those below it, as /proc names them. */
#ifndef LZ_TREE_H
#define LZ_TREE_H

#include <stddef.h>
#include <sys/types.h>

struct lz_tree {
	pid_t *pid; /* whoever is below another comes behind it */
	size_t nr;
};

/* @t: zeroed. 0 or -ENOMEM; lz_tree_free() in both cases. */
int lz_tree_add(struct lz_tree *t, pid_t pid);
/* Those that there are in this moment; of one that has ended there are none. */
int lz_tree_add_children(struct lz_tree *t, pid_t pid);
void lz_tree_free(struct lz_tree *t);

#endif
