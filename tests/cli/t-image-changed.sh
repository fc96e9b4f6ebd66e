#!/bin/bash
# SPDX-License-Identifier: MIT
# The pages file is written over in place, by one byte, while the fill stands still: no page of it is given any more, the
# process gets SIGBUS and no wrong byte, the daemon says why and ends with 3. With holes punched where CRIU has read what
# is not lazy (criu restore --auto-dedup) everything is right.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon is one process and takes what it reads"

says() { grep -q "$1" "$DIR/work/daemon.log" || fail "the daemon does not say: $1"; }

# halfway ARGUMENT...: restored by a criu with these, with a worker that stands still: WORKER.
halfway() {
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	work bus 64
	dump
	daemon
	pair
	kill -STOP "$WORKER" || fail "there is no worker"
	restore "$@"
}

halfway
printf x | dd of="$(echo "$DIR"/images/pages-*.img)" bs=1 seek=5000 conv=notrunc status=none
kill -CONT "$WORKER"
go
answer_ok 60
[ "$(value lost)" -gt 0 ] || fail "other bytes were taken for its memory: $ANSWER"
daemon_failed 60
[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
says 'event=bytes-lost .* has been written to'
says 'event=file-changed source=.*pages-'
report "mode=written $ANSWER reason=\"$REASON\""

halfway --auto-dedup
[ $(($(stat -c '%b * %B - %s' "$DIR"/images/pages-*.img))) -lt 0 ] || fail "criu has punched no holes"
kill -CONT "$WORKER"
go
answer_ok 60
[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
daemon_ok 60
report "mode=punched $ANSWER"
