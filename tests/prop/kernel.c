/* SPDX-License-Identifier: MIT */
/* The miniature kernel of kernel.h, but for its threads: pages, calls, messages. */
#include "tests/prop/kernel_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct k_outcomes k_outcomes;

static void corrupt(uint64_t data, uint64_t want, const char *why)
{
	fprintf(stderr, "CORRUPT: %s: page has %llx, wants %llx\n", why, (unsigned long long)data,
		(unsigned long long)want);
	abort();
}

/* Where the bytes of @p are: with itself, or with the file. */
static uint64_t *data_of(struct kernel *k, struct k_page *p)
{
	return p->file ? &k->file[p->file - 1].data : &p->data;
}

static uint64_t *want_of(struct kernel *k, struct k_page *p)
{
	return p->file ? &k->file[p->file - 1].want : &p->want;
}

static bool is_volatil(const struct kernel *k, const struct k_page *p)
{
	return p->volatil || (p->file && k->file[p->file - 1].nr_removing);
}

static bool is_in_file(const struct kernel *k, const struct k_page *p)
{
	return p->file && k->file[p->file - 1].is_there;
}

/* The file's page that @p is gets its bytes, if it is one's. */
static void put_in_file(struct kernel *k, const struct k_page *p)
{
	if (p->file)
		k->file[p->file - 1].is_there = true;
}

/* A thread looks at a page that is there. */
static void sees(struct kernel *k, struct k_page *p)
{
	uint64_t want = *want_of(k, p);

	assert(p->mapped && (p->present || p->poisoned));
	if (is_volatil(k, p))
		return;
	if (p->poisoned) {
		k_outcomes.sigbus++;
		if (want != K_LOST && !k->may_poison && !(want >= k->gone && want < k->gone_end))
			corrupt(*data_of(k, p), want, "poisoned without need");
		return;
	}
	if (*data_of(k, p) != want)
		corrupt(*data_of(k, p), want, "wrong byte");
}

void k_touch(struct kernel *k, struct k_mm *mm, struct k_thread *t, int i)
{
	struct k_page *p = &mm->page[i];

	if (!p->mapped) { /* a segmentation fault; the thread carries on elsewhere */
		t->state = K_RUN;
		return;
	}
	if (!p->present && !p->poisoned && mm->closed) {
		p->present = true;
		if (!is_in_file(k, p))
			*data_of(k, p) = 0;
		put_in_file(k, p);
	}
	/* The second: a fault that crossed a placement by somebody else, and waits all the same. */
	if ((!p->present && !p->poisoned) ||
	    (!mm->closed && p->present && t->state == K_RUN && gen_one_in(k->gen, 100))) {
		*t = (struct k_thread){ K_FAULTED, i, is_in_file(k, p), false };
		return;
	}
	sees(k, p);
	t->state = K_RUN;
	if (!is_volatil(k, p) && !p->poisoned && gen_one_in(k->gen, 3))
		*data_of(k, p) = *want_of(k, p) = ++k->tokens << 40;
}

void k_wake(struct kernel *k, struct k_mm *mm, struct lz_range r)
{
	for (int t = 0; t < K_THREADS; t++)
		if (mm->thread[t].state == K_FAULTED && !mm->dead &&
		    k_addr(mm->thread[t].page) >= r.start && k_addr(mm->thread[t].page) < r.end)
			k_touch(k, mm, &mm->thread[t], mm->thread[t].page);
}

/* ---- the ioctls ---- */

enum fill { FILL_COPY, FILL_ZERO, FILL_CONTINUE, FILL_POISON };

static int64_t refused(uint64_t *counter, int err)
{
	++*counter;
	return err;
}

/* One page of the kernel's, from @i on: 0, or what it answers. */
static int64_t fill_page(struct kernel *k, struct k_mm *mm, int i, int nr, const uint64_t *tokens,
			 enum fill how)
{
	for (int n = 0; n < nr; n++) {
		struct k_page *p = &mm->page[i + n];

		assert(how != FILL_CONTINUE || p->file);
		if (p->present || p->poisoned)
			return -EEXIST;
		if (is_in_file(k, p) && (how == FILL_COPY || how == FILL_ZERO))
			return -EEXIST;
		if (how == FILL_CONTINUE ? !is_in_file(k, p) : how == FILL_COPY && !tokens[n])
			return -EFAULT;
	}
	for (int n = 0; n < nr; n++) {
		struct k_page *p = &mm->page[i + n];

		p->present = how != FILL_POISON;
		p->poisoned = how == FILL_POISON;
		if (how == FILL_POISON || how == FILL_CONTINUE)
			continue;
		*data_of(k, p) = how == FILL_COPY ? tokens[n] : 0;
		put_in_file(k, p);
	}
	return 0;
}

static int64_t count_fill(enum fill how, bool is_large, int64_t n)
{
	k_outcomes.large += is_large;
	k_outcomes.large_zeroed += is_large && how == FILL_ZERO;
	++*(how == FILL_COPY       ? &k_outcomes.copied
	    : how == FILL_ZERO     ? &k_outcomes.zeroed
	    : how == FILL_CONTINUE ? &k_outcomes.continued
				   : &k_outcomes.poisoned);
	return n;
}

static int64_t fill(struct kernel *k, struct k_mm *mm, struct lz_range r, const uint64_t *tokens,
		    enum fill how)
{
	int first = k_index(r.start), vma = mm->page[first].vma;
	int step = mm->page[first].large ? K_LARGE : 1;
	int64_t n = 0, res;

	assert(!mm->closed && !lz_range_is_empty(r));
	assert(r.start >= K_BASE && r.end <= k_addr(K_PAGES));
	if (mm->dead)
		return refused(&k_outcomes.esrch, -ESRCH);
	/* Before 4.18 the kernel did not say "later" for a layout change it has yet to tell of. */
	if (mm->changing && !mm->page[first].mapped && gen_one_in(k->gen, 3))
		return refused(&k_outcomes.early_enoent, -ENOENT);
	if (mm->changing || gen_one_in(k->gen, 40))
		return refused(&k_outcomes.eagain, -EAGAIN);
	/* The whole range must lie in one area, as the kernel looks before it copies. */
	for (uint64_t a = r.start; a < r.end; a += 1 << K_SHIFT)
		if (!mm->page[k_index(a)].mapped || mm->page[k_index(a)].vma != vma)
			return refused(&k_outcomes.enoent, -ENOENT);
	/* It refuses parts of a large page with EINVAL: nobody is to ask. */
	assert(first % step == 0 && k_index(r.end) % step == 0);
	for (uint64_t a = r.start; a < r.end; a += (uint64_t)step << K_SHIFT) {
		res = fill_page(k, mm, k_index(a), step, tokens ? tokens + (n >> K_SHIFT) : NULL,
				how);
		if (res && n)
			return n;
		if (res)
			return refused(res == -EEXIST         ? &k_outcomes.eexist
				       : how == FILL_CONTINUE ? &k_outcomes.hole
							      : &k_outcomes.efault,
				       (int)res);
		n += (int64_t)step << K_SHIFT;
		k_wake(k, mm, (struct lz_range){ a, a + ((uint64_t)step << K_SHIFT) });
		if (a + ((uint64_t)step << K_SHIFT) < r.end && gen_one_in(k->gen, 8))
			return refused(&k_outcomes.partial, 0) + n;
	}
	return count_fill(how, step > 1, n);
}

int64_t k_place(struct kernel *k, struct k_mm *mm, struct lz_range r, const uint64_t *tokens)
{
	return fill(k, mm, r, tokens, FILL_COPY);
}

int64_t k_zero(struct kernel *k, struct k_mm *mm, struct lz_range r)
{
	return fill(k, mm, r, NULL, FILL_ZERO);
}

int64_t k_continue(struct kernel *k, struct k_mm *mm, struct lz_range r)
{
	return fill(k, mm, r, NULL, FILL_CONTINUE);
}

int64_t k_poison(struct kernel *k, struct k_mm *mm, struct lz_range r)
{
	return fill(k, mm, r, NULL, FILL_POISON);
}

/* The file has no page @n any more, and nobody has it mapped. */
static void punch(struct kernel *k, int n)
{
	k->file[n].nr_removing--;
	k->file[n].is_there = false;
	k->file[n].data = k->file[n].want = 0;
	for (int m = 0; m < K_MMS; m++)
		for (int i = 0; i < K_PAGES; i++)
			if (k->mm[m].page[i].file == n + 1)
				k->mm[m].page[i].present = false;
}

static void remove_pages(struct kernel *k, struct k_mm *mm, const struct k_op *op)
{
	for (int i = op->page; i < op->page + op->nr; i++) {
		struct k_page *p = &mm->page[i];

		p->present = p->volatil = p->poisoned = false;
		p->want = 0;
		if (p->file && op->punches)
			punch(k, p->file - 1);
	}
}

/* A REMOVE that will never be carried out: its process has died. */
static void forget_remove(struct kernel *k, const struct k_mm *mm, const struct k_op *op)
{
	for (int i = op->page; op->punches && i < op->page + op->nr; i++)
		if (mm->page[i].file)
			k->file[mm->page[i].file - 1].nr_removing--;
}

void k_end_op(struct kernel *k, struct k_mm *mm, struct k_op *op)
{
	int i = (int)(op - mm->op);

	if (op->type == K_REMOVE)
		remove_pages(k, mm, op);
	if (op->type == K_FORK)
		k->mm[op->child].running = true;
	mm->thread[op->thread].state = K_RUN;
	memmove(op, op + 1, (size_t)(K_OPS - i - 1) * sizeof(*op));
	mm->op[K_OPS - 1] = (struct k_op){ 0 };
	mm->changing--;
}

void k_kill(struct kernel *k, struct k_mm *mm)
{
	mm->dead = true;
	/* A child whose fork was never told is not born: the forking thread dies in fork(). */
	for (int i = 0; i < K_OPS; i++)
		if (mm->op[i].type == K_FORK && mm->op[i].told)
			k->mm[mm->op[i].child].running = true;
		else if (mm->op[i].type == K_FORK)
			k->mm[mm->op[i].child] = (struct k_mm){ 0 };
		else if (mm->op[i].type == K_REMOVE)
			forget_remove(k, mm, &mm->op[i]);
	memset(mm->op, 0, sizeof(mm->op));
	mm->changing = 0;
}

void k_close(struct kernel *k, struct k_mm *mm)
{
	k_outcomes.closed++;
	mm->closed = true;
	if (mm->dead)
		return;
	/* Who waited for an event to be read runs on; nobody serves a child not told of. */
	while (mm->op[0].type != K_NO_OP) {
		if (mm->op[0].type == K_FORK && !mm->op[0].told)
			k->mm[mm->op[0].child].closed = true;
		k_end_op(k, mm, &mm->op[0]);
	}
	k_wake(k, mm, (struct lz_range){ 0, UINT64_MAX });
}

void k_check_waiting(const struct k_mm *mm)
{
	for (int t = 0; t < K_THREADS && !mm->dead; t++)
		if (mm->thread[t].state == K_FAULTED && mm->thread[t].told) {
			fprintf(stderr, "HANG: thread %d waits for page %d\n", t,
				mm->thread[t].page);
			abort();
		}
}

/* ---- messages ---- */

unsigned k_read(struct kernel *k, struct k_mm *mm, struct uffd_msg *out, unsigned max)
{
	unsigned n = 0;

	for (int t = 0; t < K_THREADS && n < max && !mm->dead; t++) {
		struct k_thread *th = &mm->thread[t];

		if (th->state != K_FAULTED || th->told)
			continue;
		th->told = true;
		out[n].event = UFFD_EVENT_PAGEFAULT;
		out[n].arg.pagefault.address = k_addr(th->page);
		out[n].arg.pagefault.flags = th->minor ? UFFD_PAGEFAULT_FLAG_MINOR : 0;
		k_outcomes.minor += th->minor;
		n++;
	}
	for (int i = 0; i < K_OPS && n < max; i++) {
		struct k_op *op = &mm->op[i];
		uint64_t start = k_addr(op->page), end = k_addr(op->page + op->nr);

		if (op->type == K_NO_OP || op->told)
			continue;
		op->told = true;
		switch (op->type) {
		case K_FORK:
			out[n].event = UFFD_EVENT_FORK;
			out[n].arg.fork.ufd = (uint32_t)op->child;
			break;
		case K_REMAP:
			out[n].event = UFFD_EVENT_REMAP;
			out[n].arg.remap.from = start;
			out[n].arg.remap.to = k_addr(op->to);
			out[n].arg.remap.len = end - start;
			break;
		default:
			out[n].event = op->type == K_REMOVE ? UFFD_EVENT_REMOVE : UFFD_EVENT_UNMAP;
			out[n].arg.remove.start = start;
			out[n].arg.remove.end = end;
			break;
		}
		n++;
	}
	(void)k;
	return n;
}

/* ---- the end ---- */

bool k_is_quiet(const struct kernel *k)
{
	for (int m = 0; m < K_MMS; m++) {
		const struct k_mm *mm = &k->mm[m];

		if (!mm->exists || mm->dead)
			continue;
		for (int t = 0; t < K_THREADS; t++)
			if (mm->thread[t].state != K_RUN)
				return false;
		if (mm->op[0].type != K_NO_OP)
			return false;
	}
	return true;
}

void k_check_end(struct kernel *k)
{
	for (int m = 0; m < K_MMS; m++)
		for (int i = 0; i < K_PAGES; i++) {
			struct k_page *p = &k->mm[m].page[i];

			if (!k->mm[m].exists || k->mm[m].dead || !p->mapped)
				continue;
			if (is_in_file(k, p) && !p->poisoned)
				p->present = true; /* when it is touched */
			if (p->present || p->poisoned)
				sees(k, p);
			else if (*want_of(k, p))
				corrupt(0, *want_of(k, p), "silent zero");
		}
}
