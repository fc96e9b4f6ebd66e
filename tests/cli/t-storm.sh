#!/bin/bash
# SPDX-License-Identifier: MIT
# A process that moves, resizes, unmaps, drops, protects, locks and forks its lazy memory all the time, three times with
# different luck. CRIU's own daemon is known to fail here in several ways; it gets a minute.
LIMIT=400
. "$(dirname "$0")/lib.sh"

limit=90
[ "$DAEMON" = lazyd ] || limit=60
for seed in 1 2 3; do
	rm -rf "$DIR/images" && mkdir "$DIR/images"
	work storm 256 20000 $seed
	dump
	daemon
	restore
	go
	answer $limit || known "seed $seed: $ANSWER"
	within 20 is_gone "$PID" || fail "the process has answered and does not end"
	daemon_end 30 || known "seed $seed: the process is gone and the daemon goes on"
	[ "$DAEMON_RC" = 0 ] || known "seed $seed: the daemon ended with status $DAEMON_RC"
	daemon_is_tidy
	report "seed=$seed $ANSWER"
done
