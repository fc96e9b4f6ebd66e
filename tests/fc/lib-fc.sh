# shellcheck shell=bash disable=SC2034,SC2120 # what is set here is read by tests
# SPDX-License-Identifier: MIT
#
# lib-fc.sh: what the tests with VMs share: tests/fc/peer in the place of Firecracker, and lazyd at the socket. A test
# sources it first. It wants root, for userfaultfds of faults in the kernel too; nothing else of the machine.
#
# A test sees DIR, a folder that goes away. Exit status 0, 1, or 77 with a line "skip: reason".

# shellcheck source=tests/lib/base.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
PEER=$build/tests/fc/peer

fail() {
	local log
	printf 'FAIL: test=%s row=%s %s\n' "$NAME" "${ROW:-}" "$*"
	for log in "$DIR"/fill.log "$DIR"/serve.log "$DIR"/peer*.out; do
		[ -s "$log" ] || continue
		printf -- '--- the end of %s\n' "${log##*/}"
		tail -n 12 "$log"
	done
	exit 1
}

[ "$(id -u)" = 0 ] || skip "a userfaultfd of all faults takes root"
[ -x "$LAZYD" ] || skip "there is no $LAZYD"
[ -x "$PEER" ] || skip "there is no $PEER"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-$NAME.XXXXXX") || exit 1
SOCKET=$DIR/uffd.socket
FILL_PID=
SERVE_PID=
PIDS=()
# Killed, one of lazyd's two processes would only make the other go on: it is told twice, and has time.
clean_up() {
	local pid
	[ -z "$FILL_PID" ] || { kill -TERM "$FILL_PID" && sleep 0.1 && kill -TERM "$FILL_PID"; } 2>/dev/null
	[ -z "$FILL_PID" ] || within 10 is_dead "$FILL_PID"
	[ -z "$SERVE_PID" ] || kill -KILL "$SERVE_PID" 2>/dev/null
	for pid in "${PIDS[@]}"; do
		# shellcheck disable=SC2046 # pids
		kill -KILL $(pgrep -P "$pid") "$pid" 2>/dev/null
	done
	rm -rf -- "$DIR"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$DIR"

logged() { grep -q -- "$1" "$DIR/fill.log"; }
# says TEXT: the log does, now or soon.
says() { within 20 logged "$1" || fail "the log does not say: $1"; }
count() { grep -c -- "$1" "$DIR/fill.log"; }
is_dead() { ! kill -0 "$1" 2>/dev/null; }

# fill ARGUMENT...: starts lazyd, and returns when it listens. FILL_PID.
fill() {
	rm -f "$DIR/status" "$DIR/fill.log" "$DIR/stats.json"
	mkfifo "$DIR/status"
	"$LAZYD" fill --firecracker "$SOCKET" -o "$DIR/fill.log" -v --no-progress --stats "$DIR/stats.json" \
		--status-fd 9 "$@" </dev/null >"$DIR/fill.out" 2>&1 9>"$DIR/status" 5>&- 6>&- &
	FILL_PID=$!
	is_ready "$DIR/status" || fail "no ready byte: $(cat "$DIR/fill.out" "$DIR/fill.log")"
}

# pair: WORKER of KEEPER, now or soon.
pair() { within 20 have_worker || fail "no worker"; }
have_worker() { WORKER=$(worker_of "$KEEPER"); }

# fill_ends STATUS: it does, by itself.
fill_ends() {
	local got
	within 60 is_dead "$FILL_PID" || fail "lazyd does not end"
	wait "$FILL_PID"
	got=$?
	FILL_PID=
	[ $got = "$1" ] || fail "lazyd ended with $got, not $1"
	[ ! -e "$SOCKET" ] || fail "lazyd has ended and its socket is there"
}

# fill_stops STATUS: told to end, it does so when all are full.
fill_stops() {
	kill -TERM "$FILL_PID"
	fill_ends "$1"
}

# last_keeper_stops: as fill_stops 0, where what was started is long dead: KEEPER is nobody's child.
last_keeper_stops() {
	kill -TERM "$KEEPER"
	within 60 is_dead "$KEEPER" || fail "the last keeper does not end"
	FILL_PID=
	[ "$(figure exit_status)" = 0 ] || fail "no success: $(cat "$DIR/stats.json")"
}

# served N: so many VMs. One that ends behind its last page may be gone before it is known to be full.
served() {
	local nr=$(($(figure vms_full) + $(figure vms_gone)))
	[ $nr = "$1" ] || fail "the statistics have $nr VMs served, not $1"
}

# vm ARGUMENT...: one VM to its end, with the memory TRUTH. Its status.
vm() {
	# The shell has a word for each that is killed.
	{ timeout 120 "$PEER" run "$@" "$SOCKET" "$TRUTH" >"$DIR/peer.out" 2>&1 </dev/null; } 2>/dev/null
}
vm_ok() { vm "$@" || fail "the VM ended with $?: $(tail -n 1 "$DIR/peer.out")"; }

# start_vm N ARGUMENT...: one in the background: PIDS, peer-N.out.
start_vm() {
	local n=$1
	shift
	timeout 300 "$PEER" run "$@" "$SOCKET" "$TRUTH" >"$DIR/peer-$n.out" 2>&1 <"$DIR/hold" 5>&- 6>&- &
	PIDS+=($!)
}

# vms_end PID...: each of these VMs ends, and well.
vms_end() {
	local pid
	for pid; do wait "$pid" || fail "a VM ended with $?: $(tail -qn 1 "$DIR"/peer-*.out)"; done
}

# Those that --hold live until let_go. The next ones have a fifo of their own: who is at its end sees that.
hold() {
	rm -f "$DIR/hold"
	mkfifo "$DIR/hold"
	exec 5<>"$DIR/hold"
}
hold
let_go() {
	exec 5>&-
	hold
}

# ---- their memory by a page server ----

# serve ARGUMENT...: by SERVE_UNDER, on another host perhaps, at SERVE_AT; returns when it listens. SERVE_PID.
SERVE_UNDER=()
SERVE_AT=(--address "$DIR/pages.socket")
serve() {
	rm -f "$DIR/serve-status" "$DIR/serve.json" "$DIR/pages.socket"
	mkfifo "$DIR/serve-status"
	"${SERVE_UNDER[@]}" "$LAZYD" serve "${SERVE_AT[@]}" -o "$DIR/serve.log" -v --stats "$DIR/serve.json" --status-fd 9 \
		"$@" </dev/null >"$DIR/serve.out" 2>&1 9>"$DIR/serve-status" 5>&- 6>&- 7>&- &
	SERVE_PID=$!
	is_ready "$DIR/serve-status" ||
		fail "serve: no ready byte: $(cat "$DIR/serve.out" "$DIR/serve.log")"
}

serve_killed() {
	{ kill -KILL "$SERVE_PID" && wait "$SERVE_PID"; } 2>/dev/null
	SERVE_PID=
}

serve_ends() {
	kill -TERM "$SERVE_PID"
	wait "$SERVE_PID" || fail "serve ended with $?"
	SERVE_PID=
}

served_of() { figure "$1" "$DIR/serve.json"; }
serve_says() { grep -q -- "$1" "$DIR/serve.log" || fail "the server's log does not say: $1"; }

# from_there ARGUMENT...: fill, with the memory that is served
from_there() { fill --page-server "${SERVE_AT[@]}" --snapshot "$DIR/vmstate" "$@"; }
