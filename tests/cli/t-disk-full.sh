#!/bin/bash
# SPDX-License-Identifier: MIT
# Log and --stats on a file system that is full, then on a pipe that is full and that nobody reads: the fill goes on, and
# its exit status is that of the fill, which loses nothing.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon logs elsewhere and writes no statistics"

mkdir "$DIR/full"
mount -t tmpfs -o size=64k tmpfs "$DIR/full" || skip "no tmpfs can be mounted here"
dd if=/dev/zero of="$DIR/full/all" bs=4k status=none 2>/dev/null
echo x 2>/dev/null >"$DIR/full/one-more" && fail "the disk is not full"

work fill 128 2
dump

on_full_disk() { exec "$LAZYD" fill "$@" -o "$DIR/full/daemon.log" --stats "$DIR/full/stats.json"; }
daemon_command() { DAEMON_COMMAND=(on_full_disk -D "$DIR/images" -W "$DIR/work" -v4 "$@"); }

# fills: by the daemon as it is to be started now.
fills() {
	daemon
	restore
	"$@"
	go
	answer_ok 60
	daemon_end 60 || fail "the daemon is not over"
	[ "$DAEMON_RC" = 0 ] || fail "the daemon ended with status $DAEMON_RC: $(cat "$DIR/daemon.out")"
	daemon_is_tidy
}

fills
[ ! -s "$DIR/full/daemon.log" ] || fail "there was room for the log"
grep -q "stats.json (--stats) cannot be written: No space" "$DIR/daemon.out" || fail "it does not say that --stats is missing"
report "mode=disk $ANSWER"

# The daemon writes where nobody reads any more.
mkfifo "$DIR/stuck"
exec 6<>"$DIR/stuck"
dd if=/dev/zero bs=4k oflag=nonblock status=none >&6 2>/dev/null
on_full_pipe() { exec "$LAZYD" fill "$@" -o - >"$DIR/stuck" 2>&1; }
daemon_command() { DAEMON_COMMAND=(on_full_pipe -D "$DIR/images" -W "$DIR/work" -v4 "$@"); }
one_dies() { kill -KILL "$(worker_of "$DAEMON_PID")"; }
fills one_dies
report "mode=pipe $ANSWER"
