/* SPDX-License-Identifier: MIT */
/*
 * The picture of a working set, as SVG. What is touched of the address space lies on the vertical
 * axis, in stretches: a gap that nobody touched anything of is left out where it is large. The
 * page's place in the order lies on the horizontal one. Runs are put on a grid of cells first, so
 * that the file does not grow with the set.
 */
#include "tool/workingset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tool/out.h"

enum {
	COLUMNS = 480,
	ROWS = 320,
	CELL = 2, /* of the picture's units */
	LEFT = 150,
	TOP = 40,
	TASKS = 8,           /* colours; then they come again */
	LABEL_ROWS = 7,      /* of a label's height */
	GAP_BYTES = 4 << 20, /* a larger one is left out */
};

/* Addresses of one task that are drawn one behind the other, from byte @at of the axis on. */
struct stretch {
	uint64_t start, end, at;
	uint32_t task;
	unsigned colour;
};

struct picture {
	struct lazyd_touch *touch; /* by place */
	size_t nr;
	struct stretch *stretch;
	size_t nr_stretches;
	uint64_t bytes, pages; /* of the axes */
	uint8_t cell[ROWS][COLUMNS];
};

static int by_place(const void *a, const void *b)
{
	const struct lazyd_touch *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return (x->start > y->start) - (x->start < y->start);
}

static int lay_out(struct picture *p, const struct lazyd_workingset *w)
{
	struct lazyd_touch t;
	struct stretch *s = NULL;

	while (!lazyd_workingset_touch(w, p->nr, &t))
		p->nr++;
	p->touch = calloc(p->nr + 1, sizeof(*p->touch));
	p->stretch = calloc(p->nr + 1, sizeof(*p->stretch));
	if (!p->touch || !p->stretch)
		return -ENOMEM;
	for (size_t i = 0; i < p->nr; i++)
		(void)lazyd_workingset_touch(w, i, &p->touch[i]);
	qsort(p->touch, p->nr, sizeof(*p->touch), by_place);
	for (size_t i = 0; i < p->nr; i++) {
		const struct lazyd_touch *next = &p->touch[i];
		bool is_same = s && s->task == next->owner;

		if (!is_same || next->start - s->end > GAP_BYTES) {
			unsigned colour = is_same ? s->colour : s ? (s->colour + 1) % TASKS : 0;

			s = &p->stretch[p->nr_stretches++];
			*s = (struct stretch){ .start = next->start,
					       .task = next->owner,
					       .colour = colour };
		}
		s->end = next->start + next->len;
		p->pages += next->len >> 12;
	}
	for (size_t i = 0; i < p->nr_stretches; i++) {
		p->stretch[i].at = p->bytes;
		p->bytes += p->stretch[i].end - p->stretch[i].start;
	}
	return 0;
}

static const struct stretch *stretch_of(const struct picture *p, const struct lazyd_touch *t)
{
	size_t low = 0, high = p->nr_stretches;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		const struct stretch *s = &p->stretch[middle];

		if (s->task < t->owner || (s->task == t->owner && s->start <= t->start))
			low = middle;
		else
			high = middle;
	}
	return &p->stretch[low];
}

/* Of an axis of @whole, in @cells cells. */
static unsigned scale(uint64_t n, uint64_t whole, unsigned cells)
{
	unsigned at = (unsigned)((double)n / (double)whole * cells);

	return at < cells ? at : cells - 1;
}

static void put_runs(struct picture *p, const struct lazyd_workingset *w)
{
	struct lazyd_touch t;
	uint64_t rank = 0;

	for (size_t i = 0; !lazyd_workingset_touch(w, i, &t); i++) {
		const struct stretch *s = stretch_of(p, &t);
		uint64_t from = s->at + (t.start - s->start), pages = t.len >> 12;
		unsigned row = scale(from, p->bytes, ROWS), column = scale(rank, p->pages, COLUMNS);
		unsigned last_row = scale(from + t.len - 1, p->bytes, ROWS);
		unsigned last_column = scale(rank + pages - 1, p->pages, COLUMNS);
		unsigned steps = last_row - row > last_column - column ? last_row - row
								       : last_column - column;

		for (unsigned n = 0; n <= steps; n++)
			p->cell[row + (steps ? (last_row - row) * n / steps : 0)]
			       [column + (steps ? (last_column - column) * n / steps : 0)] =
				(uint8_t)(1 + s->colour);
		rank += pages;
	}
}

/* Low addresses below, and cells side by side as one. */
static void draw_cells(const struct picture *p, FILE *to)
{
	static const char *const colours[TASKS] = {
		"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
		"#ff7f0e", "#17becf", "#8c564b", "#e377c2",
	};

	for (unsigned row = 0; row < ROWS; row++)
		for (unsigned from = 0, end; from < COLUMNS; from = end) {
			uint8_t of = p->cell[row][from];

			for (end = from + 1; end < COLUMNS && p->cell[row][end] == of; end++) {
			}
			if (of)
				fprintf(to,
					"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%d\" fill=\"%s\"/>\n",
					LEFT + from * CELL, TOP + (ROWS - 1 - row) * CELL,
					(end - from) * CELL, CELL, colours[of - 1]);
		}
}

/* Each stretch's lowest address and, where there are several, its task;
 * where there is room for it. */
static void draw_labels(const struct picture *p, FILE *to)
{
	bool several = p->nr_stretches &&
		       p->stretch[0].task != p->stretch[p->nr_stretches - 1].task;
	unsigned free_from = 0;

	for (size_t i = 0; i < p->nr_stretches; i++) {
		const struct stretch *s = &p->stretch[i];
		unsigned row = scale(s->at, p->bytes, ROWS), y = TOP + (ROWS - row) * CELL;

		fprintf(to, "<path d=\"M%u %u h%u\" stroke=\"#ddd\"/>\n", LEFT, y, COLUMNS * CELL);
		if (row < free_from)
			continue;
		free_from = row + LABEL_ROWS;
		fprintf(to, "<text x=\"%u\" y=\"%u\" text-anchor=\"end\">", LEFT - 6, y);
		if (several)
			fprintf(to, "%" PRIu32 ": ", s->task);
		fprintf(to, "%#" PRIx64 "</text>\n", s->start);
	}
}

static void put_escaped(const char *text, FILE *to)
{
	for (; *text; text++)
		if (*text == '<')
			(void)fputs("&lt;", to);
		else if (*text == '&')
			(void)fputs("&amp;", to);
		else
			(void)fputc(*text, to);
}

static int draw(const struct picture *p, const char *title, FILE *to)
{
	int width = LEFT + COLUMNS * CELL + 20, height = TOP + ROWS * CELL + 40;

	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"24\">",
		width, height, width, height, LEFT);
	put_escaped(title, to);
	fprintf(to, ": %" PRIu64 " pages, %s, in %zu runs</text>\n", p->pages,
		lz_out_size(lz_out_pages(p->pages)).s, p->nr);
	draw_labels(p, to);
	draw_cells(p, to);
	fprintf(to,
		"<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#888\"/>\n"
		"<text x=\"%d\" y=\"%d\">touched first</text>\n"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"end\">last</text>\n</svg>\n",
		LEFT, TOP, COLUMNS * CELL, ROWS * CELL, LEFT, height - 20, LEFT + COLUMNS * CELL,
		height - 20);
	return fflush(to) || ferror(to) ? -EIO : 0;
}

int lz_workingset_draw(const struct lazyd_workingset *w, const char *title, FILE *to)
{
	struct picture *p = calloc(1, sizeof(*p));
	int r = p ? lay_out(p, w) : -ENOMEM;

	if (!r) {
		put_runs(p, w);
		r = draw(p, title, to);
	}
	if (p) {
		free(p->touch);
		free(p->stretch);
	}
	free(p);
	return r;
}
