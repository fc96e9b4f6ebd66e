#!/bin/bash
# SPDX-License-Identifier: MIT
# What a TLS handshake costs, with keys of the usual kinds, and what records do: runs micro_tls. Started by run.
set -u
export LC_ALL=C
PKI=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-bench-tls.XXXXXX") || exit 1
trap 'rm -rf -- "$PKI"' EXIT
skip() { printf 'tls.sh: %s\n' "$*" >&2; exit 77; }
fail() { printf 'tls.sh: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tests/net/pki.sh
. "${srcdir:?}/tests/net/pki.sh"

for key in ecdsa:256 rsa:2048 rsa:3072 rsa:4096; do
	KEY_TYPE=${key%:*} KEY_BITS=${key#*:}
	pki_ca ca
	pki_cert host ca
	"${top_builddir:?}/bench/micro_tls" "$KEY_TYPE$KEY_BITS" "$PKI/ca.crt" "$PKI/host.crt" "$PKI/host.key" || exit 1
done
