/* SPDX-License-Identifier: MIT */
/*
 * Memory and descriptors that run out under the functions of lazyd.h that make a page server,
 * listen, take a client, and read certificates: nothing is half made, and a descriptor passed in is
 * taken on success and untouched on failure.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc_passed.h"
#include "tests/lib/certs.h"
#include "tests/lib/failing.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"
#include "uffd/lazyd.h"

static struct lazyd_server *server;
static struct lazyd_images *images;
static struct lazyd_tls *tls;
static struct lazyd_why why;

static char dir[] = "/tmp/lazyd-alloc.XXXXXX";
static int dirfd_;
static struct lazyd_server_options serving;

static void remove_all(void)
{
	scratch_close(dir, dirfd_);
}

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
	failing_exhaust(&(struct failing){ new_server, call_listen, is_untouched, failing_nothing,
					   free_server });
	failing_exhaust(
		&(struct failing){ new_client, call_accept, is_untouched, accepted, free_client });
	lazyd_tls_free((struct lazyd_tls *)(uintptr_t)serving.tls);
}
END_TEST

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
	failing_exhaust(
		&(struct failing){ failing_nothing, call_tls, is_said, free_tls, failing_nothing });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc_server");
	TCase *t = tcase_create("certificates"), *d = tcase_create("servers");

	if (!scratch_has_ring())
		return 77;
	certs_make();
	tcase_set_timeout(t, 120);
	tcase_add_test(t, certificates);
	suite_add_tcase(s, t);
	tcase_set_timeout(d, 120);
	tcase_add_checked_fixture(d, NULL, remove_all);
	tcase_add_loop_test(d, servers, 0, 2);
	suite_add_tcase(s, d);
	return run_suite(s);
}
