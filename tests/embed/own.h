/* SPDX-License-Identifier: MIT */
/* For the programs that embed: memory of this process, its image, and looking at it. */
#ifndef OWN_H
#define OWN_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uffd/lazyd.h"

enum { OWN_PAGE = 4096 };

#define OWN_MUST(is_true)                                                                \
	do {                                                                             \
		if (!(is_true)) {                                                        \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #is_true, \
				strerror(errno));                                        \
			_exit(1);                                                        \
		}                                                                        \
	} while (0)

static inline uint64_t own_word(uint64_t page, uint64_t seed)
{
	return (page + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;
}

/* Memory of @pages pages with nothing in it, registered with *uffd. */
static inline uint8_t *own_memory(uint64_t pages, int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint8_t *at = mmap(NULL, pages * OWN_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	OWN_MUST(at != MAP_FAILED);
	*uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*uffd < 0 && errno == EPERM) {
		printf("skip: no userfaultfd to be had\n");
		_exit(77);
	}
	reg.range.start = (uintptr_t)at;
	reg.range.len = pages * OWN_PAGE;
	OWN_MUST(*uffd >= 0 && !ioctl(*uffd, UFFDIO_API, &api) &&
		 !ioctl(*uffd, UFFDIO_REGISTER, &reg));
	return at;
}

/* What belongs there, but for every eighth page, which is zero. */
static inline struct lazyd_memory *own_image(uint8_t *at, uint64_t pages, uint64_t seed)
{
	uint64_t page[OWN_PAGE / sizeof(uint64_t)];
	struct lazyd_memory *m;
	int fd = memfd_create("image", MFD_CLOEXEC), source;

	for (uint64_t n = 0; n < pages; n++) {
		for (size_t i = 0; i < OWN_PAGE / sizeof(uint64_t); i++)
			page[i] = own_word(n, seed);
		OWN_MUST(write(fd, page, OWN_PAGE) == OWN_PAGE);
	}
	OWN_MUST(!lazyd_memory_new(&m));
	source = lazyd_memory_add_file(m, fd, "image");
	OWN_MUST(source >= 0 &&
		 !lazyd_memory_add_area(m, (uintptr_t)at, pages * OWN_PAGE, OWN_PAGE));
	for (uint64_t n = 0; n < pages; n += 8)
		OWN_MUST(!lazyd_memory_add_piece(m, (uintptr_t)at + n * OWN_PAGE, 7 * OWN_PAGE,
						 source, n * OWN_PAGE));
	return m;
}

static inline void own_look(const uint8_t *at, uint64_t n, uint64_t seed)
{
	const uint64_t *page = (const uint64_t *)(at + n * OWN_PAGE);

	for (size_t i = 0; i < OWN_PAGE / sizeof(uint64_t); i++)
		OWN_MUST(page[i] == (n % 8 == 7 ? 0 : own_word(n, seed)));
}

#endif
