/* SPDX-License-Identifier: MIT */
/*
 * `lazyd demo`: the whole way without CRIU. A child fills memory, is written out as images and
 * ends; a second child gets the same addresses with nothing behind them, touches every page in
 * random order while liblazyd fills it, and verifies every byte. demo.c is the first process and
 * the one that serves, demo_child.c the two children.
 */
#include "tool/demo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/parcel.h"
#include "tool/probe.h"
#include "tool/tool.h"

enum { SIZE_DEFAULT_MIB = 256, SIZE_MAX_MIB = 1 << 20, DUMP_PAGES = 256, TURN_NS = 100000000 };

struct options {
	uint64_t mib;
	const char *keep;
	bool json, no_progress;
};

/* ---- the directory ---- */

static int make_dir(const char *keep, char *path, size_t size)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	if (keep)
		(void)snprintf(path, size, "%s", keep);
	else
		(void)snprintf(path, size, "%s/lazyd-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (keep ? mkdir(path, 0700) && errno != EEXIST : !mkdtemp(path)) {
		lz_out_error("directory %s cannot be made: %s", path, strerror(errno));
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		lz_out_error("directory %s cannot be opened: %s", path, strerror(errno));
	return fd;
}

static void remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
}

/* ---- writing the first child out ---- */

static bool is_there(uint64_t entry)
{
	return entry >> 62; /* present, or swapped */
}

/* Pages [*i, end) that are there, at most @max: skips those that are not. */
static uint64_t next_run(const uint64_t *entry, uint64_t nr, uint64_t *i)
{
	uint64_t n = 0;

	while (*i < nr && !is_there(entry[*i]))
		++*i;
	while (*i + n < nr && is_there(entry[*i + n]))
		n++;
	return n;
}

/* Reads a stretch of the child's memory and writes what of it is there. */
static int dump_stretch(struct lazyd_writer *w, pid_t pid, int pagemap, uint64_t addr, uint64_t nr,
			struct lazyd_why *why)
{
	static uint8_t bytes[DUMP_PAGES * LZ_DEMO_PAGE];
	uint64_t entry[DUMP_PAGES], n;
	int r = 0;

	if (pread(pagemap, entry, nr * 8, (off_t)(addr / LZ_DEMO_PAGE * 8)) != (ssize_t)(nr * 8))
		return -EIO;
	for (uint64_t i = 0; !r && (n = next_run(entry, nr, &i)); i += n) {
		uint64_t at = addr + i * LZ_DEMO_PAGE;
		struct iovec to = { bytes, n * LZ_DEMO_PAGE };
		struct iovec from = { (void *)(uintptr_t)at, n * LZ_DEMO_PAGE };

		if (process_vm_readv(pid, &to, 1, &from, 1, 0) != (ssize_t)to.iov_len)
			return -errno;
		r = lazyd_writer_add(w, at, n, LAZYD_PAGE_LAZY | LAZYD_PAGE_PRESENT, bytes, why);
	}
	return r;
}

static int dump(const struct lz_demo *d, int dir, pid_t pid, struct lazyd_why *why)
{
	struct lazyd_task task = { .pid = (uint32_t)pid };
	struct lazyd_area area = { d->addr, d->addr + d->nr_pages * LZ_DEMO_PAGE,
				   PROT_READ | PROT_WRITE };
	struct lazyd_writer *w;
	char path[64];
	int pagemap, closed, r;

	r = lazyd_writer_tasks(dir, &task, 1, why);
	if (!r)
		r = lazyd_writer_areas(dir, task.pid, &area, 1, why);
	if (r)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return -errno;
	r = lazyd_writer_open(&w, dir, task.pid, 1, why);
	if (!r) {
		for (uint64_t page = 0; !r && page < d->nr_pages; page += DUMP_PAGES) {
			uint64_t nr = d->nr_pages - page < DUMP_PAGES ? d->nr_pages - page
								      : DUMP_PAGES;

			r = dump_stretch(w, pid, pagemap, d->addr + page * LZ_DEMO_PAGE, nr, why);
		}
		closed = lazyd_writer_close(w, why);
		r = r ? r : closed;
	}
	(void)close(pagemap);
	return r;
}

static pid_t start(const struct lz_demo *d, void (*run)(const struct lz_demo *, int), int *sock)
{
	int pair[2];
	pid_t pid = -1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		(void)fflush(NULL);
		pid = fork();
		if (pid == 0) {
			(void)close(pair[0]);
			run(d, pair[1]);
		}
		(void)close(pair[1]);
		*sock = pair[0];
		if (pid < 0)
			(void)close(pair[0]);
	}
	if (pid < 0)
		lz_out_error("a child cannot be started: %s", strerror(errno));
	return pid;
}

/* The first child's pid, by which its images are called; -1 after a failure that has been told. */
static pid_t make_images(const struct lz_demo *d, int dir)
{
	struct lazyd_why why = { "" };
	int sock, r = -ECHILD, status;
	pid_t pid = start(d, lz_demo_first, &sock);
	char ready;

	if (pid < 0)
		return -1;
	if (recv(sock, &ready, 1, 0) == 1)
		r = dump(d, dir, pid, &why);
	(void)close(sock); /* that is its sign to end */
	(void)waitpid(pid, &status, 0);
	if (r) {
		lz_out_error("the first child cannot be written out: %s",
			     why.text[0] ? why.text : strerror(-r));
		return -1;
	}
	return pid;
}

/* ---- serving the second child ---- */

static int serve(struct lazyd *l, int memory, int uffd, pid_t pid, FILE *progress)
{
	struct lazyd_stats stats;
	struct lz_progress p;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int r = lazyd_attach(l, memory, uffd, pidfd);

	if (r < 0) {
		(void)close(uffd);
		if (pidfd >= 0)
			(void)close(pidfd);
		return r;
	}
	r = lazyd_start(l);
	if (progress)
		lz_progress_begin(&p, progress);
	while (r >= 0 && (r = lazyd_turn(l, TURN_NS)) > 0) {
		lazyd_stats(l, NULL, &stats);
		if (progress)
			lz_progress_update(&p, &stats);
	}
	if (progress)
		lz_progress_end(&p);
	return r;
}

/* Everything about the second child: 0, or -1 after a failure that has been told. */
static int fill(const struct lz_demo *d, struct lazyd *l, struct lazyd_memory *m, FILE *progress)
{
	int memory = lazyd_add(l, m), sock, uffd, status = 0, r;
	pid_t pid;

	if (memory < 0) {
		lz_out_error("%s", lazyd_error(l));
		return -1;
	}
	pid = start(d, lz_demo_second, &sock);
	if (pid < 0)
		return -1;
	uffd = lz_parcel_receive(sock);
	(void)close(sock);
	r = uffd < 0 ? uffd : serve(l, memory, uffd, pid, progress);
	if (r && uffd >= 0)
		lz_out_error("%s", lazyd_error(l));
	if (r)
		(void)kill(pid, SIGKILL); /* before its descriptor closes and it reads zeros */
	(void)waitpid(pid, &status, 0);
	if (!r && status)
		lz_out_error("the second child ended by %s %d before it had seen all",
			     WIFSIGNALED(status) ? "signal" : "exit status",
			     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return r || status ? -1 : 0;
}

/* ---- what came of it ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void access_latency(struct lz_demo *d, uint64_t *p50, uint64_t *p99, uint64_t *max)
{
	qsort(d->shared->latency_ns, d->nr_pages, sizeof(uint64_t), by_size);
	*p50 = d->shared->latency_ns[d->nr_pages / 2];
	*p99 = d->shared->latency_ns[d->nr_pages - 1 - d->nr_pages / 100];
	*max = d->shared->latency_ns[d->nr_pages - 1];
}

static int report(struct lz_demo *d, const struct lazyd *l, const struct options *o, double seconds)
{
	struct lazyd_stats stats;
	uint64_t p50, p99, max;
	json_t *json;

	lazyd_stats(l, NULL, &stats);
	access_latency(d, &p50, &p99, &max);
	if (o->json) {
		json = lz_out_stats_json(&stats, seconds);
		json = json_pack("{s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o}", "pages",
				 (json_int_t)d->nr_pages, "holes", (json_int_t)d->shared->nr_holes,
				 "wrong_pages", (json_int_t)d->shared->nr_wrong, "access", "p50_ns",
				 (json_int_t)p50, "p99_ns", (json_int_t)p99, "max_ns",
				 (json_int_t)max, "stats", json);
		return lz_out_print(json);
	}
	lz_out_summary(stdout, &stats, seconds);
	printf("access    p50 %s, p99 %s, max %s as the child saw it, pages that were there too\n",
	       lz_out_duration(p50).s, lz_out_duration(p99).s, lz_out_duration(max).s);
	if (!d->shared->nr_wrong)
		printf("\nEvery byte of %" PRIu64 " pages was right, and so were %" PRIu64
		       " holes.\n",
		       d->nr_pages - d->shared->nr_holes, d->shared->nr_holes);
	return 0;
}

/* ---- the command ---- */

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "keep", required_argument, NULL, 'k' },
		{ "no-progress", no_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	char *end;
	int c;

	while ((c = lz_out_option(argc, argv, "", options)) != -1) {
		switch (c) {
		case 's':
			errno = 0;
			o->mib = strtoull(optarg, &end, 10);
			if (errno || *end || !o->mib || o->mib > SIZE_MAX_MIB) {
				lz_out_error("--size takes a number of MiB from 1 to %d, not '%s'",
					     SIZE_MAX_MIB, optarg);
				return false;
			}
			break;
		case 'j':
			o->json = true;
			break;
		case 'k':
			o->keep = optarg;
			break;
		case 'n':
			o->no_progress = true;
			break;
		default:
			return false;
		}
	}
	if (optind < argc)
		lz_out_error("demo takes no '%s'; lazyd --help shows what it takes", argv[optind]);
	return optind == argc;
}

/* Nothing is begun that could not be brought to its end: the engine, and some userfaultfd. */
static int prepare(struct lz_demo *d, struct lazyd **l)
{
	struct lazyd_options options = { .size = sizeof(options) };
	size_t shared_len = sizeof(*d->shared) + d->nr_pages * sizeof(uint64_t);
	void *addr;
	int r;

	r = lz_demo_userfaultfd(d);
	if (r) {
		lz_out_error("userfaultfd: %s; %s", strerror(-r),
			     lz_probe_uffd_remedy(LZ_UFFD_USER_MODE, -r));
		return r;
	}
	r = lazyd_new(l, &options);
	if (r) {
		lz_out_error("io_uring: %s; %s", strerror(-r), lz_probe_ring_remedy(-r));
		return r;
	}
	/* Both children find the addresses reserved, and map what they like over them. */
	addr = mmap(NULL, d->nr_pages * LZ_DEMO_PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	d->shared = mmap(NULL, shared_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			 0);
	if (addr == MAP_FAILED || d->shared == MAP_FAILED) {
		r = -errno;
		lz_out_error("%" PRIu64 " pages cannot be had: %s", d->nr_pages, strerror(-r));
	}
	d->addr = (uint64_t)(uintptr_t)addr;
	return r;
}

static int open_images(int dir, pid_t pid, struct lazyd_memory **m)
{
	struct lazyd_why why = { "" };
	struct lazyd_images *images;
	int r = lazyd_images_open(&images, dir, &why);

	if (!r) {
		r = lazyd_images_memory(images, (uint32_t)pid, m, &why);
		lazyd_images_close(images);
	}
	if (r)
		lz_out_error("the images cannot be read: %s", why.text);
	return r;
}

static int show(struct lz_demo *d, struct lazyd *l, const struct options *o)
{
	struct lazyd_memory *m = NULL;
	char path[4096];
	uint64_t begun;
	int dir = make_dir(o->keep, path, sizeof(path)), r = -1;
	pid_t pid;

	if (dir < 0)
		return -1;
	pid = make_images(d, dir);
	if (pid > 0 && !o->json)
		printf("A child filled %s, was written out to %s and has ended.\n",
		       lz_out_size((d->nr_pages - d->shared->nr_holes) * LZ_DEMO_PAGE).s, path);
	if (pid > 0)
		r = open_images(dir, pid, &m);
	(void)close(dir);
	if (!o->keep)
		remove_dir(path); /* what is open stays */
	if (r)
		return r;
	if (!o->json)
		printf("Another has got its addresses with nothing behind them, and touches every "
		       "page.\n\n");
	(void)fflush(stdout);
	begun = lz_out_now();
	r = fill(d, l, m, o->no_progress ? NULL : stderr);
	lazyd_memory_put(m);
	if (!r)
		r = report(d, l, o, (double)(lz_out_now() - begun) / 1e9);
	if (d->shared->nr_wrong)
		lz_out_error("%" PRIu64 " pages are WRONG, the first is number %" PRIu64,
			     d->shared->nr_wrong, d->shared->first_wrong);
	return d->shared->nr_wrong ? -1 : r;
}

int lz_tool_demo(int argc, char **argv)
{
	struct options o = { .mib = SIZE_DEFAULT_MIB };
	struct lazyd *l = NULL;
	struct lz_demo d = { 0 };
	int r;

	if (!parse(&o, argc, argv))
		return LZ_EXIT_USAGE;
	d.nr_pages = (o.mib << 20) / LZ_DEMO_PAGE;
	r = prepare(&d, &l);
	if (!r)
		r = show(&d, l, &o);
	lazyd_free(l);
	return r ? LZ_EXIT_FAILED : LZ_EXIT_OK;
}
