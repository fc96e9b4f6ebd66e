/* SPDX-License-Identifier: MIT */
/*
 * What a TLS session is made from and judged by: the files, where CRIU has them, and the peer's
 * certificate. Every failure is a sentence for an operator.
 */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iouring/tls_priv.h"

static const char CACERT[] = "/etc/pki/CA/cacert.pem", CACRL[] = "/etc/pki/CA/cacrl.pem",
		  CERT[] = "/etc/pki/criu/cert.pem", KEY[] = "/etc/pki/criu/private/key.pem";

__attribute__((format(printf, 3, 4))) static int lz_tls_say(char why[LZ_TLS_WHY_MAX], int ret,
							    const char *format, ...);
static bool lz_tls_is_there(const char *file);
static int lz_tls_read(gnutls_datum_t *out, const char *what, const char *file, char *why);
static int lz_tls_trust(struct lz_tls *t, const struct lz_tls_options *o, char *why);
static int lz_tls_revoke(struct lz_tls *t, const char *file, char *why);
static int lz_tls_identify(struct lz_tls *t, const char *cert_file, const char *key_file,
			   char *why);
static int lz_tls_pair(struct lz_tls *t, const char *cert_file, const gnutls_datum_t *cert,
		       const char *key_file, const gnutls_datum_t *key, char *why);
static bool lz_tls_read_name(gnutls_session_t session, char name[LZ_TLS_NAME_MAX]);

int lz_tls_new(struct lz_tls **out, const struct lz_tls_options *o, char why[LZ_TLS_WHY_MAX])
{
	struct lz_tls *t = calloc(1, sizeof(*t));
	int ret = 0;

	why[0] = '\0';
	lz_tls_own_random();
	if (!t || (o->name && !(t->name = strdup(o->name))) ||
	    gnutls_certificate_allocate_credentials(&t->creds) < 0)
		ret = lz_tls_say(why, -ENOMEM, "no memory for TLS");
	if (!ret && gnutls_priority_init(&t->priority, NULL, NULL) < 0)
		ret = lz_tls_say(why, -EINVAL, "GnuTLS's default priorities are not valid here");
	if (!ret)
		ret = lz_tls_trust(t, o, why);
	if (!ret && (o->cacrl || lz_tls_is_there(CACRL)))
		ret = lz_tls_revoke(t, o->cacrl ? o->cacrl : CACRL, why);
	if (!ret)
		ret = lz_tls_identify(t, o->cert ? o->cert : CERT, o->key ? o->key : KEY, why);
	if (ret)
		lz_tls_free(t);
	else
		*out = t;
	return ret;
}

void lz_tls_free(struct lz_tls *t)
{
	if (!t)
		return;
	if (t->priority)
		gnutls_priority_deinit(t->priority);
	if (t->creds)
		gnutls_certificate_free_credentials(t->creds);
	free(t->name);
	free(t);
}

int lz_tls_judge(const struct lz_tls *t, gnutls_session_t session, char peer[LZ_TLS_NAME_MAX],
		 char why[LZ_TLS_WHY_MAX])
{
	/* Who signed it comes first: what a stranger says of dates and names is worth nothing. */
	static const struct {
		unsigned status;
		gnutls_alert_description_t alert;
		const char *text;
	} faults[] = {
		{ GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA,
		  "is signed by nobody who is trusted here" },
		{ GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "is signed by who is no CA" },
		{ GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked" },
		{ GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, GNUTLS_A_CERTIFICATE_UNKNOWN,
		  "cannot be judged: the revocation list here is out of date" },
		{ GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "has expired" },
		{ GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED, "is not valid yet" },
		{ GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_INSUFFICIENT_SECURITY,
		  "is signed in a way that is not secure" },
		{ GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_ACCESS_DENIED, "does not name" },
		{ ~0U, GNUTLS_A_BAD_CERTIFICATE, "is not valid" },
	};
	unsigned status = 0;
	bool own = lz_tls_read_name(session, peer);
	int ret = gnutls_certificate_verify_peers3(session, t->name, &status), i = 0;

	if (ret == GNUTLS_E_NO_CERTIFICATE_FOUND) {
		lz_tls_say(why, 0, "it has sent no certificate");
		return GNUTLS_A_CERTIFICATE_REQUIRED;
	}
	if (ret < 0) {
		lz_tls_say(why, 0, "its certificate cannot be judged: %s", gnutls_strerror(ret));
		return GNUTLS_A_BAD_CERTIFICATE;
	}
	if (!status)
		return 0;
	status &= ~(unsigned)GNUTLS_CERT_INVALID;
	while (!(faults[i].status & status) && faults[i].status != ~0U)
		i++;
	if (faults[i].status == GNUTLS_CERT_UNEXPECTED_OWNER)
		lz_tls_say(why, 0, "its certificate (of %s) does not name %s", peer, t->name);
	else
		lz_tls_say(why, 0, "its certificate (of %s) %s", peer,
			   own && i == 0 ? "is signed by itself" : faults[i].text);
	return (int)faults[i].alert;
}

void lz_tls_describe_alert(gnutls_alert_description_t alert, char why[LZ_TLS_WHY_MAX])
{
	static const struct {
		gnutls_alert_description_t alert;
		const char *text;
	} says[] = {
		{ GNUTLS_A_UNKNOWN_CA, "it does not trust who signed it" },
		{ GNUTLS_A_CERTIFICATE_REVOKED, "it has been revoked" },
		{ GNUTLS_A_CERTIFICATE_EXPIRED, "it has expired, or is not valid yet" },
		{ GNUTLS_A_ACCESS_DENIED, "it expects another name in it" },
		{ GNUTLS_A_CERTIFICATE_REQUIRED, "there is none" },
		{ GNUTLS_A_BAD_CERTIFICATE, "it is not valid" },
		{ GNUTLS_A_CERTIFICATE_UNKNOWN, "it cannot be judged" },
		{ GNUTLS_A_UNSUPPORTED_CERTIFICATE, "it is of a kind that is not known there" },
		{ GNUTLS_A_INSUFFICIENT_SECURITY, "it is signed in a way that is not secure" },
	};
	const char *name = gnutls_alert_get_name(alert);

	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++)
		if (says[i].alert == alert) {
			lz_tls_say(why, 0, "it refuses our certificate: %s", says[i].text);
			return;
		}
	lz_tls_say(why, 0, "it has refused in TLS: %s", name ? name : "an unknown alert");
}

/* Returns @ret. */
static int lz_tls_say(char why[LZ_TLS_WHY_MAX], int ret, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why, LZ_TLS_WHY_MAX, format, ap);
	va_end(ap);
	return ret;
}

/* One that is kept from us is: to go on without it would be to trust whom it takes back. */
static bool lz_tls_is_there(const char *file)
{
	return access(file, F_OK) == 0 || errno != ENOENT;
}

static int lz_tls_read(gnutls_datum_t *out, const char *what, const char *file, char *why)
{
	int ret;

	errno = 0;
	if (gnutls_load_file(file, out) == 0)
		return 0;
	ret = errno ? -errno : -EIO;
	return lz_tls_say(why, ret, "the %s %s cannot be read: %s", what, file, strerror(-ret));
}

/* Whom to trust: one file's, or the system's and, where there is one, CRIU's. */
static int lz_tls_trust(struct lz_tls *t, const struct lz_tls_options *o, char *why)
{
	const char *file = o->cacert ? o->cacert : CACERT;
	gnutls_datum_t pem;
	int ret;

	if (!o->cacert) {
		/* That there is none is no failure yet:
		 * a peer will not be trusted, and that is said. */
		(void)gnutls_certificate_set_x509_system_trust(t->creds);
		if (!lz_tls_is_there(file))
			return 0;
	}
	ret = lz_tls_read(&pem, "CA certificate", file, why);
	if (ret)
		return ret;
	if (gnutls_certificate_set_x509_trust_mem(t->creds, &pem, GNUTLS_X509_FMT_PEM) <= 0)
		ret = lz_tls_say(why, -EBADMSG, "the CA certificate %s is none in PEM format",
				 file);
	gnutls_free(pem.data);
	return ret;
}

static int lz_tls_revoke(struct lz_tls *t, const char *file, char *why)
{
	gnutls_datum_t pem;
	int ret = lz_tls_read(&pem, "revocation list", file, why);

	if (ret)
		return ret;
	if (gnutls_certificate_set_x509_crl_mem(t->creds, &pem, GNUTLS_X509_FMT_PEM) <= 0)
		ret = lz_tls_say(why, -EBADMSG, "the revocation list %s is none in PEM format",
				 file);
	gnutls_free(pem.data);
	return ret;
}

/* Who we are. */
static int lz_tls_identify(struct lz_tls *t, const char *cert_file, const char *key_file, char *why)
{
	gnutls_datum_t cert = { 0 }, key = { 0 };
	int ret = lz_tls_read(&cert, "certificate", cert_file, why);

	if (!ret)
		ret = lz_tls_read(&key, "private key", key_file, why);
	if (!ret)
		ret = lz_tls_pair(t, cert_file, &cert, key_file, &key, why);
	if (key.data)
		gnutls_memset(key.data, 0, key.size);
	gnutls_free(key.data);
	gnutls_free(cert.data);
	return ret;
}

/* What GnuTLS says of the two together does not tell which of them is wrong. */
static int lz_tls_pair(struct lz_tls *t, const char *cert_file, const gnutls_datum_t *cert,
		       const char *key_file, const gnutls_datum_t *key, char *why)
{
	gnutls_x509_crt_t crt;
	gnutls_privkey_t priv;
	int ret = gnutls_x509_crt_init(&crt);

	if (ret == 0) {
		/* Of a chain, the first. */
		ret = gnutls_x509_crt_import(crt, cert, GNUTLS_X509_FMT_PEM);
		gnutls_x509_crt_deinit(crt);
	}
	if (ret < 0)
		return lz_tls_say(why, -EBADMSG, "the certificate %s is none in PEM format: %s",
				  cert_file, gnutls_strerror(ret));
	ret = gnutls_privkey_init(&priv);
	if (ret == 0) {
		ret = gnutls_privkey_import_x509_raw(priv, key, GNUTLS_X509_FMT_PEM, NULL, 0);
		gnutls_privkey_deinit(priv);
	}
	if (ret == GNUTLS_E_DECRYPTION_FAILED)
		return lz_tls_say(
			why, -EACCES,
			"the private key %s is encrypted, and there is nobody to ask for the passphrase",
			key_file);
	if (ret < 0)
		return lz_tls_say(why, -EBADMSG, "the private key %s is none in PEM format: %s",
				  key_file, gnutls_strerror(ret));
	ret = gnutls_certificate_set_x509_key_mem2(t->creds, cert, key, GNUTLS_X509_FMT_PEM, NULL,
						   0);
	if (ret == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return lz_tls_say(why, -EBADMSG, "the private key %s is not that of %s", key_file,
				  cert_file);
	if (ret < 0)
		return lz_tls_say(why, -EBADMSG,
				  "the certificate %s and the private key %s cannot be used: %s",
				  cert_file, key_file, gnutls_strerror(ret));
	return 0;
}

/* True if it has signed itself. What it says goes into a log: nothing but letters does. */
static bool lz_tls_read_name(gnutls_session_t session, char name[LZ_TLS_NAME_MAX])
{
	unsigned nr = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &nr);
	size_t len = LZ_TLS_NAME_MAX;
	gnutls_x509_crt_t crt;
	bool own = false;

	(void)strcpy(name, "no name");
	if (!chain || !nr || gnutls_x509_crt_init(&crt) < 0)
		return false;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0) {
		own = gnutls_x509_crt_check_issuer(crt, crt) == 1;
		if (gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
						  &len) < 0)
			(void)strcpy(name, "no name");
	}
	gnutls_x509_crt_deinit(crt);
	name[LZ_TLS_NAME_MAX - 1] = '\0';
	for (char *c = name; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	return own;
}
