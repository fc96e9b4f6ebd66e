#!/bin/bash
# SPDX-License-Identifier: MIT
# Keeper and worker killed in the same instant, under a stand-in for systemd that keeps their descriptors and starts them
# again: before any restore, and up to a dozen times in the middle of a fill. Every byte is right, and the exit status is
# that of the last one. And without it: a restore that comes later fails, and a process that is there already reads zeros,
# which is what the manual says.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon keeps nothing anywhere"
[ -x /usr/bin/python3 ] || skip "there is no python3"

mkfifo "$DIR/control"
binary=$LAZYD
seen() { [ "$(grep -c event=restarted "$DIR/work/daemon.log")" -ge "$1" ]; }
seen_or_end() { seen "$1" || daemon_is_over; }

# both_die: and go on; 1 when the fill was over before that.
both_die() {
	daemon_is_over && return 1
	echo kill >&5
	within 20 seen_or_end $((deaths + 1)) || fail "not restarted after $deaths deaths"
	seen $((deaths + 1)) || return 1
	deaths=$((deaths + 1))
}

# The command that is started is the stand-in's.
daemon_by_manager() {
	cat >"$DIR/lazyd" <<END
#!/bin/sh
exec /usr/bin/python3 "$here/manager.py" "$DIR/control" "$binary" "\$@"
END
	chmod +x "$DIR/lazyd"
	LAZYD=$DIR/lazyd
	deaths=0
	exec 5<>"$DIR/control"
	daemon
	LAZYD=$binary
}

# begin WORKLOAD: restored, and all have died once before that.
begin() {
	rm -rf "$DIR/images" && mkdir "$DIR/images"
	work "$@"
	dump
	daemon_by_manager
	both_die || fail "over before any restore"
	restore
}

# ---- before it could say that it is ready ----

# All that is to be gone on with is stored by then. The pipe for that byte is full, so it dies neither sooner nor later.
saying_ready() {
	KEEPER=$(children "$DAEMON_PID" | head -n 1) && grep -qs pipe_write "/proc/$KEEPER/wchan"
}
seen_restarted() { grep -qs event=resumed "$DIR/work/daemon.log"; }

work fill 64 1
dump
mkfifo "$DIR/full"
exec 4<>"$DIR/full"
dd if=/dev/zero of="$DIR/full" bs=4096 oflag=nonblock 2>/dev/null
daemon_command --status-fd 9 --stats "$DIR/stats.json"
/usr/bin/python3 "$here/manager.py" "$DIR/control" "${DAEMON_COMMAND[@]}" </dev/null >"$DIR/daemon.out" 2>&1 \
	4>&- 7>&- 8>&- 9>"$DIR/full" &
DAEMON_PID=$!
within 20 saying_ready || fail "it does not wait for the pipe"
exec 5<>"$DIR/control"
echo kill >&5
within 20 seen_restarted || fail "not restarted"
exec 4<&-
sleep 0.5 # it looks five times a second how long it has waited for a restore
restore
go
answer_ok 60
wait "$DAEMON_PID" || fail "the daemon ended with $?"
daemon_is_tidy
report "workload=fill deaths=1 $ANSWER"

# ---- at any time ----

begin fill 1024 2
go
while [ $deaths -lt 12 ] && both_die; do :; done
[ $deaths -ge 2 ] || fail "the fill was over after $deaths deaths"
answer_ok 120
daemon_ok 60
report "workload=fill deaths=$deaths $ANSWER"

# Five tasks. Not while they fork: a child that came in the instant of the death is not in the store.
begin tree 200
while [ $deaths -lt 5 ] && both_die; do :; done
[ $deaths -ge 2 ] || fail "the fill was over after $deaths deaths"
go
answer_ok 120
daemon_ok 60
report "workload=tree deaths=$deaths $ANSWER"

# ---- nobody keeps them ----

# gone ARGUMENT...: a daemon of which nobody is left; with a restore before that if so told.
gone() {
	daemon
	pair
	kill -STOP "$WORKER" || fail "there is no worker"
	"$@"
	kill -STOP "$KEEPER"
	kill -KILL "$KEEPER" "$WORKER"
	daemon_end 20 || fail "the daemon is not over"
	[ "$DAEMON_RC" = 137 ] || fail "the daemon that was killed ended with $DAEMON_RC"
	within 20 is_gone "$WORKER" || fail "the worker is not over"
}

rm -rf "$DIR/images" && mkdir "$DIR/images"
work bus 64
dump
gone true
try_restore && fail "restored, and nobody serves it"
within 20 is_gone "$PID" || fail "the failed restore has left process $PID"
rm -f "$DIR/work/lazy-pages.socket"
gone restore
go
answer 60 && fail "nobody serves the process, and it says $ANSWER"
[[ $ANSWER = *'are zero'* ]] || fail "it should have read zeros: $ANSWER"
report "workload=bus deaths=1 $ANSWER"
