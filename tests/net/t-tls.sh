#!/bin/bash
# SPDX-License-Identifier: MIT
# TLS with certificates of both ends: all pairings of lazyd and CRIU, live dumps among them; a connection that is handed
# over; and a fill between two lazyds in which the link is cut, then worker and keeper killed, then the source, in whose
# place comes one with a certificate that is not to be had, and then a good one.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
PKI=$DIR
# shellcheck source=tests/net/pki.sh
. "$here_net/pki.sh"

pki_ca ca
pki_cert source ca "ip_address = $SOURCE_ADDR"
# A CRIU looks for its own --address in the certificate of who comes to it, too.
pki_cert destination ca "ip_address = $SOURCE_ADDR"
pki_cert lost ca "ip_address = $SOURCE_ADDR"
pki_revoke crl ca lost
pki_ca another
pki_cert foreign another "ip_address = $SOURCE_ADDR"

tls() {
	TLS=(--tls --tls-cacert "$PKI/ca.crt" --tls-cacrl "$PKI/crl.pem" --tls-cert "$PKI/$1.crt" --tls-key "$PKI/$1.key")
}

dumped=''
for pair in $ALL_PAIRS; do
	SOURCE=${pair%:*} DAEMON=${pair#*:}
	[ "$SOURCE:$DAEMON" = "${ONLY_SOURCE:-$SOURCE}:${ONLY_DAEMON:-$DAEMON}" ] || continue
	tls source
	if [ "$SOURCE" = criu-live ] || [ -z "$dumped" ]; then
		work fill 64 1
		leave "${TLS[@]}"
		[ "$SOURCE" = criu-live ] || dumped=1
	else
		source_up "${TLS[@]}"
	fi
	tls destination
	arrive "${TLS[@]}"
	verify
	daemon_ok 60
	source_over
	report "mode=pairs source=$SOURCE" "$ANSWER"
done
[ "${ONLY_SOURCE:-lazyd}:${ONLY_DAEMON:-lazyd}" = lazyd:lazyd ] || exit 0

SOURCE=lazyd DAEMON=lazyd
link_rate 200
work fill 192 2
tls source
leave "${TLS[@]}"
tls destination
arrive "${TLS[@]}"
go
receive 8 || fail "the fill was over before the link could be cut"
link_cut
within 60 grep -q event=source-lost "$DIR/work/daemon.log" || fail "nobody notices that the link is cut"
link_mend
receive 8 || fail "the fill was over before its worker could be killed"
pair
for what in worker keeper worker; do
	"kill_$what" || fail "the fill was over before its $what could be killed"
	DAEMON_PID=$KEEPER
	receive 8 || fail "the fill was over after a kill of its $what"
done
source_kill
tls foreign
source_up "${TLS[@]}"
within 60 grep -q 'it refuses our certificate' "$DIR/source/source.log" || fail "nobody refuses the impostor"
source_kill
tls source
source_up "${TLS[@]}"
answer_ok 120
succession_ok 60
source_over
[ "$(figure pages_lost)" = 0 ] || fail "$(figure pages_lost) pages were lost"
[ "$(figure resumes)" = 3 ] || fail "$(figure resumes) resumes after 3 kills"
report "mode=broken reconnects=$(figure reconnects)" "$ANSWER"

source_up "${TLS[@]}"
tls destination
exec 5<>"/dev/tcp/$SOURCE_ADDR/$PORT" || fail "cannot connect"
arrive "${TLS[@]}" --ps-socket 5
exec 5>&-
verify
daemon_ok 60
source_over
report "mode=ps-socket" "$ANSWER"
