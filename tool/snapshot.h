/* SPDX-License-Identifier: MIT */
/*
 * The memory of a VM as files: one of all its bytes, and diffs over it, each a sparse file of the
 * same length that has the pages which changed, where they are. The last file that has a page is
 * right; what none has is zero. Where a page is, is told by the holes (SEEK_DATA): nothing is
 * merged.
 */
#ifndef LZ_SNAPSHOT_H
#define LZ_SNAPSHOT_H

#include <stdint.h>

#include "uffd/lazyd.h"

enum { LZ_LAYERS_MAX = 64 };

/* As a command line names them; NULL: it does not. */
struct lz_snapshot_files {
	const char *memory, *layer[LZ_LAYERS_MAX];
	unsigned nr_layers;
	const char *state; /* of the VM's devices: who starts it has that, wherever the memory is */
};

struct lz_snapshot {
	uint64_t size;
	unsigned nr; /* files, that of all bytes first */
	int fd[LZ_LAYERS_MAX + 1];
	const char *name[LZ_LAYERS_MAX + 1]; /* the caller's */
	uint64_t fingerprint;                /* of what the files are, as far as stat() tells */
};

/* Opens memory and layers of @files. 0, or -errno and the sentence. close() after a failure too. */
int lz_snapshot_open(struct lz_snapshot *s, const struct lz_snapshot_files *files,
		     struct lazyd_why *why);
void lz_snapshot_close(struct lz_snapshot *s);
/* As a memory, whose addresses are the file's offsets, in pages of @page_size.
 * The files stay @s's. */
int lz_snapshot_memory(const struct lz_snapshot *s, uint64_t page_size, struct lazyd_memory **out,
		       struct lazyd_why *why);

/* One of @size bytes that another lazyd serves. */
int lz_snapshot_elsewhere(uint64_t size, uint64_t page_size, struct lazyd_memory **out);
/*
 * Serves it as the task that clients ask for. What it is known by is the file of the VM's state:
 * who starts a VM has that, wherever the memory is.
 */
enum { LZ_SNAPSHOT_TASK = 1 };
int lz_snapshot_serve(const struct lz_snapshot *s, struct lazyd_server *to, struct lazyd_why *why);
int lz_snapshot_identity(const char *state, uint8_t identity[LAZYD_IDENTITY_LEN],
			 struct lazyd_why *why);

#endif
