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

static int report(uint64_t count)
{
	const struct k_outcomes *k = &k_outcomes;
	const struct sim_outcomes *s = &sim_outcomes;
	const struct fair_outcomes *f = &fair_outcomes;
	const struct {
		const char *name;
		uint64_t n;
	} row[] = {
		{ "copied", k->copied },
		{ "partial", k->partial },
		{ "eexist", k->eexist },
		{ "enoent", k->enoent },
		{ "early_enoent", k->early_enoent },
		{ "eagain", k->eagain },
		{ "esrch", k->esrch },
		{ "efault", k->efault },
		{ "zeroed", k->zeroed },
		{ "poisoned", k->poisoned },
		{ "killed", k->killed },
		{ "continued", k->continued },
		{ "hole", k->hole },
		{ "minor", k->minor },
		{ "punched", k->punched },
		{ "large", k->large },
		{ "large_zeroed", k->large_zeroed },
		{ "removed", k->removed },
		{ "unmapped", k->unmapped },
		{ "remapped", k->remapped },
		{ "forked", k->forked },
		{ "exited", k->exited },
		{ "split", k->split },
		{ "sigbus", k->sigbus },
		{ "closed", k->closed },
		{ "rebuilt", s->rebuilt },
		/* between two stores, where the build announces them */
		{ "died", stores_are_announced() ? s->died : UINT64_MAX },
		{ "left_over", s->left_over },
		{ "compacted", s->compacted },
		{ "read_errors", s->read_errors },
		{ "short_reads", s->short_reads },
		{ "remote_read", s->remote_read },
		{ "remote_urgent", s->remote_urgent },
		{ "remote_full", s->remote_full },
		{ "remote_down", s->remote_down },
		{ "remote_gone", s->remote_gone },
		{ "released", s->released },
		{ "released_again", s->released_again },
		{ "absent", s->absent },
		{ "wanted", s->wanted },
		{ "wanted_first", s->wanted_first },
		{ "unswept", s->unswept },
		{ "recorded", s->recorded },
		{ "record_over", s->record_over },
		{ "fair_answered", f->answered },
		{ "fair_late", f->late },
		{ "fair_kept", f->kept },
		{ "fair_crowded", f->crowded },
		{ "fair_swept", f->swept },
		{ "fetched", s->fetched },
		{ "fetched_late", s->fetched_late },
		{ "lent", s->lent },
		{ "stretched", s->stretched },
		{ "refused", s->refused },
	};
	int missing = 0;

	printf("schedules=%llu", (unsigned long long)count);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		printf(" %s=%llu", row[i].name, (unsigned long long)row[i].n);
		missing += !row[i].n;
	}
	printf("\n");
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		if (!row[i].n && count >= ENOUGH)
			fprintf(stderr, "never came up: %s\n", row[i].name);
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
