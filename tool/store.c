/* SPDX-License-Identifier: MIT */
/*
 * A service manager's descriptor store: it has a copy of each descriptor that must outlive keeper
 * and worker, under the name lazyd-<number>-<kind>. When it starts the program again, every one is
 * put back at its number; from there on it is an upgrade. All of it does nothing where there is no
 * manager.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "tool/session.h"

/* A number that a name may have. */
enum { NUMBER_MAX = 1 << 20 };

static bool is_there(void)
{
	return getenv("NOTIFY_SOCKET");
}

void lz_store_keep(int fd, const char *kind)
{
	char text[96];

	if (fd < 0 || !is_there())
		return;
	/* Not to be dropped by the manager when it hangs up:
	 * what has been sent before that is still to be read. */
	(void)snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=lazyd-%d-%s\nFDPOLL=0", fd, kind);
	(void)sd_pid_notify_with_fds(0, 0, text, &fd, 1);
}

void lz_store_drop(int fd, const char *kind)
{
	char text[96];

	if (fd < 0 || !is_there())
		return;
	(void)snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=lazyd-%d-%s", fd, kind);
	(void)sd_notify(0, text);
}

void lz_store_ready(void)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "READY=1\nMAINPID=%d", (int)getpid());
	(void)sd_notify(0, text);
}

/* The number in a name of ours, or -1. */
static int number_of(const char *name, bool *is_session)
{
	char kind[16];
	int n;

	if (sscanf(name, "lazyd-%d-%15s", &n, kind) != 2 || n <= 2 || n > NUMBER_MAX)
		return -1;
	*is_session = strcmp(kind, "session") == 0;
	return n;
}

static void free_names(char **names)
{
	for (int i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/*
 * To number @n from where they are now, which is at[i]. Where another one is at @n that goes first
 * to any free one: never more than one number is in use beside theirs, for all there may be could
 * be in use.
 */
static void put_back(int *at, int nr, int i, int n)
{
	for (int k = 0; at[i] != n && k < nr; k++)
		if (k != i && at[k] == n)
			at[k] = fcntl(n, F_DUPFD_CLOEXEC, 3);
	if (at[i] == n) {
		(void)fcntl(n, F_SETFD, FD_CLOEXEC);
	} else {
		(void)dup3(at[i], n, O_CLOEXEC);
		(void)close(at[i]);
	}
	at[i] = -1;
}

int lz_store_take(void)
{
	char **names = NULL;
	int nr = sd_listen_fds_with_names(1, &names), session = -1;
	int *at = nr > 0 ? calloc((size_t)nr, sizeof(*at)) : NULL;
	bool is_session;

	for (int i = 0; at && i < nr; i++) {
		at[i] = SD_LISTEN_FDS_START + i;
		if (number_of(names[i], &is_session) >= 0)
			continue;
		(void)close(at[i]);
		at[i] = -1;
	}
	for (int i = 0; at && i < nr; i++) {
		int n = number_of(names[i], &is_session);

		if (n < 0)
			continue;
		put_back(at, nr, i, n);
		session = is_session ? n : session;
	}
	free(at);
	free_names(names);
	return session;
}
