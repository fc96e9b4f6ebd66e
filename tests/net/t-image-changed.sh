#!/bin/bash
# SPDX-License-Identifier: MIT
# One of the pages files of a chain changes under `lazyd serve` while it serves: a byte of it is written over, or it is cut
# short. Its pages that have not come are lost to the client, each a SIGBUS (or with --on-lost=kill the end of the
# process), and none is wrong or zero; those of the other files are right. The source says which file it is, and goes on:
# who comes later gets all but that one's.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "upstream's ends take what they read"

says() { grep -q "$1" "$DIR/source/source.log" || fail "the source does not say: $1"; }

# lost_some FILE: the process has seen the lost pages of that file, and no others.
lost_some() {
	local most
	most=$(($(stat -c %s "$DIR/original/$1") / 4096))
	answer_ok 60
	daemon_failed 60
	[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
	[ "$(value lost)" -gt 0 ] || fail "other bytes were taken for its memory: $ANSWER"
	[ "$(value lost)" -le $most ] || fail "the file has $most pages, and more were lost: $ANSWER"
	[ "$(value lost)" = "$(figure pages_lost)" ] || fail "the daemon says $(figure pages_lost), the process $ANSWER"
}

# change FILE COMMAND...: in the middle of a fill; then a second one, from the start.
change() {
	local file=$1 first
	shift
	rm -rf "$DIR/images"
	cp -a "$DIR/original" "$DIR/images"
	source_up
	arrive
	receive 8 || fail "the fill was over before the file could be changed"
	source_stop
	"$@" "$DIR/images/$file"
	source_go_on
	go
	lost_some "$file"
	first=$(value lost)
	says "event=bytes-lost source=$file .* has been written to"
	arrive
	go
	lost_some "$file"
	[ "$(value lost)" -ge "$first" ] || fail "the first has lost $first pages, the second fewer: $ANSWER"
	[ "$(value lost)" -lt 16384 ] || fail "nothing came of the other files: $ANSWER"
	[ "$(grep -c event=bytes-lost "$DIR/source/source.log")" = 1 ] || fail "the source says it more than once"
	# It may be killed as soon as it runs, which need not please criu.
	daemon --page-server --address "$SOURCE_ADDR" --port "$PORT" --on-lost=kill
	try_restore
	kill -USR1 "$PID" 2>/dev/null
	within 60 is_gone "$PID" || fail "the process should have been killed"
	daemon_failed 60
	source_over
	report "how=$1 file=$file first=$first" "$ANSWER"
}

overwrite() { printf x | dd of="$1" bs=1 seek=5000 conv=notrunc status=none; }
halve() { truncate -s $(($(stat -c %s "$1") / 2)) "$1"; }

work bus 64
dump
mkdir "$DIR/original"
"$build/tests/cli/rechain" "$DIR/images" "$DIR/original" 3 --lazy || fail "rechain: status $?"
carry "$DIR/original" "$DIR/arrived"
cp -a "$DIR"/original/snapshot-[12] "$DIR/arrived"
rm "$DIR"/arrived/snapshot-[12]/pages-*.img
PROC=/proc
link_rate 100
cd "$DIR/original" || exit 1
change parent/pages-*.img overwrite
change parent/parent/pages-*.img halve
