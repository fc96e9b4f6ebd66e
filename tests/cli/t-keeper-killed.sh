#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon's keeper (the process that was started), the one that speaks with criu restore: before any restore
# has come, as soon as it has connected, when the userfaultfds have arrived, when the restore is finished, in the middle
# of the fill, and at the end. Then keeper and worker by turns for as long as the fill lasts. Its worker goes on as
# keeper, every byte is right, the figures are written, and nothing is left behind.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon is one process"

# CRIU runs it at several stages; at the one that is asked for it ends the keeper, unless the fill is over by then.
cat >"$DIR/script" <<END
#!/bin/bash
[ "\$CRTOOLS_SCRIPT_ACTION" = "\$(cat "$DIR/stage")" ] || exit 0
kill -KILL "\$(cat "$DIR/keeper")" && echo killed >"$DIR/killed"
exit 0
END
chmod +x "$DIR/script"

# at STAGE [TRY]: a restore whose daemon loses its keeper at that stage of criu's.
at() {
	rm -f "$DIR/killed"
	daemon
	pair
	echo "$1" >"$DIR/stage"
	echo "$KEEPER" >"$DIR/keeper"
	restore --action-script "$DIR/script"
	if [ ! -e "$DIR/killed" ] && daemon_end 20 && [ "$DAEMON_RC" = 0 ]; then
		[ "${2:-1}" -lt 10 ] || fail "stage $1: ten fills were over before"
		go
		answer_ok 60
		at "$1" $((${2:-1} + 1))
		return
	fi
	# Told to die, it may not have come to it yet.
	within 20 is_pair_over || fail "stage $1: the keeper has not been killed"
	KEEPER=$WORKER
	within 20 have_pair_or_end || fail "stage $1: the worker is no keeper"
	go
	answer_ok 60
	succession_ok 60
	report "at=$1 $ANSWER"
}

# The dumped process is of use once only, its images as often as one likes.
work fill 256 2
dump
at pre-restore
at post-restore
at pre-resume
at post-resume

# ---- as soon as it has connected ----

daemon
pair
connected() { grep -q event=restorer-connected "$DIR/work/daemon.log"; }
(until connected; do :; done; kill -KILL "$KEEPER") 7>&- 8>&- &
killer=$!
restore
wait $killer
KEEPER=$WORKER
within 20 have_pair_or_end || fail "connected: the worker is no keeper"
go
answer_ok 60
succession_ok 60
report "at=connected $ANSWER"

# ---- nothing has come yet: no descriptor is left by those that died; then SIGTERM to the last one ends it ----

daemon
pair
open_now() { set -- "/proc/$KEEPER/fd"/*; echo $#; }
as_before() { [ "$(open_now)" = "$open" ]; }
# Its ring is the last thing that a worker opens.
has_ring() { readlink "/proc/$WORKER/fd/"* | grep -q io_uring; }
within 20 has_ring || fail "the worker has no ring"
open=$(open_now)
for ((kills = 0; kills < 10; kills++)); do
	kill_keeper || fail "the pair is over"
done
within 20 as_before || fail "$open descriptors were open, and after $kills kills of the keeper $(open_now)"
kill -TERM "$KEEPER"
succession_ok 20
report "at=before kills=$kills descriptors=$open"

# ---- in the middle of the fill, for certain: the worker is stopped until the keeper is dead ----

daemon
pair
restore
kill -STOP "$WORKER" || once_more "the fill was over before the worker could be stopped"
resident=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$PID/status")
[ "$resident" -lt $((256 * 1000)) ] || fail "all was filled before the keeper could be killed"
kill -KILL "$KEEPER"
within 20 is_gone "$KEEPER"
kill -CONT "$WORKER"
KEEPER=$WORKER
within 20 have_pair_or_end || fail "the worker is no keeper"
go
answer_ok 60
succession_ok 60
report "at=midway resident_kb=$resident $ANSWER"

# ---- at the end: the keeper is stopped, and all is filled but not reported ----

daemon
pair
restore
kill -STOP "$KEEPER" 2>/dev/null || once_more "the fill was over before the keeper could be stopped"
go
answer_ok 60
filled() { ! grep -q userfaultfd <(readlink "/proc/$WORKER/fd/"*); }
within 60 filled || fail "not filled"
kill -KILL "$KEEPER"
KEEPER=$WORKER
succession_ok 20
report "at=end $ANSWER"

# ---- by turns ----

rm -rf "$DIR/images"
mkdir "$DIR/images"
work fill 1024 2
dump
daemon
pair
restore
go
kills=0
while kill_keeper; do
	kills=$((kills + 1))
	kill_worker || break
	kills=$((kills + 1))
done
[ $kills -ge 2 ] || fail "the fill was over after $kills kills"
answer_ok 120
succession_ok 60
report "at=turns kills=$kills $ANSWER"

# ---- in the background: the pidfile follows ----

rm -rf "$DIR/images"
mkdir "$DIR/images"
work fill 64 1
dump
rm -f "$DIR/work/daemon.log"
"$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o daemon.log -v --daemon --pidfile daemon.pid </dev/null 7>&- 8>&- ||
	fail "status $? from the start in the background"
DAEMON_PID=$(cat "$DIR/work/daemon.pid")
pair
kill_keeper || fail "the pair is over"
noted() { [ "$(cat "$DIR/work/daemon.pid")" = "$KEEPER" ]; }
within 20 noted || fail "the pidfile holds $(cat "$DIR/work/daemon.pid"), the keeper is $KEEPER"
restore
go
answer_ok 60
within 60 is_pair_over || fail "the keeper is not over"
within 20 is_gone "$KEEPER"
daemon_is_tidy
report "at=background $ANSWER"
