/* SPDX-License-Identifier: MIT */
/* The list of tree.h. */
#include "tool/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int lz_tree_add(struct lz_tree *t, pid_t pid)
{
	pid_t *all = reallocarray(t->pid, t->nr + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	t->pid = all;
	all[t->nr++] = pid;
	return 0;
}

/* Children are their parent's thread's: /proc has a list for each. */
int lz_tree_add_children(struct lz_tree *t, pid_t pid)
{
	const struct dirent *e;
	char path[64];
	int r = 0, child;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && !r && (e = readdir(d))) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)pid,
			       e->d_name);
		f = fopen(path, "re");
		while (f && !r && fscanf(f, "%d", &child) == 1)
			r = lz_tree_add(t, child);
		if (f)
			(void)fclose(f);
	}
	if (d)
		(void)closedir(d);
	return r;
}

void lz_tree_free(struct lz_tree *t)
{
	free(t->pid);
	*t = (struct lz_tree){ 0 };
}
