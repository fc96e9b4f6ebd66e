/* SPDX-License-Identifier: MIT */
/*
 * usage FILE COMMAND...: runs a command and writes to FILE, once it has ended, what it took: CPU
 * time of it and of all it has waited for, and the peak of the largest of those processes. Passes
 * SIGTERM on, and ends as the command did.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

static volatile pid_t command;

static void pass_on(int sig)
{
	kill(command, sig);
}

static uint64_t to_us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = pass_on };
	sigset_t term, before;
	struct rusage used;
	int status;
	FILE *f;

	if (argc < 3) {
		fputs("usage FILE COMMAND...\n", stderr);
		return 2;
	}
	/* Nobody's until there is somebody to pass it on to. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	command = fork();
	if (command < 0)
		lz_bench_die("fork");
	if (command == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		execvp(argv[2], argv + 2);
		lz_bench_die(argv[2]);
	}
	sigaction(SIGTERM, &action, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	/* What the command was given, the end of a pipe above all, is not held open from here. */
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	while (waitpid(command, &status, 0) < 0)
		if (errno != EINTR)
			lz_bench_die("waitpid");
	if (getrusage(RUSAGE_CHILDREN, &used) < 0)
		lz_bench_die("getrusage");
	f = fopen(argv[1], "w");
	if (!f ||
	    fprintf(f, "cpu_us=%llu peak_kb=%ld\n",
		    (unsigned long long)(to_us(used.ru_utime) + to_us(used.ru_stime)),
		    used.ru_maxrss) < 0 ||
	    fclose(f))
		lz_bench_die(argv[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
