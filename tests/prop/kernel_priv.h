/* SPDX-License-Identifier: MIT */
/*
 * The rooms of the miniature kernel: kernel.c has the pages, the calls upon them and the messages,
 * kernel_threads.c what threads do of their own accord.
 */
#ifndef KERNEL_PRIV_H
#define KERNEL_PRIV_H

#include "tests/prop/kernel.h"

/* kernel.c */
/* @t touches page @i: it looks at it, and perhaps writes, or it faults. */
void k_touch(struct kernel *k, struct k_mm *mm, struct k_thread *t, int i);
/* What @op had announced is done, and its thread runs on. */
void k_end_op(struct kernel *k, struct k_mm *mm, struct k_op *op);

#endif
