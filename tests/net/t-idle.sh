#!/bin/bash
# SPDX-License-Identifier: MIT
# A stalled daemon uses no CPU: the source is stopped for 3 s while pages are owed and threads wait for them. Nor does one
# that waits for a restore, nor the source without clients.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

work fill 128 2
leave
IMAGES=$DIR/arrived RESTORE_IMAGES=$DIR/arrived
daemon --page-server --address "$SOURCE_ADDR" --port "$PORT"
d0=$(ticks "$DAEMON_PID")
s0=$(ticks "$SOURCE_PID")
sleep 2
waiting=$(($(ticks "$DAEMON_PID") - d0))
source_waiting=$(($(ticks "$SOURCE_PID") - s0))
link_rate 100
restore
go
receive 16 || fail "the fill was over before the source could be stopped"
source_stop
# What was under way arrives.
sleep 0.5
d0=$(ticks "$DAEMON_PID")
sleep 3
stalled=$(($(ticks "$DAEMON_PID") - d0))
source_go_on
answer_ok 60
daemon_ok 60
source_over
report "source=$SOURCE waiting_ticks=$waiting source_waiting_ticks=$source_waiting stalled_ticks=$stalled" "$ANSWER"
[ $((waiting + stalled)) -le 5 ] || known "$waiting and $stalled hundredths of a second used in 2 s and 3 s"
[ "$source_waiting" -le 2 ] || [ "$SOURCE" != lazyd ] || fail "the source has used $source_waiting hundredths in 2 s"
