/* SPDX-License-Identifier: MIT */
/*
 * Want of memory, and of descriptors, made. A program that uses this is linked with $(FAILING_LINK)
 * of Makefile.am: what its objects ask malloc() and its kind for, mmap() too, passes here. What a
 * shared library asks for by itself does not.
 */
#ifndef LZ_TEST_FAILING_H
#define LZ_TEST_FAILING_H

#include <stdbool.h>

enum failing_how {
	FAILING_ONCE, /* one allocation fails, those behind it succeed */
	FAILING_ALL,  /* all behind it fail too */
	FAILING_DESCRIPTORS,
	FAILING_NR,
};

/* From now on @n allocations succeed, or as many descriptors can be had, and then they fail. */
void failing_arm(enum failing_how how, unsigned n);
/* All is as usual. True if an allocation has failed since arm(). */
bool failing_disarm(void);
/* What is asked for between the two is not counted and does not fail. */
void failing_pause(void);
void failing_resume(void);
/* Open descriptors of this process. */
unsigned failing_descriptors(void);

struct failing {
	void (*set_up)(void); /* the world, made anew for every n */
	/* 0 or -errno; asserts nothing: ck_assert() asks for memory too. */
	int (*call)(void);
	void (*same)(void);    /* asserts that nothing has changed; NULL: nothing could have */
	void (*changed)(void); /* asserts that it has done what it is there for, and undoes it */
	void (*tear_down)(void);
};

/*
 * For every n, and in each of the ways: where the call fails it says -ENOMEM (-EMFILE), holds no
 * descriptor, and succeeds when it is called again.
 */
void failing_exhaust(const struct failing *f);

/* For what there is nothing to do. */
void failing_nothing(void);

#endif
