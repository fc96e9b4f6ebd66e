/* SPDX-License-Identifier: MIT */
/* What a directory of images is made of, for the files that read it:
 * files.c, load.c, identity.c. */
#ifndef LZ_FILES_PRIV_H
#define LZ_FILES_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "pagemap/dir.h"
#include "pagemap/files.h"

struct lz_images {
	struct lz_dir dir;
	struct lz_task *task;
	size_t nr_tasks, room;
	bool remote; /* a page server has what level 0 has */
};

#endif
