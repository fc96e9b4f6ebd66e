/* SPDX-License-Identifier: MIT */
/*
 * Whole directories of images, as fill, serve and inspect read them. The input is a row of files: a
 * byte that says which (the low bits) and whether it is the parent's (8), two bytes with its
 * length, the lower first, and its bytes; the last takes what is left. Of a pages file there is as
 * much as the length says, and no bytes: nobody interprets them. Whatever is in the files, what is
 * refused is refused with a sentence, what is taken can be asked for everything, and the answers
 * agree.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uffd/lazyd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const FILES[] = { "inventory.img",    "pstree.img",       "core-1000.img",
				     "mm-1000.img",      "pagemap-1000.img", "pages-1.img",
				     "pagemap-1001.img", "mm-1001.img" };
enum { NR_FILES = sizeof(FILES) / sizeof(FILES[0]), PAGES_FILE = 5, PARENT = 8, TASKS_MAX = 64 };

static char path[] = "/tmp/lazyd-fuzz-dir.XXXXXX";
static int dir[2] = { -1, -1 }; /* the snapshot, and its parent where that is there */

static void clean_up(void)
{
	(void)rmdir(path);
}

/* The parent's directory is there while it has a file. */
static void clear(void)
{
	for (int level = 0; level < 2; level++)
		for (size_t n = 0; dir[level] >= 0 && n < NR_FILES; n++)
			(void)unlinkat(dir[level], FILES[n], 0);
	if (dir[1] >= 0) {
		close(dir[1]);
		assert(!unlinkat(dir[0], "parent", AT_REMOVEDIR));
		dir[1] = -1;
	}
}

static void put(uint8_t which, const uint8_t *bytes, size_t len)
{
	int level = which & PARENT ? 1 : 0, fd;

	if (level && dir[1] < 0) {
		assert(!mkdirat(dir[0], "parent", 0700));
		dir[1] = openat(dir[0], "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert(dir[1] >= 0);
	}
	which %= NR_FILES;
	fd = openat(dir[level], FILES[which], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(fd >= 0);
	if (which == PAGES_FILE)
		assert(!ftruncate(fd, (off_t)len << 9));
	else
		assert(write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static void lay_out(const uint8_t *data, size_t size)
{
	while (size >= 3) {
		size_t len = data[1] | (size_t)data[2] << 8, have = size - 3;

		if (data[0] % NR_FILES == PAGES_FILE)
			have = 0;
		else if (len < have)
			have = len;
		else
			len = have;
		put(data[0], data + 3, len);
		data += 3 + have;
		size -= 3 + have;
	}
}

static void ask_of_task(struct lazyd_images *images, uint32_t pid)
{
	struct lazyd_task_report report;
	struct lazyd_why why = { { 0 } };
	struct lazyd_memory *memory;
	int reported = lazyd_images_report(images, pid, &report, &why), r;

	assert(!reported == !why.text[0]);
	r = lazyd_images_memory(images, pid, &memory, &why);
	assert(!r == !why.text[0]);
	if (!reported) {
		assert(report.lost_bytes <= report.lazy_bytes && report.depth);
		assert(report.lazy_bytes % 4096 == 0 && report.parent_bytes % 4096 == 0);
	}
	if (r)
		return;
	assert(!reported);
	assert(lazyd_memory_pages(memory) <= (report.lazy_bytes + report.parent_bytes) / 4096);
	lazyd_memory_put(memory);
}

static void ask(struct lazyd_images *images)
{
	uint8_t identity[2][LAZYD_IDENTITY_LEN];
	struct lazyd_server_options o = { .size = sizeof(o) };
	struct lazyd_why why = { { 0 } };
	struct lazyd_server *server;
	struct lazyd_task task;
	int r;

	for (size_t n = 0; n < TASKS_MAX && !lazyd_images_task(images, n, &task); n++)
		if (!task.dead)
			ask_of_task(images, task.pid);
	r = lazyd_images_header(images);
	assert(r == 24 || r == 32);
	r = lazyd_images_identity(images, identity[0], &why);
	assert(!r == !why.text[0]);
	assert(lazyd_images_identity(images, identity[1], &why) == r);
	assert(r || !memcmp(identity[0], identity[1], LAZYD_IDENTITY_LEN));
	if (!lazyd_server_new(&server, images, &o, &why))
		lazyd_server_free(server);
	else
		assert(why.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (dir[0] < 0) {
		assert(mkdtemp(path));
		dir[0] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert(dir[0] >= 0 && !atexit(clean_up));
	}
	lay_out(data, size);
	for (int remote = 0; remote < 2; remote++) {
		struct lazyd_why why = { { 0 } };
		struct lazyd_images *images;
		int r = lazyd_images_open(&images, dir[0], &why);

		assert(!r == !why.text[0]);
		if (r)
			continue;
		if (remote)
			lazyd_images_remote(images);
		ask(images);
		lazyd_images_close(images);
	}
	clear();
	return 0;
}
