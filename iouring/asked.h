/* SPDX-License-Identifier: MIT */
/*
 * What a file has been asked about, in order to see who goes through it and which way: a sweep that
 * goes both ways by turns, and a row of faults beside it. A question belongs to a row where it is
 * within a window of the one before: between two slices of a sweep there are pages that faults have
 * brought. Offsets are those of files, INT64_MAX at most. Pure.
 */
#ifndef LZ_ASKED_H
#define LZ_ASKED_H

#include <stdbool.h>
#include <stdint.h>

enum { LZ_ASKED_ROWS = 3 };

struct lz_asked_row {
	uint64_t start, end; /* of the last question; UINT64_MAX: there is none to go on from */
	uint64_t turn;
	unsigned streak; /* questions that went on, all in a row */
	bool backward;   /* the last of them */
};

struct lz_asked {
	uint64_t near; /* bytes between two questions of a row, at most */
	uint64_t turns;
	struct lz_asked_row row[LZ_ASKED_ROWS];
};

void lz_asked_init(struct lz_asked *a, uint64_t near);
/* The row that [offset, end) goes on with; that of whoever asked longest ago begins with it. */
struct lz_asked_row *lz_asked_by(struct lz_asked *a, uint64_t offset, uint64_t end);
/* Nobody is to go on from there: the answer was no. */
void lz_asked_in_vain(struct lz_asked_row *r);
/* Has a row come to @offset? */
bool lz_asked_up_to(const struct lz_asked *a, uint64_t offset);

#endif
