/* SPDX-License-Identifier: MIT */
/*
 * What `lazyd serve` serves: the pages of images, of processes that stand still, or of a VM's
 * memory file; which of them, and what it is known by, is said on the command line.
 */
#ifndef LZ_SERVED_H
#define LZ_SERVED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tool/service.h"
#include "tool/snapshot.h"
#include "uffd/lazyd.h"

struct lz_served {
	bool images; /* was a directory of images named? */
	pid_t pid;   /* 0: no process */
	bool tree, stop;
	struct lz_snapshot snapshot;          /* of a VM */
	uint8_t identity[LAZYD_IDENTITY_LEN]; /* of process or VM */
};

/* -1 to go on, else the exit status: do they go together? */
int lz_served_check_options(const struct lz_served *v, const struct lz_service *s);
/* The files of a VM, before the working directory is left.
 * 0, or LZ_EXIT_X with the reason printed. */
int lz_served_open_files(struct lz_served *v, const struct lz_service *s);
/* A server of it all, with @options but for the identity;
 * what a process has goes to @images_fd. Likewise. */
int lz_served_open(struct lz_served *v, const struct lz_service *s, int images_fd,
		   struct lazyd_server_options *options, struct lazyd_server **out);
void lz_served_close(struct lz_served *v);

#endif
