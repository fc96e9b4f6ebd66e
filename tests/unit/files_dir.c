/* SPDX-License-Identifier: MIT */
/* The directory of files_dir.h. Not here: any test. */
#include "files_dir.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pagemap/writer.h"
#include "proto/criu/core.pb-c.h"
#include "tests/lib/scratch.h"

char dir[] = "/tmp/lazyd-files.XXXXXX";
int dirfd_;
struct lz_why why;
struct lz_images *images;
struct lz_memory *memory;

const struct imagegen small = { .nr_tasks = 2,
				.nr_ranges = 4,
				.nr_pages = 2,
				.gap_pages = 1,
				.nr_levels = 2,
				.format = LZ_PAGEMAP_4_2 };

void setup(void)
{
	dirfd_ = scratch_open(dir);
}

void teardown(void)
{
	lz_memory_put(memory);
	lz_images_close(images);
	memory = NULL;
	images = NULL;
	scratch_close(dir, dirfd_);
}

void make(const struct imagegen *g)
{
	ck_assert_msg(imagegen_make(dirfd_, g, &why) == 0, "%s", why.text);
}

int load(void)
{
	int err = lz_images_open(&images, dirfd_, &why);

	return err ? err : lz_images_memory(images, 1000, &memory, NULL, &why);
}

void says(const char *text)
{
	ck_assert_msg(strstr(why.text, text) != NULL, "'%s' is not in: %s", text, why.text);
}

void put(const char *name, const struct imagebuf *b)
{
	int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, b->bytes, b->len), (ssize_t)b->len);
	close(fd);
}

void put_core(uint32_t pid, uint32_t state)
{
	Lz__Criu__TaskCoreEntry tc = LZ__CRIU__TASK_CORE_ENTRY__INIT;
	Lz__Criu__CoreEntry core = LZ__CRIU__CORE_ENTRY__INIT;
	struct imagebuf b = { .bytes = NULL };
	char name[32];

	tc.task_state = state;
	core.tc = state ? &tc : NULL;
	imagebuf_head(&b, LZ_IMAGE_CORE);
	imagebuf_message(&b, &core.base);
	snprintf(name, sizeof(name), "core-%" PRIu32 ".img", pid);
	put(name, &b);
	imagebuf_free(&b);
}

void relink(const char *target)
{
	ck_assert_int_eq(lz_writer_parent(dirfd_, target, &why), 0);
}
