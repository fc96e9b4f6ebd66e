#!/bin/bash
# SPDX-License-Identifier: MIT
# The working set of a process: recorded without a sweep, it has every page that was touched; killed workers, a killed
# keeper and a newer program in the middle lose none of it; replayed on images that are not in the page cache most of it
# comes before it is touched; of other images it is ignored. A window ends the record and not the fill, which SIGTERM
# then makes whole.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon records nothing"

MB=64 PART=8
TOUCHED=$((MB * 256 / PART))
said() { grep -q "event=$1" "$DIR/work/daemon.log"; }

# pages FILE: how many it has, and "true" or "false" for swept and cut.
pages() { "$LAZYD" workingset inspect "$1" --json | sed -n 's/.*"pages": *\([0-9]*\).*/\1/p' | tail -n 1; }
marks() { "$LAZYD" workingset inspect "$1" --json | sed -n 's/.*"\(swept\|cut\)": *\([a-z]*\).*/\1=\2/p' | tr '\n' ' '; }

# The file is there: the process may be over by the time that criu is.
restore_and_go() { try_restore || fail "criu restore: status $?"; }

# ---- recorded ----

work set $MB $PART "$DIR/go"
dump
touch "$DIR/go"
daemon --no-sweep --record "$DIR/one.ws"
restore_and_go
answer_ok 60
daemon_ok 60
said recorded || fail "the log does not say that it was recorded"
[ $(($(figure pages_sweep) + $(figure pages_neighbour))) = 0 ] || fail "more than was touched has come"
[ "$(marks "$DIR/one.ws")" = "swept=false cut=false " ] || fail "it says of itself: $(marks "$DIR/one.ws")"
one=$(pages "$DIR/one.ws")
[ "$one" -ge $TOUCHED ] || fail "$one pages recorded, and $TOUCHED touched"
[ "$one" = "$(figure pages_demand)" ] || fail "$one pages recorded, and $(figure pages_demand) demanded"
[ ! -e "$DIR/one.ws.new" ] || fail "the temporary file is still there"
report "recorded=$one" "$ANSWER"

# ---- and somebody dies meanwhile ----

# meanwhile COMMAND...: the process stands still, having touched some more.
meanwhile() {
	{ kill -CONT "$PID" && kill -STOP "$PID"; } || once_more "all had been touched before that: $*"
	"$@" || once_more "the fill was over before that: $*"
}
upgrade() {
	kill -USR2 "$KEEPER" && within 20 said upgraded && within 20 have_pair
}

rm "$DIR/go"
daemon --no-sweep --record "$DIR/two.ws"
pair
restore
touch "$DIR/go"
meanwhile kill_worker
meanwhile upgrade
meanwhile kill_worker
meanwhile kill_keeper
kill -CONT "$PID"
answer_ok 60
succession_ok 60
two=$(pages "$DIR/two.ws")
"$LAZYD" workingset merge "$DIR/one.ws" "$DIR/two.ws" -o "$DIR/both.ws" || fail "not merged"
both=$(pages "$DIR/both.ws")
[ "$both" = "$two" ] || fail "of $one pages recorded before the deaths $((both - two)) are missing among $two"
report "recorded_by_many=$two" "$ANSWER"

# ---- replayed ----

cold() {
	local file
	sync "$DIR"/images/pages-*.img
	for file in "$DIR"/images/pages-*.img; do
		dd if="$file" iflag=nocache count=0 status=none || fail "cannot drop $file"
	done
}

cold
daemon --no-sweep --replay "$DIR/one.ws"
restore_and_go
answer_ok 60
daemon_ok 60
replay=$(figure pages_replay)
[ "$replay" -gt $((TOUCHED / 2)) ] || fail "only $replay of $one pages were replayed"
[ $((replay + $(figure pages_demand))) -ge "$one" ] || fail "$replay replayed, $(figure pages_demand) demanded of $one"
report "replayed=$replay demand=$(figure pages_demand)" "$ANSWER"

daemon --replay "$DIR/both.ws" --record "$DIR/three.ws"
restore_and_go
answer_ok 60
daemon_ok 60
[ "$(figure pages_replay)" -gt 0 ] || fail "nothing was replayed where there is a sweep"
[ "$(marks "$DIR/three.ws")" = "swept=true cut=false " ] || fail "it says of itself: $(marks "$DIR/three.ws")"

# ---- a window, and SIGTERM ----

rm "$DIR/go"
daemon --no-sweep --record "$DIR/window.ws" --record-window 1
restore
within 30 test -s "$DIR/window.ws" || fail "the window is over and there is no file"
alive "$DAEMON_PID" || fail "the window is over and the fill too"
[ "$(marks "$DIR/window.ws")" = "swept=false cut=true " ] || fail "it says of itself: $(marks "$DIR/window.ws")"
kill -TERM "$DAEMON_PID"
daemon_ok 60
[ "$(figure pages_sweep)" -gt $((TOUCHED * 4)) ] || fail "SIGTERM, and only $(figure pages_sweep) pages swept"
touch "$DIR/go"
answer_ok 60
[ "$(value absent)" = 0 ] || fail "the fill is over and $(value absent) pages are absent"

# ---- of other images ----

rm -rf "$DIR/images" "$DIR/go" && mkdir "$DIR/images"
work set $MB $PART "$DIR/go"
dump
touch "$DIR/go"
daemon --replay "$DIR/one.ws"
restore_and_go
answer_ok 60
daemon_ok 60
said replay-ignored || fail "no warning that the set is of other images"
[ "$(figure pages_replay)" = 0 ] || fail "$(figure pages_replay) pages were replayed of another's set"
report "of_other_images=ignored" "$ANSWER"
