#!/bin/bash
# SPDX-License-Identifier: MIT
# VMs at `lazyd fill --firecracker`, tests/fc/peer in the place of Firecracker, whose memory file is not in the page cache:
# each touches TOUCHED pages at random, the same ones, from the moment it has loaded, and compares them; with and without
# the working set of one of them, by turns, ROUNDS times. Prints a line of `name=vms` for each fill: medians over its VMs
# of how long all touches took, and of a touch; and the rate at which a VM is filled that touches nothing. The page cache
# is shared: what one VM has read the others find there. Started by run; wants root.
#
#   MIB      of a VM's memory, 128 unless told; TOUCHED 2000; ROUNDS 3
#   VMS      how many at a time: "1 64" unless told; 2 MiB pages for one only, that takes MIB of huge pages
# shellcheck source-path=SCRIPTDIR source=../tests/fc/lib-fc.sh
. "${srcdir:?}/tests/fc/lib-fc.sh"

MIB=${MIB:-128} TOUCHED=${TOUCHED:-2000}
TRUTH=$DIR/memory
SET=$DIR/touched.ws
PLAY=(--threads 1 --operations "$TOUCHED" --part --seed 1)
# What VMs compare with is another file, or they would read it into the cache themselves.
{ "$PEER" base "$TRUTH" "$MIB" 8 && cp "$TRUTH" "$DIR/served"; } || fail "no memory file"

make_cold() {
	{ sync "$DIR/served" && dd if="$DIR/served" iflag=nocache count=0 status=none; } || fail "the file stays"
	"$build/bench/warm" 2048 || fail "no memory to be had"
}
# median NAME: of that figure of all VMs
median() { sed -n "s/.*\<$1=\([0-9]*\).*/\1/p" "$DIR"/peer-*.out | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# once CASE VMS PAGES OPTION...: a fill with so many.
once() {
	local case=$1 vms=$2 pages=$3 n huge=()
	shift 3
	[ "$pages" = 4k ] || huge=(--huge)
	make_cold
	PIDS=()
	rm -f "$DIR"/peer-*.out
	fill --memory "$DIR/served" --no-sweep "$@"
	for ((n = 0; n < vms; n++)); do start_vm "$n" "${PLAY[@]}" "${huge[@]}" --time; done
	for n in "${PIDS[@]}"; do wait "$n" || fail "a VM: $(tail -qn 1 "$DIR"/peer-*.out)"; done
	fill_stops 0
	printf 'name=vms case=%s vms=%s pages=%s set_us=%s p50_ns=%s p99_ns=%s pages_demand=%s pages_replay=%s\n' "$case" "$vms" \
		"$pages" "$(median set_us)" "$(median p50_ns)" "$(median p99_ns)" "$(stat_of pages_demand)" "$(stat_of pages_replay)"
}

# full PAGES: the rate at which one is filled, the file in the page cache.
full() {
	local huge=()
	[ "$1" = 4k ] || huge=(--huge)
	cat "$DIR/served" >/dev/null
	fill --memory "$DIR/served"
	start_vm full --threads 1 --part --hold "${huge[@]}"
	says event=vm-full
	let_go
	wait "${PIDS[-1]}"
	printf 'name=vms case=full vms=1 pages=%s mb_s=%s\n' "$1" \
		"$(awk -v mib="$MIB" -F 'seconds=' '/vm-full/ { printf "%.0f", mib * 1.048576 / $2 }' "$DIR/fill.log")"
	fill_stops 0
}

KNOB=/proc/sys/vm/nr_hugepages
exec 6>"${TMPDIR:-/tmp}/lazyd-huge.lock"
flock -w 300 6 || skip "another run has the huge pages"
HAD=$(cat $KNOB)
trap 'clean_up; echo "$HAD" >$KNOB' EXIT
echo $((HAD + MIB / 2)) >$KNOB
[ "$(cat $KNOB)" -ge $((HAD + MIB / 2)) ] || skip "there are not $((MIB / 2)) huge pages"

once record 1 4k --record "$SET" >/dev/null
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
	for vms in ${VMS:-1 64}; do
		once touched "$vms" 4k
		once replayed "$vms" 4k --replay "$SET"
	done
	once touched 1 2m
	once replayed 1 2m --replay "$SET"
	full 4k
	full 2m
done
