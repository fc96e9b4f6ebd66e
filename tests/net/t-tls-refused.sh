#!/bin/bash
# SPDX-License-Identifier: MIT
# Peers that are not to be had in TLS: certificates that have expired, name somebody else, are signed by themselves or by
# another CA, or have been revoked, at either end; and plain text at either end, of CRIU's too. Both ends say what is
# wrong, and none waits for the other; no page goes over, and none becomes zero.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
PKI=$DIR
# shellcheck source=tests/net/pki.sh
. "$here_net/pki.sh"
[ "${ONLY_SOURCE:-lazyd}:${ONLY_DAEMON:-lazyd}" = lazyd:lazyd ] || skip "this is of lazyd's ends, and CRIU's at the other"

past=('activation_date = "2020-01-01 00:00:00"' 'expiration_date = "2021-01-01 00:00:00"')
address="ip_address = $SOURCE_ADDR"
pki_ca ca
pki_ca another
pki_cert good ca "$address"
pki_cert expired ca "$address" "${past[@]}"
pki_cert misnamed ca 'ip_address = 10.9.9.9'
pki_cert alone - "$address"
pki_cert foreign another "$address"
pki_cert revoked ca "$address"
pki_revoke crl ca revoked

# tls NAME: TLS is that certificate's options; plain: none.
tls() {
	TLS=(--tls --tls-cacert "$PKI/ca.crt" --tls-cacrl "$PKI/crl.pem" --tls-cert "$PKI/$1.crt" --tls-key "$PKI/$1.key")
	[ "$1" != plain ] || TLS=()
}

# says LOG TEXT
says() {
	[ -z "$2" ] || grep -qF -- "$2" "$1" || fail "$mode: ${1##*/} does not say: $2; but $(tail -n 3 "$1")"
}

# refuse SOURCE:DAEMON CERT:CERT SOURCE-SAYS DAEMON-SAYS: and the restore comes to nothing.
refuse() {
	mode=$1,$2 SOURCE=${1%:*} DAEMON=${1#*:}
	tls "${2%:*}"
	source_up "${TLS[@]}"
	tls "${2#*:}"
	[ "$DAEMON" = criu ] || TLS+=(--source-timeout 3)
	IMAGES=$DIR/arrived RESTORE_IMAGES=$DIR/arrived
	daemon --page-server --address "$SOURCE_ADDR" --port "$PORT" "${TLS[@]}"
	# What touches a page meanwhile gets a SIGBUS, the restorer too.
	try_restore
	daemon_end 60 || fail "$mode: the daemon waits"
	[ "$DAEMON" = criu ] || [ "$DAEMON_RC" = 3 ] || fail "$mode: the daemon ended with $DAEMON_RC, not 3"
	[ "$DAEMON_RC" != 0 ] || fail "$mode: the daemon takes it for success"
	[ "$DAEMON" = criu ] || [ "$(figure bytes_wire)" = 0 ] || fail "$mode: $(figure bytes_wire) bytes went over"
	kill -KILL "$PID" 2>/dev/null
	within 20 is_gone "$PID" || fail "$mode: $PID does not end"
	says "$DIR/work/daemon.log" "$4"
	if [ "$SOURCE" = lazyd ]; then
		source_over
	else
		source_end 20 || fail "$mode: CRIU's source waits"
	fi
	says "$DIR/source/source.log" "$3"
	printf 'result test=%s criu=%s mode=%s %s\n' "$NAME" "$VER" "$mode" \
		"$(grep -o 'reason=".*"' "$DIR/work/daemon.log" | tail -n 1)"
}

work bus 8
dump
carry "$DIR/images" "$DIR/arrived"
PROC=/proc
ours='it refuses our certificate: '
refuse lazyd:lazyd expired:good "$ours"'it has expired' 'its certificate (of expired) has expired'
refuse lazyd:lazyd good:expired 'its certificate (of expired) has expired' "$ours"'it has expired'
refuse lazyd:lazyd misnamed:good "$ours"'it expects another name in it' "does not name $SOURCE_ADDR"
refuse lazyd:lazyd alone:good "$ours"'it does not trust who signed it' 'its certificate (of alone) is signed by itself'
refuse lazyd:lazyd good:alone 'its certificate (of alone) is signed by itself' "$ours"'it does not trust who signed it'
refuse lazyd:lazyd foreign:good "$ours"'it does not trust who signed it' 'is signed by nobody who is trusted here'
refuse lazyd:lazyd good:foreign 'is signed by nobody who is trusted here' "$ours"'it does not trust who signed it'
refuse lazyd:lazyd revoked:good "$ours"'it has been revoked' 'its certificate (of revoked) has been revoked'
refuse lazyd:lazyd good:revoked 'its certificate (of revoked) has been revoked' "$ours"'it has been revoked'
refuse lazyd:lazyd plain:good 'it speaks TLS, and this server does not' 'it does not speak TLS'
refuse lazyd:lazyd good:plain 'it does not speak TLS' 'it speaks TLS, and this end does not'
# CRIU's ends speak for themselves.
refuse lazyd:criu foreign:good 'perhaps it does not accept our certificate' ''
refuse lazyd:criu good:foreign 'is signed by nobody who is trusted here' ''
refuse lazyd:criu plain:good 'it speaks TLS, and this server does not' ''
refuse lazyd:criu good:plain 'it does not speak TLS' ''
refuse criu:lazyd foreign:good '' 'is signed by nobody who is trusted here'
refuse criu:lazyd good:foreign '' 'perhaps it does not accept our certificate'
refuse criu:lazyd plain:good '' 'perhaps it does not speak TLS'
refuse criu:lazyd good:plain '' ''

# ends STATUS TEXT COMMAND...: lazyd ends with that and says that on one line.
ends() {
	local status=0 want=$1 text=$2
	shift 2
	timeout 20 "$LAZYD" "$@" -D "$DIR/arrived" </dev/null >"$DIR/out" 2>"$DIR/err" || status=$?
	[ $status = "$want" ] || fail "status $status, not $want: $* $(cat "$DIR/err")"
	[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line: $(cat "$DIR/err")"
	grep -qF -- "$text" "$DIR/err" || fail "does not say: $text; but $(cat "$DIR/err")"
}

echo nonsense >"$DIR/nonsense"
from=(fill --page-server --address "$SOURCE_ADDR" --port "$PORT")
for command in serve "${from[*]}"; do
	# shellcheck disable=SC2206 # words
	command=($command --tls --tls-cacert "$PKI/ca.crt" --tls-cert "$PKI/good.crt" --tls-key "$PKI/good.key")
	ends 1 "$DIR/none" "${command[@]}" --tls-cacert "$DIR/none"
	ends 1 "$DIR/none" "${command[@]}" --tls-cacrl "$DIR/none"
	ends 1 "$DIR/none" "${command[@]}" --tls-cert "$DIR/none"
	ends 1 "$DIR/none" "${command[@]}" --tls-key "$DIR/none"
	ends 1 "$DIR/nonsense" "${command[@]}" --tls-cert "$DIR/nonsense"
	ends 1 'is not that of' "${command[@]}" --tls-key "$PKI/expired.key"
done
[ -e /etc/pki/criu/cert.pem ] || ends 1 /etc/pki/criu/cert.pem serve --tls
# A revocation list in CRIU's place that cannot be had, not even by root, is not the same as none.
mkdir -p "$DIR/etc/pki/CA"
ln -s cacrl.pem "$DIR/etc/pki/CA/cacrl.pem"
mount --bind "$DIR/etc" /etc || fail "no /etc of the test's own"
ends 1 /etc/pki/CA/cacrl.pem serve --tls --tls-cacert "$PKI/ca.crt" --tls-cert "$PKI/good.crt" --tls-key "$PKI/good.key"
umount /etc || fail "the test's /etc stays"
ends 2 --tls-key serve --tls-key "$PKI/good.key"
ends 2 --tls-no-cn-verify "${from[@]}" --tls-no-cn-verify
ends 2 --tls-no-cn-verify fill --page-server --ps-socket 0 --tls
ends 2 --tls-no-cn-verify fill --page-server --address "$DIR/socket" --tls

# Those who mean no handshake at all; then one who does.
SOURCE=lazyd DAEMON=lazyd
tls good
source_up "${TLS[@]}"
"$build/tests/net/garbage" "$SOURCE_ADDR" $PORT 200 "$PID" 0 || fail "the garbage clients have not been let in"
arrive "${TLS[@]}"
go
answer_ok 60
daemon_ok 60
source_over
report "mode=garbage" "$ANSWER"
