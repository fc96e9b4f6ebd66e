/* SPDX-License-Identifier: MIT */
/*
 * What comes with a message of a unix socket: descriptors, and who the kernel says has sent it. It
 * is read from where the kernel has written it, by whoever comes to that: see struct lz_inbox.
 */
#ifndef LZ_PARCEL_H
#define LZ_PARCEL_H

#include <sys/socket.h>
#include <sys/types.h>

/* For recvmsg() to write into; zero where it has not. */
struct lz_control {
	_Alignas(struct cmsghdr) char bytes[256];
};

struct lz_parcel {
	int uffd, pidfd; /* -1: none came */
	pid_t pid;       /* of the sender; -1: not told */
};
/* The first descriptor of each kind that came with the message. */
void lz_parcel_open(struct lz_control *c, struct lz_parcel *p);
/* Closes all that came with it, or all but those in @p. */
void lz_parcel_close(struct lz_control *c);
void lz_parcel_close_others(struct lz_control *c, const struct lz_parcel *p);

/* A message of one byte, with it @fd, which stays the caller's;
 * @flags of sendmsg(). 0 or -errno. */
int lz_parcel_send(int sock, int fd, int flags);
/* The descriptor of the next such message. -ECONNRESET: there is none any more, else -errno. */
int lz_parcel_receive(int sock);

#endif
