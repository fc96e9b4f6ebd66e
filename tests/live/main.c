/* SPDX-License-Identifier: MIT */
/*
 * The live table: every case in a process of its own, a line for each.
 *
 *	live [-l] [NAME...]	all cases, or those whose names begin so; -l lists them
 *
 * Those that failed are told again at the end, for who sees only the last lines.
 * Ends with 0, with 1 when a case failed, with 77 when all were skipped. LIVE_VERBOSE=1 shows the
 * errors an engine logs, LIVE_SEED=N gives the cases that are random other numbers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/live/house.h"

enum { ALARM_S = 30, ALARM_LONG_S = 300 };

static const struct live_case *const tables[] = { live_cases_fill,      live_cases_kinds,
						  live_cases_sources,   live_cases_layout,
						  live_cases_lost,      live_cases_api,
						  live_cases_storm,     live_cases_worker,
						  live_cases_workingset };

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((noreturn)) static void run_case(const struct live_case *c,
					       struct live_shared *shared)
{
	struct live l = { .c = c,
			  .nr_pages = c->nr_pages,
			  .sock = -1,
			  .uffd = -1,
			  .memfd = -1,
			  .shared = shared };
	const char *lacks = live_house_lacks(c->with), *seed = getenv("LIVE_SEED");

	if (lacks)
		live_skip(&l, lacks);
	for (const char *p = c->name; *p; p++)
		l.seed = l.seed * 31 + (unsigned char)*p;
	l.seed ^= seed ? strtoull(seed, NULL, 0) << 32 : 0;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(c->with & LIVE_LONG ? ALARM_LONG_S : ALARM_S);
	live_house_build(&l);
	c->serve(&l);
	(void)close(l.file);
	exit(0); /* and not _exit(): a leak is a failure, where it is looked for */
}

static const char *verdict(int status)
{
	if (status == LIVE_SKIPPED)
		return "skip";
	return status ? "FAIL" : "ok";
}

static int start_case(const struct live_case *c, struct live_shared *shared, FILE *failed)
{
	double begun = now();
	int status;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	(void)fflush(NULL);
	pid = fork();
	if (!pid)
		run_case(c, shared);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	if (WIFSIGNALED(status) && !shared->reason[0])
		(void)snprintf(shared->reason, sizeof(shared->reason), "%s",
			       WTERMSIG(status) == SIGALRM ? "it hangs"
							   : strsignal(WTERMSIG(status)));
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	if (!status && shared->reason[0])
		status = 1; /* a child whose end nobody has looked at */
	printf("case=%s kind=%s %s ms=%.0f%s", c->name, live_house_kind(c->with), verdict(status),
	       (now() - begun) * 1e3, shared->note);
	if (status)
		printf(" reason=\"%s\"", shared->reason);
	putchar('\n');
	if (status && status != LIVE_SKIPPED)
		fprintf(failed, "FAILED case=%s reason=\"%s\"\n", c->name, shared->reason);
	return status;
}

static bool is_wanted(const char *name, int nr, char **prefix)
{
	for (int i = 0; i < nr; i++)
		if (strncmp(name, prefix[i], strlen(prefix[i])) == 0)
			return true;
	return nr == 0;
}

int main(int argc, char **argv)
{
	bool lists = argc > 1 && strcmp(argv[1], "-l") == 0;
	unsigned nr = 0, nr_failed = 0, nr_skipped = 0;
	struct live_shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	char *failures = NULL;
	size_t len;
	FILE *failed = open_memstream(&failures, &len);

	if (shared == MAP_FAILED || !failed)
		return 1;
	live_house_want_huge();
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct live_case *c = tables[t]; c->name; c++) {
			int r;

			if (!is_wanted(c->name, lists ? 0 : argc - 1, argv + 1))
				continue;
			if (lists) {
				puts(c->name);
				continue;
			}
			r = start_case(c, shared, failed);
			nr++;
			nr_skipped += r == LIVE_SKIPPED;
			nr_failed += r && r != LIVE_SKIPPED;
		}
	}
	(void)fclose(failed);
	if (!lists)
		printf("%s%u passed, %u failed, %u skipped\n", failures,
		       nr - nr_failed - nr_skipped, nr_failed, nr_skipped);
	free(failures);
	if (!lists && !nr)
		return 1; /* a name that names nothing */
	return nr_failed ? 1 : nr && nr == nr_skipped ? LIVE_SKIPPED : 0;
}
