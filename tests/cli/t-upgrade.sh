#!/bin/bash
# SPDX-License-Identifier: MIT
# SIGUSR2 to the daemon: it becomes the program that is now where it was started from, under the same pid, before any
# restore has come and many times in the middle of a fill; every byte is right and the exit status is its own. A program
# that cannot go on (false, true, one that is not there) is refused, and the old one goes on. An upgrade between two
# deaths of the keeper, too.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon cannot be replaced"

# The binary of the test's own, at a path of its own; a file that runs cannot be written to, only replaced.
mkdir "$DIR/bin"
original=$LAZYD
LAZYD=$DIR/bin/lazyd
replace() {
	cp "$1" "$DIR/bin/next" || fail "cannot copy $1"
	mv "$DIR/bin/next" "$LAZYD"
}

seen() { [ "$(grep -c "event=$1" "$DIR/work/daemon.log")" -ge "$2" ]; }
seen_or_end() { seen "$@" || daemon_is_over; }

# upgrade: one more has gone on; 1 when the fill is over before that.
upgrades=0
upgrade() {
	kill -USR2 "$DAEMON_PID" 2>/dev/null || return 1
	within 20 seen_or_end upgraded $((upgrades + 1)) || fail "not upgraded after $upgrades times"
	seen upgraded $((upgrades + 1)) || return 1
	upgrades=$((upgrades + 1))
}

refusals=0
refuse() {
	refusals=$((refusals + 1))
	kill -USR2 "$DAEMON_PID" || fail "$1: the daemon is over"
	within 20 seen upgrade-refused $refusals || fail "$1: it has not been refused"
	alive "$DAEMON_PID" || fail "$1: the daemon is over"
}

replace "$original"
work fill 1024 2
dump
cd "$DIR" || exit 1 # what is named relative to the first directory must be found again
IMAGES=images
daemon
pair
inode() { stat -Lc %i "/proc/$DAEMON_PID/exe"; }
was=$(inode)
replace "$original"
upgrade || fail "the daemon is over before any restore"
[ "$(inode)" != "$was" ] || fail "upgraded, but the program is the same"
replace /bin/false
refuse false
replace /bin/true
refuse true
rm -f "$LAZYD"
refuse nothing
replace "$original"
mv images elsewhere
refuse "no images"
grep -qF 'images directory images (-D): No such file or directory' work/daemon.log || fail "nobody says what was missing"
mv elsewhere images
restore
go
while upgrade; do
	replace "$original"
done
[ $upgrades -ge 3 ] || fail "the fill was over after $upgrades upgrades"
answer_ok 120
daemon_ok 60
pauses=$(awk 'match($0, /pause_ms=[0-9.]+/) { p = substr($0, RSTART + 9, RLENGTH - 9); if (p > most + 0) most = p }
	END { print most }' "$DIR/work/daemon.log")
report "upgrades=$upgrades refusals=$refusals worst_pause_ms=$pauses $ANSWER"

# ---- between two successions ----

rm -rf "$DIR/images" && mkdir "$DIR/images"
work fill 512 2
dump
daemon
pair
restore
kill_keeper || once_more "the fill was over before its keeper could be killed"
DAEMON_PID=$KEEPER
upgrades=0
upgrade || once_more "the fill was over before the upgrade"
within 20 have_pair_or_end
kill_keeper || once_more "the fill was over before its second keeper could be killed"
go
answer_ok 120
succession_ok 60
report "mode=succession $ANSWER"
