/* SPDX-License-Identifier: MIT */
/*
 * What this machine can do, asked by trying it: each probe_*.c appends findings to a list, check.c
 * prints them. A finding says what was tried, how it went and, where it failed, why and what helps.
 */
#ifndef LZ_PROBE_H
#define LZ_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of `lazyd fill`, or of lazy pages with the program that the finding is about. */
enum lz_probe_state {
	LZ_PROBE_OK,
	LZ_PROBE_LIMITED, /* works without it, less well */
	LZ_PROBE_NO,      /* cannot work without it */
	LZ_PROBE_ABSENT,  /* not here, and nothing that is needed */
};

struct lz_finding {
	const char *section, *name;
	enum lz_probe_state state;
	char value[128];  /* what was found, where there is more to say than yes or no */
	char cause[128];  /* why not */
	char remedy[192]; /* what helps */
};

struct lz_findings {
	struct lz_finding at[128];
	size_t nr;
};

/* Appends a finding without value, cause and remedy; there is always room. */
struct lz_finding *lz_probe_add(struct lz_findings *f, const char *section, const char *name,
				enum lz_probe_state state);
/* As it stands in /proc/sys; -1 where there is no such thing. */
long long lz_probe_sysctl(const char *path);

void lz_probe_kernel(struct lz_findings *f);
void lz_probe_uffd(struct lz_findings *f);
void lz_probe_ring(struct lz_findings *f);
void lz_probe_caps(struct lz_findings *f);
void lz_probe_confinement(struct lz_findings *f);
void lz_probe_limits(struct lz_findings *f);
void lz_probe_processes(struct lz_findings *f);

/* ---- other programs ---- */

/* Their sections, which are the names they have in PATH as well. */
#define LZ_PROBE_CRIU "criu"
#define LZ_PROBE_RUNC "runc"

/* Of the CRIU of that path, or if it is NULL of the one in PATH. */
void lz_probe_criu(struct lz_findings *f, const char *path);
/* The same of a runc; @criu is what lz_probe_criu() was given. */
void lz_probe_runc(struct lz_findings *f, const char *path, const char *criu);

/* What a program has said, on either output: printable ASCII and newlines. */
struct lz_run {
	int status;      /* as of waitpid() */
	const char *cut; /* why it was killed, or NULL */
	char text[32768];
};

enum { LZ_PROBE_PATH_MAX = 4096 };
/* The program of that name in PATH, if there is one. */
bool lz_probe_find(const char *name, char path[LZ_PROBE_PATH_MAX]);
/* Runs argv[0], a path; killed, with all that it has started, after 10 s or 1 MiB. 0 or -errno. */
int lz_probe_run(struct lz_run *r, const char *const argv[]);

/* ---- a userfaultfd for oneself ---- */

enum lz_uffd_way {
	LZ_UFFD_SYSCALL,   /* of faults in the kernel too: CAP_SYS_PTRACE, or a sysctl */
	LZ_UFFD_DEVICE,    /* the same for who may open /dev/userfaultfd: Linux 6.1 */
	LZ_UFFD_USER_MODE, /* of faults in user mode only: everybody, Linux 5.11 */
	LZ_UFFD_WAYS,
};
/* O_NONBLOCK | O_CLOEXEC, UFFDIO_API not done yet; the descriptor or -errno. */
int lz_probe_uffd_open(enum lz_uffd_way way);
/* UFFDIO_API with those of @features that are to be had; returns them in *got. 0 or -errno. */
int lz_probe_uffd_api(int uffd, uint64_t features, uint64_t *got);
/* What helps against @err of the way, in a sentence. */
const char *lz_probe_uffd_remedy(enum lz_uffd_way way, int err);

/* Opens a ring and closes it: 0, or what keeps everybody here from having one, as -errno. */
int lz_probe_ring_has(void);
/* What helps against @err of io_uring_setup. */
const char *lz_probe_ring_remedy(int err);

#endif
