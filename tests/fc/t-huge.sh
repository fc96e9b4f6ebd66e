#!/bin/bash
# SPDX-License-Identifier: MIT
# VMs whose memory is of 2 MiB pages: filled, with a balloon that takes some back, beside VMs of 4 KiB pages of the same
# file; and what cannot be served in such pages is said. The pages are reserved for the test and given back.
# shellcheck disable=SC2119 source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"

KNOB=/proc/sys/vm/nr_hugepages
# The pool is the machine's: who gives pages back must not take those of another run.
exec 6>"${TMPDIR:-/tmp}/lazyd-huge.lock"
flock -w 300 6 || skip "another run has the huge pages"
HAD=$(cat $KNOB 2>/dev/null) || skip "this kernel has no huge pages"
trap 'clean_up; echo "$HAD" >$KNOB' EXIT
NR=100
echo $((HAD + NR)) >$KNOB 2>/dev/null
[ "$(cat $KNOB)" -ge $((HAD + NR)) ] || skip "there are not $NR free huge pages to be had"

MIB=64
TRUTH=$DIR/memory
"$PEER" base "$TRUTH" $MIB 4 || fail "no memory file"

ROW="2 MiB"
fill --memory "$TRUTH"
vm_ok --huge
says "page_size=2097152"
vm_ok --huge --layout 0+48,48+16 --threads 4 --operations 3000 --remove 5
vm_ok --huge --api 1.7 --threads 1 --operations 2000 --remove 50

ROW="2 MiB beside 4 KiB"
start_vm huge --huge --operations 5000 --remove 2
start_vm small --operations 5000 --remove 10
vms_end "${PIDS[@]: -2}"

ROW="2 MiB, and its worker dies"
start_vm huge --huge --operations 20000 --remove 2 --threads 2
kill -KILL "$(worker_of "$FILL_PID")"
vm_ok --huge
vms_end "${PIDS[-1]}"
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="a working set of 4 KiB pages for 2 MiB ones, and the other way round"
fill --memory "$TRUTH" --no-sweep --record "$DIR/small.ws"
vm_ok --threads 1 --operations 20 --part
fill_stops 0
fill --memory "$TRUTH" --no-sweep --replay "$DIR/small.ws" --record "$DIR/huge.ws"
vm_ok --huge
fill_stops 0
[ "$(figure pages_replay)" -gt 0 ] || fail "nothing was replayed in large pages"
[ $(($(figure pages_replay) + $(figure pages_demand))) = $((MIB / 2)) ] || fail "not all that there is"
fill --memory "$TRUTH" --no-sweep --replay "$DIR/huge.ws"
vm_ok
fill_stops 0
[ "$(figure pages_replay)" -gt 0 ] || fail "nothing of large pages was replayed"

ROW="2 MiB, from a page server, with diffs"
head -c 20000 /dev/urandom >"$DIR/vmstate"
cp --sparse=always "$TRUTH" "$DIR/served"
cp --sparse=always "$TRUTH" "$DIR/whole"
"$PEER" diff "$DIR/diff" "$DIR/whole" $MIB 8 10 || fail "no diff"
THERE=(--memory "$DIR/served" --layer "$DIR/diff" --snapshot "$DIR/vmstate")
of_diffs() { local TRUTH=$DIR/whole; "$@"; }
serve "${THERE[@]}"
from_there
of_diffs vm_ok --huge
of_diffs vm_ok --huge --layout 0+48,48+16 --threads 4 --operations 3000 --remove 5

ROW="2 MiB, from a page server that is killed and comes back, and its worker dies"
of_diffs start_vm small --operations 5000 --remove 10
serve_killed
of_diffs start_vm huge --huge --operations 5000 --remove 2 --threads 2
kill -KILL "$(worker_of "$FILL_PID")"
serve "${THERE[@]}"
vms_end "${PIDS[@]: -2}"
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="2 MiB, of which a page server has lost a part"
truncate -s $((MIB * 1024 - 8))K "$DIR/served"
from_there
of_diffs vm --huge
[ $? = 137 ] || fail "a VM without its memory was not killed: $(tail -n 1 "$DIR/peer.out")"
fill_stops 3
serve_ends

ROW="layers that meet within a page of 2 MiB"
cp --sparse=always "$TRUTH" "$DIR/base"
layers=()
for n in 1 2 3 4 5; do
	"$PEER" diff "$DIR/diff$n" "$TRUTH" $MIB $((n + 8)) $((n * 4)) || fail "no diff"
	layers+=(--layer "$DIR/diff$n")
done
fill --memory "$DIR/base" "${layers[@]}"
vm_ok --huge
vm_ok --huge --layout 32+32,0+32 --threads 4 --operations 3000 --remove 5
start_vm huge --huge --operations 5000 --remove 2
start_vm small --operations 5000 --remove 10
vms_end "${PIDS[@]: -2}"
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="such layers, from a disk"
for file in "$DIR/base" "$DIR"/diff?; do
	{ sync "$file" && dd if="$file" iflag=nocache count=0 status=none; } || fail "cannot drop $file"
done
fill --memory "$DIR/base" "${layers[@]}" --no-sweep
vm_ok --huge --threads 1
fill_stops 0
[ "$(figure pages_demand)" = $((MIB / 2)) ] || fail "$(figure pages_demand) pages were demanded"

ROW="one of such layers is written to"
fill --memory "$DIR/base" "${layers[@]}"
printf x | dd of="$DIR/diff3" bs=1 seek=1000000 conv=notrunc status=none
vm --huge
[ $? = 137 ] || fail "a VM of a changed diff was not killed"
says event=bytes-lost
fill_stops 3
echo ok
