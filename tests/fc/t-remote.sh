#!/bin/bash
# SPDX-License-Identifier: MIT
# VMs on a host that does not have their memory: `lazyd serve --memory` has it in another network namespace. Every byte of
# several VMs with balloons, of a memory file with diffs; the server killed and started again, another snapshot's, one
# that has changed, one that is gone for good, TLS; workers, keepers and binaries that come and go meanwhile.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
if [ -z "${FC_NET:-}" ] && unshare --net true 2>/dev/null; then
	FC_NET=1 exec unshare --net bash "$0" "$@"
fi
. "${0%/*}/lib-fc.sh"
PKI=$DIR
# shellcheck source-path=SCRIPTDIR source=../net/pki.sh
. "${0%/*}/../net/pki.sh"
[ -n "${FC_NET:-}" ] || skip "there are no network namespaces to be had"
for tool in ip nsenter; do
	command -v $tool >/dev/null || skip "$tool is missing (iproute2, util-linux)"
done

# ---- two hosts ----

SOURCE_ADDR=10.8.0.1 PORT=7100
SOURCE_NET=
trap 'clean_up; [ -z "$SOURCE_NET" ] || kill -KILL $SOURCE_NET' EXIT
mkfifo "$DIR/source-life"
unshare --net cat "$DIR/source-life" >/dev/null 2>&1 5>&- &
SOURCE_NET=$!
disown $SOURCE_NET
exec 7>"$DIR/source-life"
apart() { [ "$(readlink /proc/$SOURCE_NET/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
within 20 apart || fail "no other host"
on_source() { nsenter --net="/proc/$SOURCE_NET/ns/net" -- "$@" 5>&- 7>&-; }
SERVE_UNDER=(nsenter --net="/proc/$SOURCE_NET/ns/net" --)
SERVE_AT=(--address "$SOURCE_ADDR" --port "$PORT")
{
	ip link set lo up && ip link add name wire type veth peer name wire netns $SOURCE_NET &&
		ip address add 10.8.0.2/24 dev wire && ip link set wire up &&
		on_source ip address add $SOURCE_ADDR/24 dev wire && on_source ip link set wire up
} || fail "no veth pair"

# ---- what is served ----

MIB=48
TRUTH=$DIR/truth
"$PEER" base "$DIR/base" $MIB 5 || fail "no memory file"
head -c 30000 /dev/urandom >"$DIR/vmstate"
head -c 30000 /dev/urandom >"$DIR/other-vmstate"
BASE=(--memory "$DIR/base" --snapshot "$DIR/vmstate")
cp --sparse=always "$DIR/base" "$TRUTH"
LAYERS=()
for n in 1 2 3; do
	"$PEER" diff "$DIR/diff$n" "$TRUTH" $MIB $((n * 10)) $((n * 4)) || fail "no diff"
	LAYERS+=(--layer "$DIR/diff$n")
done

# refused WORDS ARGUMENT...: as usage, with those words
refused() {
	local words=$1
	shift
	"$LAZYD" "$@" >"$DIR/fill.out" 2>&1 </dev/null
	[ $? = 2 ] || fail "not refused: $*"
	grep -q -e "$words" "$DIR/fill.out" || fail "no word of why: $(cat "$DIR/fill.out")"
}
ROW="what does not go together"
refused 'no "--pid"' serve "${BASE[@]}" --pid 1
refused 'no "--images-dir"' serve "${BASE[@]}" -D /
refused 'which --snapshot' serve --memory "$DIR/base"
refused 'without --memory there is no "--layer"' serve --layer "$DIR/diff1"
refused 'without --memory there is no "--snapshot"' serve --snapshot "$DIR/vmstate"
refused 'take no "--memory"' fill --firecracker "$SOCKET" --page-server --port 1 "${BASE[@]}"
refused 'take no "--ps-header"' fill --firecracker "$SOCKET" --page-server --port 1 --ps-header 24
refused 'which --snapshot' fill --firecracker "$SOCKET" --page-server --port 1
refused 'without --page-server there is no "--snapshot"' fill --firecracker "$SOCKET" "${BASE[@]}"
"$LAZYD" serve --memory "$DIR/base" --snapshot "$DIR/none" >"$DIR/serve.out" 2>&1
[ $? = 1 ] || fail "served without the file of the state"
grep -q "$DIR/none: No such file" "$DIR/serve.out" || fail "no word of why: $(cat "$DIR/serve.out")"

# ---- all is well ----

ROW="one VM"
with_truth() { local TRUTH=$1; shift; "$@"; }
serve "${BASE[@]}"
from_there
with_truth "$DIR/base" vm_ok
fill_stops 0
served 1
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
serve_ends
# Every 7th page is a hole: no byte of it goes over the wire.
pages=$((MIB * 256)) holes=$((MIB * 256 / 7))
[ "$(served_of pages_zero)" -ge $((holes - 1)) ] || fail "$(served_of pages_zero) pages of zeros, of $holes"
[ "$(served_of bytes_sent)" -le $(((pages - holes) * 4096 * 101 / 100)) ] || fail "$(served_of bytes_sent) bytes were sent"

ROW="what one VM touches first, replayed for two more of which a worker dies"
serve "${BASE[@]}"
from_there --no-sweep --record "$DIR/first.ws"
with_truth "$DIR/base" vm_ok --threads 1 --operations 300 --part
fill_stops 0
from_there --replay "$DIR/first.ws"
with_truth "$DIR/base" start_vm again --threads 1 --operations 300
kill -KILL "$(worker_of "$FILL_PID")"
with_truth "$DIR/base" start_vm third --threads 1 --operations 300
vms_end "${PIDS[@]: -2}"
fill_stops 0
[ "$(figure pages_replay)" -gt 0 ] || fail "nothing was replayed"
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
if logged event=replay; then fail "the working set was not taken: $(grep event=replay "$DIR/fill.log")"; fi
serve_ends

ROW="several VMs, diffs and balloons"
serve "${BASE[@]}" "${LAYERS[@]}"
from_there --max-vms 8
for n in $(seq 16); do
	options=(--threads 2 --operations 1500 --seed "$n")
	[ $((n % 2)) != 0 ] || options+=(--remove 25)
	[ $((n % 3)) != 0 ] || options+=(--layout "16+32,0+16")
	[ $((n % 5)) != 0 ] || options+=(--layout "0+8")
	start_vm "$n" "${options[@]}"
done
for n in $(seq 16); do
	wait "${PIDS[$((n - 1))]}" || fail "VM $n: $(tail -n 1 "$DIR/peer-$n.out")"
done
fill_stops 0
served 16
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
serve_ends

ROW="--detach-when-full"
serve "${BASE[@]}" "${LAYERS[@]}" --once
from_there --detach-when-full
vm_ok
fill_ends 0
wait "$SERVE_PID" || fail "a server of --once ended with $?"
SERVE_PID=

ROW="TLS"
pki_ca ca
pki_cert source ca "ip_address = $SOURCE_ADDR"
pki_cert destination ca
tls() { TLS=(--tls --tls-cacert "$PKI/ca.crt" --tls-cert "$PKI/$1.crt" --tls-key "$PKI/$1.key"); }
tls source
serve "${BASE[@]}" "${LAYERS[@]}" "${TLS[@]}"
tls destination
from_there "${TLS[@]}"
vm_ok --remove 10 --operations 1000
fill_stops 0
grep -q 'event=source-connected.*cert=' "$DIR/fill.log" || fail "not by TLS"
serve_ends

# ---- the server comes and goes ----

ROW="it comes later"
from_there
start_vm early --operations 2000 --remove 10
says event=source-lost
serve "${BASE[@]}" "${LAYERS[@]}"
vms_end "${PIDS[-1]}"

ROW="it is killed and started again"
before=$(count event=source-back)
for i in 1 2 3; do
	serve_killed
	start_vm "$i" --operations 3000 --remove 10 --seed "$i"
	serve "${BASE[@]}" "${LAYERS[@]}"
done
vms_end "${PIDS[@]: -3}"
fill_stops 0
[ "$(count event=source-back)" -gt "$before" ] || fail "the server was not lost"
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="it is killed in the midst of it"
from_there --no-sweep
start_vm midst --operations 2000 --threads 1
within 20 grep -q loaded "$DIR/peer-midst.out" || fail "no VM"
for i in 1 2 3 4 5; do
	serve_killed
	serve "${BASE[@]}" "${LAYERS[@]}"
done
vms_end "${PIDS[-1]}"
fill_stops 0
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

# ---- lazyd dies ----

ROW="worker, keeper and binary"
from_there
for i in 1 2 3 4; do start_vm "$i" --operations 20000 --remove 10 --seed "$i" --threads 2; done
KEEPER=$FILL_PID
for i in 1 2 3; do
	pair
	kill -KILL "$WORKER"
	vm_ok --threads 1
done
kill -USR2 "$KEEPER"
says event=upgraded
vm_ok --threads 1
pair
kill -KILL "$KEEPER"
wait "$FILL_PID" 2>/dev/null
KEEPER=$WORKER FILL_PID=$WORKER
vm_ok
vms_end "${PIDS[@]: -4}"
last_keeper_stops
[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"

ROW="another file of state, and another binary"
cp "$DIR/vmstate" "$DIR/kept"
from_there
vm_ok
cp "$DIR/other-vmstate" "$DIR/vmstate"
kill -USR2 "$FILL_PID"
says event=upgrade-refused
vm_ok
cp "$DIR/kept" "$DIR/vmstate"
fill_stops 0
serve_ends

# ---- what is not to be had ----

ROW="another snapshot's memory"
serve --memory "$DIR/base" --snapshot "$DIR/other-vmstate"
from_there
vm
[ $? = 137 ] || fail "a VM with another snapshot's memory: $(tail -n 1 "$DIR/peer.out")"
fill_ends 3
says 'event=source-gone.*the server refuses'
serve_says event=client-refused
serve_ends

# killed_by WHAT...: a VM is, since the memory file has changed so under the server; and it is said on both hosts
killed_by() {
	cp --sparse=always "$TRUTH" "$DIR/changing"
	serve --memory "$DIR/changing" --snapshot "$DIR/vmstate"
	"$@" || fail "no change"
	from_there
	vm
	[ $? = 137 ] || fail "a VM without its memory was not killed: $(tail -n 1 "$DIR/peer.out")"
	says event=bytes-lost
	says event=killed
	fill_stops 3
	serve_says event=bytes-lost
	serve_ends
}
ROW="cut short under the server"
killed_by truncate -s 16M "$DIR/changing"
ROW="written to under the server"
killed_by dd if=/dev/urandom of="$DIR/changing" bs=1 count=1 seek=1000000 conv=notrunc status=none

ROW="shorter than the VM's memory from the start"
cp --sparse=always "$TRUTH" "$DIR/changing"
truncate -s $((MIB / 2))M "$DIR/changing"
serve --memory "$DIR/changing" --snapshot "$DIR/vmstate"
from_there
vm_ok --layout 0+$((MIB / 2))
vm
[ $? = 137 ] || fail "a VM with more memory than the file: $(tail -n 1 "$DIR/peer.out")"
fill_stops 3
serve_ends

ROW="gone for good"
serve "${BASE[@]}" "${LAYERS[@]}"
from_there --source-timeout 1
start_vm full --hold
within 60 logged event=vm-full || fail "no VM is full"
serve_killed
vm
[ $? = 137 ] || fail "a VM without its memory was not killed: $(tail -n 1 "$DIR/peer.out")"
says event=source-gone
fill_ends 3
let_go
vms_end "${PIDS[-1]}"

ROW="1 TiB"
from_there
vm --body '[{"base_host_virt_addr":@0,"size":50331648,"offset":1099511627776,"page_size":4096}]'
[ $? = 137 ] || fail "served all the same: $(tail -n 1 "$DIR/peer.out")"
says "its memory ends behind 1 TiB"
fill_stops 0
echo ok
