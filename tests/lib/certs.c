/* SPDX-License-Identifier: MIT */
/* The certificates of certs.h, made with GnuTLS. */
#define _GNU_SOURCE 1
#include "tests/lib/certs.h"

#include <check.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 86400 };

struct pair {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

static char dir[64];
static pid_t maker;

/* They are made before there is a test that could fail. */
static void must(int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "certs: %s\n", gnutls_strerror(ret));
	exit(EXIT_FAILURE);
}

const char *certs_path(const char *name)
{
	static char path[8][128];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void write_file(const char *name, gnutls_datum_t *pem)
{
	FILE *f = fopen(certs_path(name), "w");

	if (!f || fwrite(pem->data, 1, pem->size, f) != pem->size || fclose(f))
		must(GNUTLS_E_FILE_ERROR);
	gnutls_free(pem->data);
}

static void remove_all(void)
{
	char command[128];

	if (getpid() != maker)
		return;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		fprintf(stderr, "%s stays\n", dir);
}

/* Valid from @from to @to days from now. @ca NULL: signed by itself. */
static struct pair make(const char *name, int from, int to, const struct pair *ca, bool is_ca)
{
	static uint8_t serial;
	struct pair p;

	serial++;
	must(gnutls_x509_privkey_init(&p.key));
	must(gnutls_x509_privkey_generate(p.key, GNUTLS_PK_ECDSA,
					  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	must(gnutls_x509_crt_init(&p.crt));
	must(gnutls_x509_crt_set_version(p.crt, 3));
	must(gnutls_x509_crt_set_serial(p.crt, &serial, 1));
	must(gnutls_x509_crt_set_activation_time(p.crt, time(NULL) + from * DAY));
	must(gnutls_x509_crt_set_expiration_time(p.crt, time(NULL) + to * DAY));
	must(gnutls_x509_crt_set_dn_by_oid(p.crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					   (unsigned)strlen(name)));
	must(gnutls_x509_crt_set_key(p.crt, p.key));
	must(gnutls_x509_crt_set_basic_constraints(p.crt, is_ca, -1));
	must(gnutls_x509_crt_set_key_usage(p.crt,
					   is_ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
						 : GNUTLS_KEY_DIGITAL_SIGNATURE));
	if (!is_ca)
		must(gnutls_x509_crt_set_subject_alt_name(p.crt, GNUTLS_SAN_DNSNAME, name,
							  (unsigned)strlen(name), GNUTLS_FSAN_SET));
	must(gnutls_x509_crt_sign2(p.crt, ca ? ca->crt : p.crt, ca ? ca->key : p.key,
				   GNUTLS_DIG_SHA256, 0));
	return p;
}

static void save(const struct pair *p, const char *name)
{
	char file[64];
	gnutls_datum_t pem;

	must(gnutls_x509_crt_export2(p->crt, GNUTLS_X509_FMT_PEM, &pem));
	snprintf(file, sizeof(file), "%s.pem", name);
	write_file(file, &pem);
	must(gnutls_x509_privkey_export2(p->key, GNUTLS_X509_FMT_PEM, &pem));
	snprintf(file, sizeof(file), "%s.key", name);
	write_file(file, &pem);
}

static void free_pair(struct pair *p)
{
	gnutls_x509_crt_deinit(p->crt);
	gnutls_x509_privkey_deinit(p->key);
}

static void take_back(const struct pair *p, const struct pair *ca)
{
	gnutls_x509_crl_t crl;
	gnutls_datum_t pem;

	must(gnutls_x509_crl_init(&crl));
	must(gnutls_x509_crl_set_version(crl, 2));
	must(gnutls_x509_crl_set_this_update(crl, time(NULL) - DAY));
	must(gnutls_x509_crl_set_next_update(crl, time(NULL) + 30 * DAY));
	must(gnutls_x509_crl_set_crt(crl, p->crt, time(NULL) - DAY));
	must(gnutls_x509_crl_set_number(crl, "\1", 1));
	must(gnutls_x509_crl_sign2(crl, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0));
	must(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem));
	write_file("crl.pem", &pem);
	gnutls_x509_crl_deinit(crl);
}

void certs_make(void)
{
	struct pair ca, other, p;

	snprintf(dir, sizeof(dir), "%s/lazyd-certs.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	if (!mkdtemp(dir))
		must(GNUTLS_E_FILE_ERROR);
	maker = getpid();
	atexit(remove_all);
	ca = make("the CA", -1, 30, NULL, true);
	other = make("another CA", -1, 30, NULL, true);
	save(&ca, "ca");
	for (int kind = 0; kind < CERTS_NR; kind++) {
		char name[8];

		p = make(kind == CERTS_WRONG_NAME ? "elsewhere.test" : CERTS_NAME,
			 kind == CERTS_EXPIRED   ? -3
			 : kind == CERTS_NOT_YET ? 2
						 : -1,
			 kind == CERTS_EXPIRED ? -2 : 30,
			 kind == CERTS_SELF_SIGNED ? NULL
			 : kind == CERTS_OTHER_CA  ? &other
						   : &ca,
			 false);
		snprintf(name, sizeof(name), "%d", kind);
		save(&p, name);
		if (kind == CERTS_REVOKED)
			take_back(&p, &ca);
		free_pair(&p);
	}
	free_pair(&ca);
	free_pair(&other);
}

struct lz_tls *certs_tls(enum certs_kind kind, const char *name)
{
	char why[LZ_TLS_WHY_MAX], cert[16], key[16];
	struct lz_tls_options o = { .cacert = certs_path("ca.pem"),
				    .cacrl = certs_path("crl.pem"),
				    .name = name };
	struct lz_tls *t;

	snprintf(cert, sizeof(cert), "%d.pem", kind);
	snprintf(key, sizeof(key), "%d.key", kind);
	o.cert = certs_path(cert);
	o.key = certs_path(key);
	ck_assert_msg(lz_tls_new(&t, &o, why) == 0, "%s", why);
	ck_assert_str_eq(why, "");
	return t;
}
