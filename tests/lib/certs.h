/* SPDX-License-Identifier: MIT */
/* Certificates for the tests of TLS, good ones and one of each bad kind,
 * as files in a folder of their own. */
#ifndef LZ_TEST_CERTS_H
#define LZ_TEST_CERTS_H

#include "iouring/tls.h"

enum certs_kind {
	CERTS_GOOD,
	CERTS_EXPIRED,
	CERTS_NOT_YET,
	CERTS_WRONG_NAME,
	CERTS_SELF_SIGNED,
	CERTS_OTHER_CA,
	CERTS_REVOKED,
	CERTS_NR,
};

/* The name in all but CERTS_WRONG_NAME. */
#define CERTS_NAME "source.test"

/* All kinds, once; gone at exit. */
void certs_make(void);
/* The path of a file in there: "ca.pem", "crl.pem", and what a test puts there.
 * The last eight stay valid. */
const char *certs_path(const char *name);
/* Who shows a certificate of that kind and trusts the CA. @name: whom the peer must be. */
struct lz_tls *certs_tls(enum certs_kind kind, const char *name);

#endif
