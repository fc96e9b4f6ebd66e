/* SPDX-License-Identifier: MIT */
/*
 * The identity of a dump: what is hashed, byte by byte, and that no byte of it can change unnoticed
 * nor any other matter.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity_hash.h"
#include "pagemap/files.h"
#include "tests/lib/imagegen.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

static const struct imagegen g = { .nr_tasks = 2,
				   .nr_ranges = 4,
				   .nr_pages = 2,
				   .gap_pages = 1,
				   .nr_levels = 2,
				   .format = LZ_PAGEMAP_4_2 };
/* In the order in which they are hashed; of the first task alone there is a core. */
static const char *const hashed[] = { "inventory.img", "pstree.img",       "core-1000.img",
				      "mm-1000.img",   "pagemap-1000.img", "core-1001.img",
				      "mm-1001.img",   "pagemap-1001.img" };
enum { NR_HASHED = sizeof(hashed) / sizeof(hashed[0]), CORE_BYTES = 200000 };

static char dir[] = "/tmp/lazyd-identity.XXXXXX";
static int dirfd_;
static struct lz_why why;
static struct lz_images *images;

/* More than is read at a time; it need not be a core, the images are open by now. */
static void put_core(void)
{
	int fd = openat(dirfd_, "core-1000.img", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	uint8_t page[IMAGEGEN_PAGE];

	for (uint32_t n = 0; n < CORE_BYTES; n += IMAGEGEN_PAGE) {
		imagegen_fill(1, n, page);
		ck_assert_int_eq(pwrite(fd, page, sizeof(page), n), IMAGEGEN_PAGE);
	}
	ck_assert_int_eq(ftruncate(fd, CORE_BYTES), 0);
	close(fd);
}

static void setup(void)
{
	dirfd_ = scratch_open(dir);
	ck_assert_msg(!imagegen_make(dirfd_, &g, &why), "%s", why.text);
	ck_assert_msg(!lz_images_open(&images, dirfd_, &why), "%s", why.text);
	put_core();
}

static void teardown(void)
{
	lz_images_close(images);
	scratch_close(dir, dirfd_);
}

static struct hash identity(void)
{
	struct hash h;

	ck_assert_msg(!lz_images_identity(images, h.bytes, &why), "%s", why.text);
	ck_assert_str_eq(why.text, "");
	return h;
}

static uint64_t size_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(fstatat(dirfd_, name, &st, 0), 0);
	return (uint64_t)st.st_size;
}

static void put_le(struct imagebuf *b, uint64_t number, size_t bytes)
{
	for (size_t n = 0; n < bytes; n++)
		imagebuf_put(b, &(uint8_t){ (uint8_t)(number >> 8 * n) }, 1);
}

START_TEST(layout)
{
	struct imagebuf b = { .bytes = NULL };
	struct hash wanted;

	imagebuf_put(&b, "lazyd-identity-1", 16);
	for (size_t n = 0; n < NR_HASHED; n++) {
		int fd = openat(dirfd_, hashed[n], O_RDONLY | O_CLOEXEC);
		uint8_t bytes[4096];
		ssize_t len;

		put_le(&b, strlen(hashed[n]), 4);
		imagebuf_put(&b, hashed[n], strlen(hashed[n]));
		put_le(&b, fd >= 0, 1);
		ck_assert_int_eq(fd < 0, n == 5);
		if (fd < 0)
			continue;
		put_le(&b, size_of(hashed[n]), 8);
		while ((len = read(fd, bytes, sizeof(bytes))) > 0)
			imagebuf_put(&b, bytes, (size_t)len);
		close(fd);
	}
	ck_assert_int_eq(gnutls_hash_fast(GNUTLS_DIG_SHA256, b.bytes, b.len, wanted.bytes), 0);
	ck_assert(same(identity(), wanted));
	imagebuf_free(&b);
}
END_TEST

static void flip(const char *name, uint64_t at)
{
	int fd = openat(dirfd_, name, O_RDWR | O_CLOEXEC);
	uint8_t byte = 0;

	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x40;
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

START_TEST(every_byte_counts)
{
	struct hash before = identity();

	if (_i == 5)
		return; /* there is no such file */
	for (uint64_t at = 0, size = size_of(hashed[_i]); at < size;
	     at += size < 10000 ? 1 : 6007) {
		flip(hashed[_i], at);
		ck_assert(!same(identity(), before));
		flip(hashed[_i], at);
	}
	ck_assert(same(identity(), before));
}
END_TEST

START_TEST(every_file_counts)
{
	struct hash before = identity(), without;
	int fd;

	if (_i != 5) {
		ck_assert_int_eq(unlinkat(dirfd_, hashed[_i], 0), 0);
		without = identity();
		ck_assert(!same(without, before));
		before = without;
	}
	/* To be empty is not to be missing. */
	fd = openat(dirfd_, hashed[_i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert(!same(identity(), before));
	close(fd);
}
END_TEST

/* Of a file that goes with a memory. */
START_TEST(of_a_file)
{
	struct imagebuf b = { .bytes = NULL };
	uint8_t page[IMAGEGEN_PAGE];
	struct hash wanted, had;
	int fd = openat(dirfd_, "core-1000.img", O_RDWR | O_CLOEXEC);

	imagebuf_put(&b, "lazyd-identity-f", 16);
	put_le(&b, CORE_BYTES, 8);
	for (uint32_t n = 0; n < CORE_BYTES; n += IMAGEGEN_PAGE) {
		imagegen_fill(1, n, page);
		imagebuf_put(&b, page,
			     CORE_BYTES - n < sizeof(page) ? CORE_BYTES - n : sizeof(page));
	}
	ck_assert_int_eq(gnutls_hash_fast(GNUTLS_DIG_SHA256, b.bytes, b.len, wanted.bytes), 0);
	imagebuf_free(&b);
	/* Wherever it was read to before. */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_msg(!lz_file_identity(fd, had.bytes, &why), "%s", why.text);
		ck_assert(same(had, wanted));
	}
	flip("core-1000.img", CORE_BYTES - 1);
	ck_assert_int_eq(lz_file_identity(fd, had.bytes, &why), 0);
	ck_assert(!same(had, wanted));
	ck_assert_int_eq(lz_file_identity(dirfd_, had.bytes, &why), -EINVAL);
	ck_assert_str_ne(why.text, "");
	close(fd);
}
END_TEST

/* The same bytes, divided differently. */
START_TEST(frames)
{
	struct hash before = identity();
	uint8_t last[64];
	uint64_t size = size_of("mm-1000.img");
	struct imagebuf next = { .bytes = NULL };
	int fd = openat(dirfd_, "mm-1000.img", O_RDWR | O_CLOEXEC);
	ssize_t len;

	ck_assert_int_eq(pread(fd, last, 64, (off_t)size - 64), 64);
	ck_assert_int_eq(ftruncate(fd, (off_t)size - 64), 0);
	close(fd);
	imagebuf_put(&next, last, sizeof(last));
	fd = openat(dirfd_, "pagemap-1000.img", O_RDWR | O_CLOEXEC);
	while ((len = read(fd, last, sizeof(last))) > 0)
		imagebuf_put(&next, last, (size_t)len);
	ck_assert_int_eq(pwrite(fd, next.bytes, next.len, 0), (ssize_t)next.len);
	close(fd);
	imagebuf_free(&next);
	ck_assert(!same(identity(), before));
}
END_TEST

static const char *const others[] = { "pages-1.img", "snapshot-1/pages-1.img", "pages-2.img",
				      "snapshot-1/pagemap-1000.img", "parent" };
enum { NR_OTHERS = sizeof(others) / sizeof(others[0]) };

START_TEST(others_do_not)
{
	struct hash before = identity();

	if (strcmp(others[_i], "parent"))
		flip(others[_i], 5);
	ck_assert(same(identity(), before));
	ck_assert_int_eq(unlinkat(dirfd_, others[_i], 0), 0);
	ck_assert(same(identity(), before));
}
END_TEST

/* Copied, they are the same dump; opened anew too. */
START_TEST(copied)
{
	struct hash before;
	char command[128];

	ck_assert_int_eq(unlinkat(dirfd_, "core-1000.img", 0), 0);
	before = identity();
	lz_images_close(images);
	close(dirfd_);
	snprintf(command, sizeof(command), "mkdir %s/copy && cp %s/*.img %s/copy", dir, dir, dir);
	ck_assert_int_eq(system(command), 0);
	snprintf(command, sizeof(command), "%s/copy", dir);
	dirfd_ = open(command, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_msg(!lz_images_open(&images, dirfd_, &why), "%s", why.text);
	ck_assert(same(identity(), before));
}
END_TEST

START_TEST(unreadable)
{
	uint8_t out[LZ_IDENTITY_BYTES];

	ck_assert_int_eq(unlinkat(dirfd_, hashed[_i], 0) < 0, _i == 5);
	ck_assert_int_eq(mkfifoat(dirfd_, hashed[_i], 0600), 0);
	ck_assert_int_eq(lz_images_identity(images, out, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, hashed[_i]));
	ck_assert_ptr_nonnull(strstr(why.text, "is no regular file"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("identity");
	TCase *t = tcase_create("identity");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, layout);
	tcase_add_loop_test(t, every_byte_counts, 0, NR_HASHED);
	tcase_add_loop_test(t, every_file_counts, 0, NR_HASHED);
	tcase_add_test(t, of_a_file);
	tcase_add_test(t, frames);
	tcase_add_loop_test(t, others_do_not, 0, NR_OTHERS);
	tcase_add_test(t, copied);
	tcase_add_loop_test(t, unreadable, 0, NR_HASHED);
	suite_add_tcase(s, t);
	return run_suite(s);
}
