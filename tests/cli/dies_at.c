/* SPDX-License-Identifier: MIT */
/*
 * dies_at ARMED WHO N FIFO COMMAND...: runs the command in its own place, and if there is a file
 * ARMED, which it removes, has a tracer kill it at the Nth system call, at its beginning or at its
 * end, of whom it is about:
 *
 * both    the command and its children, counted together; "kill" is written to FIFO just before
 * keeper  the command itself, counted from its first child on
 * worker  its child
 *
 * The tracer writes a line to ARMED.end: "died" when it was in time for that, else "over" and how
 * many such calls there were.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		  PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC
};
enum { TRACEES_MAX = 64 };

static const char *const who_name[] = { "both", "keeper", "worker" };
enum who { BOTH, KEEPER, WORKER, NR_WHO };

static struct {
	const char *fifo;
	char end[PATH_MAX];
	enum who who;
	unsigned long at, calls;
	pid_t keeper, worker;
	bool executed, died;
	pid_t tracee[TRACEES_MAX];
	unsigned nr;
} t;

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static void say(const char *path, const char *line)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		die(path);
	(void)close(fd);
}

static void add(pid_t pid)
{
	for (unsigned i = 0; i < t.nr; i++)
		if (t.tracee[i] == pid)
			return;
	if (t.nr == TRACEES_MAX)
		die("too many children");
	t.tracee[t.nr++] = pid;
}

static bool counts(pid_t pid)
{
	switch (t.who) {
	case BOTH:
		return t.executed;
	case KEEPER:
		return pid == t.keeper && t.worker;
	default:
		return pid == t.worker;
	}
}

static void on_call(pid_t pid)
{
	if (t.died || !counts(pid) || t.calls++ < t.at)
		return;
	t.died = true;
	if (t.who == BOTH)
		say(t.fifo, "kill\n");
	for (unsigned i = 0; i < t.nr; i++)
		if (t.who == BOTH || t.tracee[i] == pid)
			(void)kill(t.tracee[i], SIGKILL);
	say(t.end, "died\n");
}

static void on_event(pid_t pid, int event)
{
	unsigned long child;

	switch (event) {
	case PTRACE_EVENT_EXEC:
		t.executed = true;
		return;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child))
			return; /* just killed */
		add((pid_t)child);
		if (pid == t.keeper && !t.worker)
			t.worker = (pid_t)child;
	}
}

static void on_stop(pid_t pid, int status)
{
	int event = status >> 16, number = WSTOPSIG(status), deliver = 0;
	long request = t.died ? PTRACE_CONT : PTRACE_SYSCALL;

	add(pid);
	if (number == (SIGTRAP | 0x80))
		on_call(pid);
	else if (event == PTRACE_EVENT_STOP && number != SIGTRAP)
		request = PTRACE_LISTEN;
	else if (event)
		on_event(pid, event);
	else
		deliver = number;
	/* Who has been killed meanwhile is not there for it. */
	(void)ptrace((enum __ptrace_request)request, pid, NULL, (void *)(long)deliver);
}

static void trace(int ready)
{
	char over[32];
	int status;
	pid_t pid;

	if (ptrace(PTRACE_SEIZE, t.keeper, NULL, (void *)(long)OPTIONS) ||
	    ptrace(PTRACE_INTERRUPT, t.keeper, NULL, NULL))
		die("ptrace");
	add(t.keeper);
	if (write(ready, "", 1) != 1)
		die("pipe");
	/* Whoever waits for the end of what the command has inherited does not wait for this. */
	(void)close_range(3, ~0U, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR)
		if (pid > 0 && WIFSTOPPED(status))
			on_stop(pid, status);
	(void)snprintf(over, sizeof(over), "over %lu\n", t.calls);
	if (!t.died)
		say(t.end, over);
}

/* Not a child of the command's: that has some of its own. */
static void begin(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	t.keeper = getpid();
	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		if (!fork())
			trace(ready[1]);
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
	(void)close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("no tracer");
	(void)close(ready[0]);
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fputs("usage: dies_at ARMED both|keeper|worker N FIFO COMMAND...\n", stderr);
		return 125;
	}
	(void)snprintf(t.end, sizeof(t.end), "%s.end", argv[1]);
	while (t.who < NR_WHO && strcmp(argv[2], who_name[t.who]) != 0)
		t.who++;
	if (t.who == NR_WHO)
		die(argv[2]);
	t.at = strtoul(argv[3], NULL, 10);
	t.fifo = argv[4];
	if (!unlink(argv[1]))
		begin();
	(void)execvp(argv[5], argv + 5);
	die(argv[5]);
}
