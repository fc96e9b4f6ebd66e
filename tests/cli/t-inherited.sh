#!/bin/bash
# SPDX-License-Identifier: MIT
# What a careless parent leaves to fill and serve: standard streams that are closed, in whose places their own files must
# not come to lie; SIGCHLD ignored, by which a keeper would not hear of its worker's death; SIGTERM blocked, or there at
# once; connections that are handed over (--ps-socket), whatever is at their other ends, are served and then over. No
# io_uring, as in a container: that is said at once, in one sentence, in the background too. Without CRIU and as any
# user: tests/cli/restorer.c stands in for it, and python is the parent and the client.
# shellcheck source=tests/lib/base.sh
. "$(dirname "$0")/../lib/base.sh"
PAGES=4096 PID_IN_IMAGES=1000 BASE=0x200000000000

fail() {
	printf 'FAIL: %s\n' "$*"
	tail -n 12 "$DIR"/out "$DIR"/restored "$DIR"/work/*.log 2>/dev/null
	exit 1
}

[ -x /usr/bin/python3 ] || skip "python3 is missing"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-inherited.XXXXXX") || exit 1
DAEMON_PID=''
trap '[ -z "$DAEMON_PID" ] || kill -KILL "$DAEMON_PID" 2>/dev/null; rm -rf -- "$DIR"' EXIT
mkdir "$DIR/work"
cat >"$DIR/parent" <<'END'
import ctypes, errno, os, signal, sys

what, program = sys.argv[1], sys.argv[2:]
if what == "closed":
    for fd in range(3):
        os.close(fd)
elif what == "deaf":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
elif what == "blocked":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
elif what == "ringless":
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(0x7FFF0000))
    call = seccomp.seccomp_syscall_resolve_name(b"io_uring_setup")
    if seccomp.seccomp_rule_add(rules, 0x50000 + errno.EPERM, call, 0) or seccomp.seccomp_load(rules):
        sys.exit("there is no seccomp")
os.execv(program[0], program)
END
cat >"$DIR/client" <<'END'
import socket, struct, sys

s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
s.sendall(struct.pack("<IIQQ", 7, 1, int(sys.argv[3], 0), int(sys.argv[2])))
got = b""
while len(got) < 24 + 4096:
    more = s.recv(8192)
    if not more:
        sys.exit("the server has closed the connection")
    got += more
with open(sys.argv[4] + "/pages-1.img", "rb") as f:
    sys.exit(None if got[24:] == f.read(4096) else "not the page's bytes")
END
cat >"$DIR/hand" <<'END'
import os, socket, sys

what, program = sys.argv[1], sys.argv[2:]
here, there = socket.socketpair()
if what == "garbage":
    there.send(b"x" * 64)
elif what == "alone":
    here = socket.socket()
elif what == "file":
    here = open("/dev/null")
there.close()
os.dup2(here.fileno(), 8)
os.execv(program[0], program + ["--ps-socket", "8"])
END
cd "$DIR/work" || exit 1
is() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }

# run PARENT ARGUMENT...: lazyd, in the background and ready: DAEMON_PID.
run() {
	rm -f "$DIR/status"
	mkfifo "$DIR/status"
	/usr/bin/python3 "$DIR/parent" "$1" "$LAZYD" "${@:2}" --status-fd 9 </dev/null >"$DIR/out" 2>&1 9>"$DIR/status" &
	DAEMON_PID=$!
	is_ready "$DIR/status" || fail "no ready byte of $2"
}

over() {
	wait "$DAEMON_PID"
	is "the exit status" $? 0
}

restored() {
	timeout 60 "$build/tests/cli/restorer" $PID_IN_IMAGES $BASE $PAGES >"$DIR/restored" || fail "$1: the restorer ended with $?"
	over
	printf 'result test=inherited mode="%s" %s\n' "$1" "$(cat "$DIR/restored")"
}

"$build/tests/lib/mkimages" images base=$BASE pages=$PAGES >"$DIR/out" 2>&1 || fail "no images"

run closed fill -D images -W .
restored "streams closed"
run closed serve -D images -W . --daemon --pidfile pid -o serve.log -v
over
DAEMON_PID=$(cat pid)
port=$(sed -n 's/.*event=listening address=.*:\([0-9]*\)$/\1/p' serve.log)
/usr/bin/python3 "$DIR/client" "$port" $PID_IN_IMAGES $BASE images >"$DIR/out" 2>&1 ||
	fail "a client of a server with closed streams"
kill -TERM "$DAEMON_PID"
within 60 grep -q event=end serve.log || fail "the server does not end"

# has_other_worker: and not the one that was killed.
has_other_worker() { next=$(worker_of "$DAEMON_PID") && [ "$next" != "$worker" ]; }

run deaf fill -D images -W . -o fill.log -v
within 60 worker_of "$DAEMON_PID" >"$DIR/worker" || fail "no worker"
worker=$(tail -n 1 "$DIR/worker")
kill -KILL "$worker"
within 60 has_other_worker || fail "the death of a worker is not noticed"
restored "SIGCHLD ignored"

run blocked serve -D images -W . -o blocked.log -v
kill -TERM "$DAEMON_PID"
within 60 grep -q event=end blocked.log || fail "signals that were blocked stay so"
over

# As soon as it is heard of; and a reader of its standard output who has had enough is no reason to die.
/usr/bin/python3 - "$LAZYD" "$DIR/socket" <<'END' >"$DIR/out" 2>&1 || fail "signals before it serves"
import os, subprocess, sys

serve = [sys.argv[1], "serve", "-D", "images", "-W", ".", "-o", "early.log", "-v", "--address", sys.argv[2]]
for _ in range(5):
    p = subprocess.Popen(serve, stdout=subprocess.PIPE)
    p.stdout.readline()
    p.terminate()
    assert p.wait(60) == 0 and not os.path.exists(sys.argv[2])
mute, say = os.pipe()
os.close(mute)
ready, tell = os.pipe()
p = subprocess.Popen(serve + ["--status-fd", str(tell)], stdout=say, pass_fds=[tell])
os.close(tell)
assert os.read(ready, 1) == b"\0"
p.terminate()
assert p.wait(60) == 0
END

# handed STATUS KIND: what serve makes of such a connection.
handed() {
	timeout 60 /usr/bin/python3 "$DIR/hand" "$2" "$LAZYD" serve -D images -W . -o "handed-$2.log" -v >"$DIR/out" 2>&1
	is "the status of serve with a connection ($2)" $? "$1"
	printf 'result test=inherited mode="handed over: %s"\n' "$2"
}

handed 0 left
handed 1 garbage
handed 1 alone
handed 1 file

# ringless ARGUMENT...: refuses, and leaves no socket.
ringless() {
	timeout 60 /usr/bin/python3 "$DIR/parent" ringless "$LAZYD" "$@" </dev/null >"$DIR/out" 2>&1
	is "the status of $* without io_uring" $? 1
	is "the lines that say why" "$(grep -c . "$DIR/out")" 1
	grep -q "no io_uring to be had: Operation not permitted; .*kernel.io_uring_disabled" "$DIR/out" || fail "it is not said why"
	[ ! -e lazy-pages.socket ] || fail "its socket is there"
}

for mode in "" --daemon; do
	# shellcheck disable=SC2086 # an option, or none
	ringless fill -D images -W . $mode
	# shellcheck disable=SC2086
	ringless serve -D images -W . $mode
done
printf 'result test=inherited mode="no io_uring"\n'
