/* SPDX-License-Identifier: MIT */
/*
 * Structs of lazyd.h across versions of it: the caller was built with a shorter or a longer one
 * than the library, and what the two have in common is at the beginning.
 */
#ifndef LZ_SIZED_H
#define LZ_SIZED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * The options of a caller, whose missing ones are 0. False: they do not even have their size, or
 * ask for what this version has not got.
 */
static inline bool lz_sized_take(void *to, size_t room, const void *from, size_t size)
{
	const unsigned char *rest = from;

	if (size < sizeof(size_t))
		return false;
	for (size_t i = room; i < size; i++)
		if (rest[i])
			return false;
	memset(to, 0, room);
	memcpy(to, from, size < room ? size : room);
	return true;
}

/* Such options are not taken: -EINVAL, with a sentence for who has room for one (or NULL). */
static inline int lz_sized_refuse(char *text)
{
	if (text)
		(void)strcpy(text, "an argument is missing, or the options are longer than this "
				   "library knows");
	return -EINVAL;
}

/* What is filled in for a caller; 0 where this version knows of nothing. */
static inline void lz_sized_fill(void *to, size_t size, const void *from, size_t have)
{
	memset(to, 0, size);
	memcpy(to, from, size < have ? size : have);
}

#endif
