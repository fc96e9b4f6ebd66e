/* SPDX-License-Identifier: MIT */
/* One random schedule of many spaces whose threads fault without end: is nobody passed over? */
#ifndef FAIR_H
#define FAIR_H

#include "tests/prop/gen.h"

struct fair_outcomes {
	uint64_t answered, late, kept, crowded, swept;
};
extern struct fair_outcomes fair_outcomes;

void fair_run(struct gen *g);

#endif
