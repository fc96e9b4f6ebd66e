/* SPDX-License-Identifier: MIT */
/* The bookkeeping of spin.h. */
#include "iouring/spin.h"

enum {
	CREDIT_MAX = 8,
	WANTED_MIN = 8,
	WANTED_MAX = 4096,
};
/* What a sleep takes longer than a look: the waking. */
#define WAKE_NS UINT64_C(60000)

void lz_spin_init(struct lz_spin *s, uint64_t max_ns)
{
	*s = (struct lz_spin){ .max_ns = max_ns, .wanted = WANTED_MIN };
}

uint64_t lz_spin_ns(const struct lz_spin *s)
{
	return s->credit ? s->max_ns : 0;
}

static void looked(struct lz_spin *s, bool hit)
{
	if (hit) {
		s->found = true;
		s->credit += s->credit < CREDIT_MAX;
		return;
	}
	if (--s->credit)
		return;
	/* In vain from beginning to end: not so soon again. */
	if (s->found)
		s->wanted = WANTED_MIN;
	else if (s->wanted < WANTED_MAX)
		s->wanted *= 2;
	s->hopes = 0;
}

void lz_spin_note(struct lz_spin *s, uint64_t waited_ns, bool hit)
{
	if (s->credit) {
		looked(s, hit && waited_ns <= s->max_ns);
		return;
	}
	s->hopes = s->max_ns && hit && waited_ns <= s->max_ns + WAKE_NS ? s->hopes + 1 : 0;
	if (s->hopes < s->wanted)
		return;
	s->credit = 1;
	s->found = false;
}
