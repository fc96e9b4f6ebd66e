/* SPDX-License-Identifier: MIT */
/*
 * What the tests of TLS share: a client and a server, each at its end of a socket pair. The fixture
 * is global; each test begins with a fresh one.
 */
#ifndef TLS_ENDS_H
#define TLS_ENDS_H

#include <stdint.h>

#include "tests/lib/certs.h"

enum { BIG = 1 << 20 };

extern struct end {
	struct lz_tls *tls;
	struct lz_tls_session *s;
	int fd, ret;
} client, server;
extern uint8_t sent[BIG], got[BIG]; /* the first is filled */

void setup(void);
void teardown(void);
/* Reads the files and makes a session; no byte is said. */
void begin(struct end *e, enum certs_kind kind, const char *name);
int64_t give(struct end *e, const void *bytes, size_t len);
int64_t take(struct end *e, void *to, size_t len);
/* Both go on until neither can. */
void shake(void);
/* To an end in which both are content. */
void connect_both(void);

#endif
