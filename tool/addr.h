/* SPDX-License-Identifier: MIT */
/* Addresses as people write them: IPv4, IPv6, host names, and paths of unix sockets. */
#ifndef LZ_ADDR_H
#define LZ_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

enum { LZ_ADDR_TEXT_MAX = 160, LZ_ADDRS_MAX = 8 };

struct lz_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* What one name stands for, in the order in which it is to be tried. */
struct lz_addrs {
	struct lz_addr at[LZ_ADDRS_MAX];
	unsigned nr;
};

/* Where it contains a slash or begins with "unix:". */
bool lz_addr_is_unix(const char *address);
/* Of a unix socket @port is not looked at. Prints what is wrong; 0 or -1. */
int lz_addr_parse_all(struct lz_addrs *all, const char *address, const char *port);
/* The first of them. */
int lz_addr_parse(struct lz_addr *a, const char *address, const char *port);
/* A listening socket; the unix path must not be in use, a dead one is replaced.
 * Its mode is 0600. -errno. */
int lz_addr_listen(const struct lz_addr *a);
/* A connecting one. -errno. */
int lz_addr_connect(const struct lz_addr *a);
/* "127.0.0.1:1234", "[::1]:1234", a path. Of what @fd is bound to, if it is not -1. */
const char *lz_addr_text(const struct lz_addr *a, int fd, char text[LZ_ADDR_TEXT_MAX]);
/* The port of a listening TCP socket; 0 for a unix one. */
unsigned lz_addr_port(int fd);
/* The file of a unix socket; NULL for another. */
const char *lz_addr_file(const struct lz_addr *a);
/* Takes away what a unix listener left in the file system. */
void lz_addr_unlisten(const struct lz_addr *a);

#endif
