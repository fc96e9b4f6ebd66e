/* SPDX-License-Identifier: MIT */
/*
 * A main for fuzz targets where there is no fuzzer: gives them the files named, and all files of
 * the directories named, each in a buffer without a spare byte. Where none is named, those of the
 * target's own corpus, $srcdir/tests/fuzz/corpus/<name of the program>. It fails if there was none.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long nr_replayed;

static int replay_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);
	int ok = f && data && fread(data, 1, size, f) == size;

	if (f)
		fclose(f);
	if (ok) {
		/* What crashes is the last one named. */
		printf("replaying %s\n", path);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, size);
		nr_replayed++;
	} else {
		fprintf(stderr, "%s cannot be read\n", path);
	}
	free(data);
	return ok ? 0 : -1;
}

static int replay(const char *path)
{
	struct dirent *e;
	struct stat st;
	int err = 0;
	DIR *d;

	if (stat(path, &st) < 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path, (size_t)st.st_size);
	d = opendir(path);
	if (!d) {
		perror(path);
		return -1;
	}
	while (!err && (e = readdir(d))) {
		size_t len = strlen(path) + strlen(e->d_name) + 2;
		char *below;

		if (e->d_name[0] == '.')
			continue;
		below = malloc(len);
		if (!below)
			abort();
		snprintf(below, len, "%s/%s", path, e->d_name);
		err = replay(below);
		free(below);
	}
	closedir(d);
	return err;
}

/* The program may be behind libtool's lt-. */
static int replay_corpus(const char *program)
{
	const char *slash = strrchr(program, '/'), *srcdir = getenv("srcdir");
	const char *name = slash ? slash + 1 : program;
	char path[4096];

	if (!strncmp(name, "lt-", 3))
		name += 3;
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
	return replay(path);
}

int main(int argc, char **argv)
{
	if (argc == 1 && replay_corpus(argv[0]))
		return 1;
	for (int n = 1; n < argc; n++)
		if (replay(argv[n]))
			return 1;
	printf("%lu inputs\n", nr_replayed);
	return nr_replayed ? 0 : 1;
}
