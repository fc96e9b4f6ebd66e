#!/bin/bash
# SPDX-License-Identifier: MIT
# A link of 100 Mbit/s: what a demanded page costs while the sweep fills the link, as the process sees it, for the record:
# between two lazyds the 99th percentile should be at most the round trip, the time of two pages on the wire, and a
# millisecond, 1.8 ms together. What else the machine has to do is kept out of it: all who take part come first. The test
# fails if the window has not shrunk to such a link, for that is what bounds the queue before a demanded page.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

up() { work fill 64 1 latency; }
verify() {
	come_first
	go
	answer_ok 120
	[ "$(value faults)" -gt 100 ] || fail "only $(value faults) accesses were faults: $ANSWER"
}
judge() {
	[ "$DAEMON" = criu ] && return
	printf 'note test=%s window=%s p99_ns=%s wanted_ns=1800000\n' "$NAME" "$(figure remote_window)" "$(value p99_ns)"
	[ "$(figure remote_window)" -le 131072 ] || fail "a window of $(figure remote_window) bytes on a link of 100 Mbit/s"
}

link_rate 100
pairs lazyd:lazyd criu:criu
