/* SPDX-License-Identifier: MIT */
/*
 * liblazyd: fills the memory of restored processes through userfaultfd, a page at the moment it is
 * touched and the rest in the background. This is the whole public surface.
 *
 * Conventions. Handles are opaque. A function returns 0, a count, or -errno; errno itself is left
 * alone. What can be explained is kept as one sentence in the handle (lazyd_error) or written to
 * the caller's struct lazyd_why. A descriptor passed in is taken on success and untouched on
 * failure. The library opens no socket path, forks nothing, sets no signal handler, prints nothing
 * and reads no environment. One handle is one thread's; only lazyd_stop() may come from another.
 * Addresses, lengths and offsets are bytes; ranges are half open.
 *
 * Structs that say their size grow at their end: who was built with a shorter one has 0 in what is
 * missing. So do those that are filled in by the functions with _sized in their names, which are
 * called by those without. All other structs stay as they are.
 */
#ifndef LAZYD_H
#define LAZYD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define LAZYD_VERSION "0.1.0"

struct lazyd;        /* an engine with the address spaces it serves */
struct lazyd_memory; /* what one address space held and where its bytes are; immutable, counted */
struct lazyd_images; /* a directory of CRIU images */
struct lazyd_state;  /* what outlives the process that runs an engine */
struct lazyd_writer; /* pagemap and pages images being written */
struct lazyd_server; /* the other end: serves the pages of images */
struct lazyd_tls;    /* certificate, key and whom to trust, for either end */
struct lazyd_workingset; /* which pages were touched first, in that order */

enum { LAZYD_WHY_MAX = 512 };
struct lazyd_why {
	char text[LAZYD_WHY_MAX]; /* what, where, and what to do; empty on success */
};

const char *lazyd_version(void);

/* ---- images: lazyd-images(3) ---- */

struct lazyd_task {
	uint32_t pid, ppid; /* as in the images: the innermost pid namespace */
	int dead;           /* a zombie: no memory */
};

struct lazyd_task_report {
	uint64_t lazy_bytes, eager_bytes, parent_bytes, absent_bytes, area_bytes;
	uint64_t lost_bytes;   /* of lazy_bytes, those behind the end of their pages file */
	uint64_t remote_bytes; /* of lazy_bytes, those a page server is asked for */
	uint64_t nr_entries, nr_runs;
	uint32_t nr_areas, depth;
};

/* -EBADMSG: malformed; -EPROTONOSUPPORT: newer than this library; else what open or read said. */
int lazyd_images_open(struct lazyd_images **out, int dirfd, struct lazyd_why *why);
void lazyd_images_close(struct lazyd_images *images);
/* The n-th task in pstree's order; -ENOENT behind the last. */
int lazyd_images_task(const struct lazyd_images *images, size_t n, struct lazyd_task *task);
/*
 * From now on memories are to be filled from a page server: what the newest snapshot holds, or
 * holds only as lazy, is asked of it (lazyd_remote), and what parents hold is read here where their
 * pages files are here.
 */
void lazyd_images_remote(struct lazyd_images *images);
/* What tells these images from all others, wherever they were copied: a SHA-256. */
enum { LAZYD_IDENTITY_LEN = 32 };
int lazyd_images_identity(struct lazyd_images *images, uint8_t identity[LAZYD_IDENTITY_LEN],
			  struct lazyd_why *why);
/* How long the page-server headers of the CRIU that wrote them are: 24 or 32 bytes, or -errno. */
int lazyd_images_header(struct lazyd_images *images);
/* -ENODATA where pages are lazy and stored nowhere (their bytes are with a live source). */
int lazyd_images_memory(struct lazyd_images *images, uint32_t pid, struct lazyd_memory **out,
			struct lazyd_why *why);
/* What a task's memory looks like, problems included: succeeds where memory() says -ENODATA. */
int lazyd_images_report_sized(struct lazyd_images *images, uint32_t pid,
			      struct lazyd_task_report *report, size_t size, struct lazyd_why *why);
static inline int lazyd_images_report(struct lazyd_images *images, uint32_t pid,
				      struct lazyd_task_report *report, struct lazyd_why *why)
{
	return lazyd_images_report_sized(images, pid, report, sizeof(*report), why);
}

/* ---- memory made by hand: lazyd-memory(3) ---- */

enum { LAZYD_LAYERS_MAX = 65 }; /* a base, and 64 over it */

/* What a callback is asked for: the bytes of whole pages. */
struct lazyd_ask {
	uint64_t token; /* for lazyd_answer() */
	uint64_t start, len;
	void *to;   /* where they go; NULL: into the memory itself, see in_place */
	int urgent; /* a thread waits for them */
};

int lazyd_memory_new(struct lazyd_memory **out);
/* Takes @fd, a regular file. Returns the source's number. */
int lazyd_memory_add_file(struct lazyd_memory *m, int fd, const char *name);
/*
 * What is in the memory itself, shared and registered MINOR, or MINOR and MISSING: such pages are
 * mapped (UFFDIO_CONTINUE) and not copied. Holes in it are zero. Returns the source's number.
 */
int lazyd_memory_add_in_place(struct lazyd_memory *m);
/* What a page server (struct lazyd_remote) has of its task @pid;
 * one of a memory, in areas of one page size. */
int lazyd_memory_add_remote(struct lazyd_memory *m, uint32_t pid);
/* Takes @fd, a /proc/PID/mem: the memory of a process that stands still until all is had. */
int lazyd_memory_add_process(struct lazyd_memory *m, int fd, const char *name);
/*
 * @ask is called on the thread of the engine or server, for a range of one piece each time. It
 * returns how many bytes from the first on it has put at ask->to; -EINPROGRESS, in an engine only:
 * the turn then returns soon, and lazyd_answer() is called later; -EAGAIN to be asked again; or
 * -errno: such pages are lost. @in_place: bytes are put into the shared memory itself, and mapped
 * there as those of add_in_place().
 */
int lazyd_memory_add_callback(struct lazyd_memory *m,
			      int64_t (*ask)(void *arg, const struct lazyd_ask *ask), void *arg,
			      int in_place);
/*
 * [start, start + len) is to be served; what no piece covers in it reads as zero. @page_size: what
 * the kernel counts in there, 2 MiB for hugetlb; at most 2 MiB. Before the pieces in it.
 */
int lazyd_memory_add_area(struct lazyd_memory *m, uint64_t start, uint64_t len, uint64_t page_size);
/*
 * Its bytes at [start, start + len) are at @offset of @source, all whole pages of the areas there;
 * of files also whole 4 KiB: a large page of which they have a part is put together, zero where
 * none has any. Ascending. @offset is of files only: elsewhere pages are known by their address.
 */
int lazyd_memory_add_piece(struct lazyd_memory *m, uint64_t start, uint64_t len, int source,
			   uint64_t offset);
/*
 * As add_piece() for the parts of [start, start + len) that @nr sparse files have, raw memory from
 * @offset on: of each page the last of them that has data there, and zero where none has any.
 */
int lazyd_memory_add_layers(struct lazyd_memory *m, uint64_t start, uint64_t len,
			    const int *sources, size_t nr, uint64_t offset);
/* Drops the caller's reference; engines keep their own.
 * Nothing is added after lazyd_add(): -EBUSY. */
void lazyd_memory_put(struct lazyd_memory *m);
uint64_t lazyd_memory_pages(const struct lazyd_memory *m);
/*
 * What tells this memory from others, wherever its files were copied: a SHA-256 of where its areas
 * are, which parts files but the first have, a sample of its bytes. -ENOTSUP: not all is in files.
 */
int lazyd_memory_identity(const struct lazyd_memory *m, uint8_t identity[LAZYD_IDENTITY_LEN],
			  struct lazyd_why *why);
/*
 * For a memory that is not at hand: a SHA-256 of a file that goes with it, as the state of a VM.
 * @fd is a regular file, which is read from its beginning and stays the caller's.
 */
int lazyd_file_identity(int fd, uint8_t identity[LAZYD_IDENTITY_LEN], struct lazyd_why *why);

/* ---- TLS: lazyd-tls(3) ---- */

/* Files in PEM format; NULL: where CRIU has them. */
struct lazyd_tls_options {
	size_t size; /* sizeof(struct lazyd_tls_options) */
	/* Whom to trust; NULL: whom the system does, and CRIU's file if it is there. */
	const char *cacert;
	const char *cacrl; /* what has been revoked; NULL: CRIU's file if it is there */
	const char *cert, *key;
	const char *name; /* whom the peer's certificate must name; NULL: anybody who is trusted */
};

/* Reads all files, none is needed later.
 * May be shared, by children made by fork too; is never changed. */
int lazyd_tls_new(struct lazyd_tls **out, const struct lazyd_tls_options *options,
		  struct lazyd_why *why);
/* After the last engine and server that use it. */
void lazyd_tls_free(struct lazyd_tls *t);

/* ---- a page server as source: lazyd-engine(3) ---- */

struct lazyd_remote {
	size_t size; /* sizeof(struct lazyd_remote) */
	/*
	 * Called whenever a connection is wanted, two to a lazyd: a stream socket that is connected
	 * or connecting, which the engine takes; -EAGAIN: there cannot be a second one; else
	 * -errno, and it is called again after a while.
	 */
	int (*connect)(void *arg);
	void *arg;
	const uint8_t *identity; /* LAZYD_IDENTITY_LEN bytes; checked by a lazyd */
	/* To a CRIU: 24 or 32, see lazyd_images_header(). 0: none is asked, it checks nothing. */
	int header;
	uint64_t timeout_ns;         /* without a word for so long its pages are lost; 0: never */
	const struct lazyd_tls *tls; /* NULL: plain text */
	const char *name; /* what the log calls it until it is connected to; NULL: unknown */
};

enum lazyd_remote_state {
	LAZYD_REMOTE_NONE,
	LAZYD_REMOTE_OPENING,
	LAZYD_REMOTE_UP,
	LAZYD_REMOTE_DOWN,     /* lost; is tried again and again */
	LAZYD_REMOTE_GONE,     /* for good: on_lost applies */
	LAZYD_REMOTE_RELEASED, /* all has been had from it */
};

/* ---- the engine: lazyd-engine(3) ---- */

enum lazyd_on_lost {
	LAZYD_LOST_POISON, /* the access is a SIGBUS; needs UFFDIO_POISON (Linux 6.6), else kill */
	LAZYD_LOST_KILL,   /* SIGKILL through the pidfd given to lazyd_attach */
};

enum lazyd_log { LAZYD_LOG_ERROR = 1, LAZYD_LOG_WARN = 2, LAZYD_LOG_INFO = 3, LAZYD_LOG_DEBUG = 4 };

enum { LAZYD_COPIERS_MAX = 3 };

struct lazyd_options {
	size_t size; /* sizeof(struct lazyd_options) */
	enum lazyd_on_lost on_lost;
	/* Shared state, so that another process can go on after this one died; NULL: private. */
	struct lazyd_state *state;
	/* One `key=value` line, no newline. Called on the engine's thread. */
	void (*log)(void *arg, enum lazyd_log level, const char *line);
	void *log_arg;
	/* Where the remote pages of its memories come from; NULL: there are none.
	 * Read by lazyd_new(). */
	const struct lazyd_remote *remote;
	/*
	 * lazyd_turn() looks for faults for so long before it sleeps, while that finds some: a
	 * fault is then answered in half the time, for a busy CPU meanwhile. 0: never.
	 */
	uint64_t busy_poll_ns;
	/*
	 * For who keeps descriptors elsewhere too: called with those of a forked child, which the
	 * engine has got by itself, and with any of a space before it is closed (@is_open 0). On
	 * the engine's thread; must not wait.
	 */
	void (*descriptor)(void *arg, int fd, int is_open);
	void *descriptor_arg;
	/* Not 0: only pages that are touched, and those of lazyd_replay(),
	 * are filled; see lazyd_sweep(). */
	int no_sweep;
	/* Not 0: first touches go into the state, for so long from the first on (0: no end). */
	int record;
	uint64_t record_ns;
	/*
	 * Called before a space that was attached is closed, perhaps twice: @uffd is its
	 * userfaultfd, still open. @is_gone: its process has ended or was killed; 0: it is owed
	 * nothing any more. On the engine's thread; must not wait.
	 */
	void (*closed)(void *arg, int uffd, int is_gone);
	void *closed_arg;
	/* Spaces may be attached after lazyd_start() too, until lazyd_finish(): before that
	 * lazyd_turn() does not return 0, and a page server is not told that all has been had. */
	int stays;
	/* Threads to start, which place pages within a turn, at most LAZYD_COPIERS_MAX; 0: none. */
	unsigned copiers;
};

/*
 * Room, in memory shared with children made by fork or clone, for everything an engine cannot ask
 * for again: layout events, owed bits, statistics. @pages: the largest memory to be served. It is
 * reserved, not used: pages are taken as they are written.
 */
int lazyd_state_new(struct lazyd_state **out, uint64_t pages);
void lazyd_state_free(struct lazyd_state *state);
/*
 * The descriptor of that memory, a memfd which stays the state's; whoever has it can go on in place
 * of this process, also after execve(). -EFBIG where RLIMIT_FSIZE forbids a file of that size.
 */
int lazyd_state_fd(const struct lazyd_state *state);
/* A state from such a descriptor, which it takes.
 * -EPROTO: it is none, or one of another version. */
int lazyd_state_open(struct lazyd_state **out, int fd);

/* [start, start + len), in the addresses of the images: whole pages of 4 KiB. */
struct lazyd_touch {
	uint64_t start, len;
	uint32_t owner; /* a memory's number with an engine, a task's pid in a working set */
};

int lazyd_new(struct lazyd **out, const struct lazyd_options *options);
/* Closes what the engine opened. Spaces still owed are left as they are: their descriptors stay
 * open and belong to nobody; call lazyd_abandon() first. */
void lazyd_free(struct lazyd *l);
/* Makes a memory known. Returns its number, 0, 1, ... in the order of the calls. */
int lazyd_add(struct lazyd *l, struct lazyd_memory *m);
/*
 * After lazyd_new() with a state that an engine of a dead process has used, and the same
 * lazyd_add() calls in the same order: goes on where that engine stopped. The descriptors must
 * still be open under their old numbers (clone with CLONE_FILES keeps them). Returns the number of
 * spaces found, 0 for a fresh state.
 */
int lazyd_resume(struct lazyd *l);
/*
 * Serves one address space: @uffd has done UFFDIO_API, is O_NONBLOCK and may be registered now or
 * later. @pidfd of its process, or -1: its death is then noticed at the next fill only. Takes both
 * descriptors. Returns the space's number.
 */
int lazyd_attach(struct lazyd *l, int memory, int uffd, int pidfd);
/* Part of a memory, as it lies in one process. */
struct lazyd_place {
	uint64_t start, len; /* of the memory's addresses: whole pages of one of its areas */
	uint64_t at;         /* is here in the process */
};
enum { LAZYD_PLACES_MAX = 64 };
/*
 * The same for a process with parts of the memory at other addresses than the memory's: in any
 * order, overlapping at neither end. What it has of no place it is not owed. So one serves many.
 */
int lazyd_attach_at(struct lazyd *l, int memory, int uffd, int pidfd,
		    const struct lazyd_place *places, size_t nr);
/* All spaces are registered and run: neighbours and background may be filled from now on. */
int lazyd_start(struct lazyd *l);
/* With @stays: no more spaces will be attached. To be said again after lazyd_resume(). */
void lazyd_finish(struct lazyd *l);
/*
 * Pages of memory number @touch->owner that are to be had before all that nobody waits for, behind
 * those of earlier calls: a working set, replayed. With @stays in every space of that memory, which
 * take turns; else in the one attached first. After the memory's lazyd_add(). -ENOSPC: too many.
 */
int lazyd_replay(struct lazyd *l, const struct lazyd_touch *touch);
/* With no_sweep in the options: from now on the rest is filled too. */
void lazyd_sweep(struct lazyd *l);
/*
 * The n-th run of pages by the order of their first touch, as memory and place in it; -ENOENT
 * behind the last. Callable on the state alone too (l NULL).
 */
int lazyd_recorded(const struct lazyd *l, const struct lazyd_state *state, size_t n,
		   struct lazyd_touch *touch);
/*
 * Serves what there is to serve, then waits until something happens, at most @timeout_ns (negative:
 * without end, 0: not at all). Returns 1 while there is more to come, 0 when the engine was started
 * and every space is done with, -errno when the engine cannot go on; lazyd_abandon() then.
 */
int lazyd_turn(struct lazyd *l, int64_t timeout_ns);
/*
 * Readable when lazyd_turn() has something to do: for poll() in an embedder's own loop, which then
 * calls lazyd_turn() with a timeout of 0. The engine's own; -errno if there is none to be had.
 */
int lazyd_fd(struct lazyd *l);
/*
 * The end of what a callback has answered with -EINPROGRESS: bytes or -errno, as it would have
 * returned them. lazyd_turn() goes on with it. -ESTALE: nobody waits for it any more.
 */
int lazyd_answer(struct lazyd *l, uint64_t token, int64_t result);
/* lazyd_turn() also returns when @fd is readable. One at a time; -1 takes it back. */
int lazyd_watch(struct lazyd *l, int fd);
/* From any thread: makes lazyd_turn() return at its next chance. */
void lazyd_stop(struct lazyd *l);
/*
 * Fails closed: every page still owed is poisoned or its process killed, as options say, then all
 * spaces are closed. Returns the number of pages lost.
 */
int64_t lazyd_abandon(struct lazyd *l);
/* The last failure as a sentence; "" if there was none. Valid until the next call. */
const char *lazyd_error(const struct lazyd *l);

struct lazyd_stats {
	uint64_t nr_spaces;   /* being served now */
	uint64_t pages_total; /* owed at the start, children's share included */
	uint64_t pages_owed;  /* still owed */
	uint64_t pages_demand, pages_neighbour, pages_sweep; /* filled from the image, by cause */
	uint64_t pages_zero;                                 /* zero pages placed on a fault */
	uint64_t pages_gone;    /* owed no longer: removed, unmapped, exited, present already */
	uint64_t pages_lost;    /* their bytes could not be had */
	uint64_t files_changed; /* files written to meanwhile: see bytes-lost, file-changed */
	uint64_t faults;        /* fault messages read, repeats included */
	uint64_t waiting;       /* faults not answered yet */
	uint64_t ev_remove, ev_unmap, ev_remap, ev_fork, ev_exit;
	uint64_t res_eagain, res_eexist, res_enoent, res_partial;
	uint64_t bytes_read;    /* through the ring */
	uint64_t bytes_cached;  /* straight from the page cache, without the ring */
	uint64_t latency_count; /* faults answered; latencies from message read to page placed */
	uint64_t latency_p50_ns, latency_p99_ns, latency_max_ns;
	uint64_t resumes;       /* engines that took over from a dead one */
	uint64_t bytes_wire;    /* of pages, from a page server */
	uint64_t remote_zero;   /* pages that it said are zero */
	uint64_t remote_window; /* bytes of background asked for at a time */
	uint64_t remote_state;  /* enum lazyd_remote_state */
	uint64_t reconnects;
	uint64_t pages_replay;  /* filled because of lazyd_replay() */
	uint64_t runs_recorded; /* what lazyd_recorded() has */
	uint64_t record_over;   /* 1: the time or the room for it has come to an end */
};
/* Callable on the state alone too (l NULL): another process's view of a running engine. */
void lazyd_stats_sized(const struct lazyd *l, const struct lazyd_state *state,
		       struct lazyd_stats *stats, size_t size);
static inline void lazyd_stats(const struct lazyd *l, const struct lazyd_state *state,
			       struct lazyd_stats *stats)
{
	lazyd_stats_sized(l, state, stats, sizeof(*stats));
}

/* ---- working sets: lazyd-workingset(3) ---- */

enum lazyd_workingset_flag {
	LAZYD_WORKINGSET_SWEPT = 1, /* other pages came meanwhile: some touches are missing */
	LAZYD_WORKINGSET_CUT = 2,   /* the time or the room for it came to an end */
};

/* An empty one, of the images with that identity. */
int lazyd_workingset_new(struct lazyd_workingset **out, const uint8_t identity[LAZYD_IDENTITY_LEN]);
/* -EBADMSG: that is none, or damaged; -EPROTONOSUPPORT: newer than this library;
 * else what read said. */
int lazyd_workingset_read(struct lazyd_workingset **out, int fd, struct lazyd_why *why);
int lazyd_workingset_write(const struct lazyd_workingset *w, int fd);
/* Appends what is not in it yet of those pages. -ENOSPC: it has as many as it may have. */
int lazyd_workingset_add(struct lazyd_workingset *w, const struct lazyd_touch *touch);
/* The n-th run of pages; -ENOENT behind the last. */
int lazyd_workingset_touch(const struct lazyd_workingset *w, size_t n, struct lazyd_touch *touch);
const uint8_t *lazyd_workingset_identity(const struct lazyd_workingset *w);
unsigned lazyd_workingset_flags(const struct lazyd_workingset *w);
void lazyd_workingset_mark(struct lazyd_workingset *w, unsigned flags);
void lazyd_workingset_free(struct lazyd_workingset *w);

/* ---- serving pages: lazyd-server(3) ---- */

struct lazyd_server_options {
	size_t size;             /* sizeof(struct lazyd_server_options) */
	uint32_t max_clients;    /* connections at a time; 0: 256 */
	uint32_t idle_timeout_s; /* a client that neither asks nor takes is dropped; 0: never */
	int once;                /* turn() says 0 when the first client has had all it wants */
	void (*log)(void *arg, enum lazyd_log level, const char *line);
	void *log_arg;
	const struct lazyd_tls
		*tls; /* clients must speak it, and have a certificate; NULL: plain text */
	const uint8_t *identity; /* LAZYD_IDENTITY_LEN bytes; NULL: that of the images */
	/* As an engine's: turn() looks for so long for what threads wait for. 0: never. */
	uint64_t busy_poll_ns;
};

struct lazyd_server_stats {
	uint64_t nr_clients; /* connections now */
	uint64_t clients_total, clients_refused, clients_dropped;
	uint64_t requests, pages, pages_zero, pages_lost, bytes_sent;
};

/*
 * Serves all tasks of @images, which stay the caller's and may be closed afterwards. NULL: none
 * yet; an identity is given then.
 */
int lazyd_server_new(struct lazyd_server **out, struct lazyd_images *images,
		     const struct lazyd_server_options *options, struct lazyd_why *why);
/*
 * Serves @m as task @pid, before the first socket is given. Its sources are here: nothing remote or
 * in place, and callbacks that answer at once. The caller keeps its reference.
 */
int lazyd_server_add(struct lazyd_server *s, uint32_t pid, struct lazyd_memory *m);
void lazyd_server_free(struct lazyd_server *s);
/*
 * Takes a listening stream socket, or a connected one. The thread that gives it the first is the
 * one that calls turn().
 */
int lazyd_server_listen(struct lazyd_server *s, int fd);
int lazyd_server_accept(struct lazyd_server *s, int fd);
/* 1: more to come; 0: done; -errno. Waits for at most @timeout_ns (negative: without end). */
int lazyd_server_turn(struct lazyd_server *s, int64_t timeout_ns);
/* No new clients: turn() says 0 when those that are here have gone. */
void lazyd_server_finish(struct lazyd_server *s);
/* From any thread or a signal handler: makes turn() return at its next chance. */
void lazyd_server_stop(struct lazyd_server *s);
void lazyd_server_stats_sized(const struct lazyd_server *s, struct lazyd_server_stats *stats,
			      size_t size);
static inline void lazyd_server_stats(const struct lazyd_server *s,
				      struct lazyd_server_stats *stats)
{
	lazyd_server_stats_sized(s, stats, sizeof(*stats));
}

/* ---- writing images: lazyd-writer(3) ---- */

enum lazyd_page_flag { LAZYD_PAGE_PARENT = 1, LAZYD_PAGE_LAZY = 2, LAZYD_PAGE_PRESENT = 4 };

struct lazyd_area {
	uint64_t start, end;
	uint32_t prot;
};

/* inventory.img and pstree.img; the first task is the root. */
int lazyd_writer_tasks(int dirfd, const struct lazyd_task *tasks, size_t nr, struct lazyd_why *why);
/* mm-<pid>.img: areas of whole pages, in ascending order. */
int lazyd_writer_areas(int dirfd, uint32_t pid, const struct lazyd_area *areas, size_t nr,
		       struct lazyd_why *why);
/* pagemap-<pid>.img and pages-<pages_id>.img, in CRIU 4.2's encoding; a @pages_id for each task. */
int lazyd_writer_open(struct lazyd_writer **out, int dirfd, uint32_t pid, uint32_t pages_id,
		      struct lazyd_why *why);
int lazyd_writer_add(struct lazyd_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		     const void *bytes, struct lazyd_why *why);
int lazyd_writer_close(struct lazyd_writer *w, struct lazyd_why *why);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
