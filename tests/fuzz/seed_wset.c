/* SPDX-License-Identifier: MIT */
/* seed_wset CORPUS_DIR: writes the inputs that fuzz_wset starts from into its
 * directory of that name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/wset.h"

static const char *corpus;
static uint8_t bytes[4096];

static void put_file(const char *name, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/fuzz_wset", corpus);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		perror(path);
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/fuzz_wset/%s", corpus, name);
	f = fopen(path, "wb");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static size_t put(const struct lz_wset_run *run, uint32_t nr, uint32_t flags)
{
	struct lz_wset_head head = { .flags = flags, .nr_runs = nr };

	for (unsigned i = 0; i < sizeof(head.identity); i++)
		head.identity[i] = (uint8_t)(0xa0 + i);
	lz_wset_put_head(bytes, &head);
	for (uint32_t i = 0; i < nr; i++)
		lz_wset_put_run(bytes, i, &run[i]);
	lz_wset_seal(bytes, nr);
	return lz_wset_size(nr);
}

int main(int argc, char **argv)
{
	static const struct lz_wset_run some[] = {
		{ 0x7f0000001000, 1, 1000 },   { 0x7f0000000000, 4, 1000 },
		{ 0x7f0000003000, 2, 1001 },   { 0x400000, 700, 1000 },
		{ 0x400000, 1, 1001 },         { 0xfffffffffffff000 - 0x1000, 1, 1 },
		{ 0x7f0000008000, 511, 1000 },
	};
	static const struct lz_wset_run wrong[][1] = {
		{ { 0x7f0000001001, 1, 1 } },
		{ { 0x7f0000001000, 0, 1 } },
		{ { 0xfffffffffffff000, 2, 1 } },
		{ { 0, LZ_WSET_PAGES_MAX + 1, 1 } },
	};
	char name[32];
	size_t len;

	if (argc != 2) {
		fprintf(stderr, "usage: seed_wset CORPUS_DIR\n");
		return 2;
	}
	corpus = argv[1];
	put_file("empty", put(NULL, 0, 0));
	len = put(some, sizeof(some) / sizeof(some[0]), LZ_WSET_SWEPT);
	put_file("some", len);
	put_file("cut", len - 3);
	bytes[len - 1] ^= 1;
	put_file("damaged", len);
	bytes[8] = 2;
	put_file("newer", len);
	(void)put(NULL, 0, 0);
	bytes[51] = 0xff; /* the number of runs */
	put_file("many", lz_wset_size(0));
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(name, sizeof(name), "wrong-%u", i);
		put_file(name, put(wrong[i], 1, LZ_WSET_CUT));
	}
	return 0;
}
