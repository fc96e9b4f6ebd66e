/* SPDX-License-Identifier: MIT */
/* The sentence that goes with a failure: what, where, and what to do. Pure. */
#ifndef LZ_WHY_H
#define LZ_WHY_H

enum { LZ_WHY_MAX = 512 };
/* Empty where nothing went wrong. */
struct lz_why {
	char text[LZ_WHY_MAX];
};

/* Writes the sentence and returns @err. */
int lz_why_say(struct lz_why *why, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
