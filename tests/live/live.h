/* SPDX-License-Identifier: MIT */
/*
 * The house of the live cases: one process that fills (the server), and one whose memory is filled
 * (the task), for every case, against the real kernel through the library's public functions. A
 * check that fails ends the process with a reason; a case that hangs is ended by its alarm.
 *
 * The memory is nr_pages pages at base, of which the image holds some and the others are holes; as
 * many addresses behind them are reserved for what moves. What a page holds follows from its code:
 * 0 is all zero, n + 1 the image's page n, larger numbers are what tasks write.
 */
#ifndef LIVE_H
#define LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uffd/lazyd.h"

enum { LIVE_PAGE = 4096, LIVE_LARGE = 2 << 20, LIVE_PER_LARGE = LIVE_LARGE / LIVE_PAGE };

/* What a case is made with. */
enum {
	LIVE_POISON = 1 << 0,   /* needs UFFDIO_POISON */
	LIVE_FORK = 1 << 1,     /* needs fork events, hence privilege */
	LIVE_DISK = 1 << 2,     /* its file lies on a disk and is cold */
	LIVE_TRUNCATE = 1 << 3, /* its file is cut before the server has opened it */
	LIVE_KILL = 1 << 4,     /* pages that are lost: kill */
	LIVE_ODD = 1 << 5,      /* short pieces, and a file that begins with something else */
	LIVE_LATE = 1 << 6,     /* the task registers by itself, behind the attach */
	LIVE_LONG = 1 << 7,     /* may take minutes */
	LIVE_UNSEEN = 1 << 8,   /* attached without a pidfd */
	/* Kinds of memory, each for its own; else private and anonymous. */
	LIVE_SHARED = 1 << 9, /* a memfd, which is empty */
	LIVE_MINOR = 1 << 10, /* ... which has the image's pages in place; registered MINOR too */
	LIVE_MIXED = 1 << 11, /* ... or every other block of 8 of them */
	LIVE_HUGE = 1 << 12,  /* hugetlb, of large pages; its image holds all but every fourth */
	LIVE_NO_SWEEP = 1 << 13, /* only what is touched comes, and first touches are noted */
	LIVE_COPIERS = 1 << 14,
};

struct live_shared {
	char reason[256];
	char note[128];      /* to be printed as it is */
	uint64_t counter[8]; /* the case's */
};

struct live;
struct live_case {
	const char *name;
	uint64_t nr_pages;
	unsigned with;
	void (*task)(struct live *);  /* in the task */
	void (*serve)(struct live *); /* in the server: from live_begin() to live_end() */
};

struct live {
	const struct live_case *c;
	uint8_t *base;
	uint64_t nr_pages;
	uint64_t seed;
	int memfd;    /* the memory itself, where that is shared */
	int file;     /* the image's pages, one behind the other, without the holes */
	uint64_t cut; /* its length, if it has been cut; else UINT64_MAX */
	int sock;     /* to the other side */
	int uffd;     /* the task's own, until it has given it away */
	pid_t task;   /* seen from the server */
	struct lazyd_memory *memory;
	struct lazyd *l;
	struct lazyd_stats stats; /* of live_fill() */
	struct live_shared *shared;
};

/* ---- both sides ---- */

__attribute__((noreturn, format(printf, 2, 3))) void live_fail(struct live *l, const char *format,
							       ...);
/* Ends the case without a verdict. */
__attribute__((noreturn)) void live_skip(struct live *l, const char *reason);
#define LIVE_CHECK(l, is_true)                                                   \
	do {                                                                     \
		if (!(is_true))                                                  \
			live_fail(l, "%s:%d: %s", __func__, __LINE__, #is_true); \
	} while (0)

uint64_t live_random(uint64_t *seed);
/* One byte to the other side, and one from it. */
void live_say(struct live *l);
void live_hear(struct live *l);

uint64_t live_code(uint64_t page);     /* of the image's page; 0: a hole */
uint64_t live_held(uint64_t nr_pages); /* how many of the first pages are no holes */
/* Does the image of this case have it? */
bool live_held_at(const struct live *l, uint64_t page);
bool live_is(const void *at, uint64_t code);
void live_write(void *at, uint64_t code);
/* Where the image's page @n begins in the file. */
uint64_t live_offset(const struct live *l, uint64_t n);
bool live_is_lost(const struct live *l, uint64_t n);

/* ---- in the task ---- */

void *live_at(const struct live *l, uint64_t page);
void live_expect(struct live *l, uint64_t page, uint64_t code);
/* Pages [first, end) are the image's, in random order. */
void live_expect_image(struct live *l, uint64_t first, uint64_t end);
/* All of them. */
void live_touch_all(struct live *l);
/* ... but not before the server says something: live_serve_sweep(). */
void live_touch_later(struct live *l);
/* False where the access is a SIGBUS at that very page. */
bool live_can_read(struct live *l, uint64_t page);
/* The image's pages, but a SIGBUS for each that its file has lost. */
void live_expect_left(struct live *l);
/* Touches, writes, gives back, moves, unmaps and forks at random,
 * and knows what it ought to see. */
void live_storm(struct live *l);
void live_register(struct live *l, void *at, uint64_t pages);
/* All of the memory is missing again, with another userfaultfd,
 * which the server gets too: l->uffd. */
void live_renew(struct live *l);
/* A child that dies with its parent; runs @run and ends well unless that fails. NULL: returns 0. */
pid_t live_fork(struct live *l, void (*run)(struct live *));
void live_wait(struct live *l, pid_t pid);

/* ---- in the server, in this order ---- */

/* The engine on @state (or NULL) and with the memory added to it. */
void live_begin(struct live *l, struct lazyd_state *state);
/* Starts a task. It has its own socket: copy *l to have more than one. */
void live_task(struct live *l);
/* Takes the userfaultfd the task has given away. */
int live_take(struct live *l);
void live_attach(struct live *l);
void live_start(struct live *l);
/* Serves until the task says something. */
void live_hear_serving(struct live *l);
/* Serves until all is done. */
void live_fill(struct live *l);
/* The task has ended as it should: with 0, or by @signal. */
void live_end(struct live *l, int signal);

/* The usual ways: the task runs while the sweep does; or has run before it begins. */
void live_serve_sweeping(struct live *l);
void live_serve_faults(struct live *l);
/* ... or there is nothing but the sweep, and the task is told when it is over. */
void live_serve_sweep(struct live *l);

/* ---- the tables, each ends with a case without a name ---- */

extern const struct live_case live_cases_fill[];
extern const struct live_case live_cases_kinds[];
extern const struct live_case live_cases_layout[];
extern const struct live_case live_cases_api[];
extern const struct live_case live_cases_lost[];
extern const struct live_case live_cases_sources[];
extern const struct live_case live_cases_storm[];
extern const struct live_case live_cases_worker[];
extern const struct live_case live_cases_workingset[];

#endif
