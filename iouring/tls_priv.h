/* SPDX-License-Identifier: MIT */
/* What tls.c and tls_creds.c share. Nobody else includes it. */
#ifndef LZ_TLS_PRIV_H
#define LZ_TLS_PRIV_H

#include <gnutls/gnutls.h>

#include "iouring/tls.h"

struct lz_tls {
	gnutls_certificate_credentials_t creds;
	/* Parsed once: a session would look for the system's configuration file each time. */
	gnutls_priority_t priority;
	char *name; /* NULL: not looked at */
};

/*
 * Judges the certificate that the peer has sent: 0, or the alert that it is to get, with the
 * reason in @why. @peer gets the name in it either way.
 */
int lz_tls_judge(const struct lz_tls *t, gnutls_session_t session, char peer[LZ_TLS_NAME_MAX],
		 char why[LZ_TLS_WHY_MAX]);
/* What an alert of the peer's says, as a sentence about the peer. */
void lz_tls_describe_alert(gnutls_alert_description_t alert, char why[LZ_TLS_WHY_MAX]);

#endif
