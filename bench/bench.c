/* SPDX-License-Identifier: MIT */
/* See bench.h. */
#define _GNU_SOURCE 1
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int lz_bench_uffd(void *area, uint64_t len);
static int lz_bench_receive(int sock);
static int lz_bench_compare(const void *a, const void *b);

uint64_t lz_bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64 */
uint64_t lz_bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t *lz_bench_order(uint32_t nr, uint64_t seed)
{
	uint32_t *order = calloc(nr, sizeof(*order));

	if (!order)
		lz_bench_die("calloc");
	for (uint32_t i = 0; i < nr; i++) {
		uint32_t j = (uint32_t)(lz_bench_random(&seed) % (i + 1));

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

uint64_t lz_bench_number(const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-' || n < least || n > most) {
		fprintf(stderr, "%s: not a number from %llu to %llu\n", text,
			(unsigned long long)least, (unsigned long long)most);
		exit(2);
	}
	return n;
}

void lz_bench_pin(unsigned n)
{
	/* Asked once: after the first pinning the kernel would name that one only. */
	static cpu_set_t allowed;
	cpu_set_t one;

	if (!CPU_COUNT(&allowed) && sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		lz_bench_die("sched_getaffinity");
	CPU_ZERO(&one);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || n--)
			continue;
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			lz_bench_die("sched_setaffinity");
		return;
	}
	errno = ENODEV;
	lz_bench_skip("pinning: another CPU");
}

_Noreturn void lz_bench_die(const char *what)
{
	perror(what);
	exit(1);
}

_Noreturn void lz_bench_skip(const char *what)
{
	printf("skipped: %s: %s\n", what, strerror(errno));
	exit(77);
}

int lz_bench_pages_file(const char *dir, uint64_t len, void (*fill)(uint8_t *page, uint64_t n))
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint8_t block[LZ_BENCH_SLICE] __attribute__((aligned(8)));

	if (fd < 0)
		lz_bench_die(dir);
	for (uint64_t done = 0; done < len; done += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i += LZ_BENCH_PAGE)
			fill(block + i, (done + i) / LZ_BENCH_PAGE);
		if (write(fd, block, sizeof(block)) != sizeof(block))
			lz_bench_die("write");
	}
	return fd;
}

uint64_t lz_bench_cool(int fd)
{
	uint64_t pages, resident = 0;
	unsigned char *present;
	struct stat st;
	void *map;

	/* What is not on the disk yet cannot be dropped. */
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		lz_bench_die("fsync");
	errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (errno)
		lz_bench_die("posix_fadvise");
	if (!st.st_size)
		return 0;
	pages = ((uint64_t)st.st_size + LZ_BENCH_PAGE - 1) / LZ_BENCH_PAGE;
	present = calloc(pages, 1);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (!present || map == MAP_FAILED || mincore(map, (size_t)st.st_size, present) < 0)
		lz_bench_die("mincore");
	for (uint64_t i = 0; i < pages; i++)
		resident += present[i] & 1;
	munmap(map, (size_t)st.st_size);
	free(present);
	return resident;
}

void *lz_bench_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
		       -1, 0);

	if (p == MAP_FAILED)
		lz_bench_die("mmap");
	return p;
}

int lz_bench_listen(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		lz_bench_die("listen");
	return fd;
}

int lz_bench_dial(int listener)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&a, len) < 0)
		lz_bench_die("connect");
	lz_bench_no_delay(fd);
	return fd;
}

void lz_bench_no_delay(int sock)
{
	int on = 1;

	if (setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		lz_bench_die("TCP_NODELAY");
}

void lz_bench_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		lz_bench_die("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		exit(77);
	if (status) {
		fprintf(stderr, "a child ended with status 0x%x\n", (unsigned)status);
		exit(1);
	}
}

struct lz_bench_samples *lz_bench_samples_new(size_t max)
{
	struct lz_bench_samples *s = lz_bench_shared(sizeof(*s) + max * sizeof(s->ns[0]));

	s->max = max;
	return s;
}

void lz_bench_samples_add(struct lz_bench_samples *s, uint64_t ns)
{
	if (s->nr < s->max)
		s->ns[s->nr++] = ns;
}

void lz_bench_line(const char *name, struct lz_bench_samples *s, const char *format, ...)
{
	va_list ap;

	printf("name=%s ", name);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	qsort(s->ns, s->nr, sizeof(s->ns[0]), lz_bench_compare);
	printf(" n=%zu", s->nr);
	if (s->nr)
		printf(" p50_ns=%llu p99_ns=%llu max_ns=%llu", (unsigned long long)s->ns[s->nr / 2],
		       (unsigned long long)s->ns[s->nr * 99 / 100],
		       (unsigned long long)s->ns[s->nr - 1]);
	printf("\n");
	fflush(stdout);
	s->nr = 0;
}

void lz_bench_op(const char *name, uint64_t n, uint64_t ops,
		 uint64_t (*run)(void *arg, uint64_t ops), void *arg)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t ns = run(arg, ops);

		least = ns < least ? ns : least;
	}
	printf("name=%s n=%llu ns_per_op=%.1f\n", name, (unsigned long long)n,
	       (double)least / (double)ops);
	fflush(stdout);
}

void lz_bench_send(int sock, int uffd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &uffd, sizeof(uffd));
	if (sendmsg(sock, &msg, 0) != 1)
		lz_bench_die("sendmsg");
	close(uffd);
}

void lz_bench_task_start(struct lz_bench_task *t, uint64_t len, void (*run)(uint8_t *area, void *),
			 void *arg)
{
	int pair[2];
	void *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		lz_bench_die("mmap");
	/* As in a dump: 4 KiB pages. The child's areas are copies of this one, advice included. */
	madvise(area, len, MADV_NOHUGEPAGE);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		lz_bench_die("socketpair");
	*t = (struct lz_bench_task){ .sock = pair[0], .base = (uintptr_t)area, .len = len };
	t->pid = fork();
	if (t->pid < 0)
		lz_bench_die("fork");
	if (t->pid == 0) {
		char go;

		close(pair[0]);
		lz_bench_send(pair[1], lz_bench_uffd(area, len));
		if (read(pair[1], &go, 1) == 1 && run)
			run(area, arg);
		_exit(0);
	}
	close(pair[1]);
	munmap(area, len);
	t->uffd = lz_bench_receive(t->sock);
}

void lz_bench_task_go(struct lz_bench_task *t)
{
	if (write(t->sock, "g", 1) != 1)
		lz_bench_die("go");
}

void lz_bench_task_end(struct lz_bench_task *t)
{
	close(t->sock);
	if (t->uffd >= 0)
		close(t->uffd);
	lz_bench_wait(t->pid);
}

uint64_t lz_bench_copy(const struct lz_bench_task *t, uint64_t to, const void *from, uint64_t len)
{
	struct uffdio_copy copy = { .dst = to, .src = (uintptr_t)from, .len = len };
	struct uffdio_range range = { to, LZ_BENCH_PAGE };

	if (ioctl(t->uffd, UFFDIO_COPY, &copy) == 0)
		return len;
	if (copy.copy > 0) /* EAGAIN: as far as the first page that is present */
		return (uint64_t)copy.copy;
	if (errno == ESRCH)
		return 0;
	if (errno != EEXIST)
		lz_bench_die("UFFDIO_COPY");
	if (ioctl(t->uffd, UFFDIO_WAKE, &range) < 0)
		lz_bench_die("UFFDIO_WAKE");
	return LZ_BENCH_PAGE;
}

static int lz_bench_uffd(void *area, uint64_t len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)area, len },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		lz_bench_skip("userfaultfd");
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		lz_bench_die("UFFDIO_API");
	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		lz_bench_die("UFFDIO_REGISTER");
	return fd;
}

static int lz_bench_receive(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		exit(77); /* the child has said why */
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static int lz_bench_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}
