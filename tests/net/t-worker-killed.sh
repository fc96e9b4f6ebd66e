#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon's worker in the middle of a fill from another host, five times: the next one connects anew to
# `lazyd serve`, and every byte is right. A plain CRIU serves one connection, which ended with the worker: what had not
# come is lost, the access to it is SIGBUS and never zero, and a live source's process goes on.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon is one process"

link_rate 400
SOURCE=lazyd
work fill 256 2
leave
arrive
pair
go
for ((kills = 0; kills < 5; kills++)); do
	receive 8 || fail "the fill was over after $kills kills"
	kill_worker || fail "the fill was over after $kills kills, and one more"
done
answer_ok 60
daemon_ok 60
[ "$(figure pages_lost)" = 0 ] || fail "$(figure pages_lost) pages were lost"
[ "$(figure resumes)" = 5 ] || fail "$(figure resumes) resumes after 5 kills"
source_over
report "source=$SOURCE kills=$kills" "$ANSWER"

SOURCE=criu-live
work bus 64
source_pid=$PID
leave
arrive --source-timeout 2
pair
receive 8 || fail "the fill was over before its worker could be killed"
kill -KILL "$WORKER"
source_end 30 || fail "the live source does not notice"
[ "$SOURCE_RC" != 0 ] || fail "the live source takes a failure for success"
"${AT_SOURCE[@]}" kill -0 "$source_pid" || fail "the process at the source is gone"
daemon_failed 60
[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
go
answer 60 || fail "$ANSWER"
[ "$(value lost)" = "$(figure pages_lost)" ] || fail "the daemon says $(figure pages_lost), the process $ANSWER"
report "source=$SOURCE lost=$(value lost)" "$ANSWER"
