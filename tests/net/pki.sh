# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# pki.sh: certificates for the tests of TLS, made by certtool as lazyd-migration(7) has it. To be sourced; PKI is the
# folder they are in, as NAME.crt and NAME.key.
#
#   pki_ca NAME                          an authority
#   pki_cert NAME CA [TEMPLATE-LINE...]  signed by that; CA - is itself
#   pki_revoke CRL CA NAME...            CRL.pem: what that authority takes back, one at least

command -v certtool >/dev/null || skip "certtool is missing (gnutls-bin)"

pki_key() {
	certtool --generate-privkey --key-type "${KEY_TYPE:-ecdsa}" --bits "${KEY_BITS:-256}" --outfile "$PKI/$1.key" 2>/dev/null
}

pki_ca() {
	printf '%s\n' "cn = the CA $1" ca cert_signing_key crl_signing_key 'expiration_days = 30' >"$PKI/$1.tmpl"
	pki_key "$1" || fail "certtool makes no key"
	certtool --generate-self-signed --load-privkey "$PKI/$1.key" --template "$PKI/$1.tmpl" --outfile "$PKI/$1.crt" \
		2>"$PKI/certtool.log" || fail "certtool: $(cat "$PKI/certtool.log")"
}

pki_cert() {
	local name=$1 ca=$2 how=(--generate-certificate --load-ca-certificate "$PKI/$2.crt" --load-ca-privkey "$PKI/$2.key")
	shift 2
	[ "$ca" != - ] || how=(--generate-self-signed)
	printf '%s\n' "cn = $name" signing_key "$@" >"$PKI/$name.tmpl"
	grep -q -e ^expiration "$PKI/$name.tmpl" || echo 'expiration_days = 30' >>"$PKI/$name.tmpl"
	pki_key "$name" || fail "certtool makes no key"
	certtool "${how[@]}" --load-privkey "$PKI/$name.key" --template "$PKI/$name.tmpl" --outfile "$PKI/$name.crt" \
		2>"$PKI/certtool.log" || fail "certtool: $(cat "$PKI/certtool.log")"
}

pki_revoke() {
	local crl=$1 ca=$2
	shift 2
	(cd "$PKI" && for name; do cat "$name.crt"; done) >"$PKI/taken-back.pem"
	printf '%s\n' 'crl_next_update = 30' 'crl_number = 1' >"$PKI/crl.tmpl"
	certtool --generate-crl --load-ca-privkey "$PKI/$ca.key" --load-ca-certificate "$PKI/$ca.crt" --template "$PKI/crl.tmpl" \
		--load-certificate "$PKI/taken-back.pem" --outfile "$PKI/$crl.pem" 2>"$PKI/certtool.log" ||
		fail "certtool: $(cat "$PKI/certtool.log")"
}
