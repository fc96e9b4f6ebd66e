/* SPDX-License-Identifier: MIT */
/* The addresses of addr.h. Names are looked up once, when the command line is read. */
#include "tool/addr.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool/out.h"

enum { BACKLOG = 128 };

static const char *unix_path(const char *address)
{
	if (strncmp(address, "unix:", 5) == 0)
		return address + 5;
	return strchr(address, '/') ? address : NULL;
}

bool lz_addr_is_unix(const char *address)
{
	return unix_path(address) != NULL;
}

int lz_addr_parse_all(struct lz_addrs *all, const char *address, const char *port)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = unix_path(address);
	struct addrinfo *found, *next;
	struct lz_addr *a = all->at;
	int r;

	memset(all, 0, sizeof(*all));
	if (path) {
		if (!*path || strlen(path) >= sizeof(un.sun_path)) {
			lz_out_error("address \"%s\": a unix socket's path has 1 to %zu characters",
				     address, sizeof(un.sun_path) - 1);
			return -1;
		}
		memcpy(un.sun_path, path, strlen(path));
		memcpy(&a->sa, &un, sizeof(un));
		a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
		all->nr = 1;
		return 0;
	}
	r = getaddrinfo(address, port, &hints, &found);
	if (r) {
		lz_out_error("address \"%s\" (--address): %s", address,
			     r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return -1;
	}
	for (next = found; next && all->nr < LZ_ADDRS_MAX; next = next->ai_next, a++) {
		memcpy(&a->sa, next->ai_addr, next->ai_addrlen);
		a->len = next->ai_addrlen;
		all->nr++;
	}
	freeaddrinfo(found);
	return 0;
}

int lz_addr_parse(struct lz_addr *a, const char *address, const char *port)
{
	struct lz_addrs all;
	int r = lz_addr_parse_all(&all, address, port);

	*a = all.at[0];
	return r;
}

/* A socket that nobody listens on any more is a leftover. */
static void remove_leftover(const struct lz_addr *a)
{
	struct sockaddr_un un;
	struct stat st;
	int fd;

	memcpy(&un, &a->sa, sizeof(un));
	if (stat(un.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = lz_addr_connect(a);
	if (fd >= 0)
		(void)close(fd);
	else if (fd == -ECONNREFUSED)
		(void)unlink(un.sun_path);
}

int lz_addr_listen(const struct lz_addr *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, r;

	if (fd < 0)
		return -errno;
	if (a->sa.ss_family == AF_UNIX) {
		remove_leftover(a);
		/* That of the file which bind() makes: it is never another one. */
		(void)fchmod(fd, 0600);
	} else {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	}
	if (!bind(fd, (const struct sockaddr *)&a->sa, a->len) && !listen(fd, BACKLOG))
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}

int lz_addr_connect(const struct lz_addr *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&a->sa, a->len) || errno == EINPROGRESS)
		return fd;
	/* A unix listener's queue is full: it is there, and has no time. */
	r = errno == EAGAIN ? -EBUSY : -errno;
	(void)close(fd);
	return r;
}

unsigned lz_addr_port(int fd)
{
	struct sockaddr_storage sa;
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		return 0;
	memcpy(&in, &sa, sizeof(in));
	memcpy(&in6, &sa, sizeof(in6));
	return sa.ss_family == AF_INET    ? ntohs(in.sin_port)
	       : sa.ss_family == AF_INET6 ? ntohs(in6.sin6_port)
					  : 0;
}

const char *lz_addr_text(const struct lz_addr *a, int fd, char text[LZ_ADDR_TEXT_MAX])
{
	struct sockaddr_storage sa = a->sa;
	char host[64], port[8];
	struct sockaddr_un un;
	socklen_t len = sizeof(sa);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&sa, &len))
		len = a->len;
	memcpy(&un, &sa, sizeof(un));
	if (sa.ss_family == AF_UNIX)
		(void)snprintf(text, LZ_ADDR_TEXT_MAX, "%s", un.sun_path);
	else if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			     NI_NUMERICHOST | NI_NUMERICSERV))
		(void)snprintf(text, LZ_ADDR_TEXT_MAX, "?");
	else
		(void)snprintf(text, LZ_ADDR_TEXT_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s",
			       host, port);
	return text;
}

const char *lz_addr_file(const struct lz_addr *a)
{
	return a->sa.ss_family == AF_UNIX
		       ? (const char *)&a->sa + offsetof(struct sockaddr_un, sun_path)
		       : NULL;
}

void lz_addr_unlisten(const struct lz_addr *a)
{
	const char *file = lz_addr_file(a);

	if (file)
		(void)unlink(file);
}
