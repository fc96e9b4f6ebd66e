/* SPDX-License-Identifier: MIT */
/*
 * Memory and descriptors that run out under the functions of lazyd.h that make something: nothing
 * is half made, and a descriptor passed in is taken on success and untouched on failure.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/certs.h"
#include "tests/lib/failing.h"
#include "tests/lib/imagegen.h"
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
static struct lazyd_server *server;
static struct lazyd_images *images;
static struct lazyd_tls *tls;
static struct lazyd_why why;
static int fd = -1, fd2 = -1;

static void nothing(void)
{
}

static int new_file(void)
{
	int f = memfd_create("alloc", MFD_CLOEXEC);

	ck_assert_int_ge(f, 0);
	ck_assert_int_eq(ftruncate(f, (off_t)LEN), 0);
	return f;
}

/* Whoever has been refused a descriptor has it still. */
static void is_untouched(void)
{
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
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
	failing_exhaust(&(struct failing){ nothing, call_state, NULL, free_state, nothing });
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
	failing_exhaust(&(struct failing){ nothing, call_memory, NULL, put_memory, nothing });
	failing_exhaust(&(struct failing){ memory_and_file, call_add_file, is_untouched, nothing,
					   put_memory });
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
	failing_exhaust(&(struct failing){ nothing, call_new, NULL, free_engine, nothing });
	failing_exhaust(
		&(struct failing){ shared_state, call_new, NULL, free_engine, free_shared });
	options.remote = &REMOTE;
	failing_exhaust(&(struct failing){ nothing, call_new, NULL, free_engine, nothing });
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
	failing_exhaust(&(struct failing){ new_engine, call_add, not_added, nothing, free_both });
	options.remote = &REMOTE;
	failing_exhaust(&(struct failing){ new_engine, call_add, not_added, nothing, free_both });
}
END_TEST

/* In the place of a userfaultfd something that is as quiet: no page is filled here. */
static void engine_and_uffd(void)
{
	new_engine();
	ck_assert_int_eq(lazyd_add(engine, memory), 0);
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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

/* ---- the page server ---- */

static char dir[] = "/tmp/lazyd-alloc.XXXXXX";
static int dirfd_;
static struct lazyd_server_options serving;

static void open_images(void)
{
	ck_assert_int_eq(lazyd_images_open(&images, dirfd_, &why), 0);
}

static void close_images(void)
{
	lazyd_images_close(images);
}

static int call_server_new(void)
{
	memset(&why, 0, sizeof(why));
	return lazyd_server_new(&server, images, &serving, &why);
}

static void is_said(void)
{
	ck_assert_str_ne(why.text, "");
	ck_assert_ptr_null(strstr(why.text, "damaged"));
}

static void free_server(void)
{
	ck_assert_str_eq(why.text, "");
	lazyd_server_free(server);
}

static void new_server(void)
{
	open_images();
	ck_assert_int_eq(call_server_new(), 0);
	close_images();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
}

static int call_listen(void)
{
	return lazyd_server_listen(server, fd);
}

static void new_client(void)
{
	int pair[2];

	new_server();
	ck_assert_int_eq(call_listen(), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd = pair[0];
	fd2 = pair[1];
}

static int call_accept(void)
{
	return lazyd_server_accept(server, fd);
}

static void accepted(void)
{
	struct lazyd_server_stats n;

	lazyd_server_stats(server, &n);
	ck_assert_uint_eq(n.nr_clients, 1);
}

static void free_client(void)
{
	free_server();
	ck_assert_int_eq(close(fd2), 0);
}

START_TEST(servers)
{
	const struct imagegen g = { .nr_tasks = 3, .nr_ranges = 3, .nr_pages = 1, .nr_levels = 2 };
	struct lz_why w;

	dirfd_ = scratch_open(dir);
	ck_assert_int_eq(imagegen_make(dirfd_, &g, &w), 0);
	serving = (struct lazyd_server_options){ .size = sizeof(serving) };
	if (_i)
		serving.tls = (struct lazyd_tls *)certs_tls(CERTS_GOOD, NULL);
	failing_exhaust(&(struct failing){ open_images, call_server_new, is_said, free_server,
					   close_images });
	failing_exhaust(
		&(struct failing){ new_server, call_listen, is_untouched, nothing, free_server });
	failing_exhaust(
		&(struct failing){ new_client, call_accept, is_untouched, accepted, free_client });
	lazyd_tls_free((struct lazyd_tls *)(uintptr_t)serving.tls);
}
END_TEST

static void remove_all(void)
{
	scratch_close(dir, dirfd_);
}

/* ---- TLS ---- */

static struct lazyd_tls_options files;

static int call_tls(void)
{
	memset(&why, 0, sizeof(why));
	return lazyd_tls_new(&tls, &files, &why);
}

static void free_tls(void)
{
	ck_assert_str_eq(why.text, "");
	lazyd_tls_free(tls);
}

START_TEST(certificates)
{
	char cert[16], key[16];

	snprintf(cert, sizeof(cert), "%d.pem", CERTS_GOOD);
	snprintf(key, sizeof(key), "%d.key", CERTS_GOOD);
	files = (struct lazyd_tls_options){ .size = sizeof(files),
					    .cacert = certs_path("ca.pem"),
					    .cacrl = certs_path("crl.pem"),
					    .cert = certs_path(cert),
					    .key = certs_path(key),
					    .name = CERTS_NAME };
	/* What GnuTLS has once and for all. */
	ck_assert_int_eq(call_tls(), 0);
	free_tls();
	failing_exhaust(&(struct failing){ nothing, call_tls, is_said, free_tls, nothing });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc_library");
	TCase *t = tcase_create("alloc_library"), *d = tcase_create("servers");

	if (!scratch_has_ring())
		return 77;
	certs_make();
	tcase_set_timeout(t, 120);
	tcase_add_test(t, states);
	tcase_add_test(t, memories);
	tcase_add_test(t, engines);
	tcase_add_test(t, adding);
	tcase_add_test(t, attaching);
	tcase_add_test(t, taking_over);
	tcase_add_test(t, certificates);
	suite_add_tcase(s, t);
	tcase_set_timeout(d, 120);
	tcase_add_checked_fixture(d, NULL, remove_all);
	tcase_add_loop_test(d, servers, 0, 2);
	suite_add_tcase(s, d);
	return run_suite(s);
}
