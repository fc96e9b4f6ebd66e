/* SPDX-License-Identifier: MIT */
/* From the kernel's struct uffd_msg (ioctl_userfaultfd(2), userfaultfd(2)) to an event. Pure. */
#ifndef LZ_MSG_H
#define LZ_MSG_H

#include <linux/userfaultfd.h>

#include "uffd/engine.h"

/*
 * Fills in type, range and to. FORK: *ufd is the child's descriptor, -1 otherwise. -EBADMSG for an
 * event this code does not know, or one whose numbers cannot be.
 */
int lz_msg_decode(const struct uffd_msg *m, struct lz_event *ev, int *ufd);

#endif
