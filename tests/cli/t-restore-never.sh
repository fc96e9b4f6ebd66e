#!/bin/bash
# SPDX-License-Identifier: MIT
# Nobody ever connects: with --restore-timeout 1 the daemon ends, with failure, a reason and no socket left. CRIU's has
# no such option and waits forever.
. "$(dirname "$0")/lib.sh"

[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon waits forever"
work fill 16 1
dump
t0=$EPOCHREALTIME
daemon --restore-timeout 1
daemon_failed 20
waited=$(since "$t0" "$DAEMON_END")
awk -v t="$waited" 'BEGIN { exit !(t >= 1 && t < 5) }' || fail "waited $waited s, not 1"
report "waited_s=$waited reason=\"$REASON\""
