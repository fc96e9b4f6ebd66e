/* SPDX-License-Identifier: MIT */
/* The allocator of failing.h, and the loop over every n. */
#include "tests/lib/failing.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { N_MAX = 2000, DESCRIPTORS = 12, DESCRIPTORS_MAX = 1024 };

static bool is_armed, is_paused, has_failed, all;
static unsigned left; /* allocations that still succeed */
static struct rlimit usual;

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t nr, size_t size);
char *__real_strdup(const char *s);
FILE *__real_fdopen(int fd, const char *mode);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t nr, size_t size);
char *__wrap_strdup(const char *s);
FILE *__wrap_fdopen(int fd, const char *mode);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

static bool fails(void)
{
	if (!is_armed || is_paused)
		return false;
	if (left) {
		left--;
		return false;
	}
	is_armed = all;
	has_failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t nr, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, nr, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
	return fails() ? NULL : __real_fdopen(fd, mode);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

/* @n more can be opened: the limit is the number of the one behind them. */
static void limit_descriptors(unsigned n)
{
	struct rlimit limit;
	int fd = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
	for (n++; n; fd++)
		n -= fcntl(fd, F_GETFD) < 0;
	limit = (struct rlimit){ (rlim_t)fd - 1, usual.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

void failing_arm(enum failing_how how, unsigned n)
{
	is_paused = has_failed = false;
	if (how == FAILING_DESCRIPTORS) {
		limit_descriptors(n);
		return;
	}
	all = how == FAILING_ALL;
	left = n;
	is_armed = true;
}

bool failing_disarm(void)
{
	is_armed = false;
	if (usual.rlim_max)
		setrlimit(RLIMIT_NOFILE, &usual);
	usual = (struct rlimit){ 0 };
	return has_failed;
}

void failing_pause(void)
{
	is_paused = true;
}

void failing_resume(void)
{
	is_paused = false;
}

unsigned failing_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* False if there was nothing for the n-th failure to hit. */
static bool attempt(const struct failing *f, enum failing_how how, unsigned n)
{
	unsigned before = failing_descriptors(), within;
	bool failed;
	int r;

	f->set_up();
	within = failing_descriptors();
	failing_arm(how, n);
	r = f->call();
	failed = failing_disarm();
	if (r) {
		ck_assert_int_eq(r, how == FAILING_DESCRIPTORS ? -EMFILE : -ENOMEM);
		ck_assert(failed || how == FAILING_DESCRIPTORS);
		ck_assert_uint_eq(failing_descriptors(), within);
		if (f->same)
			f->same();
		ck_assert_int_eq(f->call(), 0);
	}
	f->changed();
	f->tear_down();
	ck_assert_uint_eq(failing_descriptors(), before);
	return failed;
}

void failing_exhaust(const struct failing *f)
{
	for (unsigned how = FAILING_ONCE; how <= FAILING_ALL; how++) {
		unsigned n = 0;

		while (attempt(f, how, n))
			ck_assert_uint_lt(++n, N_MAX);
		ck_assert_uint_gt(n, 0); /* else nothing has been tried */
	}
	for (unsigned n = 0; n < DESCRIPTORS; n++)
		(void)attempt(f, FAILING_DESCRIPTORS, n);
}

void failing_nothing(void)
{
}
