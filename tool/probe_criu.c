/* SPDX-License-Identifier: MIT */
/*
 * What the CRIU and the runc that are here can do with this kernel. They are asked themselves; what
 * is known of their versions is said only where they cannot know it.
 */
#include "tool/probe.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A CRIU's version: its first two numbers, which sort. */
#define VERSION(major, minor) ((major)*1000u + (minor))
enum {
	FIRST_LAZY = VERSION(3, 5),
	FIRST_WIDE = VERSION(4, 2), /* page server headers of 32 bytes */
	FIRST_TESTED = VERSION(4, 1),
	LAST_TESTED = VERSION(4, 2),
};
/* What its page server and lazy dump make their pipes of: 819 pages, to the next power of two. */
enum { PIPE_BYTES = 4 << 20 };

/* ---- findings ---- */

static struct lz_finding *add(struct lz_findings *f, const char *section, const char *name)
{
	return lz_probe_add(f, section, name, LZ_PROBE_OK);
}

/* @n is not ok. @format: the cause. */
__attribute__((format(printf, 4, 5))) static void tell(struct lz_finding *n,
						       enum lz_probe_state state,
						       const char *remedy, const char *format, ...)
{
	va_list ap;

	n->state = state;
	(void)snprintf(n->remedy, sizeof(n->remedy), "%s", remedy);
	va_start(ap, format);
	(void)vsnprintf(n->cause, sizeof(n->cause), format, ap);
	va_end(ap);
}

/* The end of a path says most. */
static void set_path(struct lz_finding *n, const char *path)
{
	size_t len = strlen(path), room = sizeof(n->value) - 1;

	(void)snprintf(n->value, sizeof(n->value), "%s", path + (len > room ? len - room : 0));
	for (char *c = n->value; *c; c++)
		*c = *c < ' ' || *c > '~' ? '?' : *c;
}

/* ---- asking a program ---- */

/* The words of an error that are understood. */
static const struct {
	const char *says, *cause, *remedy;
} known[] = {
	{ "vDSO area bounds", "it does not understand the vDSO of Linux 6.13 and newer",
	  "use CRIU 4.1 or newer" },
	{ "CAP_CHECKPOINT_RESTORE", "it wants CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE",
	  "run lazyd check --criu as root" },
	{ "UFFD is not supported", "it finds no userfaultfd with events",
	  "see what the section userfaultfd says" },
	{ "Unknown feature", "it does not know this feature", "use CRIU 4.1 or newer" },
};

/* @n is no, for the first line that is an error and not one of a helper
 * program's; else the first. */
static void tell_words(struct lz_finding *n, const char *remedy, const char *text)
{
	const char *best = text + strspn(text, "\n"), *line, *end;
	bool found = false;

	for (line = text; *line && !found; line = *end ? end + 1 : end) {
		const char *error = strstr(line, "Error");
		const char *helper = strstr(line, "exited, status=");

		end = strchrnul(line, '\n');
		found = error && error < end && (!helper || helper > end);
		best = found ? line : best;
	}
	tell(n, LZ_PROBE_NO, remedy, *best ? "it says: %.*s" : "it says nothing",
	     (int)strcspn(best, "\n"), best);
}

/* Runs it: true if it ended well; if not, @n is no. */
static bool ask(struct lz_run *r, const char *const argv[], struct lz_finding *n,
		const char *remedy)
{
	int err = lz_probe_run(r, argv);

	if (!err && !r->cut && r->status == 0)
		return true;
	if (err)
		tell(n, LZ_PROBE_NO, remedy, "it cannot be run: %s", strerror(-err));
	else if (r->cut)
		tell(n, LZ_PROBE_NO, remedy, "%s", r->cut);
	else if (WIFSIGNALED(r->status))
		tell(n, LZ_PROBE_NO, remedy, "it died of signal %d", WTERMSIG(r->status));
	else
		tell_words(n, remedy, r->text);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(r->text, known[i].says)) {
			tell(n, LZ_PROBE_NO, known[i].remedy, "%s", known[i].cause);
			break;
		}
	return false;
}

/* Where the program is, by @given or in PATH; NULL: nowhere. */
static const char *add_program(struct lz_findings *f, const char *section, const char *given,
			       enum lz_probe_state without, char path[LZ_PROBE_PATH_MAX])
{
	struct lz_finding *n = add(f, section, "program");
	char remedy[64];

	(void)snprintf(remedy, sizeof(remedy), "install it, or name it with --%s-path", section);
	if (given) {
		set_path(n, given);
		if (!access(given, X_OK))
			return given;
		tell(n, LZ_PROBE_NO, remedy, "%s", strerror(errno));
		return NULL;
	}
	if (!lz_probe_find(section, path)) {
		tell(n, without, remedy, "there is none in PATH");
		return NULL;
	}
	set_path(n, path);
	return path;
}

/* What stands behind @words in what it prints for --version, which must begin with a figure. */
static struct lz_finding *add_version(struct lz_findings *f, const char *section, const char *path,
				      const char *words)
{
	struct lz_finding *n = add(f, section, "version");
	static struct lz_run run;
	char remedy[64], version[32];
	const char *at;

	(void)snprintf(remedy, sizeof(remedy), "name a %s with --%s-path", section, section);
	if (!ask(&run, (const char *const[]){ path, "--version", NULL }, n, remedy))
		return n;
	at = strstr(run.text, words);
	if (at && sscanf(at + strlen(words), " %31[0-9A-Za-z.+~_-]", version) == 1 &&
	    version[0] >= '0' && version[0] <= '9')
		(void)snprintf(n->value, sizeof(n->value), "%s", version);
	else
		tell_words(n, remedy, run.text);
	return n;
}

/* ---- criu ---- */

static bool is_capable(cap_value_t cap)
{
	cap_flag_value_t v = CAP_CLEAR;
	cap_t set = cap_get_proc();

	if (set)
		(void)cap_get_flag(set, cap, CAP_EFFECTIVE, &v);
	(void)cap_free(set);
	return v == CAP_SET;
}

/* May this version do? And what its page server's headers look like, which it cannot say. */
static bool add_layout(struct lz_findings *f, struct lz_finding *version)
{
	unsigned major = 0, minor = 0, number;

	(void)sscanf(version->value, "%3u.%3u", &major, &minor);
	number = VERSION(major, minor);
	if (number < FIRST_LAZY) {
		tell(version, LZ_PROBE_NO, "use CRIU 4.1 or newer", "it has no lazy pages yet");
		return false;
	}
	if (number < FIRST_TESTED || number > LAST_TESTED)
		tell(version, LZ_PROBE_LIMITED, "try it first with a task that can be lost",
		     "lazyd is tested with CRIU 4.1 and 4.2");
	(void)snprintf(add(f, LZ_PROBE_CRIU, "page server headers")->value, sizeof(version->value),
		       "%s",
		       number < FIRST_WIDE ? "24 bytes, as up to 4.1" : "32 bytes, as from 4.2");
	return true;
}

static void add_checks(struct lz_findings *f, const char *path)
{
	static struct lz_run run;

	(void)ask(&run, (const char *const[]){ path, "check", NULL },
		  add(f, LZ_PROBE_CRIU, "criu check"), "criu check -v4 says more");
	(void)ask(&run, (const char *const[]){ path, "check", "--feature", "uffd-noncoop", NULL },
		  add(f, LZ_PROBE_CRIU, "criu check --feature uffd-noncoop"),
		  "see what the section userfaultfd says");
}

/* What CRIU meets only when it is at work. */
static void add_system(struct lz_findings *f)
{
	long long pipe = lz_probe_sysctl("fs/pipe-max-size");
	bool raises = is_capable(CAP_SYS_RESOURCE);
	struct lz_finding *n;

	n = add(f, LZ_PROBE_CRIU, "tasks in a user namespace");
	if (lz_probe_sysctl("vm/unprivileged_userfaultfd") == 0)
		tell(n, LZ_PROBE_LIMITED, "sysctl vm.unprivileged_userfaultfd=1",
		     "their userfaultfd is refused (EPERM), and so is their lazy restore");
	n = add(f, LZ_PROBE_CRIU, "pipes of dump and page-server --lazy-pages");
	(void)snprintf(n->value, sizeof(n->value), "at most %lld bytes%s", pipe,
		       raises ? ", or as CAP_SYS_RESOURCE likes" : "");
	if (pipe < PIPE_BYTES && !raises)
		tell(n, LZ_PROBE_LIMITED,
		     "sysctl fs.pipe-max-size=4194304, or CAP_SYS_RESOURCE; lazyd serve does without",
		     "CRIU wants 4 MiB; with less its first page fails (splice: Bad file descriptor)");
}

void lz_probe_criu(struct lz_findings *f, const char *given)
{
	char found[LZ_PROBE_PATH_MAX];
	const char *path = add_program(f, LZ_PROBE_CRIU, given, LZ_PROBE_NO, found);
	struct lz_finding *version;

	if (!path)
		return;
	version = add_version(f, LZ_PROBE_CRIU, path, "Version:");
	if (version->state != LZ_PROBE_OK || !add_layout(f, version))
		return;
	add_checks(f, path);
	add_system(f);
}

/* ---- runc ---- */

static void add_option(struct lz_findings *f, const char *path, const char *command,
		       const char *option, const char *name)
{
	static const char REMEDY[] = "use runc 1.1 or newer";
	struct lz_finding *n = add(f, LZ_PROBE_RUNC, name);
	static struct lz_run run;

	if (ask(&run, (const char *const[]){ path, command, "--help", NULL }, n, REMEDY) &&
	    !strstr(run.text, option))
		tell(n, LZ_PROBE_NO, REMEDY, "its help does not know the option");
}

/* Built with checkpoints? What it does not say, as before 1.1, is no finding. */
static void add_feature(struct lz_findings *f, const char *path)
{
	static struct lz_run run;
	const char *says = NULL;
	struct lz_finding *n;
	json_t *json = NULL;

	if (!lz_probe_run(&run, (const char *const[]){ path, "features", NULL }) && !run.cut &&
	    !run.status)
		json = json_loads(run.text, 0, NULL);
	(void)json_unpack(json, "{s:{s:s}}", "annotations",
			  "org.opencontainers.runc.checkpoint.enabled", &says);
	if (says) {
		n = add(f, LZ_PROBE_RUNC, "built with checkpoints");
		if (strcmp(says, "true") != 0)
			tell(n, LZ_PROBE_NO, "use another build of it",
			     "runc features says that it is not");
	}
	json_decref(json);
}

/* It starts the one that is first in PATH, whichever has been looked at here. */
static void add_its_criu(struct lz_findings *f, const char *criu)
{
	static const char REMEDY[] = "have the right one first in PATH of whatever starts runc";
	struct lz_finding *n = add(f, LZ_PROBE_RUNC, "its criu");
	struct stat its = { 0 }, asked = { 0 };
	char path[LZ_PROBE_PATH_MAX];

	if (!lz_probe_find(LZ_PROBE_CRIU, path)) {
		tell(n, LZ_PROBE_NO, REMEDY, "runc starts the one in PATH, and there is none");
		return;
	}
	set_path(n, path);
	if (criu && (stat(path, &its) || stat(criu, &asked) || its.st_dev != asked.st_dev ||
		     its.st_ino != asked.st_ino))
		tell(n, LZ_PROBE_LIMITED, REMEDY,
		     "runc starts this one, and not the one that was looked at");
}

void lz_probe_runc(struct lz_findings *f, const char *given, const char *criu)
{
	char found[LZ_PROBE_PATH_MAX];
	const char *path = add_program(f, LZ_PROBE_RUNC, given, LZ_PROBE_ABSENT, found);

	if (!path || add_version(f, LZ_PROBE_RUNC, path, " version ")->state != LZ_PROBE_OK)
		return;
	add_option(f, path, "checkpoint", "--lazy-pages", "checkpoint --lazy-pages");
	add_option(f, path, "checkpoint", "--status-fd", "checkpoint --status-fd");
	add_option(f, path, "restore", "--lazy-pages", "restore --lazy-pages");
	add_feature(f, path);
	add_its_criu(f, criu);
}
