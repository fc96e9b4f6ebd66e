/* SPDX-License-Identifier: MIT */
/* The identities of identity.h: frames what is read into a hash, a buffer at a time. */
#include "pagemap/identity.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap/files_priv.h"
#include "pagemap/memory.h"

enum { BUFFER = 64 << 10, PAGE = 4096 };

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

/* ---- of a file ---- */

static int put_whole(struct identity *id, int fd, struct lz_why *why)
{
	static const char version[] = "lazyd-identity-f";
	struct stat st;
	int err = fstat(fd, &st) || lseek(fd, 0, SEEK_SET) ? -errno : 0;

	if (!err && !S_ISREG(st.st_mode))
		err = -EINVAL;
	put(id, version, strlen(version));
	if (!err)
		err = put_bytes(id, fd);
	return err ? lz_why_say(why, err, "the file cannot be read: %s", strerror(-err)) : 0;
}

/* ---- of a memory ---- */

static int put_layout(struct identity *id, const struct lz_memory *m, struct lz_why *why)
{
	static const char version[] = "lazyd-identity-m";
	const struct lz_run *run = lz_plan_runs(m->plan);

	put(id, version, strlen(version));
	for (size_t n = 0; n < m->nr_segs; n++) {
		put_number(id, m->seg[n].start, 8);
		put_number(id, m->seg[n].end - m->seg[n].start, 8);
	}
	for (size_t n = 0; n < lz_plan_nr_runs(m->plan); n++) {
		if (m->source[run[n].source].kind != LZ_FROM_FILE)
			return lz_why_say(why, -ENOTSUP, "%s is no file: it has no identity",
					  m->source[run[n].source].name);
		if (!run[n].source)
			continue;
		put_number(id, run[n].identity, 8);
		put_number(id, lz_plan_run_pages(m->plan, &run[n]) << run[n].page_shift, 8);
		put_number(id, run[n].source, 4);
	}
	return 0;
}

static int put_page(struct identity *id, const struct lz_memory *m, uint64_t address,
		    struct lz_why *why)
{
	const struct lz_run *run;
	int64_t page = lz_plan_page(m->plan, address, &run);
	const struct lz_memory_source *source;
	uint64_t offset;
	size_t have = 0;
	ssize_t n;

	memset(id->buffer, 0, PAGE);
	while (page >= 0 && have < PAGE) {
		source = &m->source[run->source];
		offset = run->offset + (address - run->identity) + have;
		n = pread(source->fd, id->buffer + have, PAGE - have, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return lz_why_say(why, n ? -errno : -ENODATA, "%s cannot be read: %s",
					  source->name, n ? strerror(errno) : "it is too short");
		have += (size_t)n;
	}
	put(id, id->buffer, PAGE);
	return 0;
}

static int put_samples(struct identity *id, const struct lz_memory *m, struct lz_why *why)
{
	uint64_t pages = 0, before = 0, nr, n = 0, at;
	int err = 0;

	for (size_t i = 0; i < m->nr_segs; i++)
		pages += (m->seg[i].end - m->seg[i].start) / PAGE;
	nr = pages < LZ_IDENTITY_SAMPLES ? pages : LZ_IDENTITY_SAMPLES;
	for (size_t i = 0; i < m->nr_segs; i++) {
		uint64_t start = m->seg[i].start, end = before + (m->seg[i].end - start) / PAGE;

		for (; !err && n < nr; n++) {
			at = nr < 2 ? 0 : n * (pages - 1) / (nr - 1);
			if (at >= end)
				break;
			err = put_page(id, m, start + (at - before) * PAGE, why);
		}
		before = end;
	}
	return err;
}

/* ---- all of them ---- */

static int begin(struct identity *id, struct lz_why *why)
{
	why->text[0] = '\0';
	id->failed = false;
	if (gnutls_hash_init(&id->hash, GNUTLS_DIG_SHA256) < 0)
		return lz_why_say(why, -EIO, "SHA-256 cannot be had from GnuTLS");
	return 0;
}

static int end(struct identity *id, int err, uint8_t *out, struct lz_why *why)
{
	if (!err && id->failed)
		err = lz_why_say(why, -EIO, "GnuTLS failed to hash");
	gnutls_hash_deinit(id->hash, out);
	return err;
}

int lz_images_identity(const struct lz_images *i, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why)
{
	struct identity id;
	int err = begin(&id, why);

	return err ? err : end(&id, put_all(&id, i, why), out, why);
}

int lz_memory_identity(const struct lz_memory *m, uint8_t out[LZ_IDENTITY_BYTES],
		       struct lz_why *why)
{
	struct identity id;
	int err = begin(&id, why);

	if (err)
		return err;
	err = put_layout(&id, m, why);
	if (!err)
		err = put_samples(&id, m, why);
	return end(&id, err, out, why);
}

int lz_file_identity(int fd, uint8_t out[LZ_IDENTITY_BYTES], struct lz_why *why)
{
	struct identity id;
	int err = begin(&id, why);

	return err ? err : end(&id, put_whole(&id, fd, why), out, why);
}
