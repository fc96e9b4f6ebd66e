/* SPDX-License-Identifier: MIT */
/*
 * A kernel in miniature: address spaces of a few pages, threads that touch them and change their
 * layout, and the userfaultfd calls upon them with the answers that facts/kernel.md reports. Each
 * page carries what it holds and what a thread must see there; the two are compared at every look.
 * Some pages are a file's, which all address spaces share and whose pages may be there before they
 * are mapped; some are large: K_LARGE of ours are one of the kernel's.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>

#include "pagemap/range.h"
#include "tests/prop/gen.h"

enum { K_PAGES = 56, K_MMS = 7, K_THREADS = 5, K_OPS = 2, K_SHIFT = 12 };
enum { K_LARGE = 4, K_FILE_PAGES = 4 };

static const uint64_t K_BASE = 0x100000;
static const uint64_t K_LOST = UINT64_MAX; /* the want of a page whose bytes no source has */

struct k_page {
	bool mapped, present, poisoned, volatil, large;
	int file; /* n + 1: it is the file's page n, which holds its data and want; 0: none's */
	int vma;
	uint64_t data, want;
};

struct k_file_page {
	bool is_there;
	int nr_removing; /* removed by so many at this moment: what is seen there is any of two */
	uint64_t data, want;
};

enum k_thread_state { K_RUN, K_FAULTED, K_IN_OP };
struct k_thread {
	enum k_thread_state state;
	int page;
	bool minor; /* the file had the page when it faulted */
	bool told;  /* its fault message has been read */
};

enum k_op_type { K_NO_OP, K_REMOVE, K_UNMAP, K_REMAP, K_FORK };
struct k_op {
	enum k_op_type type;
	bool told;
	bool punches; /* REMOVE takes the pages out of the file as well */
	int thread, page, nr, to, child;
};

struct k_mm {
	bool exists, running, dead;
	bool closed; /* no userfaultfd any more: what is missing reads as zero */
	struct k_page page[K_PAGES];
	struct k_thread thread[K_THREADS];
	struct k_op op[K_OPS]; /* in the order in which they began */
	int changing;
};

struct kernel {
	struct k_mm mm[K_MMS];
	struct k_file_page file[K_FILE_PAGES];
	struct gen *gen;
	uint64_t tokens;
	int vmas;
	bool may_poison; /* all is being given up: poison is right anywhere */
	uint64_t gone;   /* tokens from there to gone_end can no longer be had */
	uint64_t gone_end;
};

/* How often each answer came up, over all runs: an answer that never came was never tested. */
struct k_outcomes {
	uint64_t copied, partial, eexist, enoent, early_enoent, eagain, esrch, efault, zeroed,
		poisoned, killed;
	uint64_t continued, hole, minor, punched, large, large_zeroed;
	uint64_t removed, unmapped, remapped, forked, exited, split, sigbus, closed;
};
extern struct k_outcomes k_outcomes;

static inline uint64_t k_addr(int page)
{
	return K_BASE + ((uint64_t)page << K_SHIFT);
}

static inline int k_index(uint64_t addr)
{
	return (int)((addr - K_BASE) >> K_SHIFT);
}

/* A thread of @mm does something, if it can: touch, change the layout, exit. */
void k_thread_step(struct kernel *k, struct k_mm *mm);
/* A layout change whose event has been read runs on. */
void k_finish_op(struct kernel *k, struct k_mm *mm);
/* Reads messages as the kernel hands them out: faults before events. Returns how many. */
unsigned k_read(struct kernel *k, struct k_mm *mm, struct uffd_msg *out, unsigned max);

/* The ioctls: bytes or -errno. @token(i): what to place at the i-th page; 0 = -EFAULT. */
int64_t k_place(struct kernel *k, struct k_mm *mm, struct lz_range r, const uint64_t *tokens);
int64_t k_zero(struct kernel *k, struct k_mm *mm, struct lz_range r);
int64_t k_continue(struct kernel *k, struct k_mm *mm, struct lz_range r);
int64_t k_poison(struct kernel *k, struct k_mm *mm, struct lz_range r);
void k_wake(struct kernel *k, struct k_mm *mm, struct lz_range r);
void k_kill(struct kernel *k, struct k_mm *mm);
void k_close(struct kernel *k, struct k_mm *mm);
/* Nobody waits for an answer to a fault that has been told of. */
void k_check_waiting(const struct k_mm *mm);

bool k_is_quiet(const struct kernel *k);
/* At the end: nothing that a thread could still touch would be wrong. */
void k_check_end(struct kernel *k);

#endif
