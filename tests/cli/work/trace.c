/* SPDX-License-Identifier: MIT */
/*
 * trace FIFO PID ADDRESS PAGES SEED: what a debugger does, to a process whose memory is still to
 * come. Stops it, reads its registers, says so, and reads all pages of the area at ADDRESS, from
 * the last to the first: by process_vm_readv(), by PTRACE_PEEKDATA, through /proc/PID/mem. The
 * first waits for a page that is missing, the others say EIO. Every one must hold what
 * work_token(SEED, page) says. Then it lets the process go on. The last page is missing until
 * "stopped" has been said.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t pid;
static int mem;

/* By one of three ways; 0 or errno. */
static int peek(uint64_t from, uint64_t *page, uint64_t way)
{
	struct iovec to = { page, WORK_PAGE }, at = { (void *)(uintptr_t)from, WORK_PAGE };

	if (way == 0)
		return process_vm_readv(pid, &to, 1, &at, 1, 0) == WORK_PAGE ? 0 : errno;
	if (way == 1)
		return pread(mem, page, WORK_PAGE, (off_t)from) == WORK_PAGE ? 0 : errno;
	for (uint64_t i = 0; i < WORK_WORDS; i++) {
		errno = 0;
		page[i] = (uint64_t)ptrace(PTRACE_PEEKDATA, pid, from + i * 8, NULL);
		if (errno)
			return errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof(regs) };
	uint64_t page[WORK_WORDS], at, pages, seed, refused = 0;
	char path[64];
	int status, r;

	if (argc != 6)
		return 2;
	work_start(argv[1]);
	pid = (pid_t)work_number(argv[2], 1, 1 << 30);
	at = work_number(argv[3], 1, UINT64_MAX);
	pages = work_number(argv[4], 1, 1 << 30);
	seed = work_number(argv[5], 0, UINT64_MAX);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0 || ptrace(PTRACE_SEIZE, pid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || waitpid(pid, &status, __WALL) != pid ||
	    !WIFSTOPPED(status))
		work_bad("process %d cannot be stopped: %s", (int)pid, strerror(errno));
	/* 1: NT_PRSTATUS, the general registers. */
	if (ptrace(PTRACE_GETREGSET, pid, (void *)1, &io) || !regs.rip)
		work_bad("no registers: %s", strerror(errno));
	for (uint64_t way = 1; way < 3; way++) {
		r = peek(at + (pages - 1) * WORK_PAGE, page, way);
		if (r != EIO)
			work_bad("a missing page, read by way %d: %s", (int)way, strerror(r));
	}
	work_say("stopped");
	for (uint64_t p = pages; p--;) {
		/* By words it takes a call for each of 512. */
		r = peek(at + p * WORK_PAGE, page, p % 16 == 15 ? 2 : p % 2);
		if (r == EIO) {
			refused++;
			r = peek(at + p * WORK_PAGE, page, 0);
		}
		if (r)
			work_bad("page %llu cannot be read: %s", (unsigned long long)p,
				 strerror(r));
		work_expect(page, work_token(seed, p), p, "read by a debugger");
	}
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL))
		work_bad("detach: %s", strerror(errno));
	work_say("ok read=%llu refused=%llu", (unsigned long long)pages,
		 (unsigned long long)refused);
	return 0;
}
