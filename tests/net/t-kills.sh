#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of keeper, worker and server at random moments, from before the restore to the end of the fill, KILLS times over
# as many fills as that takes, by turns from `lazyd serve`, which is started again at once, and from local images. What is
# restored is a tree of three with 256 MiB together, each of which moves, unmaps, drops and forks its memory all the time.
# Every byte is verified by who owns it, nothing may be left of a fill, and the longest that anybody has waited is told,
# beside the same without kills. SEED gives other moments. With the newest CRIU only, unless told: what is killed here is
# not CRIU.
LIMIT=${LIMIT:-3000}
KILLS=${KILLS:-120}
SEED=${SEED:-$RANDOM}
CRIU_VERSIONS=${CRIU_VERSIONS:-4.2}
export KILLS SEED LIMIT CRIU_VERSIONS
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "CRIU's ends do not survive this"

RANDOM=$SEED
echo "seed=$SEED"
mkfifo "$DIR/never"
kills=0 fills=0
declare -A killed=([keeper]=0 [worker]=0 [server]=0) worst

# kill_one VICTIM: 1 when the fill is over.
kill_one() {
	case $1 in
	keeper) kill_keeper || return 1 ;;
	worker) kill_worker || return 1 ;;
	server)
		source_kill
		# Whoever comes next finds no server.
		[ $((RANDOM % 2)) = 0 ] || kill_any keeper worker
		source_up
		;;
	esac
	kills=$((kills + 1)) killed[$1]=$((killed[$1] + 1))
}
kill_any() {
	shift $((RANDOM % $#))
	kill_one "$1"
}

# kill_soon VICTIM...: one of these, after up to 20 ms, or 200 where the fill takes that much longer. 1 when the fill is
# over, or enough have been killed.
kill_soon() {
	[ $kills -lt "$most" ] || return 1
	read -r -t "0.$([ "$from" = server ] || echo 0)$((RANDOM % 2))$((RANDOM % 10))" _ <>"$DIR/never"
	! is_pair_over && kill_any "$@"
}

# longest WHAT MS
longest() { worst[$1]=$(awk -v a="${worst[$1]:-0}" -v b="$2" 'BEGIN { print (a + 0 > b + 0 ? a : b) }'); }

files() { find "$DIR" | sort; }
descriptors() { find "/proc/$SOURCE_PID/fd" -mindepth 1 | wc -l; }
# shellcheck disable=SC2317 # within calls it
only_the_server_is_left() {
	[ "$(grep -lx lazyd /proc/[0-9]*/comm)" = "/proc/$SOURCE_PID/comm" ] &&
		! grep -q '^State:.Z' /proc/[0-9]*/status && [ "$(descriptors)" = "$idle" ]
} 2>/dev/null

nothing_is_left() {
	local held
	within 10 only_the_server_is_left || fail "$1: left are, where $SOURCE_PID with $idle descriptors should be:" \
		"$(grep -x lazyd /proc/[0-9]*/comm) $(grep '^State:.Z' /proc/[0-9]*/status) $(descriptors) descriptors"
	held=$(find /proc/[0-9]*/fd \( -lname '*userfaultfd*' -o -lname '/memfd:*' \) -printf '%p %l\n' 2>/dev/null)
	[ -z "$held" ] || fail "$1: still open is $held"
	[ $fills = 0 ] || [ "$(files)" = "$before" ] || fail "$1: other files than before: $(diff <(echo "$before") <(files))"
}

# fill FROM KIND VICTIM...: one restore, from the server or local images, to its end.
# shellcheck disable=SC2034 # what lib.sh reads
fill() {
	local from=$1 kind=$2 restoring before server=()
	shift 2
	IMAGES=$DIR/images
	if [ "$from" = server ]; then
		IMAGES=$DIR/arrived
		server=(--page-server --address "$SOURCE_ADDR" --port "$PORT")
	fi
	RESTORE_IMAGES=$IMAGES
	before=$(files)
	low_pids
	daemon "${server[@]}"
	pair
	(try_restore) &
	restoring=$!
	while [ -e /proc/$restoring/exe ] && kill_soon "$@"; do :; done
	wait $restoring || fail "from $from: criu restore: status $? after $kills kills"
	go
	while kill_soon "$@"; do :; done
	answer_ok 120
	within 60 is_pair_over || fail "from $from: the keeper is not over"
	daemon_end 20 || fail "from $from: the process that was started is not over"
	[ "$DAEMON_RC" = 0 ] || [ "$DAEMON_RC:$KEEPER" != "137:$DAEMON_PID" ] || fail "the daemon ended with $DAEMON_RC"
	grep -q '"exit_status": 0' "$DIR/stats.json" || fail "from $from: no success in the figures"
	[ "$(figure pages_lost)" = 0 ] || fail "from $from: $(figure pages_lost) pages were lost"
	daemon_is_tidy
	nothing_is_left "from $from"
	fills=$((fills + 1))
	longest "access $kind $from" $(($(value access_us) / 1000))
	longest "operation $kind $from" $(($(value operation_us) / 1000))
	longest pause "$(sed -n 's/.*pause_ms=\([0-9.]*\).*/\1/p' "$DIR/work/daemon.log" | sort -n | tail -n 1)"
	echo "fill from=$from kind=$kind kills=$kills $ANSWER"
}

round() {
	work storm 69 3000 $((SEED + fills)) 3
	leave
	idle=$(descriptors)
}

round
most=0
fill server quiet
fill images quiet
while [ $kills -lt "$KILLS" ]; do
	# Half of those that are left, so that there are some for the other.
	most=$(((kills + KILLS + 1) / 2))
	fill server kills keeper worker server
	most=$KILLS
	fill images kills keeper worker
	source_over
	[ $kills -ge "$KILLS" ] || round
done
printf 'result test=%s criu=%s seed=%s kills=%s keeper=%s worker=%s server=%s fills=%s wrong=0 hangs=0 leftovers=0' \
	"$NAME" "$VER" "$SEED" "$kills" "${killed[keeper]}" "${killed[worker]}" "${killed[server]}" "$fills"
printf ' worst_pause_ms=%s' "${worst[pause]}"
for what in access operation; do
	for kind in quiet kills; do
		printf ' worst_%s_ms_%s=server:%s,images:%s' $what $kind "${worst[$what $kind server]}" "${worst[$what $kind images]}"
	done
done
echo
