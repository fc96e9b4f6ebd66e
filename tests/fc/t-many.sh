#!/bin/bash
# SPDX-License-Identifier: MIT
# 64 VMs of one snapshot at once at one daemon, of a memory file with five diffs over it: every byte of every VM is that
# of the last diff that has its page, and of the file where none has. They come together, some take their memory with a
# balloon, some die.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"

MIB=32
TRUTH=$DIR/truth
"$PEER" base "$DIR/base" $MIB 3 || fail "no memory file"
cp --sparse=always "$DIR/base" "$TRUTH"
layers=()
for n in 1 2 3 4 5; do
	"$PEER" diff "$DIR/diff$n" "$TRUTH" $MIB $((n * 10)) $((n * 4)) || fail "no diff"
	layers+=(--layer "$DIR/diff$n")
done

ROW="64 at once"
fill --memory "$DIR/base" "${layers[@]}"
for n in $(seq 64); do
	options=(--hold --threads 1 --operations 500 --seed "$n")
	[ $((n % 4)) != 0 ] || options+=(--remove 10)
	[ $((n % 3)) != 0 ] || options+=(--layout "16+16,0+16")
	start_vm "$n" "${options[@]}"
done
all_full() { [ "$(count event=vm-full)" = 64 ]; }
within 120 all_full || fail "$(count event=vm-full) VMs are full"
let_go
nr=0
for pid in "${PIDS[@]}"; do
	nr=$((nr + 1))
	wait "$pid" || fail "VM $nr: $(tail -n 1 "$DIR/peer-$nr.out")"
done
fill_stops 0
[ "$(figure vms_full)" = 64 ] || fail "$(figure vms_full) VMs were full"
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="64 at once, and every fourth dies"
PIDS=()
fill --memory "$DIR/base" "${layers[@]}" --max-vms 40
for n in $(seq 64); do
	options=(--threads 1 --operations 500 --seed "$n")
	[ $((n % 4)) != 0 ] || options+=(--die running)
	start_vm "$n" "${options[@]}"
done
nr=0
for pid in "${PIDS[@]}"; do
	nr=$((nr + 1))
	wait "$pid" 2>/dev/null
	status=$?
	[ $status = $((nr % 4 ? 0 : 137)) ] || fail "VM $nr ended with $status: $(tail -n 1 "$DIR/peer-$nr.out")"
done
fill_stops 0
[ $(($(figure vms_full) + $(figure vms_gone))) = 64 ] || fail "not 64 VMs"

ROW="layers that are none"
truncate -s 16M "$DIR/short"
"$LAZYD" fill --firecracker "$SOCKET" --memory "$DIR/base" --layer "$DIR/short" >"$DIR/fill.out" 2>&1
[ $? = 1 ] || fail "a diff of another size was taken"
grep -q 'no diff of' "$DIR/fill.out" || fail "no word of why"
echo ok
