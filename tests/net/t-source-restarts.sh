#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the source in the middle of the fill, and a new one with the same images at the same port, 20 times: every
# byte is right, nothing is lost, and what had come is not asked for again.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "CRIU's daemon gives up, and its page server is gone with its client"

link_rate 200
work fill 256 2
leave
arrive
before=$(received)
restarts=0
go
while [ $restarts -lt 20 ]; do
	receive 4 || fail "the fill was over after $restarts restarts"
	source_kill
	source_up
	restarts=$((restarts + 1))
done
answer_ok 60
daemon_ok 60
bytes=$(($(received) - before))
[ "$(figure pages_lost)" = 0 ] || fail "$(figure pages_lost) pages were lost"
# Headers, and what was under way each time: some window of it.
most=$((LAZY_PAGES * 4096 * 115 / 100 + 20 * 2000000))
[ $bytes -le $most ] || fail "$bytes bytes came for $LAZY_PAGES pages"
source_over
report "source=$SOURCE restarts=$restarts bytes=$bytes reconnects=$(figure reconnects)" "$ANSWER"
