/* SPDX-License-Identifier: MIT */
/*
 * sim [FROM [COUNT]]: that many schedules from that seed on, and in between those of fair.c. Fails
 * on the first finding, naming its seed, and at the end if an outcome that should have come up
 * never did.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/prop/fair.h"
#include "tests/prop/kernel.h"
#include "tests/prop/sim.h"
#include "tests/prop/stores.h"
#include "uffd/state.h"

enum { ENOUGH = 20000 }; /* schedules after which every outcome must have been seen */
enum { FAIR_EVERY = 8 }; /* of them, one of fair.c too */

static volatile uint64_t current_seed;

static void on_abort(int sig)
{
	char b[64];
	int n = snprintf(b, sizeof(b), "failing seed: %llu\n", (unsigned long long)current_seed);

	(void)!write(STDERR_FILENO, b, (size_t)n);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* What must have come up. */
static const struct {
	const char *name;
	const uint64_t *n;
} outcome[] = {
	{ "copied", &k_outcomes.copied },
	{ "partial", &k_outcomes.partial },
	{ "eexist", &k_outcomes.eexist },
	{ "enoent", &k_outcomes.enoent },
	{ "early_enoent", &k_outcomes.early_enoent },
	{ "eagain", &k_outcomes.eagain },
	{ "esrch", &k_outcomes.esrch },
	{ "efault", &k_outcomes.efault },
	{ "zeroed", &k_outcomes.zeroed },
	{ "poisoned", &k_outcomes.poisoned },
	{ "killed", &k_outcomes.killed },
	{ "continued", &k_outcomes.continued },
	{ "hole", &k_outcomes.hole },
	{ "minor", &k_outcomes.minor },
	{ "punched", &k_outcomes.punched },
	{ "large", &k_outcomes.large },
	{ "large_zeroed", &k_outcomes.large_zeroed },
	{ "removed", &k_outcomes.removed },
	{ "unmapped", &k_outcomes.unmapped },
	{ "remapped", &k_outcomes.remapped },
	{ "forked", &k_outcomes.forked },
	{ "exited", &k_outcomes.exited },
	{ "split", &k_outcomes.split },
	{ "sigbus", &k_outcomes.sigbus },
	{ "closed", &k_outcomes.closed },
	{ "rebuilt", &sim_outcomes.rebuilt },
	{ "died", &sim_outcomes.died },
	{ "left_over", &sim_outcomes.left_over },
	{ "compacted", &sim_outcomes.compacted },
	{ "read_errors", &sim_outcomes.read_errors },
	{ "short_reads", &sim_outcomes.short_reads },
	{ "remote_read", &sim_outcomes.remote_read },
	{ "remote_urgent", &sim_outcomes.remote_urgent },
	{ "remote_full", &sim_outcomes.remote_full },
	{ "remote_down", &sim_outcomes.remote_down },
	{ "remote_gone", &sim_outcomes.remote_gone },
	{ "released", &sim_outcomes.released },
	{ "released_again", &sim_outcomes.released_again },
	{ "absent", &sim_outcomes.absent },
	{ "wanted", &sim_outcomes.wanted },
	{ "wanted_first", &sim_outcomes.wanted_first },
	{ "unswept", &sim_outcomes.unswept },
	{ "recorded", &sim_outcomes.recorded },
	{ "record_over", &sim_outcomes.record_over },
	{ "fair_answered", &fair_outcomes.answered },
	{ "fair_late", &fair_outcomes.late },
	{ "fair_kept", &fair_outcomes.kept },
	{ "fair_crowded", &fair_outcomes.crowded },
	{ "fair_swept", &fair_outcomes.swept },
	{ "fetched", &sim_outcomes.fetched },
	{ "fetched_late", &sim_outcomes.fetched_late },
	{ "lent", &sim_outcomes.lent },
	{ "stretched", &sim_outcomes.stretched },
	{ "refused", &sim_outcomes.refused },
};
enum { OUTCOMES = sizeof(outcome) / sizeof(outcome[0]) };

static int report(uint64_t count)
{
	int missing = 0;

	/* Nobody dies between two stores where the build does not announce them. */
	if (!stores_are_announced())
		sim_outcomes.died = UINT64_MAX;
	printf("schedules=%llu", (unsigned long long)count);
	for (size_t i = 0; i < OUTCOMES; i++) {
		printf(" %s=%llu", outcome[i].name, (unsigned long long)*outcome[i].n);
		missing += !*outcome[i].n;
	}
	printf("\n");
	for (size_t i = 0; i < OUTCOMES; i++)
		if (!*outcome[i].n && count >= ENOUGH)
			fprintf(stderr, "never came up: %s\n", outcome[i].name);
	return count >= ENOUGH && missing ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : ENOUGH;
	struct lz_state *st = calloc(1, lz_state_size(SIM_PAGES));

	if (!st)
		return 1;
	signal(SIGABRT, on_abort);
	for (uint64_t seed = from; seed < from + count; seed++) {
		struct gen g = { .seed = seed * UINT64_C(2654435761) +
					 UINT64_C(88172645463325252) };

		current_seed = seed;
		sim_run(&g, st);
		if (seed % FAIR_EVERY == 0)
			fair_run(&g);
	}
	free(st);
	return report(count);
}
