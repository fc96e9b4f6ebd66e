#!/bin/bash
# SPDX-License-Identifier: MIT
# What may become of a VM, and of lazyd under it: a balloon that takes memory while it arrives, death at each step of the
# handshake and after it, bytes that cannot be had, workers and keepers that are killed, another binary in the place of
# this one, and the end. One VM's fate is no other's.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"

MIB=64
TRUTH=$DIR/memory
"$PEER" base "$TRUTH" $MIB 2 || fail "no memory file"

ROW="balloon"
fill --memory "$TRUTH"
for seed in 1 2 3 4; do
	vm_ok --layout 0+48,48+16 --threads 4 --operations 4000 --remove 25 --seed $seed
	grep -q 'removed=[1-9]' "$DIR/peer.out" || fail "the balloon took nothing"
done
ROW="a balloon that takes nearly all"
vm_ok --threads 8 --operations 2000 --remove 90

# ---- a VM dies ----

for step in connected sent half loading running removing; do
	ROW="dies at $step"
	pieces=()
	[ $step != half ] || pieces=(--pieces 40)
	start_vm other --operations 3000 --remove 10
	vm --die $step "${pieces[@]}" --operations 3000 --remove 5
	[ $? = 137 ] || fail "the VM did not die: $(tail -n 1 "$DIR/peer.out")"
	vms_end "${PIDS[-1]}"
done
ROW="the dead"
says event=vm-gone
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
grep -q '"ev_remove": *[1-9]' "$DIR/stats.json" || fail "no event of a removal"

# ---- one that waits when it dies: noticed at once, and nothing is filled for it any more ----

ROW="killed from outside"
fill --memory "$TRUTH"
start_vm held --hold
within 20 grep -q ok "$DIR/peer-held.out" || fail "no VM"
says event=vm-full
start_vm again --hold --layout 0+32
says "event=vm-arrived pid=[0-9]* regions=1 bytes=33554432"
kill -KILL "$(pgrep -P "${PIDS[-1]}")"
within 20 is_dead "${PIDS[-1]}" || fail "it does not die"
let_go
vms_end "${PIDS[-2]}"
fill_stops 0

# ---- huge pages given back: those that hold no zero page ----

if grep -q '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null; then
	echo "case=collapse skip reason=this machine has no transparent huge pages"
else
	ROW="--collapse"
	was=$TRUTH TRUTH=$DIR/dense
	head -c 32M /dev/urandom >"$TRUTH"
	fill --memory "$TRUTH" --collapse
	start_vm dense --hold --advise --operations 500
	says "event=collapsed pid=[0-9]* bytes=33554432 failed=0"
	let_go
	vms_end "${PIDS[-1]}"
	fill_stops 0
	[ "$(figure bytes_collapsed)" = 33554432 ] || fail "the stats have $(figure bytes_collapsed) bytes"
	TRUTH=$was
fi

# ---- bytes that cannot be had: the VM is killed, and that is said ----

ROW="a memory file that is cut short"
cp --sparse=always "$TRUTH" "$DIR/cut"
fill --memory "$DIR/cut"
truncate -s 16M "$DIR/cut"
vm
[ $? = 137 ] || fail "a VM without its memory was not killed: $(tail -n 1 "$DIR/peer.out")"
says event=vm-gone
says event=bytes-lost
fill_stops 3

ROW="a memory file that is written to"
cp --sparse=always "$TRUTH" "$DIR/cut"
fill --memory "$DIR/cut"
printf x | dd of="$DIR/cut" bs=1 seek=1000000 conv=notrunc status=none
vm
[ $? = 137 ] || fail "a VM of a changed memory file was not killed"
fill_stops 3

# ---- it is told to give up while VMs come: none of those waits for ever ----

ROW="given up while they come"
# They have said what they want, and touch their memory.
have_come() {
	local pid
	for pid in "${PIDS[@]: -3}"; do grep -qs userfault "/proc/$(pgrep -P "$pid")/wchan" || return 1; done
}
fill --memory "$TRUTH"
kill -STOP "$FILL_PID"
for i in late1 late2 late3; do start_vm $i; done
within 20 have_come || fail "they do not wait for pages"
kill -TERM "$FILL_PID"
kill -INT "$FILL_PID"
kill -CONT "$FILL_PID"
for pid in "${PIDS[@]: -3}"; do
	within 20 is_dead "$pid" || fail "a VM that nobody will serve waits"
	wait "$pid" 2>/dev/null
	[ $? = 137 ] || fail "a VM that nobody will serve was not killed"
done
fill_ends 3

# ---- lazyd dies ----

ROW="its worker dies"
fill --memory "$TRUTH"
KEEPER=$FILL_PID
for i in 1 2 3 4 5 6; do start_vm "$i" --operations 20000 --remove 10 --seed "$i" --threads 2; done
for i in $(seq 8); do
	pair
	kill -KILL "$WORKER"
	sleep "0.0$((RANDOM % 10))"
done
vms_end "${PIDS[@]: -6}"
vm_ok

ROW="its keeper dies"
for i in 1 2 3 4 5 6; do start_vm "$i" --operations 20000 --remove 10 --seed "$i" --threads 2; done
for i in $(seq 6); do
	pair
	kill -KILL "$KEEPER"
	KEEPER=$WORKER
	PIDS+=("$KEEPER")
	vm_ok --threads 1
done
vms_end "${PIDS[@]: -12:6}"
wait "$FILL_PID" 2>/dev/null
FILL_PID=$KEEPER
vm_ok
last_keeper_stops

ROW="it becomes another binary"
fill --memory "$TRUTH"
start_vm upgraded --operations 40000 --remove 10
kill -USR2 "$FILL_PID"
says event=upgraded
vm_ok
vms_end "${PIDS[-1]}"
fill_stops 0

# ---- the end ----

ROW="--detach-when-full"
fill --memory "$TRUTH" --detach-when-full
vm_ok
fill_ends 0
served 1

ROW="--max-vms: the others wait"
fill --memory "$TRUTH" --max-vms 2
for i in 1 2 3 4 5 6; do start_vm "$i"; done
vms_end "${PIDS[@]: -6}"
fill_stops 0
served 6

ROW="--restore-timeout"
fill --memory "$TRUTH" --restore-timeout 1
fill_ends 1

# ---- who may ----

ROW="a jailed VM"
for who in -18446744073709550616 1000--5 1000- 5-4 "" 4294967295; do
	"$LAZYD" fill --firecracker "$SOCKET" --memory "$TRUTH" --allow-user "$who" </dev/null >/dev/null 2>"$DIR/said"
	[ $? = 2 ] && grep -q "takes a uid" "$DIR/said" || fail "--allow-user $who was taken: $(cat "$DIR/said")"
done
"$LAZYD" fill --firecracker "$SOCKET" --memory "$TRUTH" --allow-user 7 --allow-user 9 </dev/null >/dev/null 2>"$DIR/said"
[ $? = 2 ] && grep -q "once, and not again for \"9\"" "$DIR/said" || fail "the second of two was taken: $(cat "$DIR/said")"
fill --memory "$TRUTH" --allow-user 10000-10001
[ "$(stat -c %a "$SOCKET")" = 666 ] || fail "others cannot connect"
vm_ok --user 10001
ln "$SOCKET" "$DIR/inside"
timeout 60 "$PEER" run "$DIR/inside" "$TRUTH" >"$DIR/peer.out" 2>&1 </dev/null || fail "not through a link"
timeout 2 "$PEER" run --user 10002 --quiet "$SOCKET" "$TRUTH" >"$DIR/peer.out" 2>&1 </dev/null
says "event=stranger uid=10002"
fill_stops 0
echo ok
