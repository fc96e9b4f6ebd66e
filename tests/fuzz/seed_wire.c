/* SPDX-License-Identifier: MIT */
/*
 * seed_wire CORPUS_DIR: writes the inputs that fuzz_giver and fuzz_asker start from into its
 * directories of these names: what clients say, and conversations in the steps of fuzz_asker.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/hello.h"
#include "proto/ps.h"

enum { PID = 1000 };
enum step { ASK, HEAR, REPLY, PAY, CLOSE, ANSWER, WELCOME, STATUS };

static const char *corpus;
static uint8_t bytes[8192];
static size_t len;

static void put_file(const char *directory, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", corpus, directory);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		perror(path);
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/%s/%s", corpus, directory, name);
	f = fopen(path, "wb");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
	len = 0;
}

static void put_header(enum lz_ps_layout layout, uint32_t cmd, uint32_t flags, uint64_t nr_pages,
		       uint64_t vaddr, uint64_t dst_id)
{
	struct lz_ps_header h = { cmd, flags, nr_pages, vaddr, dst_id };

	len += lz_ps_put(layout, &h, bytes + len);
}

/* ---- clients ---- */

static void put_hello(uint8_t identity, uint32_t version)
{
	struct lz_hello h = { .version = version,
			      .page_size = LZ_PS_PAGE,
			      .session = 1,
			      .stream = LZ_HELLO_BULK,
			      .software = "lazyd" };

	h.identity[0] = identity;
	len += lz_hello_put(&h, bytes + len);
}

static void put_vector(size_t nr)
{
	put_header(LZ_PS_32, LZ_PS_GET, LZ_PS_VECTOR, 2 * nr, nr, (uint64_t)nr << 32 | PID);
	for (size_t n = 0; n < nr; n++) {
		struct lz_ps_range r = { (n + 1) << 16, 2 };

		len += lz_ps_put_range(&r, bytes + len);
	}
}

static void seed_clients(enum lz_ps_layout layout, const char *which)
{
	const struct {
		const char *name;
		struct lz_ps_header h;
	} one[] = {
		{ "end", { LZ_PS_CLOSE, 0, 0, 0, 0 } },
		{ "parent", { LZ_PS_PARENT, 0, 0, 0, PID << 8 | 1 } },
		{ "dump", { LZ_PS_OPEN2, 0, 0, 0, PID << 8 | 1 } },
		{ "far", { LZ_PS_GET, 0, 2, 0xffffffffffffe000, PID } },
		{ "much", { LZ_PS_GET, 0, 1 << 20, 0x1000, PID } },
	};
	char name[64];

	for (size_t n = 0; n < sizeof(one) / sizeof(one[0]); n++) {
		len = lz_ps_put(layout, &one[n].h, bytes);
		snprintf(name, sizeof(name), "%s-%s", which, one[n].name);
		put_file("fuzz_giver", name);
	}
	for (uint64_t n = 0; n < 3; n++)
		put_header(layout, LZ_PS_GET, 0, n + 1, 0x7f0000000000 + (n << 20), PID);
	put_header(layout, LZ_PS_FORCE_CLOSE, 0, 0, 0, 0);
	snprintf(name, sizeof(name), "%s-criu", which);
	put_file("fuzz_giver", name);

	put_header(layout, LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE);
	put_hello(0, LZ_HELLO_VERSION);
	put_header(LZ_PS_32, LZ_PS_GET, 0, 1, 0x7f0000000000, PID);
	put_vector(3);
	put_vector(1);
	put_header(LZ_PS_32, LZ_PS_CLOSE, 0, 0, 0, 0);
	snprintf(name, sizeof(name), "%s-lazyd", which);
	put_file("fuzz_giver", name);
}

static void seed_lazyds(void)
{
	static const char *const names[] = { "longest-vector", "other-dump", "other-version" };

	for (size_t n = 0; n < 3; n++) {
		put_header(LZ_PS_32, LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE);
		put_hello(n == 1, n == 2 ? 2 : LZ_HELLO_VERSION);
		put_vector(LZ_PS_RANGES_MAX);
		put_file("fuzz_giver", names[n]);
	}
}

/* ---- conversations ---- */

static void put_step(enum step what, unsigned how)
{
	bytes[len++] = (uint8_t)(what | how << 3);
}

static void put_ask(uint8_t tag, uint8_t nr_ranges)
{
	put_step(ASK, nr_ranges - 1U);
	bytes[len++] = tag;
	for (uint8_t n = 0; n < nr_ranges; n++) {
		bytes[len++] = n + 2; /* pages, less one */
		bytes[len++] = (uint8_t)(n * 40 + tag);
	}
}

static void put_reply(uint8_t tag, unsigned kind, uint8_t nr_pages)
{
	put_step(REPLY, kind);
	bytes[len++] = tag;
	bytes[len++] = nr_pages - 1;
	put_step(PAY, 12); /* 4096 times */
	bytes[len++] = nr_pages - 1;
}

static void put_bytes(const void *what, size_t n)
{
	const uint8_t *from = what;

	for (; n; n--, from++) {
		put_step(HEAR, 0);
		bytes[len++] = *from;
	}
}

static void seed_criu(uint8_t how)
{
	static const char *const names[] = { "criu-32", "criu-24" };

	bytes[len++] = how;
	put_step(ANSWER, 1);
	put_ask(3, 2);
	put_ask(3, 1);
	put_reply(0, 0, 1); /* of 3 */
	put_ask(4, 1);
	put_reply(0, 0, 4);
	put_reply(0, 0, 3);
	put_reply(0, 0, 2);
	put_step(CLOSE, 0);
	put_step(STATUS, 0);
	put_file("fuzz_asker", names[how]);
}

static void seed_lazyd(uint8_t how)
{
	char name[64];

	bytes[len++] = how;
	put_step(ANSWER, 0);
	put_step(WELCOME, 0);
	put_ask(3, 2);
	put_ask(255, 1);
	put_reply(3, 0, 2);
	put_reply(255, 1, 1);
	put_reply(3, 1, 3);
	put_reply(3, 2, 1);
	put_reply(255, 2, 2);
	put_reply(3, 0, 1);
	put_step(CLOSE, 0);
	put_step(STATUS, 0);
	snprintf(name, sizeof(name), "lazyd-%u", how);
	put_file("fuzz_asker", name);
}

static void seed_refusals(void)
{
	struct lz_welcome w = { 1, LZ_PS_PAGE, 0, "no", "" };
	struct lz_ps_header h = { LZ_PS_ADD_F, LZ_PS_PRESENT, 1, 0, UINT64_C(9) << 32 | PID };
	uint8_t frame[LZ_HELLO_MAX];

	bytes[len++] = 2;
	put_step(ANSWER, 0);
	put_bytes(frame, lz_hello_put_welcome(&w, frame));
	put_file("fuzz_asker", "refused");

	bytes[len++] = 2;
	put_step(ANSWER, 0);
	put_step(WELCOME, 0);
	put_ask(3, 1);
	put_bytes(frame, lz_ps_put(LZ_PS_32, &h, frame));
	put_file("fuzz_asker", "not-asked");

	bytes[len++] = 0;
	put_bytes("HTTP/1.1", 8);
	put_file("fuzz_asker", "http");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seed_wire CORPUS_DIR\n");
		return 2;
	}
	corpus = argv[1];
	seed_clients(LZ_PS_24, "24");
	seed_clients(LZ_PS_32, "32");
	seed_lazyds();
	for (uint8_t how = 0; how < 2; how++)
		seed_criu(how);
	for (uint8_t how = 0; how < 4; how++)
		seed_lazyd(how);
	seed_refusals();
	return 0;
}
