/* SPDX-License-Identifier: MIT */
/* The identity of a dump: frames files into a hash, a buffer at a time. */
#include "pagemap/identity.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap/files_priv.h"

enum { BUFFER = 64 << 10 };

struct identity {
	gnutls_hash_hd_t hash;
	bool failed;
	uint8_t buffer[BUFFER];
};

static void put(struct identity *id, const void *bytes, size_t len)
{
	id->failed = id->failed || gnutls_hash(id->hash, bytes, len) < 0;
}

static void put_number(struct identity *id, uint64_t number, size_t bytes)
{
	uint8_t le[8];

	for (size_t n = 0; n < bytes; n++)
		le[n] = (uint8_t)(number >> 8 * n);
	put(id, le, bytes);
}

/* Its length, then as many bytes; -EBUSY if there are more or fewer of them. */
static int put_bytes(struct identity *id, int fd)
{
	struct stat st;
	uint64_t left;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	left = (uint64_t)st.st_size;
	put_number(id, left, 8);
	do {
		n = read(fd, id->buffer, sizeof(id->buffer));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			if ((uint64_t)n > left)
				return -EBUSY;
			put(id, id->buffer, (size_t)n);
			left -= (uint64_t)n;
		}
	} while (n);
	return left ? -EBUSY : 0;
}

static int put_file(struct identity *id, const struct lz_dir_file *f, struct lz_why *why)
{
	int fd = lz_dir_open(f, why), err;

	put_number(id, strlen(f->name), 4);
	put(id, f->name, strlen(f->name));
	put_number(id, fd != -ENOENT, 1);
	if (fd == -ENOENT)
		why->text[0] = '\0';
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = put_bytes(id, fd);
	close(fd);
	if (err)
		lz_why_say(why, err, "%s cannot be read: %s", f->name, strerror(-err));
	return err;
}

static int put_task(struct identity *id, const struct lz_dir *dir, uint32_t pid, struct lz_why *why)
{
	static const char *const kind[] = { "core", "mm", "pagemap" };
	int err = 0;

	for (size_t n = 0; n < sizeof(kind) / sizeof(kind[0]) && !err; n++) {
		struct lz_dir_file f = lz_dir_file(dir, 0, "%s-%" PRIu32 ".img", kind[n], pid);

		err = put_file(id, &f, why);
	}
	return err;
}

static int put_all(struct identity *id, const struct lz_images *i, struct lz_why *why)
{
	static const char version[] = "lazyd-identity-1";
	struct lz_dir_file inventory = lz_dir_file(&i->dir, 0, "inventory.img");
	struct lz_dir_file pstree = lz_dir_file(&i->dir, 0, "pstree.img");
	int err;

	put(id, version, strlen(version));
	err = put_file(id, &inventory, why);
	if (!err)
		err = put_file(id, &pstree, why);
	for (size_t n = 0; n < i->nr_tasks && !err; n++)
		err = put_task(id, &i->dir, i->task[n].pid, why);
	return err;
}

int lz_images_identity(const struct lz_images *i, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why)
{
	struct identity id = { .failed = false };
	int err;

	why->text[0] = '\0';
	if (gnutls_hash_init(&id.hash, GNUTLS_DIG_SHA256) < 0)
		return lz_why_say(why, -EIO, "SHA-256 cannot be had from GnuTLS");
	err = put_all(&id, i, why);
	if (!err && id.failed)
		err = lz_why_say(why, -EIO, "GnuTLS failed to hash the images");
	gnutls_hash_deinit(id.hash, out);
	return err;
}
