/* SPDX-License-Identifier: MIT */
/*
 * A process whose memory is moved while it stands still on its old host, with `lazyd serve --pid`
 * there and the library here:
 *
 *	move start	memory that is written, only read, or neither, page by page; says READY and
 *			stops
 *	move take DIR PID ADDRESS PORT
 *			a process with nothing in the same memory, which looks at every byte of it
 *			while it is brought; DIR has the images that serve made, which hold no page
 *
 * Prints what came over the wire and what would have had to.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/embed/own.h"

enum { PAGES = 32768, WORDS = OWN_PAGE / sizeof(uint64_t) };
static uint8_t *const area = (uint8_t *)(uintptr_t)0x200000000;

enum what { WRITTEN, READ, UNTOUCHED };
static enum what what_is(uint64_t n)
{
	return n % 64 < 48 ? WRITTEN : n % 64 < 56 ? READ : UNTOUCHED;
}

static void map_area(void)
{
	OWN_MUST(mmap(area, (size_t)PAGES * OWN_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == area);
	(void)madvise(area, (size_t)PAGES * OWN_PAGE, MADV_NOHUGEPAGE);
}

static void start(void)
{
	map_area();
	for (uint64_t n = 0; n < PAGES; n++) {
		uint64_t *page = (uint64_t *)(area + n * OWN_PAGE);

		for (uint64_t i = 0; i < WORDS && what_is(n) == WRITTEN; i++)
			page[i] = own_word(n * WORDS + i, 1);
		if (what_is(n) == READ)
			OWN_MUST(*(volatile uint64_t *)page == 0);
	}
	printf("READY %d\n", getpid());
	(void)fflush(stdout);
	(void)raise(SIGSTOP);
}

/* ---- the new host ---- */

static void look_at_all(void)
{
	for (uint64_t k = 0; k < PAGES; k++) {
		uint64_t n = k * 12289 % PAGES;
		const uint64_t *page = (const uint64_t *)(area + n * OWN_PAGE);

		for (uint64_t i = 0; i < WORDS; i++)
			OWN_MUST(page[i] ==
				 (what_is(n) == WRITTEN ? own_word(n * WORDS + i, 1) : 0));
	}
}

/* Its userfaultfd's number goes to the parent, which takes it. */
static void taken(int sock)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .range = { (uintptr_t)area, (size_t)PAGES * OWN_PAGE },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char go;

	map_area();
	OWN_MUST(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) && !ioctl(uffd, UFFDIO_REGISTER, &r));
	OWN_MUST(write(sock, &uffd, sizeof(uffd)) == sizeof(uffd) && read(sock, &go, 1) == 1);
	(void)close(uffd);
	look_at_all();
	_exit(0);
}

static int dial(void *arg)
{
	const struct sockaddr_in *to = arg;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to)) &&
	    errno != EINPROGRESS) {
		(void)close(fd);
		return -EAGAIN;
	}
	return fd;
}

static void fill(struct lazyd *l)
{
	struct lazyd_stats st;
	int r;

	while ((r = lazyd_turn(l, -1)) > 0)
		;
	if (r < 0)
		fprintf(stderr, "%s\n", lazyd_error(l));
	OWN_MUST(r == 0);
	lazyd_stats(l, NULL, &st);
	printf("pages=%llu wire=%llu zero=%llu lost=%llu demand=%llu\n",
	       (unsigned long long)st.pages_total, (unsigned long long)st.bytes_wire,
	       (unsigned long long)st.remote_zero, (unsigned long long)st.pages_lost,
	       (unsigned long long)st.pages_demand);
}

static void take(const char *dir, uint32_t pid, const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	uint8_t identity[LAZYD_IDENTITY_LEN];
	struct lazyd_remote remote = { .size = sizeof(remote),
				       .connect = dial,
				       .arg = &to,
				       .identity = identity,
				       .header = 32 };
	struct lazyd_options o = { .size = sizeof(o), .remote = &remote };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), pair[2], uffd, pidfd, status, r;
	struct lazyd_images *images;
	struct lazyd_memory *memory;
	struct lazyd *l;
	pid_t child;

	OWN_MUST(inet_pton(AF_INET, address, &to.sin_addr) == 1);
	OWN_MUST(fd >= 0 && !lazyd_images_open(&images, fd, NULL));
	lazyd_images_remote(images);
	OWN_MUST(!lazyd_images_identity(images, identity, NULL));
	OWN_MUST(!lazyd_images_memory(images, pid, &memory, NULL));
	OWN_MUST(!lazyd_new(&l, &o) && (r = lazyd_add(l, memory)) >= 0);
	OWN_MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	child = fork();
	if (!child)
		taken(pair[1]);
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	OWN_MUST(read(pair[0], &uffd, sizeof(uffd)) == sizeof(uffd));
	uffd = (int)syscall(SYS_pidfd_getfd, pidfd, uffd, 0);
	OWN_MUST(lazyd_attach(l, r, uffd, pidfd) >= 0 && !lazyd_start(l));
	OWN_MUST(write(pair[0], "", 1) == 1);
	fill(l);
	lazyd_free(l);
	lazyd_memory_put(memory);
	lazyd_images_close(images);
	OWN_MUST(waitpid(child, &status, 0) == child && !status);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "start"))
		start();
	else if (argc == 6 && !strcmp(argv[1], "take"))
		take(argv[2], (uint32_t)atoi(argv[3]), argv[4], argv[5]);
	else
		return 2;
	return 0;
}
