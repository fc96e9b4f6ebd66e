#!/bin/bash
# SPDX-License-Identifier: MIT
# One case over the wire with a real CRIU: one checkpoint, restored from a page server over the loopback device by turns,
# with CRIU at both ends and with lazyd at both ends, ROUNDS times each, every byte compared at the end of each. Prints a line
# of `name=wire case=...` a restore. Started by run; shares the surroundings of the tests.
#
#   CASE     drain    512 MiB that nobody touches until all is filled
#            frag     16,384 single pages, every second one, likewise
#            latency  512 MiB of which an eighth is touched at random while the rest is filled
#            redis    a Redis of 550 MB that is asked for random keys from its first moment
#            tls      as drain: lazyd without TLS and with it, and CRIU with it
#   ROUNDS   3 unless told
# shellcheck source=tests/net/lib-net.sh
. "${srcdir:?}/tests/net/lib-net.sh"
# shellcheck source=bench/lib.sh
. "$srcdir/bench/lib.sh"

# Both ends in one network, where the loopback device is the wire.
AT_SOURCE=(nsenter --target "$SOURCE_INIT" --pid --mount --)
SOURCE_ADDR=127.0.0.1

ENDS='criu lazyd'
case $CASE in
drain) work fill 512 1 ;;
tls)
	PKI=$DIR ENDS='lazyd lazyd-tls criu-tls'
	# shellcheck source=tests/net/pki.sh
	. "${srcdir:?}/tests/net/pki.sh"
	pki_ca ca
	pki_cert host ca "ip_address = $SOURCE_ADDR"
	work fill 512 1
	;;
frag) work frag 16384 ;;
latency) work fill 512 1 latency ;;
redis) redis_up ;;
esac
SOURCE=criu
leave
source_kill
IMAGES=$DIR/arrived RESTORE_IMAGES=$DIR/arrived
SOURCE_UNDER=("$bench/usage" "$DIR/serve.usage")
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
	for end in $ENDS; do
		SOURCE=${end%-tls} DAEMON=${end%-tls} with=()
		[ "$SOURCE" = "$end" ] || with=(--tls --tls-cacert "$PKI/ca.crt" --tls-cert "$PKI/host.crt" --tls-key "$PKI/host.key")
		cool
		rm -f "$DIR/redis"
		source_up "${with[@]}"
		daemon --page-server --address "$SOURCE_ADDR" --port "$PORT" "${with[@]}"
		BEGUN=$EPOCHREALTIME
		try_restore || fail "criu restore: status $?"
		at_once
		was_lazy
		daemon_ok 150
		at_last
		source_over
		line wire "daemon=$end" "drain_s=$DRAIN_S$(used fill)$(used serve)"
	done
done
