/* SPDX-License-Identifier: MIT */
/*
 * What fill and server can no longer do, tried in children that are confined as they are.
 * Of instrumented builds only what they give up is asked.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/confine.h"
#include "uffd/lazyd.h"

/* In a child, where check can say nothing any more. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, \
				      errno);                                                      \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)
#define REFUSED(call, why) MUST((call) == -1 && errno == (why))

static const bool has_filter = !LZ_CONFINE_INSTRUMENTED;
static bool has_landlock;
static char dir[] = "/tmp/lazyd-confine.XXXXXX";
static char inside[64], outside[] = "/tmp/lazyd-confine-outside.XXXXXX";
static const struct lz_log quiet = { .fd = -1, .level = 0 };
static char *const no_arguments[] = { NULL };

static void in_child(void (*what)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		what();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* Whoever has taken over a process may set up a ring of his own, which nothing restricts. */
static int open_by_ring(const char *path, int flags)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int r = io_uring_queue_init(2, &ring, 0);

	if (r)
		return r;
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, path, flags, 0);
	MUST(io_uring_submit(&ring) == 1);
	MUST(io_uring_wait_cqe(&ring, &cqe) == 0);
	r = cqe->res;
	io_uring_queue_exit(&ring);
	return r;
}

static int connect_by_ring(int sock, const void *to, unsigned len)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int r = io_uring_queue_init(2, &ring, 0);

	if (r)
		return r;
	io_uring_prep_connect(io_uring_get_sqe(&ring), sock, to, len);
	MUST(io_uring_submit(&ring) == 1);
	MUST(io_uring_wait_cqe(&ring, &cqe) == 0);
	r = cqe->res;
	io_uring_queue_exit(&ring);
	return r;
}

/* Somebody listens; what he does not get is only the kernel's doing. */
struct listener {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} at;
	socklen_t len;
	int fd, client;
};

static struct listener listen_at(int family)
{
	struct listener l = { .at.sa.sa_family = (sa_family_t)family };

	/* An abstract name, of the kernel's choice; a port of its choice. */
	l.len = family == AF_UNIX ? sizeof(sa_family_t) : sizeof(l.at.in);
	if (family == AF_INET)
		l.at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l.fd = socket(family, SOCK_STREAM, 0);
	l.client = socket(family, SOCK_STREAM, 0);
	MUST(l.fd >= 0 && l.client >= 0);
	MUST(bind(l.fd, &l.at.sa, l.len) == 0 && listen(l.fd, 1) == 0);
	l.len = sizeof(l.at);
	MUST(getsockname(l.fd, &l.at.sa, &l.len) == 0);
	return l;
}

/* Every set holds no more than @kept. */
static void check_capabilities(uint64_t kept)
{
	static const cap_flag_t sets[] = { CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE };
	cap_t caps = cap_get_proc();
	bool root = geteuid() == 0;

	MUST(caps);
	for (cap_value_t c = 0; cap_get_bound(c) >= 0; c++) {
		bool may = kept >> c & 1;

		for (size_t i = 0; i < 3; i++) {
			cap_flag_value_t on = CAP_CLEAR;

			MUST(cap_get_flag(caps, c, sets[i], &on) == 0);
			MUST(may || on == CAP_CLEAR);
			MUST(!may || !root || sets[i] == CAP_INHERITABLE || on == CAP_SET);
		}
		MUST(!root || cap_get_bound(c) == may);
		MUST(cap_get_ambient(c) == CAP_CLEAR);
	}
	MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	MUST(!has_filter || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2);
}

/* ---- keeper and worker ---- */

static void check_calls_of_fill(void)
{
	if (!has_filter)
		return;
	REFUSED(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM);
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	REFUSED(socket(AF_NETLINK, SOCK_RAW, 0), EPERM);
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
	REFUSED(open("/etc/passwd", O_WRONLY), EPERM);
	REFUSED(open("/etc/passwd", O_RDWR), EPERM);
	REFUSED(open(inside, O_RDONLY | O_CREAT, 0600), EPERM);
	REFUSED(open(inside, O_RDONLY | O_TRUNC), EPERM);
	REFUSED(chmod(inside, 0777), EPERM);
	REFUSED(rename(inside, outside), EPERM);
	REFUSED(unshare(CLONE_NEWUSER), EPERM);
	REFUSED(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_clone3, NULL, 0), ENOSYS);
	REFUSED(syscall(SYS_pidfd_send_signal, -1, SIGSTOP, NULL, 0), EPERM);
	REFUSED(syscall(SYS_pidfd_send_signal, -1, SIGKILL, NULL, 0), EBADF);
	REFUSED(syscall(SYS_pidfd_send_signal, -1, SIGCHLD, NULL, 0), EBADF);
	REFUSED(kill(getpid(), SIGTERM), EPERM);
	REFUSED(kill(-getpid(), SIGSTOP), EPERM);
	REFUSED(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0), EPERM);
	REFUSED(syscall(SYS_execveat, AT_FDCWD, "/bin/true", no_arguments, no_arguments, 0), EPERM);
}

static void fill(void)
{
	struct listener inet, abstract;
	long version;
	char text[64];
	pid_t pid;
	int fd, status;

	MUST(chdir(dir) == 0);
	fd = open("log", O_RDWR | O_CREAT, 0600);
	MUST(fd >= 0);
	inet = listen_at(AF_INET);
	abstract = listen_at(AF_UNIX);
	version = has_landlock ? syscall(SYS_landlock_create_ruleset, NULL, 0,
					 LANDLOCK_CREATE_RULESET_VERSION)
			       : 0;
	lz_confine_enter(&quiet, LZ_CONFINE_FILL, "socket", NULL);
	check_capabilities(UINT64_C(1) << CAP_KILL);
	MUST(version < 4 || connect_by_ring(inet.client, &inet.at, inet.len) == -EACCES);
	MUST(version < 6 || connect_by_ring(abstract.client, &abstract.at, abstract.len) == -EPERM);
	check_calls_of_fill();
	/* What it needs. */
	MUST(pwrite(fd, "x", 1, 0) == 1);
	MUST(ftruncate(fd, 0) == 0);
	MUST(open(inside, O_RDONLY) >= 0);
	MUST(open("/proc/self/fd", O_RDONLY | O_DIRECTORY) >= 0);
	MUST(readlink("/proc/self/exe", text, sizeof(text)) > 0);
	MUST(epoll_create1(0) >= 0);
	MUST(unlink("log") == 0);
	if (has_landlock) {
		REFUSED(unlink(outside), EACCES);
		MUST(open_by_ring(inside, O_WRONLY) == -EACCES);
		MUST(open_by_ring(inside, O_RDONLY) >= 0);
	}
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	MUST(pid >= 0);
	if (!pid)
		for (;;)
			(void)poll(NULL, 0, -1);
	MUST(kill(pid, SIGKILL) == 0);
	MUST(waitpid(pid, &status, 0) == pid);
	MUST(execve("/bin/true", no_arguments, no_arguments) == -1); /* does not return */
}

START_TEST(keeper_and_worker)
{
	in_child(fill);
}
END_TEST

static void recording(void)
{
	int fd;

	MUST(chdir(dir) == 0);
	fd = open("set.new", O_WRONLY | O_CREAT, 0600);
	MUST(fd >= 0);
	lz_confine_enter(&quiet, LZ_CONFINE_FILL | LZ_CONFINE_RECORD, NULL, "set");
	check_capabilities(UINT64_C(1) << CAP_KILL);
	MUST(write(fd, "x", 1) == 1 && fsync(fd) == 0);
	MUST(rename("set.new", "set") == 0);
	if (has_landlock) {
		MUST(open_by_ring("set", O_WRONLY) == -EACCES);
		MUST(open_by_ring("other", O_WRONLY | O_CREAT) == -EACCES);
		MUST(rename(outside, "other") == -1);
		MUST(rename("set", outside) == -1);
	}
	MUST(unlink("set") == 0);
}

START_TEST(replaces_the_file_of_a_record)
{
	in_child(recording);
}
END_TEST

static void others_images(void)
{
	lz_confine_enter(&quiet, LZ_CONFINE_FILL | LZ_CONFINE_OTHERS, NULL, NULL);
	check_capabilities(UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_FOWNER);
	check_calls_of_fill();
}

START_TEST(of_images_that_are_somebody_elses)
{
	in_child(others_images);
}
END_TEST

/* Upgrades: the kernel's bound on the pile is met, and all goes on;
 * what it was asked for at first holds. */
static void upgrades(void)
{
	struct lz_log log = { .level = LAZYD_LOG_WARN };
	struct stat st;

	MUST(chdir(dir) == 0);
	log.fd = open("log", O_RDWR | O_CREAT | O_TRUNC, 0600);
	MUST(log.fd >= 0);
	lz_confine_enter(&log, LZ_CONFINE_FILL, "socket", NULL);
	for (int i = 0; i < 200; i++)
		lz_confine_enter(&log, LZ_CONFINE_FILL | LZ_CONFINE_AGAIN, "socket", NULL);
	MUST(fstat(log.fd, &st) == 0 && st.st_size == 0);
	check_capabilities(UINT64_C(1) << CAP_KILL);
	check_calls_of_fill();
	if (has_filter) {
		/* That it was met. */
		lz_confine_enter(&log, LZ_CONFINE_FILL, "socket", NULL);
		MUST(fstat(log.fd, &st) == 0 && st.st_size > 0);
	}
	MUST(unlink("log") == 0);
}

START_TEST(upgrades_without_end)
{
	in_child(upgrades);
}
END_TEST

static void by_ip(void)
{
	lz_confine_enter(&quiet, LZ_CONFINE_FILL | LZ_CONFINE_INET, NULL, NULL);
	MUST(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	if (has_filter)
		REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
}

static void by_unix_socket(void)
{
	lz_confine_enter(&quiet, LZ_CONFINE_FILL | LZ_CONFINE_UNIX, NULL, NULL);
	MUST(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	if (has_filter)
		REFUSED(socket(AF_INET, SOCK_STREAM, 0), EPERM);
}

START_TEST(connects_as_it_was_asked_to)
{
	in_child(by_ip);
	in_child(by_unix_socket);
}
END_TEST

/* ---- the server ---- */

static void server(void)
{
	lz_confine_enter(&quiet, LZ_CONFINE_SERVE, inside, NULL);
	if (has_filter) {
		REFUSED(open(inside, O_RDONLY), EPERM);
		REFUSED(socket(AF_INET, SOCK_STREAM, 0), EPERM);
		REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
		REFUSED(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
		REFUSED(execve("/bin/true", no_arguments, no_arguments), EPERM);
	}
	if (has_landlock)
		REFUSED(unlink(outside), EACCES);
	MUST(unlink(inside) == 0);
}

/* It looks at other processes, and advises them. */
static void maker_of_huge_pages(void)
{
	struct iovec nothing = { NULL, 0 };
	int fd;

	lz_confine_enter(&quiet, LZ_CONFINE_COLLAPSE, NULL, NULL);
	fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0);
	MUST(close(fd) == 0);
	if (!has_filter)
		return;
	/* The kernel's own answer, not the filter's. */
	REFUSED(syscall(SYS_process_madvise, -1, &nothing, 1, 25, 0), EBADF);
	REFUSED(syscall(SYS_process_madvise, -1, &nothing, 1, MADV_DONTNEED, 0), EPERM);
	REFUSED(open(outside, O_WRONLY), EPERM);
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
	REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
	REFUSED(execve("/bin/true", no_arguments, no_arguments), EPERM);
	REFUSED(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL), EPERM);
}

START_TEST(a_maker_of_huge_pages)
{
	in_child(maker_of_huge_pages);
}
END_TEST

START_TEST(the_server)
{
	in_child(server);
}
END_TEST

static void setup(void)
{
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(inside, sizeof(inside), "%s/inside", dir);
	fd = open(inside, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = mkstemp(outside);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void teardown(void)
{
	(void)unlink(inside);
	(void)rmdir(dir);
	(void)unlink(outside);
}

int main(void)
{
	Suite *s = suite_create("confine");
	TCase *t = tcase_create("confine");

	has_landlock = has_filter && syscall(SYS_landlock_create_ruleset, NULL, 0,
					     LANDLOCK_CREATE_RULESET_VERSION) > 0;
	if (has_filter && !has_landlock)
		printf("case=names skip reason=no Landlock in this kernel\n");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, keeper_and_worker);
	tcase_add_test(t, replaces_the_file_of_a_record);
	tcase_add_test(t, of_images_that_are_somebody_elses);
	tcase_add_test(t, upgrades_without_end);
	tcase_add_test(t, connects_as_it_was_asked_to);
	tcase_add_test(t, the_server);
	tcase_add_test(t, a_maker_of_huge_pages);
	suite_add_tcase(s, t);
	return run_suite(s);
}
