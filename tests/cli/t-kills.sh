#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of keeper or worker at random moments, from before the restore to the end of the fill, KILLS times over as many
# fills as that takes: by turns a process that moves, unmaps, drops and forks its 256 MiB all the time, and a tree of five
# that fork theirs. Every byte of every fill is verified by who owns it. SEED gives other moments.
LIMIT=${LIMIT:-3000}
KILLS=${KILLS:-60}
SEED=${SEED:-$RANDOM}
export KILLS SEED LIMIT
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon is one process"

RANDOM=$SEED
echo "seed=$SEED"
kills=0 fills=0 worst=0 here=0

# One of the two, after up to 20 ms; 1 when the fill is over.
one_kill() {
	read -r -t "0.0$((RANDOM % 2))$((RANDOM % 10))" _ <>"$DIR/never"
	is_pair_over && return 1
	if [ $((RANDOM % 2)) = 0 ]; then
		kill_keeper || return 1
		keepers=$((keepers + 1))
	else
		kill_worker || return 1
	fi
	here=$((here + 1))
}

mkfifo "$DIR/never"
while [ $kills -lt "$KILLS" ]; do
	rm -rf "$DIR/images" && mkdir "$DIR/images"
	if [ $((fills % 2)) = 0 ]; then
		work storm 205 8000 $((SEED + fills))
	else
		work tree 51
	fi
	dump
	daemon
	pair
	here=0 keepers=0
	(try_restore) &
	restoring=$!
	while [ -e /proc/$restoring/exe ] && one_kill; do :; done
	wait $restoring || fail "criu restore: status $? after $here kills"
	go
	while [ $((kills + here)) -lt "$KILLS" ] && one_kill; do :; done
	answer_ok 120
	if [ $keepers -gt 0 ]; then
		succession_ok 60
	else
		daemon_ok 60
	fi
	kills=$((kills + here)) fills=$((fills + 1))
	worst=$(awk -v most="$worst" 'match($0, /pause_ms=[0-9.]+/) {
		p = substr($0, RSTART + 9, RLENGTH - 9) + 0
		if (p > most + 0)
			most = p
	} END { print most }' "$DIR/work/daemon.log")
done
report "kills=$kills fills=$fills wrong=0 hangs=0 leftovers=0 worst_pause_ms=$worst seed=$SEED"
