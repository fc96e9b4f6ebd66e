#!/bin/bash
# SPDX-License-Identifier: MIT
# Working sets of VMs. Recorded without a sweep, one has every page that was touched; of several VMs it has each page once;
# it is written when its window ends, and whoever dies meanwhile loses none of it. Replayed, every VM has those pages before
# it touches one, whenever it comes, and whoever dies meanwhile; over another memory it is ignored.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"

MIB=32
TRUTH=$DIR/truth
"$PEER" base "$DIR/base" $MIB 6 || fail "no memory file"
cp --sparse=always "$DIR/base" "$TRUTH"
"$PEER" diff "$DIR/diff" "$TRUTH" $MIB 7 20 || fail "no diff"
MEMORY=(--memory "$DIR/base" --layer "$DIR/diff")
# What one VM does: with the same seed the same pages.
PLAY=(--threads 1 --operations 400 --part)

inspected() { "$LAZYD" workingset inspect "$1" --json | sed -n 's/.*"'"$2"'": *\([0-9a-z]*\).*/\1/p' | tail -n 1; }
pages() { inspected "$1" pages; }
# merged FILE...: how many pages they have, all together.
merged() {
	"$LAZYD" workingset merge "$@" -o "$DIR/merged.ws" || fail "not merged: $*"
	pages "$DIR/merged.ws"
}
worker_dies() {
	local old
	old=$(worker_of "$FILL_PID")
	kill -KILL "$old"
	is_another() { WORKER=$(worker_of "$FILL_PID") && [ "$WORKER" != "$old" ]; }
	within 20 is_another || fail "there is no other worker"
}
has_loaded() { grep -q loaded "$DIR/peer-$1.out"; }
# go_on N: so many that --pause do.
go_on() { head -c "$1" /dev/zero >&5; }
# The private memory of VM N, in KiB.
kib() { sed -n 's/^Anonymous: *\([0-9]*\).*/\1/p' "/proc/$(pgrep -P "${PIDS[$1]}")/smaps_rollup"; }
has() {
	local now
	now=$(kib "$1" 2>/dev/null)
	[ "${now:-0}" -ge "$2" ]
}

ROW="one VM"
fill "${MEMORY[@]}" --no-sweep --record "$DIR/one.ws"
vm_ok "${PLAY[@]}" --seed 1
fill_stops 0
says event=recorded
one=$(pages "$DIR/one.ws")
[ "$one" -gt 100 ] || fail "only $one pages"
[ "$one" = "$(figure pages_demand)" ] || fail "$one pages recorded, $(figure pages_demand) demanded"
[ "$(inspected "$DIR/one.ws" swept) $(inspected "$DIR/one.ws" cut)" = "false false" ] || fail "swept, or cut"

ROW="another"
fill "${MEMORY[@]}" --no-sweep --record "$DIR/two.ws"
vm_ok "${PLAY[@]}" --seed 2
fill_stops 0
two=$(pages "$DIR/two.ws")
both=$(merged "$DIR/one.ws" "$DIR/two.ws")
[[ $both -gt $one && $both -gt $two ]] || fail "$one and $two are $both"

ROW="several at once, some alike, and workers die"
fill "${MEMORY[@]}" --no-sweep --record "$DIR/all.ws"
for n in 0 1 2 3 4 5; do
	start_vm "$n" "${PLAY[@]}" --seed $((n % 2 + 1)) --pause
	within 20 has_loaded "$n" || fail "VM $n does not load"
	[ $((n % 2)) = 0 ] || go_on 1
done
worker_dies
go_on 3
worker_dies
vms_end "${PIDS[@]}"
fill_stops 0
[ "$(pages "$DIR/all.ws")" = "$both" ] || fail "$(pages "$DIR/all.ws") pages, not $both"
[ "$(merged "$DIR/one.ws" "$DIR/two.ws" "$DIR/all.ws")" = "$both" ] || fail "they are others"

ROW="a window"
PIDS=()
fill "${MEMORY[@]}" --record "$DIR/window.ws" --record-window 1
start_vm 0 "${PLAY[@]}" --seed 1 --hold
says event=recorded
[ "$(pages "$DIR/window.ws")" -gt 0 ] || fail "it is empty"
let_go
vms_end "${PIDS[0]}"
fill_stops 0

ROW="what a VM has by itself"
PIDS=()
fill "${MEMORY[@]}" --no-sweep
start_vm 0 "${PLAY[@]}" --seed 1 --pause
within 20 has_loaded 0 || fail "it does not load"
alone=$(kib 0)
go_on 1
vms_end "${PIDS[0]}"
fill_stops 0

# The first page of all is touched by the load. What the program has for itself differs by a page or two; how many were
# replayed is counted below.
ROW="replayed, to each that comes"
PIDS=()
fill "${MEMORY[@]}" --no-sweep --replay "$DIR/one.ws"
for n in 0 1 2; do
	start_vm "$n" "${PLAY[@]}" --seed 1 --pause
	within 20 has "$n" $((alone + (one - 3) * 4)) || fail "VM $n has $(kib "$n") KiB, without it $alone"
	[ "$n" != 1 ] || worker_dies
done
go_on 3
vms_end "${PIDS[@]}"
fill_stops 0
[ "$(figure pages_demand)" -le 3 ] || fail "$(figure pages_demand) pages were demanded"
[ $(($(figure pages_demand) + $(figure pages_replay))) = $((3 * one)) ] || fail "$(figure pages_replay) were replayed"

ROW="replayed to 32 at once, with a sweep, and workers die"
PIDS=()
fill "${MEMORY[@]}" --replay "$DIR/all.ws"
for n in $(seq 0 31); do start_vm "$n" --threads 1 --operations 400 --seed $((n + 1)) --remove $((n % 3)); done
worker_dies
worker_dies
vms_end "${PIDS[@]}"
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
[ "$(figure pages_replay)" -gt 0 ] || fail "nothing was replayed"

ROW="of another memory"
fill --memory "$TRUTH" --replay "$DIR/one.ws"
vm_ok
fill_stops 0
says event=replay-ignored
[ "$(figure pages_replay)" = 0 ] || fail "it was replayed"
echo ok
