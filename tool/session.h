/* SPDX-License-Identifier: MIT */
/*
 * What `lazyd fill` is made of. The keeper (keeper.c) speaks with the restorer (restorer.c) and
 * starts the worker (worker.c), which runs the engine. The two share their descriptors (clone with
 * CLONE_FILES) and the memory below, and nothing else: whatever one of them dies of, no userfaultfd
 * closes, and the other goes on. A new worker needs the state and the session; so does a new
 * keeper, which the worker becomes. What one of them knows and cannot ask for again is therefore in
 * there, and is written so that death between any two stores leaves it whole: noted first, acted
 * upon after.
 */
#ifndef LZ_SESSION_H
#define LZ_SESSION_H

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "tool/addr.h"
#include "tool/guest.h"
#include "tool/huge.h"
#include "tool/parcel.h"
#include "tool/replace.h"
#include "tool/service.h"
#include "tool/snapshot.h"
#include "uffd/lazyd.h"

enum { LZ_TASKS_MAX = 4096, LZ_REASON_MAX = 256 };

/* Of --firecracker. */
struct lz_vm_options {
	const char *socket;          /* NULL: it is a restore of CRIU that is waited for */
	uint32_t max;                /* VMs at a time */
	uint32_t uid_from, uid_upto; /* who may connect besides us and root; from > upto: nobody */
	bool detach;                 /* ends when those that have come are full */
};

/* What the command line asked for. Strings are argv's. */
struct lz_fill_options {
	struct lz_service service;
	enum lazyd_on_lost on_lost;
	uint32_t restore_timeout_s;  /* 0: for ever */
	bool page_server;            /* pages come from one */
	int ps_header;               /* 24, 32; 0: what the images say */
	uint32_t source_timeout_s;   /* 0: for ever */
	uint32_t copiers;            /* threads beside the engine's */
	uint32_t stuck_timeout_s;    /* 0: for ever */
	const char *record, *replay; /* files of working sets; NULL: none */
	uint32_t record_window_s;    /* 0: for ever */
	bool no_sweep;               /* until the first SIGTERM or SIGINT */
	bool collapse;               /* huge pages, once all is filled */
	struct lz_vm_options vm;
};

/* A task of the images, in pstree's order. */
struct lz_fill_task {
	uint32_t pid;
	bool dead;
	bool reported; /* the restorer has sent its userfaultfd, or that it is dead */
	int memory;    /* its number for lazyd_attach() */
};

enum lz_said_type {
	LZ_SAID_TASK = 1, /* its userfaultfd comes next */
	LZ_SAID_DEAD,     /* a task without memory */
	LZ_SAID_UFFD,     /* of the task before */
	LZ_SAID_FINISHED, /* the restore is */
};

/* A message of the restorer. */
struct lz_said {
	uint32_t type;       /* enum lz_said_type */
	uint32_t task;       /* its number in the images */
	int32_t uffd, pidfd; /* UFFD: to be the engine's; pidfd -1: none */
	int32_t own; /* the same process, for the keeper to kill by in the last resort; -1 */
};

enum { LZ_SAID_MAX = 2 * LZ_TASKS_MAX + 1 };

/*
 * Where the kernel itself notes a message that is being received, descriptors included: there is no
 * moment in which it has been consumed and is nowhere. Zero where the kernel has not written.
 */
struct lz_inbox {
	uint32_t number; /* 1 + that of the message it was zeroed for; 0: it never was */
	union {
		int32_t pid;
		char byte;
	} what;
	struct lz_control control;
};

enum lz_fill_phase {
	LZ_FILL_RESTORING, /* tasks are being assembled; or VMs may come */
	LZ_FILL_RUNNING, /* the restorer has finished: the sweep may run; or no VM comes any more */
	LZ_FILL_ABANDON, /* give up: fail closed what is owed */
};

/* To be counted up with any change of what is below, or of what it means. */
enum { LZ_SESSION_VERSION = 6 };

/*
 * Shared by keeper and worker, and with those that come after them by execve(). Each field has one
 * writer; descriptors are -1 where there is none.
 */
struct lz_session {
	/* who made it */
	uint64_t magic;
	uint32_t version, size;
	int32_t session_fd, state_fd; /* of this, and of what the engine shares */
	uint64_t fingerprint;         /* of the tasks in the images, of the VMs' memory */
	struct lz_addrs peer;         /* --page-server: a name is looked up once */
	/* who looks whether it could go on with it: its pid, if so */
	int32_t understood;
	/* keeper */
	uint64_t stopped_ns; /* since when there has been no worker */
	uint32_t nr_said;    /* said[0 .. nr) are whole */
	uint32_t phase;    /* enum lz_fill_phase; after what made it so, before what it makes so */
	int32_t status;    /* LZ_EXIT_X, once it is known that the end will be a bad one */
	uint32_t over;     /* all is reported: the worker need not go on when the keeper ends */
	uint32_t nr_terms; /* SIGTERM and SIGINT so far */
	uint32_t deaths;   /* of workers in a row that have got nothing done, by their weight */
	uint32_t turns_then; /* turns, at the last death */
	uint32_t nr_early;   /* keepers in a row that died before they had looked around once */
	uint64_t heard_ns;   /* when the restorer was last heard of, or waited for from */
	uint64_t started_ns; /* when the first userfaultfd came; 0: not yet */
	uint64_t listen_ino; /* of the file that restorers connect to */
	int32_t kick_fd;     /* an eventfd: the worker is to look at the session */
	int32_t listen_fd;   /* -1 once the restorer has come */
	int32_t restorer_fd;
	int32_t signal_fd;
	int32_t keeper_pidfd;
	int32_t huge_fd; /* who makes huge pages: huge.h */
	/* worker */
	uint32_t nr_attended;       /* of said[] */
	uint32_t started;           /* has said so to its engine */
	uint32_t filled;            /* nothing is owed any more */
	uint32_t turns;             /* whether it lives and gets on: watch.h */
	uint32_t nr_connects;       /* connections to the page server it has asked for */
	char reason[LZ_REASON_MAX]; /* why it could not go on */
	/* keeper */
	struct lz_inbox inbox;
	struct lz_said said[LZ_SAID_MAX];
	/* --firecracker; keeper */
	uint32_t nr_guests; /* records that have been used are below it */
	uint32_t nr_heard;  /* counts the VMs that the worker is to look for */
	uint32_t vms_full, vms_gone, vms_refused;
	struct lz_guest guest[LZ_GUESTS_MAX];
};

/* Connections to the page server that the engine has been given. */
struct lz_peer_calls {
	unsigned now; /* of the addresses: the one that was tried last */
	bool silent;  /* no connection stood when one was last asked for */
	struct lz_peer_call {
		int fd;
		uint64_t ino;
	} call[2];
};

struct lz_fill {
	struct lz_fill_options o;
	struct lazyd_images *images;
	bool others_images; /* they are another user's */
	struct lazyd_memory **memory;
	int nr_memories;
	struct lz_addr vm_addr;      /* where VMs come to */
	struct lz_snapshot snapshot; /* their memory; memory[]: see guest.c */
	struct lz_fill_task *task;
	uint32_t nr_tasks;
	/* What follows from said[0 .. nr_folded). */
	uint32_t nr_folded, nr_reported;
	struct lz_fill_task *expecting; /* its pid has come, its descriptor not yet */
	struct lazyd_state *state;
	struct lz_session *session;
	struct lazyd_remote remote;           /* size 0: all pages are here */
	struct lz_addrs peer;                 /* remote: where the page server is */
	struct lz_peer_calls calls;           /* remote, the worker's: peer.c */
	char peer_name[LZ_ADDR_TEXT_MAX];     /* remote: as it was given */
	struct lazyd_tls *tls;                /* remote: NULL: in plain text */
	uint8_t identity[LAZYD_IDENTITY_LEN]; /* with a page server, --record or --replay */
	struct lz_replace record;             /* fd -1: nothing is recorded */
	bool recorded;                        /* its file is written */
	struct lz_huge_result huge;           /* what has come of --collapse */
	struct lazyd_touch *replay;           /* owner: a memory */
	size_t nr_replay;
	/* There is a session that is to be gone on with,
	 * or of which it is to be said whether that could be done; else it makes its own. */
	enum { LZ_RESUME_NOT, LZ_RESUME_CHECK, LZ_RESUME_GO } resume;
	bool stored;                 /* GO: from a service manager's store */
	struct lz_service_files had; /* from the program that was here before */
	char exe[PATH_MAX];          /* where it was started from; "": not known */
	int start_dir;               /* in which directory */
	sigset_t old_signals;        /* what the worker gets back */
	pid_t worker;                /* the keeper's; 0: there is none */
};

/* fill_options.c: the command line. -1 to go on, else the exit status. */
int lz_fill_options_take(struct lz_fill *f, int argc, char **argv);

/* peer.c: the page server of --page-server; before the memories are read. 0, or LZ_EXIT_X with the
 * reason printed. is_gone(): no page of it will be had any more. */
int lz_peer_prepare(struct lz_fill *f);
bool lz_peer_is_gone(const struct lz_fill *f);

/*
 * record.c: --record and --replay. prepare() reads and opens their files, when the tasks are known:
 * 0, or LZ_EXIT_X with the reason printed. replay() is the worker's, with the memories known, and
 * for VMs says for which of them: 0 or -errno. attend(), now and then, and end() are the keeper's,
 * and write what there is to be written.
 */
int lz_record_prepare(struct lz_fill *f);
int lz_record_replay(const struct lz_fill *f, struct lazyd *l, int memory);
void lz_record_attend(struct lz_fill *f);
void lz_record_end(struct lz_fill *f);

/* session.c: 0 or -errno; -EPROTO: it is none of this version. */
int lz_session_new(struct lz_session **out);
int lz_session_open(struct lz_session **out, int fd);
/* True if nobody else goes on with it: it is this process's and its like's until all are dead. */
bool lz_session_lock(const struct lz_session *s);
uint64_t lz_session_fingerprint(const struct lz_fill *f);
void lz_session_kick(const struct lz_session *s);

/* last.c: nobody can serve the tasks any more, and they must not read zeros.
 * Kills them and all below. */
void lz_last_kill(struct lz_fill *f, const char *reason);
/* The same for one process; how many were killed. */
unsigned lz_last_kill_tree(int pidfd);
/* The userfaultfds in this table whose processes live; at least 1 where that is not known. */
unsigned lz_last_count(void);
/* Before the last descriptor closes: returns when there are none. */
void lz_last_hold(struct lz_fill *f);

/*
 * upgrade.c. begin() finds out whether there is a session to go on with, before the command line is
 * read; adopt() takes it, when the images have been. 0, or LZ_EXIT_X with the reason printed.
 */
int lz_upgrade_begin(struct lz_fill *f);
int lz_upgrade_adopt(struct lz_fill *f);
/* Starts the program that is now where this one was, to see whether it could go on. Its pid, or
 * -errno. */
pid_t lz_upgrade_check(struct lz_fill *f);
/* Becomes that program; there must be no worker. -errno if it does not. */
int lz_upgrade_exec(struct lz_fill *f);

/*
 * inbox.c: receives message @number, of exactly @len bytes, or finds it received by somebody who
 * died before it was noted. 1, 0 when there is nothing (yet), -ECONNRESET at the end, else -errno.
 * What has come is there until the next number is asked for. @flags: MSG_PEEK for the byte with a
 * userfaultfd: it stays in the socket until drop_parcel(), to be called when it has been noted, and
 * by who does not know whether it was. lose_descriptors(): a message that was not noted came to
 * processes that died with all theirs, but for some that a service manager may have.
 */
int lz_inbox_receive(struct lz_inbox *in, uint32_t number, int fd, size_t len, int flags);
void lz_inbox_drop_parcel(int fd);
void lz_inbox_lose_descriptors(struct lz_inbox *in, uint32_t number);

/* guest.c: the command line of VMs, and their memory. */
enum {
	LZ_GUEST_FIRECRACKER = 512,
	LZ_GUEST_ALLOW_USER,
	LZ_GUEST_MAX_VMS,
	LZ_GUEST_DETACH,
};
/* clang-format off */
#define LZ_GUEST_NAMES \
	{ "firecracker", required_argument, NULL, LZ_GUEST_FIRECRACKER }, \
	{ "allow-user", required_argument, NULL, LZ_GUEST_ALLOW_USER }, \
	{ "max-vms", required_argument, NULL, LZ_GUEST_MAX_VMS }, \
	{ "detach-when-full", no_argument, NULL, LZ_GUEST_DETACH }
/* clang-format on */
/* The option that getopt_long() returned as @c: -1 to go on, else the exit status.
 * check(): all of them. */
int lz_guest_option(struct lz_fill_options *o, int c);
int lz_guest_check_options(const struct lz_fill_options *o);
/* Opens the files, before the working directory is left; then makes memories of them.
 * 0, or LZ_EXIT_X with the reason printed. */
int lz_guest_open_files(struct lz_fill *f);
int lz_guest_read_files(struct lz_fill *f, uint64_t *max_pages);
/* The number of the memory that has these regions, in pages of their size; or why there is none. */
const char *lz_guest_memory(const struct lz_fill *f, const struct lz_regions *r, int *memory);

/*
 * vm.c: one VM, from its call to its end. call() takes @conn; who dies before it is noted there
 * leaves it to lz_firecracker_succeed().
 */
void lz_vm_call(struct lz_fill *f, struct lz_guest *g, int conn);
/* Hears it if it calls, buries it if it is no more; at any time. */
void lz_vm_attend(struct lz_fill *f, struct lz_guest *g);
/* Hangs up on one that calls and cannot be served:
 * it would wait for pages for ever, so not before it is killed. */
void lz_vm_refuse(struct lz_fill *f, struct lz_guest *g, const char *sentence);
/* Of one that was calling a keeper that is dead. */
void lz_vm_succeed(struct lz_fill *f, struct lz_guest *g);

/* firecracker.c: the socket that VMs come to. 0, or -errno. */
int lz_firecracker_listen(struct lz_fill *f);
/* Who has connected is heard; nobody else comes. */
void lz_firecracker_unlisten(struct lz_fill *f);
/* And who has not been heard to the end is refused. */
void lz_firecracker_end(struct lz_fill *f);
/* What is to be polled, at most LZ_FIRECRACKER_POLLS; and how often, at least: -1: no matter. */
enum { LZ_FIRECRACKER_POLLS = 65 };
unsigned lz_firecracker_poll(const struct lz_fill *f, struct pollfd *p, int *timeout_ms);
/*
 * Hears who has something to say, and buries who is no more; at any time. 1: nobody comes any more
 * and all who did have been heard; -ETIME: nobody has come in time; -ENOLINK: their memory cannot
 * be had any more.
 */
int lz_firecracker_attend(struct lz_fill *f);
/* As lz_restorer_succeed(). */
void lz_firecracker_succeed(struct lz_fill *f);

/* restorer.c: CRIU's lazy-pages socket. 0, or -errno. */
int lz_restorer_listen(struct lz_fill *f);
/* Of a user who may not restore the connection is closed, and listen_fd stays. */
int lz_restorer_accept(struct lz_fill *f);
/* May who has connected as @fd restore? Logs who may not. */
bool lz_restorer_admits(const struct lz_fill *f, int fd);
/* Takes what can be read. 1: the restorer has finished, 0: more to come, -errno: it failed. */
int lz_restorer_receive(struct lz_fill *f);
void lz_restorer_hang_up(struct lz_fill *f);
void lz_restorer_unlisten(struct lz_fill *f);
/*
 * All of it, when the socket @connects or the connection @speaks, or time goes by. 1: the restore
 * is finished; 0; -errno: there will be none, and the reason is logged; -ECANCELED: and none was
 * begun.
 */
int lz_restorer_attend(struct lz_fill *f, bool connects, bool speaks);
/* Hangs up on a restore that will not be. Tasks whose userfaultfds nobody has taken would read
 * zeros if it does not notice: they are killed. */
void lz_restorer_refuse(struct lz_fill *f);
/* After a keeper's death: a connection that it accepted and did not note is taken, one that it was
 * about to close is closed. */
void lz_restorer_succeed(struct lz_fill *f);

/*
 * store.c: a service manager's descriptor store. keep() and drop() by the descriptor's number:
 * @kind is "session", "task" or "fill". take(), first of all, puts what it has kept back at its
 * numbers; returns the session's, or -1.
 */
void lz_store_keep(int fd, const char *kind);
void lz_store_drop(int fd, const char *kind);
void lz_store_ready(void);
int lz_store_take(void);

/* worker.c: returns when the keeper is dead: this process is to be the next one. */
void lz_worker_run(struct lz_fill *f);

/* keeper.c: from here on signals wait for lz_keeper_run(); before it is said that fill is ready. */
int lz_keeper_hold_signals(struct lz_fill *f);
/*
 * From the listening socket to the end; returns LZ_EXIT_X. Or LZ_KEEPER_CHILD, in a process of its
 * own: that is to call lz_worker_run().
 */
enum { LZ_KEEPER_CHILD = -1 };
int lz_keeper_run(struct lz_fill *f);
/* The same in the place of one that is no more: what that left behind is cleared away first. */
int lz_keeper_succeed(struct lz_fill *f, const char *event);
/* All is reported: ends the worker, which has stayed in case the keeper died before that. */
void lz_keeper_end(struct lz_fill *f);

#endif
