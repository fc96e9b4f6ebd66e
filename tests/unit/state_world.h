/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the shared state share: a state with an engine at work upon it, the messages
 * that change it, and a successor that is compared with who was there before. The fixture is
 * global; each test begins with a fresh one.
 */
#ifndef STATE_WORLD_H
#define STATE_WORLD_H

#include "uffd/state.h"

#define K4(n) ((uint64_t)(n) << 12)

/* More pages than memory 0 has. */
enum { PAGES = 70, BASE = 0x100000, NONE = -1 };

extern struct lz_state *st;
extern struct lz_engine *e;
extern struct lz_plan *plan; /* of both memories */
extern uint64_t now_ns;
extern const struct lz_memories MEMORIES; /* 0, and 1, which has but the first area */

void set_up(void);
void tear_down(void);
struct lz_engine *new_engine(void);
/* Of memory 0; what lz_state_attach() says. */
int attach(int uffd);

/* Messages, in pages from BASE. */
struct uffd_msg fault(uint64_t page);
struct uffd_msg drop(uint8_t event, uint64_t from, uint64_t to);
struct uffd_msg move(uint64_t from, uint64_t nr, uint64_t to);
struct uffd_msg forks(uint32_t ufd);
enum lz_taken take_at(uint32_t space, unsigned index, struct lz_event *ev);
/* A batch of one, from its arrival to its end. */
enum lz_taken take(uint32_t space, struct uffd_msg m);

/* A sum over what is owed, and where. */
uint64_t owed(const struct lz_engine *of, uint32_t space);
/* A new engine in place of the old one; returns which space was half closed, or NONE. */
int replay(void);
/* Nothing was under way: the successor is the same, and so is what it was told of its slots. */
void succeed(void);

#endif
