#!/bin/bash
# SPDX-License-Identifier: MIT
# Redis with 200,000 keys of 2 KiB: it answers while its memory is still being filled, and DEBUG DIGEST, which reads
# everything, says the same as before the checkpoint.
. "$(dirname "$0")/lib.sh"

command -v redis-server redis-cli >/dev/null || skip "redis-server and redis-tools are missing"

redis() { timeout 60 redis-cli -s "$DIR/redis" "$@" 7>&- 8>&-; }
# shellcheck disable=SC2317 # within calls it
answers() { [ "$(redis ping 2>/dev/null)" = PONG ]; }

# Only --save and the digest matter; with no port it is alone in the world.
start "$(command -v redis-server)" --port 0 --unixsocket "$DIR/redis" --dir "$DIR" --save '' --appendonly no --logfile '' \
	--enable-debug-command yes
within 20 answers || fail "redis does not come up"
[ "$(redis debug populate 200000 key 2048)" = OK ] || fail "no DEBUG POPULATE"
before=$(redis debug digest)
[ ${#before} = 40 ] || fail "no DEBUG DIGEST: $before"
keys=$(redis dbsize)
dump

# The fill may be over before the first answer is there on an idle day; then it is another restore's turn.
for try in 1 2 3; do
	rm -f "$DIR/redis"
	daemon
	restore
	got=$(redis getrange key:4711 0 9)
	first=$EPOCHREALTIME
	[ "$got" = value:4711 ] || fail "redis answers: $got"
	gets=$(seq 0 40 199999 | awk '{ print "strlen key:" $1 }' | redis | grep -c '^2048$')
	[ "$gets" = 5000 ] || fail "$gets of 5000 keys have the right length"
	after=$(redis debug digest)
	digest_s=$(since "$RESTORED")
	[ "$after" = "$before" ] || fail "DEBUG DIGEST was $before and is $after"
	[ "$(redis dbsize)" = "$keys" ] || fail "keys have been lost"
	daemon_ok 60
	# It must also be able to change what it has.
	[ "$(redis set key:1 new)" = OK ] || fail "redis cannot write"
	[ "$(redis flushall)" = OK ] || fail "redis cannot free"
	kill -KILL "$PID"
	within 20 is_gone "$PID" || fail "redis does not end"
	during=$(awk -v a="$first" -v b="$DAEMON_END" 'BEGIN { print a < b }')
	report "try=$try keys=$keys digest_s=$digest_s first_answer_s=$(since "$RESTORED" "$first") during_fill=$during"
	[ "$during" = 0 ] || exit 0
done
fail "every time all was filled before redis had answered once"
