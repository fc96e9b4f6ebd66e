#!/bin/bash
# SPDX-License-Identifier: MIT
# Another user at the door: the sockets of fill and serve have mode 0600; one who comes in all the same is turned away by
# who he is, as often as he likes, and the restore that it was started for still finds it. What he has planted in the
# work folder is not followed. From other hosts serve cannot be reached unless that was asked for. No CRIU: who connects is python.
# shellcheck source=tests/lib/base.sh
. "$(dirname "$0")/../lib/base.sh"

fail() {
	printf 'FAIL: %s\n' "$*"
	tail -n 20 "$DIR/work/fill.log" "$DIR/out" 2>/dev/null
	exit 1
}

[ "$(id -u)" = 0 ] || skip "two users take root"
command -v setpriv >/dev/null || skip "util-linux is missing"
[ -x /usr/bin/python3 ] || skip "python3 is missing"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-strangers.XXXXXX") || exit 1
DAEMON_PID=
trap '[ -z "$DAEMON_PID" ] || kill -KILL "$DAEMON_PID" 2>/dev/null; rm -rf -- "$DIR"' EXIT
chmod 755 "$DIR"
mkdir "$DIR/work"
"$LAZYD" demo --size 8 --keep "$DIR/images" --no-progress >"$DIR/out" 2>&1 || fail "no images"
cat >"$DIR/knock" <<'END'
import errno, socket, sys

s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.settimeout(30)
try:
    s.connect(sys.argv[1])
except OSError as e:
    sys.exit(print(errno.errorcode[e.errno]))
if sys.argv[2:] == ["leave"]:
    sys.exit()
try:
    if len(sys.argv) > 2:
        s.send(bytes.fromhex(sys.argv[2]))
    print("closed" if s.recv(1) == b"" else "answered")
except (BrokenPipeError, ConnectionResetError):
    print("closed")
END

as() { local user=$1; shift; setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"; }
knock() { /usr/bin/python3 "$DIR/knock" "$@" </dev/null; }
knock_as() { as "$1" /usr/bin/python3 "$DIR/knock" "${@:2}" </dev/null; }
is() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }

# run COMMAND...: in the background; returns when it is ready.
run() {
	rm -f "$DIR/status"
	mkfifo "$DIR/status"
	"$@" --status-fd 9 </dev/null >"$DIR/out" 2>&1 9>"$DIR/status" &
	DAEMON_PID=$!
	is_ready "$DIR/status" || fail "no ready byte"
}

# over STATUS: it is to end by itself; the test's own limit is what it is given.
over() {
	wait "$DAEMON_PID"
	is "the daemon's exit status" $? "$1"
	DAEMON_PID=
}

cd "$DIR/work" || exit 1
socket=$DIR/work/lazy-pages.socket

# ---- fill ----

run "$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o fill.log -v --stats stats.json
for file in lazy-pages.socket fill.log stats.json; do
	is "the mode of $file" "$(stat -c %a $file)" 600
done
is "another user" "$(knock_as 65534 "$socket")" EACCES

chmod 666 "$socket"
for i in 1 2 3; do
	is "another user whom the mode lets in" "$(knock_as 65534 "$socket")" closed
	# What he says before he is turned away is not heard.
	is "another who says that he has finished" "$(knock_as $((1000 + i)) "$socket" 46545352)" closed
done
is "refusals in the log" "$(grep -c 'event=stranger uid=65534 ' fill.log)" 3
is "refusals in the log" "$(grep -c 'event=stranger uid=100[123] ' fill.log)" 3
[ -S "$socket" ] || fail "they have used the socket up"
# Who may, and goes without a word, is a restore that has failed: who waits for its end must not wait longer.
is "root" "$(knock "$socket" leave)" ""
over 1
grep -q 'event=restore-failed' fill.log || fail "no word of a failed restore"

# One who wrote before he was turned away must not have kept the daemon's patience up either.
run "$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o fill.log -v --restore-timeout 2
chmod 666 "$socket"
(while [ -S "$socket" ]; do knock_as 65534 "$socket"; done) >/dev/null 2>&1 &
over 1
wait
grep -q 'event=restore-never-came' fill.log || fail "strangers have kept it waiting"

# ---- serve ----

run "$LAZYD" serve -D "$DIR/images" -W "$DIR/work" -o serve.log --address "$DIR/work/pages.socket"
is "the mode of serve's socket" "$(stat -c %a pages.socket)" 600
is "another user at serve" "$(knock_as 65534 "$DIR/work/pages.socket")" EACCES
kill "$DAEMON_PID"
over 0

# bound: where the server that said so in its first line is bound to, from the kernel: hexadecimal, one a line.
bound() {
	awk -v port="$(printf ':%04X' "$(sed -n 's/^listening .* port=//p' "$DIR/out")")" \
		'$4 == "0A" && index($2, port) { print substr($2, 1, 8) }' /proc/net/tcp
	awk '$4 == "0A"' /proc/net/tcp6 | grep -c "$(printf ':%04X ' "$(sed -n 's/^listening .* port=//p' "$DIR/out")")"
}

run "$LAZYD" serve -D "$DIR/images" -W "$DIR/work"
is "the addresses of serve" "$(bound | paste -sd' ')" "0100007F 0"
kill "$DAEMON_PID"
over 0
run "$LAZYD" page-server --lazy-pages -D "$DIR/images" -W "$DIR/work"
is "the addresses of page-server" "$(bound | paste -sd' ')" "00000000 0"
kill "$DAEMON_PID"
over 0

# ---- links that somebody has planted ----

echo precious >"$DIR/precious"
for option in -o --stats; do
	rm -f planted
	ln -s "$DIR/precious" planted
	"$LAZYD" fill -D "$DIR/images" -W "$DIR/work" $option planted --restore-timeout 1 >"$DIR/out" 2>&1
	is "the exit status of fill $option" $? 1
	grep -q "symbolic link" "$DIR/out" || fail "fill $option does not say why"
done
"$LAZYD" serve -D "$DIR/images" -W "$DIR/work" -d --pidfile planted >"$DIR/out" 2>&1
is "the exit status of serve --pidfile" $? 1
grep -q "symbolic link" "$DIR/out" || fail "serve --pidfile does not say why"
is "the file behind the link" "$(cat "$DIR/precious")" precious
# A name with a slash is the caller's own: container runtimes log to /dev/stdout.
timeout 30 "$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o /dev/stdout -v --restore-timeout 1 2>/dev/null |
	grep -q 'event=restore-never-came' || fail "no log through /dev/stdout"
echo ok
