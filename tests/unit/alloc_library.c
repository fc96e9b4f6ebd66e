/* SPDX-License-Identifier: MIT */
/*
 * Memory and descriptors that run out under the functions of lazyd.h that make something: nothing
 * is half made, and a descriptor passed in is taken on success and untouched on failure. Here
 * states, memories and engines; servers are in alloc_server.c.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "alloc_passed.h"
#include "tests/lib/failing.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"
#include "uffd/loop.h"

enum { PAGES = 64 };
#define BASE UINT64_C(0x10000000000)
#define LEN ((uint64_t)PAGES << 12)

static struct lazyd *engine;
static struct lazyd_memory *memory;
static struct lazyd_state *state, *other;

static int new_file(void)
{
	int f = memfd_create("alloc", MFD_CLOEXEC);

	ck_assert_int_ge(f, 0);
	ck_assert_int_eq(ftruncate(f, (off_t)LEN), 0);
	return f;
}

/* ---- state ---- */

static int call_state(void)
{
	return lazyd_state_new(&state, PAGES);
}

static void free_state(void)
{
	ck_assert_int_ge(lazyd_state_fd(state), 0);
	lazyd_state_free(state);
}

static void copy_state(void)
{
	ck_assert_int_eq(lazyd_state_new(&state, PAGES), 0);
	fd = fcntl(lazyd_state_fd(state), F_DUPFD_CLOEXEC, 3);
	ck_assert_int_ge(fd, 0);
}

static int call_state_open(void)
{
	return lazyd_state_open(&other, fd);
}

static void free_other(void)
{
	lazyd_state_free(other);
}

START_TEST(states)
{
	failing_exhaust(&(struct failing){ failing_nothing, call_state, NULL, free_state,
					   failing_nothing });
	failing_exhaust(&(struct failing){ copy_state, call_state_open, is_untouched, free_other,
					   free_state });
}
END_TEST

/* ---- memory made by hand ---- */

static int call_memory(void)
{
	return lazyd_memory_new(&memory);
}

static void put_memory(void)
{
	lazyd_memory_put(memory);
}

static void memory_and_file(void)
{
	ck_assert_int_eq(lazyd_memory_new(&memory), 0);
	fd = new_file();
}

static int call_add_file(void)
{
	int r = lazyd_memory_add_file(memory, fd, "a file");

	return r == 0 ? 0 : r < 0 ? r : -EPROTO;
}

static int call_add_area(void)
{
	return lazyd_memory_add_area(memory, BASE, LEN, 4096);
}

static int call_add_piece(void)
{
	return lazyd_memory_add_piece(memory, BASE, LEN, 0, 0);
}

static void new_memory(void)
{
	memory_and_file();
	ck_assert_int_eq(call_add_file(), 0);
}

static void area_is_there(void)
{
	/* The same again is in the way of itself. */
	ck_assert_int_eq(call_add_area(), -EINVAL);
}

static void piece_is_there(void)
{
	ck_assert_uint_eq(lazyd_memory_pages(memory), PAGES);
}

START_TEST(memories)
{
	failing_exhaust(&(struct failing){ failing_nothing, call_memory, NULL, put_memory,
					   failing_nothing });
	failing_exhaust(&(struct failing){ memory_and_file, call_add_file, is_untouched,
					   failing_nothing, put_memory });
	failing_exhaust(
		&(struct failing){ new_memory, call_add_area, NULL, area_is_there, put_memory });
	failing_exhaust(
		&(struct failing){ new_memory, call_add_piece, NULL, piece_is_there, put_memory });
}
END_TEST

/* ---- the engine ---- */

static int no_source(void *arg)
{
	(void)arg;
	return -ECONNREFUSED;
}

static const uint8_t IDENTITY[LAZYD_IDENTITY_LEN] = { 1 };
static const struct lazyd_remote REMOTE = {
	.size = sizeof(REMOTE), .connect = no_source, .identity = IDENTITY, .header = 32
};
static struct lazyd_options options;

static int call_new(void)
{
	return lazyd_new(&engine, &options);
}

static void free_engine(void)
{
	lazyd_free(engine);
}

static void shared_state(void)
{
	ck_assert_int_eq(lazyd_state_new(&state, PAGES), 0);
	options.state = state;
}

static void free_shared(void)
{
	options.state = NULL;
	lazyd_state_free(state);
}

START_TEST(engines)
{
	options = (struct lazyd_options){ .size = sizeof(options) };
	failing_exhaust(
		&(struct failing){ failing_nothing, call_new, NULL, free_engine, failing_nothing });
	failing_exhaust(
		&(struct failing){ shared_state, call_new, NULL, free_engine, free_shared });
	options.remote = &REMOTE;
	failing_exhaust(
		&(struct failing){ failing_nothing, call_new, NULL, free_engine, failing_nothing });
}
END_TEST

/* A memory of one area and one piece, with a page server's pages behind them where there is one. */
static void made_memory(void)
{
	new_memory();
	ck_assert_int_eq(call_add_area(), 0);
	ck_assert_int_eq(call_add_piece(), 0);
	if (options.remote)
		ck_assert_int_eq(lz_memory_add_remote((struct lz_memory *)memory, 7, "remote"), 1);
}

static void new_engine(void)
{
	made_memory();
	ck_assert_int_eq(lazyd_new(&engine, &options), 0);
}

static int call_add(void)
{
	int r = lazyd_add(engine, memory);

	return r == 0 ? 0 : r < 0 ? r : -EPROTO;
}

static void not_added(void)
{
	ck_assert_str_ne(lazyd_error(engine), "");
}

static void free_both(void)
{
	lazyd_free(engine);
	lazyd_memory_put(memory);
}

START_TEST(adding)
{
	options = (struct lazyd_options){ .size = sizeof(options) };
	failing_exhaust(
		&(struct failing){ new_engine, call_add, not_added, failing_nothing, free_both });
	options.remote = &REMOTE;
	failing_exhaust(
		&(struct failing){ new_engine, call_add, not_added, failing_nothing, free_both });
}
END_TEST

/* Of no memory, so that it takes no privilege: no page is filled here. */
static int quiet_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int f = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	return f < 0 || ioctl(f, UFFDIO_API, &api) ? -errno : f;
}

static void engine_and_uffd(void)
{
	new_engine();
	ck_assert_int_eq(lazyd_add(engine, memory), 0);
	fd = quiet_uffd();
	fd2 = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert(fd >= 0 && fd2 >= 0);
}

static int call_attach(void)
{
	int r = lazyd_attach(engine, 0, fd, fd2);

	return r == 0 ? 0 : r < 0 ? r : -EPROTO;
}

static void not_attached(void)
{
	struct lazyd_stats n;

	not_added();
	is_untouched();
	ck_assert_int_ge(fcntl(fd2, F_GETFD), 0);
	lazyd_stats(engine, NULL, &n);
	ck_assert_uint_eq(n.nr_spaces, 0);
	ck_assert_uint_eq(n.pages_owed, 0);
}

static void attached(void)
{
	struct lazyd_stats n;

	lazyd_stats(engine, NULL, &n);
	ck_assert_uint_eq(n.nr_spaces, 1);
	ck_assert_uint_eq(n.pages_owed, PAGES);
}

/* Spaces still owed are left as they are. */
static void free_attached(void)
{
	free_both();
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(close(fd2), 0);
}

START_TEST(attaching)
{
	options = (struct lazyd_options){ .size = sizeof(options) };
	failing_exhaust(&(struct failing){ engine_and_uffd, call_attach, not_attached, attached,
					   free_attached });
}
END_TEST

/* ---- an engine that takes over ---- */

static void dead_engine(void)
{
	shared_state();
	engine_and_uffd();
	ck_assert_int_eq(call_attach(), 0);
	lazyd_free(engine);
}

/* All of it: what has been replayed in part is thrown away with the engine. */
static int call_take_over(void)
{
	int r = lazyd_new(&engine, &options);

	if (r)
		return r;
	r = lazyd_add(engine, memory);
	if (!r)
		r = lazyd_resume(engine);
	if (r == 1)
		return 0;
	lazyd_free(engine);
	return r ? r : -EPROTO;
}

static void still_there(void)
{
	struct lazyd_stats n;

	is_untouched();
	lazyd_stats(NULL, state, &n);
	ck_assert_uint_eq(n.pages_lost, 0);
}

static void free_resumed(void)
{
	free_attached();
	free_shared();
}

START_TEST(taking_over)
{
	options = (struct lazyd_options){ .size = sizeof(options) };
	failing_exhaust(&(struct failing){ dead_engine, call_take_over, still_there, attached,
					   free_resumed });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc_library");
	TCase *t = tcase_create("alloc_library");

	if (!scratch_has_ring())
		return 77;
	fd = quiet_uffd();
	if (fd < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(-fd));
		return 77;
	}
	(void)close(fd);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, states);
	tcase_add_test(t, memories);
	tcase_add_test(t, engines);
	tcase_add_test(t, adding);
	tcase_add_test(t, attaching);
	tcase_add_test(t, taking_over);
	suite_add_tcase(s, t);
	return run_suite(s);
}
