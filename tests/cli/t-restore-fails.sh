#!/bin/bash
# SPDX-License-Identifier: MIT
# A restore that ends half-way, when the daemon already has the userfaultfds: once because an action script fails (CRIU
# kills the tasks), once because criu itself is killed (the tasks stay behind, half restored, until somebody ends them).
# And one for whose connection there is no descriptor left. Each time the daemon must end with failure and say why. The
# images can still be restored after that.
. "$(dirname "$0")/lib.sh"

work fill 64 2
dump

cat >"$DIR/script" <<END
#!/bin/sh
[ "\$CRTOOLS_SCRIPT_ACTION" = post-restore ] || exit 0
[ -e "$DIR/hold" ] || exit 1
echo here >"$DIR/hold"
read -r never <"$DIR/never"
END
chmod +x "$DIR/script"

daemon
try_restore --action-script "$DIR/script" && fail "the restore should have failed"
daemon_failed 20
within 20 is_gone "$PID" || fail "the failed restore has left process $PID"
report "mode=fails after_s=$DRAIN_S reason=\"$REASON\""

mkfifo "$DIR/hold" "$DIR/never"
daemon
"$CRIU" restore -d --lazy-pages -D "$DIR/images" -W "$DIR/work" -o restore.log -v2 --action-script "$DIR/script" \
	</dev/null 7>&- 8>&- &
criu=$!
disown $criu
read -r -t 30 -u 6 word 6<>"$DIR/hold"
[ "$word" = here ] || fail "the restore did not get to its script"
daemon_is_over && fail "the daemon is over before the restore was killed"
RESTORED=$EPOCHREALTIME
kill -KILL $criu
within 20 is_gone $criu || fail "criu cannot be killed"
is_gone "$PID" || kill -KILL "$PID"
within 20 is_gone "$PID" || fail "process $PID cannot be killed"
# The script holds nothing of the connection, but it does not end by itself.
echo 1<>"$DIR/never"
daemon_failed 20
report "mode=killed after_s=$DRAIN_S reason=\"$REASON\""

# No descriptor is left for its connection.
daemon
[ "$DAEMON" = criu ] || pair # which has its own limit
prlimit --pid "$DAEMON_PID" --nofile=3: || fail "no limit"
try_restore && fail "the restore should have failed"
# It looks whether nobody is left that it would have to hold, for which it needs one.
prlimit --pid "$DAEMON_PID" --nofile=1024: 2>/dev/null
daemon_failed 20
is_gone "$PID" || kill -KILL "$PID" 2>/dev/null
within 20 is_gone "$PID" || fail "the failed restore has left process $PID"
report "mode=descriptors after_s=$DRAIN_S reason=\"$REASON\""

daemon
restore
go
answer_ok 60
daemon_ok 60
report "mode=again $ANSWER"
