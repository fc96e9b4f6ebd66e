#!/bin/bash
# SPDX-License-Identifier: MIT
# An ordinary user: demo, serve, and fill from his own images, from a page server, with little memory to lock, for a
# restorer of his own and for root's; and what fill does without CAP_KILL when pages are lost. Started as root the test
# becomes `nobody'. CRIU wants root, so tests/cli/restorer.c stands in for it.
# shellcheck source=tests/lib/base.sh
. "$(dirname "$0")/../lib/base.sh"
# An address that is nobody's in a build with AddressSanitizer either.
PAGES=8192 PID_IN_IMAGES=1000 BASE=0x200000000000

fail() {
	printf 'FAIL: %s\n' "$*"
	tail -n 12 "$DIR"/out "$DIR"/restored "$DIR"/work/*.log 2>/dev/null
	exit 1
}

command -v setpriv >/dev/null || skip "util-linux is missing"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-without-root.XXXXXX") || exit 1
DAEMON_PID='' SERVER=''
# Killed alone, a keeper is followed by its worker.
# shellcheck disable=SC2046 # pids
trap 'kill -KILL $(pgrep -f -- "^$DIR/lazyd ") 2>/dev/null; rm -rf -- "$DIR"' EXIT
# Where he can reach them, whatever the way to the build tree is like.
cp "$LAZYD" "$build/tests/cli/restorer" "$build/tests/lib/mkimages" "$DIR" || exit 1
mkdir "$DIR/work"
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$DIR"
	chown 65534:65534 "$DIR/work"
	as_user() { exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"; }
else
	as_user() { exec "$@"; }
fi
user() { (as_user "$@"); }
is() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }
cd "$DIR/work" || exit 1

# run WHO ARGUMENT...: a daemon of the user's in the background, ready: DAEMON_PID, or what WHO names. LOCK is the KiB of
# memory that it may lock.
LOCK=''
run() {
	local who=$1
	shift
	rm -f "$DIR/status"
	mkfifo "$DIR/status"
	([ -z "$LOCK" ] || ulimit -l "$LOCK"; as_user "$DIR/lazyd" "$@" --status-fd 9) </dev/null >"$DIR/out" 2>&1 9>"$DIR/status" &
	printf -v "$who" %s $!
	is_ready "$DIR/status" || fail "no ready byte of $1"
}

# over PID STATUS
over() {
	wait "$1" 2>/dev/null
	is "the exit status" $? "$2"
}

# restored: by the user, as RESTORER says.
restored() {
	(cd "$DIR/work" && "${RESTORER[@]}" "$DIR/restorer" $PID_IN_IMAGES $BASE $PAGES) >"$DIR/restored"
}
RESTORER=(user)

# filled MODE: the fill that runs is for one restore, and all is right.
filled() {
	restored || fail "$1: the restorer ended with status $?"
	grep -q " right=$PAGES\$" "$DIR/restored" || fail "$1: not every page was right"
	over "$DAEMON_PID" 0
	[ ! -e lazy-pages.socket ] || fail "$1: its socket is still there"
	printf 'result test=without-root mode="%s" %s\n' "$1" "$(cat "$DIR/restored")"
}

user "$DIR/lazyd" check >"$DIR/out" || fail "check says that it cannot work"
user "$DIR/lazyd" demo --size 16 --no-progress >"$DIR/out" 2>&1 || fail "demo: status $?"

user "$DIR/mkimages" images base=$BASE pages=$PAGES >"$DIR/out" 2>&1 || fail "no images"
run DAEMON_PID fill -D images -W . -o fill.log -v
for set in CapPrm CapEff; do
	is $set "$(awk -v name=$set: '$1 == name { print $2 }' "/proc/$DAEMON_PID/status")" 0000000000000000
done
is NoNewPrivs "$(awk '$1 == "NoNewPrivs:" { print $2 }' "/proc/$DAEMON_PID/status")" 1
[ "${LZ_BUILD:-plain}" != plain ] || is Seccomp "$(awk '$1 == "Seccomp:" { print $2 }' "/proc/$DAEMON_PID/status")" 2
filled "own images"
if grep event=not-confined fill.log; then fail "not confined"; fi

# As login shells had it until Linux 5.16; the buffers of the ring are not registered then.
LOCK=64
run DAEMON_PID fill -D images -W . -o fill.log -v
# What a dead worker's ring has locked counts for a moment longer.
last=
for ((kills = 0; kills < 20; kills++)); do
	until worker=$(worker_of "$DAEMON_PID") && [ "$worker" != "$last" ]; do
		kill -0 "$DAEMON_PID" 2>/dev/null || fail "64 KiB to lock: over after $kills workers"
	done
	kill -KILL "$worker"
	last=$worker
done
filled "64 KiB to lock"
LOCK=

# As many processes as he may have: it waits until there are fewer.
if [ "$(id -u)" = 0 ]; then
	run DAEMON_PID fill -D images -W . -o fill.log -v
	until worker=$(worker_of "$DAEMON_PID"); do :; done
	user prlimit --nproc=1: --pid "$DAEMON_PID"
	kill -KILL "$worker"
	within 20 grep -q event=no-worker fill.log || fail "a worker, though he may have no more processes"
	user prlimit --nproc="$(ulimit -Hu)": --pid "$DAEMON_PID"
	filled "no process to be had"
fi

run SERVER serve -D images -W . -o serve.log --address unix:pages.socket
run DAEMON_PID fill -D images -W . -o fill.log -v --page-server --address unix:pages.socket
filled "page server"
kill -TERM "$SERVER"
over "$SERVER" 0
SERVER=
[ ! -e pages.socket ] || fail "serve is over and its socket is still there"

if [ "$(id -u)" = 0 ]; then
	RESTORER=()
	run DAEMON_PID fill -D images -W . -o fill.log -v
	filled "root restores"
	RESTORER=(user)
fi

# A task of his own he may kill.
run DAEMON_PID fill -D images -W . -o fill.log -v --on-lost kill
truncate -s 1000000 images/pages-1.img
restored 2>/dev/null
is "the status of a task whose pages are lost" $? 137
over "$DAEMON_PID" 3
echo ok
