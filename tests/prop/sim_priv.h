/* SPDX-License-Identifier: MIT */
/*
 * The rooms of a simulation: sim.c has the schedule, sim_life.c who comes and dies, sim_act.c the
 * actions and what comes of them, sim_check.c what must hold.
 */
#ifndef SIM_PRIV_H
#define SIM_PRIV_H

#include "tests/prop/kernel.h"
#include "tests/prop/sim.h"
#include "tests/prop/sources.h"
#include "tests/prop/stores.h"
#include "uffd/limits.h"
#include "uffd/state.h"

enum { PAGE = 1 << K_SHIFT, ROOTS = 2, WANTS = 5 };
/* Address spaces of one memory that come at any time. */
enum { GUESTS = 4, LENT_MAX = 3 };
/* Areas of the image: all of small pages but one, some of a file. */
enum { FILE_AREA = 3, LARGE_AREA = 4, SIM_AREAS = 5, LARGE_OFFSET = 44 };
extern const struct lz_seg sim_area[SIM_AREAS];

/* Whose bytes the plan's are. */
enum wire { NO_WIRE, SOME_WIRE, ALL_WIRE };

struct sim {
	struct kernel k;
	struct gen *gen;
	struct lz_state *st;
	struct lz_engine *e;
	struct lz_plan *plan;
	struct sources sources;
	enum wire wire;
	unsigned nr_reqs;
	uint64_t buf[LZ_REQS_MAX][LZ_SLICE_PAGES]; /* 0: nothing has arrived there */
	uint64_t buf_from[LZ_REQS_MAX];            /* which of the request's pages it begins with */
	bool mapped[LZ_REQS_MAX];
	bool fetching[LZ_BLOCKS_MAX];
	struct lz_action lent[LENT_MAX]; /* COPYs that are under way */
	unsigned nr_lent;
	uint64_t fault_ns;        /* of the last fault that this engine was told of */
	bool failed[LZ_REQS_MAX]; /* its last read brought nothing */
	uint64_t map_page[LZ_REQS_MAX];
	uint32_t map_source[LZ_REQS_MAX];
	enum lazyd_on_lost on_lost;
	uint64_t now;
	int nr_roots;
	bool started, abandoned;
	bool stays, finished; /* all roots are of the first memory, and they come at any time */
	bool no_sweep;
	uint64_t record_ns;
	struct {
		uint32_t memory;
		struct lz_range range;
	} want[WANTS]; /* some of it nonsense */
	unsigned nr_wants;
	bool wants_all; /* the engine has had room for all of them */
	bool went_well; /* no read has been short: pages are asked for again, one by one */
	bool waits;     /* no thread runs before the start: nothing has faulted by then */
	bool absent;    /* the wire is down until all else is done */
	bool released;  /* by this engine */
	bool ever_released;
	bool busy; /* threads act */
};

/* sim_life.c */

/* Did the process die within the call that has just returned? The state is as that left it:
 * rebuild() it. */
bool sim_died(void);
uint32_t sim_memory_of(const struct sim *s, int root);
int sim_max_roots(const struct sim *s);
struct k_mm *sim_mm_of(struct sim *s, uint32_t space);
void sim_attach_root(struct sim *s);
void sim_feed(struct sim *s, struct lz_event ev);
void sim_start(struct sim *s);
/* What the kernel has for @space: false if that is nothing. */
bool sim_read_messages(struct sim *s, uint32_t space);
void sim_make_engine(struct sim *s);
void sim_rebuild(struct sim *s);

/* sim_act.c */

bool sim_is_fetching(const struct sim *s);
void sim_complete_fetch(struct sim *s, uint32_t block);
void sim_complete_read(struct sim *s, uint32_t req);
/* Carries out that COPY, and feeds nothing. */
int64_t sim_copy(struct sim *s, const struct lz_action *a);
/* Takes back all that was lent: nothing is read while one of them is under way. */
void sim_settle_all(struct sim *s);
/* Until there is nothing more to do. */
void sim_run_actions(struct sim *s);

/* sim_check.c */

bool sim_is_large(const struct lz_action *a);
/* Is @p to come from @source, and not here? */
bool sim_lacks(const struct k_page *p, uint32_t source);
/* That READ, which has just been begun: is it its turn? */
void sim_check_read(struct sim *s, const struct lz_action *a);
/* The wire is down, and all else is done. */
void sim_check_absent(const struct sim *s);
/* At the end. */
void sim_check_record(const struct sim *s);
void sim_check_figures(const struct sim *s);

#endif
