#!/bin/bash
# SPDX-License-Identifier: MIT
# Redis with 50,000 keys of 2 KiB: it answers while its memory still arrives over a network, and DEBUG DIGEST, which reads
# everything, says the same as before the checkpoint: all pairings of lazyd and CRIU at either end, live dumps among them.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

command -v redis-server redis-cli >/dev/null || skip "redis-server and redis-tools are missing"

redis() { timeout 60 redis-cli -s "$DIR/redis" "$@" 6>&- 7>&- 8>&-; }
# shellcheck disable=SC2317 # within calls it
answers() { [ "$(redis ping 2>/dev/null)" = PONG ]; }

up() {
	rm -f "$DIR/redis"
	start "$(command -v redis-server)" --port 0 --unixsocket "$DIR/redis" --dir "$DIR" --save '' --appendonly no \
		--logfile '' --enable-debug-command yes
	within 20 answers || fail "redis does not come up"
	[ "$(redis debug populate 50000 key 2048)" = OK ] || fail "no DEBUG POPULATE"
	before=$(redis debug digest)
	[ ${#before} = 40 ] || fail "no DEBUG DIGEST: $before"
}

verify() {
	local got after
	got=$(redis getrange key:4711 0 9)
	[ "$got" = value:4711 ] || fail "redis answers: $got"
	ANSWER=first_answer_s=$(since "$RESTORED")
	after=$(redis debug digest)
	[ "$after" = "$before" ] || fail "DEBUG DIGEST was $before and is $after"
	ANSWER+=" digest_s=$(since "$RESTORED")"
	[ "$(redis dbsize)" = 50000 ] || fail "keys have been lost"
	[ "$(redis set key:1 new)" = OK ] || fail "redis cannot write"
	kill -KILL "$PID"
	within 20 is_gone "$PID" || fail "redis does not end"
}

# shellcheck disable=SC2086 # words
pairs $ALL_PAIRS
