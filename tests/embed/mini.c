/* SPDX-License-Identifier: MIT */
/*
 * A checkpoint tool of one's own, on liblazyd:
 *
 *	mini run	a job from its beginning to its end, which prints a number
 *	mini save DIR	the same, but half way its memory goes to images in DIR, and it is killed
 *	mini restore DIR
 *			another process gets that memory, a page at the moment it is touched and the
 *			rest meanwhile, and prints the number
 *
 * A job is a function and one area of memory, in which all is that it needs to go on. A tool for
 * any process saves more than that; memory is what takes long.
 */
#include <errno.h>
#include <fcntl.h>
#include <lazyd.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 4096, LEN = PAGES * PAGE, STEPS = 200000, TASK = 1 };
enum { FLAGS = LAZYD_PAGE_PRESENT | LAZYD_PAGE_LAZY };
static uint8_t *const area = (uint8_t *)(uintptr_t)0x100000000;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "mini: %s: %s\n", what, why);
	exit(1);
}

static void must(int r, const char *what, const char *why)
{
	if (r < 0)
		fail(what, why);
}

struct job {
	uint64_t step, number;
};

/* Touches every fourth page, in no order. */
static void run_job(int stops)
{
	struct job *job = (struct job *)area;

	for (; job->step < STEPS; job->step++) {
		uint64_t page = 1 + (job->number ^ job->step * 2654435761U) % (PAGES - 1);
		uint64_t *word = (uint64_t *)(area + page / 4 * 4 * PAGE) + 16;

		if (stops && job->step == STEPS / 2)
			raise(SIGSTOP);
		job->number = (job->number + *word + page) * UINT64_C(6364136223846793005) + 1;
		*word ^= job->number;
	}
	printf("%llu\n", (unsigned long long)job->number);
	exit(0);
}

static void map_area(void)
{
	if (mmap(area, LEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != area)
		fail("mmap", strerror(errno));
}

static pid_t start_job(int stops)
{
	pid_t pid = fork();

	if (!pid) {
		map_area();
		run_job(stops);
	}
	return pid;
}

static int wait_for(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, WUNTRACED);
	return status;
}

static void save_pages(struct lazyd_writer *w, int mem, struct lazyd_why *why)
{
	static uint8_t page[PAGE], zero[PAGE];
	uint64_t at = (uintptr_t)area;

	for (uint64_t end = at + LEN; at < end; at += PAGE) {
		if (pread(mem, page, PAGE, (off_t)at) != PAGE)
			fail("the job's memory", strerror(errno));
		if (memcmp(page, zero, PAGE)) /* what is in no image is zero */
			must(lazyd_writer_add(w, at, 1, FLAGS, page, why), "pages", why->text);
	}
}

static void save(int dir)
{
	struct lazyd_task task = { .pid = TASK };
	struct lazyd_area a = { (uintptr_t)area, (uintptr_t)area + LEN, PROT_READ | PROT_WRITE };
	struct lazyd_writer *w;
	struct lazyd_why why;
	pid_t pid = start_job(1);
	char path[64];
	int mem;

	if (!WIFSTOPPED(wait_for(pid)))
		fail("the job", "it did not stop");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	must(lazyd_writer_tasks(dir, &task, 1, &why), "tasks", why.text);
	must(lazyd_writer_areas(dir, TASK, &a, 1, &why), "areas", why.text);
	must(lazyd_writer_open(&w, dir, TASK, 1, &why), "pagemap", why.text);
	save_pages(w, mem, &why);
	must(lazyd_writer_close(w, &why), "pages", why.text);
	kill(pid, SIGKILL);
	wait_for(pid);
}

/* In the new process: memory with nothing in it, which another fills. */
static void restored(int sock)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)area, LEN },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char go;

	map_area();
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		fail("userfaultfd", strerror(errno));
	/* Its number: the parent, which may look into its child, takes it from there. */
	if (write(sock, &uffd, sizeof(uffd)) != sizeof(uffd) || read(sock, &go, 1) != 1)
		fail("parent", strerror(errno));
	close(uffd);
	run_job(0);
}

static int restore(int dir)
{
	struct lazyd_options options = { .size = sizeof(options), .on_lost = LAZYD_LOST_KILL };
	struct lazyd_images *images;
	struct lazyd_memory *memory;
	struct lazyd_why why;
	struct lazyd *l;
	int pair[2], uffd, pidfd, r;
	pid_t pid;

	must(lazyd_images_open(&images, dir, &why), "images", why.text);
	must(lazyd_images_memory(images, TASK, &memory, &why), "memory", why.text);
	must(lazyd_new(&l, &options), "engine", "no io_uring");
	r = lazyd_add(l, memory);
	must(r, "memory", lazyd_error(l));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair", "no descriptors");
	pid = fork();
	if (!pid)
		restored(pair[1]);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (read(pair[0], &uffd, sizeof(uffd)) != sizeof(uffd))
		fail("child", "it has ended");
	uffd = (int)syscall(SYS_pidfd_getfd, pidfd, uffd, 0);
	must(lazyd_attach(l, r, uffd, pidfd), "attach", lazyd_error(l));
	must(lazyd_start(l), "start", lazyd_error(l));
	must((int)write(pair[0], "", 1), "child", "it has ended");
	while ((r = lazyd_turn(l, -1)) > 0)
		;
	if (r < 0) {
		fprintf(stderr, "mini: %s\n", lazyd_error(l));
		lazyd_abandon(l); /* rather dead than with wrong memory */
	}
	lazyd_free(l);
	lazyd_memory_put(memory);
	lazyd_images_close(images);
	return wait_for(pid);
}

int main(int argc, char **argv)
{
	int dir = argc == 3 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (argc == 2 && !strcmp(argv[1], "run"))
		return wait_for(start_job(0)) != 0;
	if (dir < 0)
		fail("usage", "mini run, mini save DIR, mini restore DIR");
	if (!strcmp(argv[1], "restore"))
		return restore(dir) != 0;
	save(dir);
	return 0;
}
