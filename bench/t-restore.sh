#!/bin/bash
# SPDX-License-Identifier: MIT
# One case with a real CRIU: one checkpoint, restored lazily by turns with CRIU's own daemon and with `lazyd fill`, ROUNDS
# times each, every byte compared at the end of each where the program can. Prints a line of `name=restore case=...` a
# restore. Started by run; shares the surroundings of the tests, which see to root, namespaces and the CRIU itself.
#
# `lazyd-copier` is a fill with --copiers 1, where there is a CPU for it. Beside `latency` stands what the kernel permits:
# the same touches with a bare handler (live_floor) in the daemon's place, alone and with a thread that copies.
#
#   CASE     drain    512 MiB that nobody touches until all is filled
#            frag     131,072 single pages, every second one, likewise
#            latency  512 MiB of which an eighth is touched at random while the rest is filled
#            redis    a Redis of 550 MB that is asked for random keys from its first moment; restored eagerly too
#            python   a Python that has imported much and does its first work; restored eagerly too
#   WHERE    hot or cold, see lib.sh
#   ROUNDS   3 unless told
. "${srcdir:?}/tests/cli/lib.sh"
# shellcheck source=bench/lib.sh
. "$srcdir/bench/lib.sh"

# eager: a restore that brings all memory first.
eager() {
	"$CRIU" restore -d -D "$DIR/images" -W "$DIR/work" -o restore.log -v2 </dev/null 7>&- 8>&- || fail "criu restore: status $?"
	RESTORE_S=$(since "$BEGUN")
}

with='criu lazyd'
[ "$(nproc)" -lt 2 ] || with+=' lazyd-copier'
case $CASE in
drain) work fill 512 1 ;;
frag) work frag 131072 ;;
latency) work fill 512 1 latency ;;
redis) with+=' eager' && redis_up ;;
python) with+=' eager' && python_up ;;
esac
dump
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
	for copiers in 0 1; do
		[ "$CASE" != latency ] || [ "$WHERE" != hot ] ||
			"$bench/live_floor" -b -p 131072 -t 16384 -r 1 -s "$round" -k "$copiers" || fail "live_floor: status $?"
	done
	for who in $with; do
		DAEMON=${who%-copier}
		cool
		rm -f "$DIR/redis"
		if [ "$DAEMON" = eager ]; then
			BEGUN=$EPOCHREALTIME
			eager
			at_once
			at_last
			line restore daemon=eager
		else
			copiers=()
			[ "$who" = "$DAEMON" ] || copiers=(--copiers 1)
			daemon "${copiers[@]}"
			BEGUN=$EPOCHREALTIME
			try_restore || fail "criu restore: status $?"
			at_once
			was_lazy
			daemon_ok 150
			at_last
			line restore "daemon=$who" "drain_s=$DRAIN_S$(used fill)"
		fi
	done
done
