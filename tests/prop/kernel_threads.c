/* SPDX-License-Identifier: MIT */
/*
 * What threads of the miniature kernel do: they touch pages, change the layout, split areas without
 * a word, and exit. Which, the generator says.
 */
#include "tests/prop/kernel_priv.h"

#include <string.h>

static bool in_op(const struct k_mm *mm, int page, int nr)
{
	for (int i = 0; i < K_OPS; i++) {
		const struct k_op *op = &mm->op[i];

		if (op->type == K_NO_OP || op->type == K_FORK)
			continue;
		/* What a REMOVE has announced and not yet done is off limits; moves are done. */
		if (op->type == K_REMOVE && page < op->page + op->nr && op->page < page + nr)
			return true;
	}
	return false;
}

static bool one_area(const struct k_mm *mm, int page, int nr)
{
	for (int i = page; i < page + nr; i++)
		if (!mm->page[i].mapped || mm->page[i].vma != mm->page[page].vma)
			return false;
	return true;
}

static bool is_free(const struct k_mm *mm, int page, int nr)
{
	for (int i = page; i < page + nr; i++)
		if (mm->page[i].mapped)
			return false;
	return true;
}

/* Page @from on to the end of its area get a new area: a seam. */
static void seam(struct kernel *k, struct k_mm *mm, int from)
{
	int old = from < K_PAGES ? mm->page[from].vma : 0;

	k->vmas++;
	for (int i = from; i < K_PAGES && mm->page[i].mapped && mm->page[i].vma == old; i++)
		mm->page[i].vma = k->vmas;
}

static bool start_fork(struct kernel *k, struct k_mm *mm, struct k_op *op)
{
	int c = 0;

	while (c < K_MMS && k->mm[c].exists)
		c++;
	if (c == K_MMS)
		return false;
	/* A REMOVE under way is the parent's: the child may keep the page or owe it still. */
	for (int i = 0; i < K_PAGES; i++)
		if (mm->page[i].volatil)
			return false;
	k->mm[c] = (struct k_mm){ .exists = true };
	memcpy(k->mm[c].page, mm->page, sizeof(mm->page));
	op->child = c;
	return true;
}

static void move_pages(struct kernel *k, struct k_mm *mm, const struct k_op *op)
{
	seam(k, mm, op->page);
	seam(k, mm, op->page + op->nr);
	k->vmas++;
	for (int i = 0; i < op->nr; i++) {
		mm->page[op->to + i] = mm->page[op->page + i];
		mm->page[op->to + i].vma = k->vmas;
		mm->page[op->page + i] = (struct k_page){ 0 };
	}
}

/* What is given back of a file is not the file's page, unless that is taken as well. */
static void mark_removing(struct kernel *k, struct k_mm *mm, const struct k_op *op)
{
	for (int i = op->page; i < op->page + op->nr; i++) {
		struct k_page *p = &mm->page[i];

		if (!p->file)
			p->volatil = true;
		else if (op->punches)
			k->file[p->file - 1].nr_removing++;
		k_outcomes.punched += p->file && op->punches;
	}
}

static bool start_op(struct kernel *k, struct k_mm *mm, int thread)
{
	struct k_op op = { .thread = thread };
	int slot = 0;

	while (slot < K_OPS && mm->op[slot].type != K_NO_OP)
		slot++;
	op.type = (enum k_op_type)(1 + gen_below(k->gen, 4));
	op.nr = 1 + (int)gen_below(k->gen, 6);
	op.page = (int)gen_below(k->gen, (uint32_t)(K_PAGES - op.nr + 1));
	op.to = (int)gen_below(k->gen, (uint32_t)(K_PAGES - op.nr + 1));
	if (slot == K_OPS)
		return false;
	if (mm->page[op.page]
		    .large) { /* none is torn; rounded as the call does or the caller must */
		op.page -= op.page % K_LARGE;
		op.to -= op.to % K_LARGE;
		op.nr = op.nr > K_LARGE ? 2 * K_LARGE : K_LARGE;
		if (op.page + op.nr > K_PAGES || op.to + op.nr > K_PAGES)
			return false;
	}
	if (op.type != K_FORK && (!one_area(mm, op.page, op.nr) || in_op(mm, op.page, op.nr)))
		return false;
	switch (op.type) {
	case K_FORK:
		for (int i = 0; i < K_OPS; i++) /* the order of two forks' tables is not modelled */
			if (mm->op[i].type != K_NO_OP)
				return false;
		if (!start_fork(k, mm, &op))
			return false;
		k_outcomes.forked++;
		break;
	case K_REMOVE:
		op.punches = gen_one_in(k->gen, 2);
		mark_removing(k, mm, &op);
		k_outcomes.removed++;
		break;
	case K_UNMAP:
		seam(k, mm, op.page + op.nr);
		memset(&mm->page[op.page], 0, (size_t)op.nr * sizeof(mm->page[0]));
		k_outcomes.unmapped++;
		break;
	case K_REMAP:
		if (!is_free(mm, op.to, op.nr))
			return false;
		move_pages(k, mm, &op);
		k_outcomes.remapped++;
		break;
	default:
		return false;
	}
	mm->op[slot] = op;
	mm->thread[thread].state = K_IN_OP;
	mm->changing++;
	if (mm->closed) {
		if (op.type == K_FORK)
			k->mm[op.child].closed = true;
		k_end_op(k, mm, &mm->op[slot]);
	}
	return true;
}

void k_thread_step(struct kernel *k, struct k_mm *mm)
{
	int t = (int)gen_below(k->gen, K_THREADS), i = (int)gen_below(k->gen, K_PAGES);

	if (!mm->exists || !mm->running || mm->dead || mm->thread[t].state != K_RUN)
		return;
	if (gen_one_in(k->gen, 400)) {
		k_outcomes.exited++;
		k_kill(k, mm);
	} else if (gen_one_in(k->gen, 12) && mm->page[i].mapped) {
		k_outcomes.split++; /* mprotect and its like: not a word is said */
		seam(k, mm, mm->page[i].large ? i - i % K_LARGE : i);
	} else if (!gen_one_in(k->gen, 6) || !start_op(k, mm, t)) {
		k_touch(k, mm, &mm->thread[t], i);
	}
}

void k_finish_op(struct kernel *k, struct k_mm *mm)
{
	int i = (int)gen_below(k->gen, K_OPS);

	if (mm->op[i].type != K_NO_OP && mm->op[i].told)
		k_end_op(k, mm, &mm->op[i]);
}
