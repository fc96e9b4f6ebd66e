#!/bin/bash
# SPDX-License-Identifier: MIT
# A link of 200 Mbit/s and 10 ms of delay each way: how much of the link the sweep uses while a thread touches pages that
# are not there, for the record: between two lazyds it should be 80% at least. The test fails if the window has not grown to
# what is under way on such a link. CRIU's ends get less to carry; on a busy machine all of that may have come before the
# first access, so what is asked of a measurement is asked of lazyd's.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

mbit=200
up() { work fill $mb 1 latency; }
verify() {
	come_first
	go
	answer_ok 120
	[ "$DAEMON" = criu ] || [ "$(value faults)" -gt 20 ] || fail "only $(value faults) accesses were faults: $ANSWER"
}
judge() {
	local percent
	percent=$(awk -v b="$WIRE_BYTES" -v s="$DRAIN_S" -v r=$mbit 'BEGIN { printf "%d", b * 8 / s / r / 10000 }')
	printf 'note test=%s source=%s daemon=%s percent_of_link=%s wanted=80\n' "$NAME" "$SOURCE" "$DAEMON" "$percent"
	[ "$DAEMON" = criu ] || [ "$(figure remote_window)" -ge 131072 ] ||
		fail "a window of $(figure remote_window) bytes for 500,000 under way"
}

link_delay 10 $mbit
mb=256
pairs lazyd:lazyd
mb=8
pairs criu:criu
