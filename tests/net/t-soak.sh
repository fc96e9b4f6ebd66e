#!/bin/bash
# SPDX-License-Identifier: MIT
# For SOAK_SECONDS (60), with each CRIU: four destinations at once restore over and over, in turn from `lazyd serve` and from
# local images, while keepers and workers are killed, the source is killed, stopped and started, the link is cut, the
# page cache is dropped and the disk of both ends is slow, all at random (SOAK_SEED), in a memory group that has little
# more than the restored processes need. Every byte of every restore is compared. At the end nothing is left: no process,
# descriptor, thread or memory.
export LIMIT=$((${SOAK_SECONDS:-60} + 300))
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "CRIU's ends do not survive this"

guests=4 mb=96
seed=${SOAK_SEED:-$((SRANDOM % 100000))}
RANDOM=$seed

nap() { sleep "0.$((RANDOM % 9 + 1))"; }

# ---- a destination ----

# Until the pair is over; what it does not survive it says by itself.
kill_by_turns() {
	while nap; do
		if ((RANDOM % 2)); then kill_keeper; else kill_worker; fi || return 0
		echo kill >>"$DIR/kills"
	done
}

# shellcheck disable=SC2317 # within calls it
nobody_fills() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe")" != "$lazyd" ] || return 1
	done
}

# again FROM: one restore.
# shellcheck disable=SC2034 # what lib.sh reads
again() {
	local killer status=0
	if [ "$1" = remote ]; then
		arrive_only=(--page-server --address "$SOURCE_ADDR" --port "$PORT")
		IMAGES=$HOST_DIR/arrived RESTORE_IMAGES=$HOST_DIR/arrived
	else
		arrive_only=()
		IMAGES=$HOST_DIR/images RESTORE_IMAGES=$HOST_DIR/images
	fi
	low_pids
	daemon "${arrive_only[@]}"
	pair
	kill_by_turns 7>&- &
	killer=$!
	restore
	go
	answer_ok 150
	within 60 nobody_fills || fail "from $1: all bytes are here, and the daemon is not over"
	kill "$killer" 2>/dev/null
	wait "$killer" || status=$?
	[ $status != 1 ] || fail "from $1: a pair has not survived a kill"
	daemon_end 20 || fail "from $1: the process that was started is not over"
	grep -q '"exit_status": 0' "$DIR/stats.json" || fail "from $1: no success in the figures"
	[ "$(figure pages_lost)" = 0 ] || fail "from $1: $(figure pages_lost) pages were lost"
	daemon_is_tidy
}

if [ -n "${GUEST:-}" ]; then
	RANDOM=$((seed + GUEST))
	lazyd=$(readlink -f "$LAZYD")
	[ -z "$GROUP" ] || echo $$ >"$GROUP/cgroup.procs" || fail "cannot enter $GROUP"
	[ -z "$SLOW" ] || echo $$ >"$SLOW/cgroup.procs" || fail "cannot enter $SLOW"
	: >"$DIR/kills"
	until=$((SECONDS + ${SOAK_SECONDS:-60}))
	for ((round = 0; SECONDS < until; round++)); do
		# What is free of the group goes to the page cache: all have to get it back from there.
		[ "$GUEST" != 1 ] || cat "$HOST_DIR/holes" >/dev/null
		if (((round + GUEST) % 2)); then again remote; else again local; fi
	done
	[ "$(find /proc/self/fd -mindepth 1 | wc -l)" -lt 16 ] || fail "descriptors are left: $(readlink /proc/self/fd/*)"
	printf 'soak guest=%s rounds=%s kills=%s\n' "$GUEST" "$round" "$(wc -l <"$DIR/kills")"
	exit 0
fi

# ---- what happens meanwhile ----

# group CONTROLLER: a group of it for the destinations, or nothing where that cannot be had.
group() {
	local at=/sys/fs/cgroup/$1/lazyd-soak-${DIR##*.}
	mkdir "$at" 2>/dev/null && printf '%s\n' "$at"
}

leave_groups() {
	local at pid
	for at in $GROUP $SLOW; do
		# After a failure somebody may still be in there.
		while read -r pid; do
			echo "$pid" >"${at%/*}/cgroup.procs"
		done <"$at/cgroup.procs"
		rmdir "$at"
	done
} 2>/dev/null

disk=$(stat -c %Hd:%Ld "$DIR")
# What can be dropped from the page cache of the images; nobody else's.
drop_images() {
	local image
	for image in "$DIR"/images/pages-*.img "$DIR"/arrived/pages-*.img; do
		dd if="$image" iflag=nocache count=0 status=none
	done
}
slow_disk() { echo "$disk $1" >"$SLOW/blkio.throttle.read_bps_device"; }
source_is_slow() { [ -z "$SLOW" ] || echo "$SOURCE_PID" >"$SLOW/cgroup.procs" || fail "the source cannot enter $SLOW"; }

disturb() {
	local kind
	case $((RANDOM % kinds_here)) in
	0)
		source_kill
		nap
		source_up
		source_is_slow
		kind=restarts
		;;
	1)
		source_stop
		nap
		source_go_on
		kind=stops
		;;
	2)
		link_cut
		nap
		link_mend
		kind=cuts
		;;
	3)
		drop_images
		kind=drops
		;;
	4)
		slow_disk 20000000
		drop_images
		nap
		slow_disk 0
		kind=slow
		;;
	esac
	kinds[$kind]=$((${kinds[$kind]:-0} + 1))
}

GROUP=$(group memory) SLOW=$(group blkio) kinds_here=5
trap leave_groups EXIT
slow_disk 0 2>/dev/null || kinds_here=4
[ -z "$GROUP" ] || echo $((guests * (mb + 24) << 20)) >"$GROUP/memory.limit_in_bytes" || fail "no memory limit"
truncate -s $((guests * (mb + 24)))M "$DIR/holes"
export GROUP SLOW SOAK_SEED=$seed
declare -A kinds
work fill $mb 2
leave
source_is_slow
# count OF: descriptors (fd) or threads (task) of the source.
count() { find "/proc/$SOURCE_PID/$1" -mindepth 1 -maxdepth 1 | wc -l; }
fds_before=$(count fd) threads_before=$(count task)
pids=()
for ((i = 1; i <= guests; i++)); do
	destination $i
	pids+=("$GUEST_PID")
done
while kill -0 "${pids[@]}" 2>/dev/null; do
	nap
	disturb
done
for ((i = 1; i <= guests; i++)); do
	wait "${pids[i - 1]}"
	status=$?
	[ $status != 75 ] || once_more "destination $i: $(tail -n 1 "$DIR/guest-$i.out")"
	[ $status = 0 ] || fail "seed $seed, destination $i: status $status: $(cat "$DIR/guest-$i.out" "$DIR/guest-$i/work/daemon.log")"
	sed -n 's/^soak //p' "$DIR/guest-$i.out"
done
# shellcheck disable=SC2317 # within calls it
is_flat() { [ "$(count fd)" -le $((fds_before + 2)) ] && [ "$(count task)" -le $((threads_before + 2)) ]; }
within 20 is_flat || fail "the source had $fds_before descriptors and $threads_before threads, and has $(count fd) and" \
	"$(count task) without clients"
fds_after=$(count fd) threads_after=$(count task)
rss=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$SOURCE_PID/status")
[ "$rss" -lt 65536 ] || fail "the source has used $rss KiB"
sum() { awk -v name="$1" -v RS='[ \n]' -F= '$1 == name { n += $2 } END { print n + 0 }' "$DIR"/guest-*.out; }
left=0 pressed=''
if [ -n "$GROUP" ]; then
	pressed=$(cat "$GROUP/memory.failcnt")
	[ "$pressed" -gt 0 ] || fail "the memory group was never short of memory"
	# shellcheck disable=SC2317 # within calls it
	is_empty() {
		echo 0 >"$GROUP/memory.force_empty"
		left=$(cat "$GROUP/memory.usage_in_bytes")
		[ "$left" -lt $((16 << 20)) ]
	} 2>/dev/null
	within 20 is_empty || fail "nobody is left in the memory group, but $left bytes are"
fi
source_over
printf 'result test=%s criu=%s seed=%s seconds=%s rounds=%s kills=%s' "$NAME" "$VER" "$seed" "${SOAK_SECONDS:-60}" \
	"$(sum rounds)" "$(sum kills)"
for kind in "${!kinds[@]}"; do
	printf ' %s=%s' "$kind" "${kinds[$kind]}"
done
printf ' pressed=%s source_rss_kb=%s source_fds=%s,%s source_threads=%s,%s left_bytes=%s\n' "$pressed" "$rss" \
	"$fds_before" "$fds_after" "$threads_before" "$threads_after" "$left"
[ "$(sum rounds)" -ge $guests ] && [ "$(sum kills)" -gt 0 ] || fail "nothing has happened"
