#!/bin/bash
# SPDX-License-Identifier: MIT
# The daemon's copy of the pages file ends in the middle of a page: the access to that page and to those behind it
# raises SIGBUS, every other page is right, the daemon says why and ends with failure. With --on-lost=kill the process
# is killed instead. Only one area is lazy (the rest is locked), so that CRIU itself can restore from the whole images.
. "$(dirname "$0")/lib.sh"

work bus 64
dump
cp -a "$DIR/images" "$DIR/cut"

# Where page 0 of the area is in the pages file: it begins with what the program said.
magic=$(printf '\\x%s' "${READY:0:2}" "${READY:2:2}" "${READY:4:2}" "${READY:6:2}" "${READY:8:2}" "${READY:10:2}" \
	"${READY:12:2}" "${READY:14:2}")
found=$(grep -obUaP -m 1 "$magic" "$DIR"/cut/pages-*.img /dev/null | tail -n 1 | cut -d: -f1,2)
file=${found%:*}
offset=${found##*:}
if [ ! -f "$file" ] || [ $((offset % 4096)) != 0 ]; then
	fail "the area is not in the images ($found)"
fi
first=12288
truncate -s $((offset + first * 4096 + 100)) "$file"

IMAGES=$DIR/cut
daemon
restore
go
answer 60 || known "$ANSWER"
within 20 is_gone "$PID" || fail "the process has answered and does not end"
[ "$(value lost)" = $((16384 - first)) ] || fail "lost should be $((16384 - first)) pages: $ANSWER"
[ "$(value ranges)" = "$first-16383," ] || fail "lost should be $first-16383: $ANSWER"
daemon_failed 30
report "mode=poison $ANSWER reason=\"$REASON\""

[ "$DAEMON" = lazyd ] || exit 0
daemon --on-lost=kill
# It may be killed as soon as it runs, which need not please criu.
try_restore
status=$?
kill -USR1 "$PID" 2>/dev/null
within 60 is_gone "$PID" || fail "the process should have been killed"
read -r -t 0.1 -u 7 LINE && fail "the process should have been killed, and says $LINE"
daemon_failed 30
report "mode=kill criu_status=$status reason=\"$REASON\""
