#!/bin/bash
# SPDX-License-Identifier: MIT
# The source is killed in the middle of the fill and does not come back. After --source-timeout the access to a page that
# has not come raises SIGBUS, whether the thread was waiting for it or comes later; every other page is right and none is
# zero; the daemon ends with 3 and says how many are lost. With --on-lost=kill the process is killed.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

# lose ARGUMENT...: until the source is dead, with something left to do.
lose() {
	work bus 64
	leave
	arrive --source-timeout 3 "$@"
	receive 16 || fail "the fill was over before the source could be killed"
	source_kill
	killed=$EPOCHREALTIME
}

# check MODE: what the process says is what the daemon has lost; only the area is lazy.
check() {
	answer 60 || known "$ANSWER"
	within 20 is_gone "$PID" || fail "the process has answered and does not end"
	daemon_failed 30
	[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
	[ "$(value lost)" -gt 1000 ] || fail "too few were lost: $ANSWER"
	[ "$(value lost)" = "$(figure pages_lost)" ] || fail "the daemon says $(figure pages_lost), the process $ANSWER"
	report "mode=$1 source=$SOURCE lost=$(value lost) gone_s=$(since "$killed" "$DAEMON_END") reason=\"$REASON\""
}

link_rate 100
[ "$DAEMON" = lazyd ] || {
	work bus 64
	leave
	arrive
	receive 16
	source_kill
	go
	answer 60 || known "$ANSWER"
	fail "CRIU's own daemon got it right: $ANSWER"
}
lose
go
check waiting

rm -rf "$DIR/arrived"
lose
daemon_end 30 || fail "the daemon is not over"
# Once more for daemon_failed: the end has been read.
printf 'end %s %s\n' "$DAEMON_RC" "$DAEMON_END" >"$DIR/ended"
go
check later

lose --on-lost=kill
within 60 is_gone "$PID" || fail "the process should have been killed"
daemon_failed 30
report "mode=kill source=$SOURCE gone_s=$(since "$killed" "$DAEMON_END") reason=\"$REASON\""
