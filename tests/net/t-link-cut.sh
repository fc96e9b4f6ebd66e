#!/bin/bash
# SPDX-License-Identifier: MIT
# The link is down for 10 s in the middle of the fill, then up; later nftables drops every packet for 5 s, and after that
# one in twenty. It is a pause: every byte is right, and the daemon does not burn the time.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
command -v nft >/dev/null || skip "nft is missing (nftables)"

drop() {
	on_source nft -f - <<-END || skip "no nftables here"
		table inet t
		delete table inet t
		table inet t {
			chain in { type filter hook input priority 0; tcp dport $PORT $1 drop; }
			chain out { type filter hook output priority 0; tcp sport $PORT $1 drop; }
		}
	END
}

link_rate 200
work fill 256 2
leave
arrive
go
receive 16 || fail "the fill was over before the link could be cut"
link_cut
t0=$(ticks "$DAEMON_PID")
sleep 10
cut_ticks=$(($(ticks "$DAEMON_PID") - t0))
link_mend
mended=$EPOCHREALTIME
receive 16 || fail "the fill was over before packets could be dropped"
back_s=$(since "$mended")
drop ''
t0=$(ticks "$DAEMON_PID")
sleep 5
drop_ticks=$(($(ticks "$DAEMON_PID") - t0))
drop 'numgen random mod 20 == 0'
mended=$EPOCHREALTIME
receive 8 || fail "the fill was over before one packet in twenty could be dropped"
lossy_s=$(since "$mended")
on_source nft flush ruleset
answer_ok 60
daemon_ok 60
source_over
report "source=$SOURCE back_s=$back_s lossy_s=$lossy_s cut_ticks=$cut_ticks drop_ticks=$drop_ticks" "$ANSWER"
[ "$DAEMON" = criu ] || [ $((cut_ticks + drop_ticks)) -lt 50 ] ||
	fail "the daemon has used $cut_ticks + $drop_ticks hundredths of a second while the link was dead"
