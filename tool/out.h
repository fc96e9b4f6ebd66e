/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands print, in one voice: errors, sizes and times for people, statistics as a
 * summary or as JSON, progress on a terminal or in plain lines. Decides nothing, measures nothing
 * but the time between two lines of progress.
 */
#ifndef LZ_OUT_H
#define LZ_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "uffd/lazyd.h"

/* One line "lazyd: ..." on standard error; @format has no newline. */
__attribute__((format(printf, 1, 2))) void lz_out_error(const char *format, ...);
/* Writes the sentence that goes with a failure, and returns @r. */
__attribute__((format(printf, 3, 4))) int lz_out_why(struct lazyd_why *why, int r,
						     const char *format, ...);

/* The next option of the subcommand argv[0], as getopt_long() has it; '?' with a sentence printed.
 */
struct option;
int lz_out_option(int argc, char **argv, const char *letters, const struct option *options);

/* Text by value: lz_out_size(n).s is good until the end of the statement it is made in. */
struct lz_text {
	char s[40];
};
struct lz_text lz_out_size(uint64_t bytes);                 /* "512 MiB" */
struct lz_text lz_out_duration(uint64_t ns);                /* "58.1 us", "3 min 20 s" */
struct lz_text lz_out_rate(uint64_t bytes, double seconds); /* "1.61 GB/s" */
uint64_t lz_out_pages(uint64_t pages);                      /* in bytes */
uint64_t lz_out_now(void);                                  /* ns, CLOCK_MONOTONIC */

/* Would a line written to @fd be taken at once? Of a pipe that nobody reads, or a terminal that was
 * stopped, no; and no daemon waits for those. */
bool lz_out_takes(int fd);

/* Prints @json with a newline behind it and drops it; 0 or -errno. */
int lz_out_json(FILE *to, json_t *json);
/* On standard output; whether that can be written is looked at in the end, in main.c.
 * 0 or -ENOMEM. */
int lz_out_print(json_t *json);

/* Every figure under its name in struct lazyd_stats, and "seconds". NULL: no memory. */
json_t *lz_out_stats_json(const struct lazyd_stats *stats, double seconds);
/* The same for people, in about ten lines. */
void lz_out_summary(FILE *to, const struct lazyd_stats *stats, double seconds);

/* A bar that is drawn over itself on a terminal, a plain line every few seconds elsewhere. */
struct lz_progress {
	FILE *to;
	bool is_terminal;
	bool is_drawn;       /* a bar stands on the terminal's last line */
	uint64_t drawn_ns;   /* when, or begun */
	uint64_t drawn_done; /* pages done at that time */
	double rate;         /* pages a second, of late; 0: not known yet */
};
void lz_progress_begin(struct lz_progress *p, FILE *to);
/* Draws if it is time to: cheap enough to be called every turn. */
void lz_progress_update(struct lz_progress *p, const struct lazyd_stats *stats);
/* Takes the bar away, so that other lines may follow; an update draws it again. */
void lz_progress_end(struct lz_progress *p);

#endif
