/* SPDX-License-Identifier: MIT */
#include "iouring/asked.h"

#include <stddef.h>

void lz_asked_init(struct lz_asked *a, uint64_t near)
{
	*a = (struct lz_asked){ .near = near };
	for (struct lz_asked_row *r = a->row; r < a->row + LZ_ASKED_ROWS; r++)
		lz_asked_in_vain(r);
}

static bool goes_on(const struct lz_asked *a, const struct lz_asked_row *r, uint64_t offset)
{
	return offset >= r->end && offset - r->end <= a->near;
}

static bool goes_back(const struct lz_asked *a, const struct lz_asked_row *r, uint64_t end)
{
	return end <= r->start && r->start - end <= a->near;
}

struct lz_asked_row *lz_asked_by(struct lz_asked *a, uint64_t offset, uint64_t end)
{
	struct lz_asked_row *oldest = a->row, *by = NULL;

	for (struct lz_asked_row *r = a->row; r < a->row + LZ_ASKED_ROWS && !by; r++) {
		if (goes_on(a, r, offset) || goes_back(a, r, end))
			by = r;
		else if (r->turn < oldest->turn)
			oldest = r;
	}
	if (by) {
		by->backward = !goes_on(a, by, offset);
		by->streak++;
	} else {
		by = oldest;
		by->backward = false;
		by->streak = 0;
	}
	by->start = offset;
	by->end = end;
	by->turn = ++a->turns;
	return by;
}

void lz_asked_in_vain(struct lz_asked_row *r)
{
	r->start = r->end = UINT64_MAX;
}

bool lz_asked_up_to(const struct lz_asked *a, uint64_t offset)
{
	for (const struct lz_asked_row *r = a->row; r < a->row + LZ_ASKED_ROWS; r++)
		if (offset == r->end)
			return true;
	return false;
}
