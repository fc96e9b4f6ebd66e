/* SPDX-License-Identifier: MIT */
/* The task's side of live.h: memory, the userfaultfd, looking at pages. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/restorer.h"
#include "tests/live/house.h"

/* What Debian 12's header (Linux 6.1) does not know. */
enum { POISON_BIT = 0x08 };
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static const uint64_t EVENTS = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
			       UFFD_FEATURE_EVENT_UNMAP;

/* ---- userfaultfd ---- */

/* What a kind of memory asks for. */
static uint64_t features_of(unsigned with)
{
	if (!(with & LIVE_MINOR))
		return 0;
	return with & LIVE_HUGE ? UFFD_FEATURE_MINOR_HUGETLBFS : UFFD_FEATURE_MINOR_SHMEM;
}

/* For an ordinary user without fork events, which take privilege. */
static int open_uffd(unsigned with)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = EVENTS | features_of(with) |
					      (with & LIVE_FORK ? UFFD_FEATURE_EVENT_FORK : 0) };
	int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = (int)syscall(SYS_userfaultfd, flags);

	if (fd < 0 && errno == EPERM)
		fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static uint64_t register_at(int fd, const void *at, uint64_t len, unsigned with)
{
	struct uffdio_register r = { .range = { (uintptr_t)at, len },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (with & LIVE_MINOR)
		r.mode |= UFFDIO_REGISTER_MODE_MINOR;
	return ioctl(fd, UFFDIO_REGISTER, &r) ? 0 : r.ioctls;
}

const char *live_house_lacks(unsigned with)
{
	void *page = mmap(NULL, LIVE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	const char *lacks = NULL;
	int fd = open_uffd(0);

	if (fd < 0)
		lacks = "no userfaultfd with layout events to be had";
	else if (with & LIVE_POISON && !(register_at(fd, page, LIVE_PAGE, 0) >> POISON_BIT & 1))
		lacks = "this kernel has no UFFDIO_POISON (Linux 6.6)";
	(void)close(fd);
	(void)munmap(page, LIVE_PAGE);
	if (lacks)
		return lacks;
	fd = open_uffd(with);
	if (fd < 0)
		return with & LIVE_FORK ? "fork events need CAP_SYS_PTRACE"
					: "this kernel has no minor faults (Linux 5.14)";
	(void)close(fd);
	return NULL;
}

void live_register(struct live *l, void *at, uint64_t pages)
{
	LIVE_CHECK(l, register_at(l->uffd, at, pages * LIVE_PAGE, l->c->with));
}

static void give_away(struct live *l)
{
	LIVE_CHECK(l, restorer_give(l->sock, l->uffd) == 0);
}

void live_renew(struct live *l)
{
	LIVE_CHECK(l, madvise(l->base, l->nr_pages * LIVE_PAGE, MADV_DONTNEED) == 0);
	l->uffd = open_uffd(l->c->with);
	LIVE_CHECK(l, l->uffd >= 0);
	live_register(l, l->base, l->nr_pages);
	give_away(l);
}

/* The server holds the last descriptor, as after a real restore. */
void live_house_task(struct live *l)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	live_house_map(l);
	l->uffd = open_uffd(l->c->with);
	LIVE_CHECK(l, l->uffd >= 0);
	if (!(l->c->with & LIVE_LATE)) {
		live_register(l, l->base, l->nr_pages);
		give_away(l);
		(void)close(l->uffd);
	} else {
		give_away(l);
	}
	l->c->task(l);
	(void)send(l->sock, "", 1, MSG_NOSIGNAL);
	_exit(0);
}

/* ---- pages ---- */

void *live_at(const struct live *l, uint64_t page)
{
	return l->base + page * LIVE_PAGE;
}

void live_expect(struct live *l, uint64_t page, uint64_t code)
{
	const uint64_t *at = live_at(l, page);

	if (!live_is(at, code))
		live_fail(l, "page %llu is not %llu: 0x%llx ...%s", (unsigned long long)page,
			  (unsigned long long)code, (unsigned long long)at[0],
			  live_is(at, 0) ? " (all zero)" : "");
}

void live_expect_image(struct live *l, uint64_t first, uint64_t end)
{
	uint64_t seed = (uint64_t)getpid(), nr = end - first;
	uint32_t *order = mmap(NULL, nr * sizeof(*order), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	LIVE_CHECK(l, order != MAP_FAILED);
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t k = live_random(&seed) % (i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (uint64_t i = 0; i < nr; i++)
		live_expect(l, first + order[i], live_code(first + order[i]));
	(void)munmap(order, nr * sizeof(*order));
}

void live_touch_all(struct live *l)
{
	live_expect_image(l, 0, l->nr_pages);
}

void live_touch_later(struct live *l)
{
	live_hear(l);
	live_touch_all(l);
}

static sigjmp_buf bus_jump;
static void *volatile bus_addr;

static void on_bus(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	bus_addr = info->si_addr;
	siglongjmp(bus_jump, 1);
}

bool live_can_read(struct live *l, uint64_t page)
{
	struct sigaction sa = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	uint8_t *at = live_at(l, page);

	LIVE_CHECK(l, sigaction(SIGBUS, &sa, NULL) == 0);
	if (sigsetjmp(bus_jump, 1)) {
		uintptr_t off = (uintptr_t)bus_addr - (uintptr_t)at;

		LIVE_CHECK(l, off < LIVE_PAGE);
		return false;
	}
	(void)*(volatile uint8_t *)at;
	return true;
}

/* ---- children ---- */

pid_t live_fork(struct live *l, void (*run)(struct live *))
{
	pid_t pid = fork();

	LIVE_CHECK(l, pid >= 0);
	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!run)
		return 0;
	run(l);
	_exit(0);
}

void live_wait(struct live *l, pid_t pid)
{
	int status;

	LIVE_CHECK(l, waitpid(pid, &status, 0) == pid);
	if (status)
		live_fail(l, "child ended with status 0x%x", (unsigned)status);
}
