/* SPDX-License-Identifier: MIT */
/* What `lazyd workingset` is made of: its files, and the picture of one. */
#ifndef LZ_WORKINGSET_H
#define LZ_WORKINGSET_H

#include <stdio.h>

#include "uffd/lazyd.h"

/*
 * Draws @w to @to, named @title: address space against the order of first touch, a colour a task.
 * Its size has a bound, whatever that of the set. -ENOMEM, or what the writing said.
 */
int lz_workingset_draw(const struct lazyd_workingset *w, const char *title, FILE *to);

#endif
