/* SPDX-License-Identifier: MIT */
/*
 * What the bench programs share: a clock, seeded order, samples and the line they are printed as,
 * and a process whose memory is somebody else's to fill. For programs that run and end: what fails
 * here ends them, with 77 where the machine cannot do it.
 */
#ifndef LZ_BENCH_H
#define LZ_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LZ_BENCH_PAGE = 4096, LZ_BENCH_SLICE = 65536 };

uint64_t lz_bench_now_ns(void);
/* The same numbers for the same @state, whose first value is the seed. */
uint64_t lz_bench_random(uint64_t *state);
/* 0..@nr-1 in an order that @seed decides; the caller frees it. */
uint32_t *lz_bench_order(uint32_t nr, uint64_t seed);
/* The number after an option; @least..@most or the end of the program. */
uint64_t lz_bench_number(const char *text, uint64_t least, uint64_t most);
/* To the @n-th of the CPUs that were allowed at the first call, here or in a parent. */
void lz_bench_pin(unsigned n);
_Noreturn void lz_bench_die(const char *what);  /* errno says why */
_Noreturn void lz_bench_skip(const char *what); /* so does it here */

/* A file of @len resident bytes in the directory @dir, without a name. */
int lz_bench_pages_file(const char *dir, uint64_t len, void (*fill)(uint8_t *page, uint64_t n));
/* Takes a file out of the page cache. Returns how many of its pages are there all the same. */
uint64_t lz_bench_cool(int fd);
/* Memory that children forked later write to as well. */
void *lz_bench_shared(size_t len);

/* A TCP socket that listens on the loopback device, and a connection to it.
 * Neither end waits for small data. */
int lz_bench_listen(void);
int lz_bench_dial(int listener);
void lz_bench_no_delay(int sock);
/* For the end of a child; dies if that was a bad one. */
void lz_bench_wait(pid_t pid);

/* Times, shared with children. */
struct lz_bench_samples {
	size_t nr, max;
	uint64_t ns[];
};
struct lz_bench_samples *lz_bench_samples_new(size_t max);
void lz_bench_samples_add(struct lz_bench_samples *s, uint64_t ns); /* dropped when full */
/* `name=@name <what @format says> n=... p50_ns=... p99_ns=... max_ns=...`; sorts and empties @s. */
void lz_bench_line(const char *name, struct lz_bench_samples *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * One operation of the pure core: @run does it @ops times and returns how long that took, what it
 * had to prepare not counted. The least of several runs: `name=@name n=@n ns_per_op=...`.
 */
void lz_bench_op(const char *name, uint64_t n, uint64_t ops,
		 uint64_t (*run)(void *arg, uint64_t ops), void *arg);
/* Keeps the compiler from dropping what computes @value. */
static inline void lz_bench_use(uint64_t value)
{
	__asm__ volatile("" : : "r"(value));
}

/* Hands @uffd over as CRIU does, with one byte, and closes it. */
void lz_bench_send(int sock, int uffd);

/*
 * A child with @len bytes of missing memory, whose userfaultfd came here as CRIU sends it. It runs
 * @run once told to go (NULL: its memory is there to be filled, not used); @sock hangs up when it
 * has ended.
 */
struct lz_bench_task {
	pid_t pid;
	int sock, uffd; /* -1 once somebody else has taken it */
	uint64_t base, len;
};
void lz_bench_task_start(struct lz_bench_task *t, uint64_t len, void (*run)(uint8_t *area, void *),
			 void *arg);
void lz_bench_task_go(struct lz_bench_task *t);
/* Closes what is still open, waits for its end, dies if that was a bad one. */
void lz_bench_task_end(struct lz_bench_task *t);
/*
 * One UFFDIO_COPY, and a WAKE where the page was there. Returns the bytes that are settled: @len,
 * or fewer where a page was present, 0 where the task has ended.
 */
uint64_t lz_bench_copy(const struct lz_bench_task *t, uint64_t to, const void *from, uint64_t len);

#endif
