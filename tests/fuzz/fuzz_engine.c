/* SPDX-License-Identifier: MIT */
/*
 * Schedules of the simulated kernel (tests/prop), chosen by the fuzzer instead of a seed: each byte
 * is one choice. A finding is an abort of the simulation: a wrong byte, a silent zero, a hang, a
 * broken invariant.
 *
 * limits: small
 */
#include <stdlib.h>

#include "tests/prop/sim.h"
#include "uffd/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lz_state *st; /* as in sim's main: used again, as a slot's next user does */
	struct gen g = { .bytes = data, .nr_bytes = size };

	if (!size)
		return 0;
	if (!st)
		st = calloc(1, lz_state_size(SIM_PAGES));
	if (st)
		sim_run(&g, st);
	return 0;
}
