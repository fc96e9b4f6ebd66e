/* SPDX-License-Identifier: MIT */
/* Memory files of the peer: a base of which every page is told apart, and a diff upon it. */
#include "peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fill_page(uint8_t *page, uint64_t number, uint64_t seed)
{
	uint64_t s = seed * UINT64_C(0x9e3779b97f4a7c15) + number;

	for (unsigned i = 0; i < PAGE; i += sizeof(s)) {
		(void)next_random(&s);
		memcpy(page + i, &s, sizeof(s));
	}
}

static int create(const char *file, uint64_t size)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)size))
		bad("%s", file);
	return fd;
}

static void put_page(int fd, uint64_t number, const uint8_t *page)
{
	if (pwrite(fd, page, PAGE, (off_t)(number * PAGE)) != PAGE)
		bad("pwrite");
}

int make_base(char **argv)
{
	uint64_t size = strtoull(argv[1], NULL, 10) * MIB, seed = strtoull(argv[2], NULL, 10);
	int fd = create(argv[0], size);
	uint8_t page[PAGE];

	for (uint64_t n = 0; n < size / PAGE; n++) {
		if (n % 7 == 3)
			continue;
		fill_page(page, n, seed);
		put_page(fd, n, page);
	}
	return close(fd);
}

int make_diff(char **argv)
{
	uint64_t size = strtoull(argv[2], NULL, 10) * MIB, seed = strtoull(argv[3], NULL, 10);
	uint64_t percent = strtoull(argv[4], NULL, 10), s = seed;
	int fd = create(argv[0], size), to = open(argv[1], O_RDWR | O_CLOEXEC);
	uint8_t page[PAGE];

	if (to < 0)
		bad("%s", argv[1]);
	for (uint64_t n = 0; n < size / PAGE; n++) {
		if (next_random(&s) % 100 >= percent)
			continue;
		/* A page that has become zero is in a diff like any other. */
		memset(page, 0, PAGE);
		if (n % 5)
			fill_page(page, n, seed);
		put_page(fd, n, page);
		put_page(to, n, page);
	}
	return close(fd) | close(to);
}
