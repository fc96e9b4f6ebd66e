/* SPDX-License-Identifier: MIT */
/*
 * mkimages DIR [name=value ...]: makes a directory of images, for trying things by hand and for
 * benches. The names are the members of struct imagegen; `damage=FILE:KIND` hurts a file at the
 * end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/imagegen.h"

static struct imagegen g = { .nr_tasks = 1, .nr_ranges = 1, .nr_pages = 1 };

static const struct {
	const char *name;
	uint64_t *to64;
	uint32_t *to32;
	bool *flag;
} settings[] = {
	{ .name = "tasks", .to32 = &g.nr_tasks },
	{ .name = "first_pid", .to32 = &g.first_pid },
	{ .name = "base", .to64 = &g.base },
	{ .name = "ranges", .to64 = &g.nr_ranges },
	{ .name = "pages", .to64 = &g.nr_pages },
	{ .name = "gap", .to64 = &g.gap_pages },
	{ .name = "area", .to64 = &g.area_pages },
	{ .name = "levels", .to32 = &g.nr_levels },
	{ .name = "eager_every", .to32 = &g.eager_every },
	{ .name = "absent_every", .to32 = &g.absent_every },
	{ .name = "dead_last", .flag = &g.dead_last },
	{ .name = "sparse", .flag = &g.sparse },
};
enum { NR_SETTINGS = sizeof(settings) / sizeof(settings[0]) };

static void usage(void)
{
	fputs("usage: mkimages DIR [name=number ...] [format=4.1|4.2] [damage=FILE:KIND]\nnames:",
	      stderr);
	for (size_t n = 0; n < NR_SETTINGS; n++)
		fprintf(stderr, " %s", settings[n].name);
	fputs("\nkinds:", stderr);
	for (size_t n = 0; n < IMAGEGEN_NR_DAMAGES; n++)
		fprintf(stderr, " %s", imagegen_damage_name[n]);
	fputc('\n', stderr);
	exit(2);
}

static void set(const char *name, size_t len, const char *value)
{
	char *end;
	uint64_t v = strtoull(value, &end, 0);

	if (len == 6 && !strncmp(name, "format", len)) {
		g.format = strcmp(value, "4.1") ? LZ_PAGEMAP_4_2 : LZ_PAGEMAP_4_1;
		return;
	}
	for (size_t n = 0; n < NR_SETTINGS; n++) {
		if (strlen(settings[n].name) != len || strncmp(settings[n].name, name, len))
			continue;
		if (*end || end == value)
			usage();
		if (settings[n].to64)
			*settings[n].to64 = v;
		else if (settings[n].to32)
			*settings[n].to32 = (uint32_t)v;
		else
			*settings[n].flag = v;
		return;
	}
	usage();
}

static int hurt(int dirfd, const char *what)
{
	const char *colon = strrchr(what, ':');
	char name[64];
	int err = -EINVAL;

	if (!colon)
		usage();
	snprintf(name, sizeof(name), "%.*s", (int)(colon - what), what);
	for (size_t n = 0; n < IMAGEGEN_NR_DAMAGES; n++) {
		if (!strcmp(colon + 1, imagegen_damage_name[n]))
			err = imagegen_hurt(dirfd, name, (enum imagegen_damage)n);
	}
	if (err)
		fprintf(stderr, "mkimages: %s: %s\n", what, strerror(-err));
	return err;
}

int main(int argc, char **argv)
{
	const char *damage = NULL;
	struct lz_why why;
	int dirfd;

	g.format = LZ_PAGEMAP_4_2;
	if (argc < 2 || strchr(argv[1], '='))
		usage();
	for (int n = 2; n < argc; n++) {
		const char *equals = strchr(argv[n], '=');

		if (!equals)
			usage();
		if (!strncmp(argv[n], "damage=", 7))
			damage = equals + 1;
		else
			set(argv[n], (size_t)(equals - argv[n]), equals + 1);
	}
	if (mkdir(argv[1], 0700) < 0 && errno != EEXIST) {
		perror(argv[1]);
		return 1;
	}
	dirfd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		perror(argv[1]);
		return 1;
	}
	if (imagegen_make(dirfd, &g, &why)) {
		fprintf(stderr, "mkimages: %s\n", why.text);
		return 1;
	}
	return damage && hurt(dirfd, damage) ? 1 : 0;
}
