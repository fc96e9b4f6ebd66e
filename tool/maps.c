/* SPDX-License-Identifier: MIT */
/* In both files an area begins with the same line; in smaps its fields follow, VmFlags last. */
#include "tool/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Names are behind it, which may be what a process likes; the kernel writes no newline in them. */
static int take_first_line(struct lz_maps_area *a, const char *line)
{
	char perms[8] = "";
	int name = 0;

	*a = (struct lz_maps_area){ 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &a->start, &a->end, perms,
		   &name) < 3 ||
	    strlen(perms) != 4)
		return -EPROTO;
	a->prot = (perms[0] == 'r' ? PROT_READ : 0u) | (perms[1] == 'w' ? PROT_WRITE : 0u) |
		  (perms[2] == 'x' ? PROT_EXEC : 0u);
	a->is_shared = perms[3] != 'p';
	a->is_kernels = !strncmp(line + name, "[v",
				 2); /* [vdso], [vvar], [vvar_vclock], [vsyscall] */
	a->missing = a->end - a->start;
	return 0;
}

/* True if it is the last. */
static bool take_field(struct lz_maps_area *a, const char *line)
{
	uint64_t n;

	if (sscanf(line, "Rss: %" SCNu64, &n) == 1 || sscanf(line, "Swap: %" SCNu64, &n) == 1)
		a->missing -= n * 1024 < a->missing ? n * 1024 : a->missing;
	else if (sscanf(line, "THPeligible: %" SCNu64, &n) == 1)
		a->may_be_huge = n;
	else if (!strncmp(line, "VmFlags:", 8))
		a->is_registered = strstr(line, " um");
	return !strncmp(line, "VmFlags:", 8);
}

int lz_maps_parse(FILE *f, enum lz_maps_file which,
		  int (*take)(const struct lz_maps_area *a, void *arg), void *arg)
{
	struct lz_maps_area a;
	char *line = NULL;
	size_t room = 0;
	int r = 0;

	while (!r && getline(&line, &room, f) >= 0) {
		bool whole = which == LZ_MAPS;

		r = take_first_line(&a, line);
		while (!r && !whole && getline(&line, &room, f) >= 0)
			whole = take_field(&a, line);
		if (!r && whole)
			r = take(&a, arg);
	}
	if (!r && ferror(f))
		r = -errno;
	free(line);
	return r;
}

int lz_maps_read(pid_t pid, enum lz_maps_file which,
		 int (*take)(const struct lz_maps_area *a, void *arg), void *arg)
{
	char path[64];
	FILE *f;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid,
		       which == LZ_MAPS ? "maps" : "smaps");
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	r = lz_maps_parse(f, which, take, arg);
	(void)fclose(f);
	return r;
}
