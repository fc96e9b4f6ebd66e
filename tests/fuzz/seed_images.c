/* SPDX-License-Identifier: MIT */
/*
 * seed_images CORPUS_DIR: writes the inputs that fuzz_image, fuzz_chain and fuzz_dir start from
 * into its directories of these names, made by the writer and by the builders of the unit tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/criu/core.pb-c.h"
#include "tests/lib/imagegen.h"

static int corpus;
static char scratch[] = "/tmp/lazyd-seeds.XXXXXX";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put_file(const char *directory, const char *name, const struct imagebuf *b)
{
	char path[128];
	int fd;

	if (mkdirat(corpus, directory, 0755) < 0 && errno != EEXIST)
		die(directory);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = openat(corpus, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, b->bytes, b->len) != (ssize_t)b->len || close(fd))
		die(path);
}

static void add_file(struct imagebuf *b, int at, const char *name)
{
	uint8_t bytes[4096];
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

	if (n < 0)
		die(name);
	close(fd);
	imagebuf_put(b, bytes, (size_t)n);
}

/* The first byte of fuzz_image's inputs; CORE is 2. */
static const struct {
	const char *file;
	uint8_t kind;
} image[] = {
	{ "inventory.img", 0 }, { "pstree.img", 1 }, { "pagemap-1000.img", 3 }, { "mm-1000.img", 4 }
};

static void seed_images(int at, const char *name)
{
	for (size_t n = 0; n < sizeof(image) / sizeof(image[0]); n++) {
		struct imagebuf b = { .bytes = NULL };
		char to[64];

		imagebuf_put(&b, &image[n].kind, 1);
		add_file(&b, at, image[n].file);
		snprintf(to, sizeof(to), "%s-%.*s", name, (int)strcspn(image[n].file, "-."),
			 image[n].file);
		put_file("fuzz_image", to, &b);
		imagebuf_free(&b);
	}
}

static void seed_core(void)
{
	Lz__Criu__TaskCoreEntry tc = LZ__CRIU__TASK_CORE_ENTRY__INIT;
	Lz__Criu__CoreEntry core = LZ__CRIU__CORE_ENTRY__INIT;
	struct imagebuf b = { .bytes = NULL };

	tc.task_state = 6;
	core.tc = &tc;
	imagebuf_put(&b, "\x02", 1);
	imagebuf_head(&b, LZ_IMAGE_CORE);
	imagebuf_message(&b, &core.base);
	put_file("fuzz_image", "zombie-core", &b);
	imagebuf_free(&b);
}

static void add_span(struct imagebuf *b, int at, const char *name)
{
	struct imagebuf span = { .bytes = NULL };
	uint8_t len[2];

	add_file(&span, at, name);
	len[0] = (uint8_t)span.len;
	len[1] = (uint8_t)(span.len >> 8);
	imagebuf_put(b, len, 2);
	imagebuf_put(b, span.bytes, span.len);
	imagebuf_free(&span);
}

static void seed_chain(int at, const char *name, uint32_t nr_levels)
{
	struct imagebuf b = { .bytes = NULL };
	char path[64] = "pagemap-1000.img";

	add_span(&b, at, "mm-1000.img");
	for (uint32_t n = 0; n < nr_levels; n++) {
		add_span(&b, at, path);
		snprintf(path, sizeof(path), "snapshot-%u/pagemap-1000.img", n + 1);
	}
	put_file("fuzz_chain", name, &b);
	imagebuf_free(&b);
}

/* The first byte of fuzz_dir's files; the pages file comes without its bytes. */
static void seed_dir(int at, const char *name, bool has_parent)
{
	static const char *const file[] = { "inventory.img", "pstree.img", NULL, "mm-1000.img",
					    "pagemap-1000.img" };
	const uint8_t pages[] = { 5, 0xff, 0xff, 5 + 8, 0xff, 0xff };
	struct imagebuf b = { .bytes = NULL };
	uint8_t which;

	for (which = 0; which < sizeof(file) / sizeof(file[0]); which++) {
		if (!file[which])
			continue;
		imagebuf_put(&b, &which, 1);
		add_span(&b, at, file[which]);
	}
	imagebuf_put(&b, pages, has_parent ? 6 : 3);
	if (has_parent) {
		which = 4 + 8;
		imagebuf_put(&b, &which, 1);
		add_span(&b, at, "snapshot-1/pagemap-1000.img");
	}
	put_file("fuzz_dir", name, &b);
	imagebuf_free(&b);
}

static const struct {
	const char *name;
	struct imagegen g;
} set[] = {
	{ "one", { .nr_ranges = 1, .nr_pages = 1 } },
	{ "gaps", { .nr_ranges = 12, .nr_pages = 3, .gap_pages = 2 } },
	{ "eager", { .nr_ranges = 12, .nr_pages = 2, .eager_every = 3 } },
	{ "absent", { .nr_ranges = 12, .nr_pages = 1, .absent_every = 4 } },
	{ "areas", { .nr_ranges = 5, .nr_pages = 9, .area_pages = 4 } },
	{ "two", { .nr_ranges = 9, .nr_pages = 3, .gap_pages = 1, .nr_levels = 2 } },
	{ "four", { .nr_ranges = 17, .nr_pages = 5, .area_pages = 7, .nr_levels = 4 } },
	{ "mixed",
	  { .nr_ranges = 24, .nr_pages = 2, .eager_every = 5, .absent_every = 7, .nr_levels = 3 } },
	{ "huge", { .nr_ranges = 2, .nr_pages = UINT64_C(1) << 30, .nr_levels = 2 } },
	{ "high", { .nr_ranges = 3, .nr_pages = 2, .base = 0xffffffffffff0000 } },
};

int main(int argc, char **argv)
{
	char command[64];
	struct lz_why why;

	corpus = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (corpus < 0 || !mkdtemp(scratch)) {
		fprintf(stderr, "usage: seed_images CORPUS_DIR\n");
		return 2;
	}
	for (size_t n = 0; n < 2 * sizeof(set) / sizeof(set[0]); n++) {
		struct imagegen g = set[n / 2].g;
		char name[32], path[64];
		int at = -1;

		snprintf(name, sizeof(name), "%s-4.%zu", set[n / 2].name, 1 + n % 2);
		snprintf(path, sizeof(path), "%s/%s", scratch, name);
		if (mkdir(path, 0700) < 0 || (at = open(path, O_RDONLY | O_DIRECTORY)) < 0)
			die(path);
		g.nr_tasks = 1;
		g.sparse = true;
		g.format = n % 2 ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;
		if (imagegen_make(at, &g, &why)) {
			fprintf(stderr, "%s\n", why.text);
			return 1;
		}
		seed_images(at, name);
		seed_chain(at, name, g.nr_levels ? g.nr_levels : 1);
		seed_dir(at, name, g.nr_levels > 1);
		close(at);
	}
	seed_core();
	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	return system(command) ? 1 : 0;
}
