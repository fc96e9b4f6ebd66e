#!/bin/bash
# SPDX-License-Identifier: MIT
# 512 MiB and 8 threads, each of which reads all of it in a random order of its own while it arrives: the same page is
# wanted by several at once. Again with copiers.
. "$(dirname "$0")/lib.sh"

work fill 512 8
dump
for copiers in 0 3; do
	[ "$copiers" = 0 ] || [ "$DAEMON" = lazyd ] || continue
	option=()
	[ "$copiers" = 0 ] || option=(--copiers "$copiers")
	daemon "${option[@]}"
	restore
	go
	answer_ok 120
	daemon_ok 60
	report "copiers=$copiers $ANSWER"
done
