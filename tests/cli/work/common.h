/* SPDX-License-Identifier: MIT */
/*
 * What the programs that get checkpointed share: page contents that can be computed again from a
 * 64-bit token, one line of speech through a fifo that is open only while it speaks (an open file
 * must not change between dump and restore), and the wait for the signal that says "you have been
 * restored, go on". Nothing here knows about CRIU or lazyd.
 */
#ifndef LAZYD_TESTS_CLI_WORK_COMMON_H
#define LAZYD_TESTS_CLI_WORK_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WORK_PAGE = 4096, WORK_WORDS = WORK_PAGE / 8 };

/*
 * First in main(). CRIU takes a thread's stack pointer for a reason to dump all pages eagerly when
 * its low 12 bits are zero (seen with 4.1.1 and 4.2.1): of the 256 places that a randomised stack
 * may begin at this leaves one, at which nothing of the kind happens.
 */
#define WORK_SETTLE_STACK()                  \
	(*(volatile char *)__builtin_alloca( \
		 16 + (((uintptr_t)__builtin_frame_address(0) - 2048) & 4080)) = 0)

/* Remembers the path of the fifo and blocks SIGUSR1. To be called first, in one thread. */
void work_start(const char *fifo);
/* Says "ready <pid> <rest>" and returns when SIGUSR1 has come. */
void work_ready(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The two halves of it, for a process that speaks or waits on its own. */
void work_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void work_wait_go(void);
/*
 * Forks a process that gets dumped too; in the parent it returns when the child is in work_ready(),
 * which says nothing there, and from which the child's own SIGUSR1, work_wake(), frees it.
 */
pid_t work_child(void);
void work_wake(pid_t child);
/* Waits for the end of a child, which must be by exit(code). */
void work_expect_exit(pid_t child, int code);
/* Says "BAD <pid> <rest>" and ends the process with status 1. */
void work_bad(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Reads a number given on the command line, or ends with a usage message. */
uint64_t work_number(const char *text, uint64_t least, uint64_t most);

/*
 * A token stands for the contents of one page, and token 0 for zeros. work_token() never yields 0
 * or the values just below 2^64, which a caller may use for marks of its own.
 */
uint64_t work_token(uint64_t seed, uint64_t page);
void work_write(void *page, uint64_t token);
/* The index of the first wrong word, or -1. */
int work_check(const void *page, uint64_t token);
/* The same, and work_bad() with what was found where it is wrong. */
void work_expect(const void *page, uint64_t token, uint64_t number, const char *when);

/* Private and anonymous, without huge pages: an image would else hold pages never written. */
void *work_area(uint64_t pages);
/* How many pages of an area are not present now; touches none of them. */
uint64_t work_absent(const void *area, uint64_t pages);

uint64_t work_ns(void);
uint64_t work_rand(uint64_t *state);
void work_sort(uint64_t *times, size_t count);
/* The time that p per mille of the sorted ones do not exceed. */
uint64_t work_permille(uint64_t *sorted, size_t count, unsigned int p);

/* Every number below count once, in an order that looks random; no memory is needed for it. */
struct work_order {
	uint64_t count, mask, at, step;
	unsigned int shift;
};
void work_order_init(struct work_order *o, uint64_t count, uint64_t seed);
uint64_t work_order_next(struct work_order *o);

#endif
