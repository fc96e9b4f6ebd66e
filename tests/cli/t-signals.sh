#!/bin/bash
# SPDX-License-Identifier: MIT
# SIGTERM in the middle of the fill: everything that is owed is filled, and the daemon ends with 0. Twice: what is owed
# is poisoned, never zero, and it ends with 3. Before any restore has come: it ends at once.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon dies of SIGTERM, and the process reads zeros"

signals_seen() { [ "$(grep -c event=signal "$DIR/work/daemon.log")" = "$1" ]; }

# stopped_midway: restores, with a worker that stands still: WORKER. No restore of this program waits for one.
stopped_midway() {
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	work bus 256
	dump
	daemon
	pair
	kill -STOP "$WORKER" || fail "there is no worker"
	restore
}

stopped_midway
kill -TERM "$DAEMON_PID"
within 20 signals_seen 1 || fail "the daemon has not seen the signal"
kill -CONT "$WORKER"
go
answer_ok 60
[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
daemon_ok 60
report "mode=once $ANSWER"

stopped_midway
kill -TERM "$DAEMON_PID"
within 20 signals_seen 1 || fail "the daemon has not seen the signal"
kill -INT "$DAEMON_PID"
within 20 signals_seen 2 || fail "the daemon has not seen the second signal"
kill -CONT "$WORKER"
daemon_failed 60
[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
go
answer_ok 60
[ "$(value lost)" -gt 0 ] || fail "it gave up and nothing was lost: $ANSWER"
report "mode=twice lost=$(value lost) pages=$(value pages)"

rm -rf "$DIR/images"
mkdir "$DIR/images"
work fill 16 1
dump
daemon
kill -TERM "$DAEMON_PID"
daemon_ok 20
report "mode=before"

# One in whose work directory another has been started: the other's socket stays.
mkfifo "$DIR/first"
"$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o first.log --status-fd 9 </dev/null 7>&- 8>&- 9>"$DIR/first" &
first=$!
is_ready "$DIR/first" || fail "the first one is not ready"
daemon
kill -TERM $first
wait $first || fail "the first one ended with $?"
restore
go
answer_ok 60
daemon_ok 60
report "mode=two $ANSWER"
rm -rf "$DIR/images"
mkdir "$DIR/images"
work fill 16 1
dump

# In the midst of a restore, which waits in a script of CRIU's until that is over: it fails, and nothing is left of it.
cat >"$DIR/script" <<END
#!/bin/sh
[ "\$CRTOOLS_SCRIPT_ACTION" = post-restore ] || exit 0
kill -TERM "\$(cat "$DIR/keeper")"
read -r _ <"$DIR/more"
kill -TERM "\$(cat "$DIR/keeper")"
read -r _ <"$DIR/more"
exit 0
END
chmod +x "$DIR/script"
mkfifo "$DIR/more"
exec 6<>"$DIR/more"
daemon
echo "$DAEMON_PID" >"$DIR/keeper"
(
	within 20 signals_seen 1 && echo >&6
	within 20 signals_seen 2 && echo >&6
) &
try_restore --action-script "$DIR/script" && fail "it was restored, and the daemon has given up"
within 20 is_gone "$PID" || fail "the failed restore has left process $PID"
daemon_failed 20
[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
report "mode=midst reason=\"$REASON\""
