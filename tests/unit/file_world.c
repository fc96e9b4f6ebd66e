/* SPDX-License-Identifier: MIT */
/* The file of file_world.h. Not here: any test. */
#define _GNU_SOURCE 1
#include "file_world.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct lz_ring ring;
struct lz_source *source;
int fd = -1;
uint8_t bytes[LARGEST], to[LARGEST];

void fill_bytes(void)
{
	for (size_t i = 0; i < LARGEST; i++)
		bytes[i] = (uint8_t)(1 + (i * 31 + i / PAGE) % 255);
}

void world_open(int file, uint64_t size)
{
	ck_assert_int_eq(lz_ring_open(&ring, 8), 0);
	fd = file;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(lz_file_open(&source, fd, size, NULL), 0);
}

void world_open_memory(uint64_t size)
{
	int file = memfd_create("file", 0);

	fill_bytes();
	ck_assert_int_eq(write(file, bytes, size), (ssize_t)size);
	world_open(file, size);
}

void teardown(void)
{
	source->ops->close(source);
	close(fd);
	lz_ring_close(&ring);
}

int64_t read_all(uint64_t offset, size_t len)
{
	struct lz_source_read r = {
		.source = source, .offset = offset, .to = to, .len = len, .request = 3
	};
	struct lz_completion c;
	int64_t result;

	memset(to, 0, len);
	ck_assert_int_eq(source->ops->begin(source, &ring, &r), 0);
	for (;;) {
		ck_assert_int_eq(lz_ring_wait(&ring, -1), 0);
		if (!lz_ring_reap(&ring, &c, 1))
			continue;
		ck_assert_uint_eq(c.tag.kind, LZ_TAG_READ);
		ck_assert_uint_eq(c.tag.id, 3);
		if (lz_source_completed(&r, &ring, c.res, &result))
			return result;
	}
}

int64_t tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

bool resident(uint64_t offset, size_t len)
{
	int64_t before = tick();

	while (tick() == before)
		continue;
	return source->ops->resident(source, offset, len);
}

const void *at(uint64_t offset, size_t len)
{
	return source->ops->at(source, offset, len);
}
