#!/bin/bash
# SPDX-License-Identifier: MIT
# Huge pages after a fill with --collapse: where the process wanted them, all that are whole, and nowhere else; every byte
# is right, before and after, and no more memory is in use. A keeper that dies leaves that to the next one, a program that is replaced too. Without the
# option nothing is collapsed, and without the capability that it takes it is refused before there is a socket.
. "$(dirname "$0")/lib.sh"

[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon leaves that to the kernel"
case $(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null) in
*'[never]'*) skip "this machine has no transparent huge pages" ;;
'') skip "this kernel has no transparent huge pages" ;;
esac

megabytes=128
# smaps_kb NAME: of the whole process.
smaps_kb() { awk -v name="$1:" '$1 == name { n += $2 } END { print n + 0 }' "/proc/$PID/smaps"; }
stats_number() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$DIR/stats.json"; }

work fill $megabytes 2 huge
[ "$(smaps_kb AnonHugePages)" -gt 0 ] || skip "the kernel has no huge pages to give now"
dump

# all OPTION...: a whole fill of a process that does nothing; KB is what it has in huge pages then.
all() {
	daemon "$@"
	restore
	daemon_ok 60
	KB=$(smaps_kb AnonHugePages)
	RSS=$(smaps_kb Rss)
	go
	answer_ok 60
}

all
[ "$KB" = 0 ] || fail "$KB KiB are in huge pages and nobody asked for it"
small_rss=$RSS

all --collapse
# Half of the memory, but for a block at either end of it.
[ "$KB" -ge $((megabytes * 512 - 4096)) ] || fail "only $KB KiB are in huge pages: $(grep collapsed "$DIR/work/daemon.log")"
[ "$KB" -le $((megabytes * 512)) ] || fail "$KB KiB are in huge pages, more than the process wants"
[ "$RSS" -le $((small_rss + 512)) ] || fail "it uses $RSS KiB, $small_rss without"
[ "$(stats_number bytes_collapsed)" = $((KB * 1024)) ] || fail "the stats say $(stats_number bytes_collapsed), smaps $KB KiB"
huge_kb=$KB

# Both go on to the end whoever is killed.
daemon --collapse
pair
restore
kill -KILL "$KEEPER" 2>/dev/null || once_more "the fill was over before its keeper could be killed"
KEEPER=$WORKER
succession_ok 60
KB=$(smaps_kb AnonHugePages)
[ "$KB" -ge $((megabytes * 512 - 4096)) ] || fail "after the keeper's death $KB KiB are in huge pages"
go
answer_ok 60

# So does a program that takes another's place, which could not start that process any more.
is_upgraded() { grep -q event=upgraded "$DIR/work/daemon.log"; }
daemon --collapse
kill -USR2 "$DAEMON_PID"
within 20 is_upgraded || fail "not upgraded"
restore
daemon_ok 60
KB=$(smaps_kb AnonHugePages)
[ "$KB" -ge $((megabytes * 512 - 4096)) ] || fail "after an upgrade $KB KiB are in huge pages"
go
answer_ok 60

daemon_command --collapse
if setpriv --bounding-set -sys_nice --inh-caps -all "${DAEMON_COMMAND[@]}" --restore-timeout 1 >"$DIR/refused" 2>&1 </dev/null; then
	fail "without CAP_SYS_NICE it is not refused"
fi
grep -q 'collapse.*CAP_SYS_NICE' "$DIR/refused" "$DIR/work/daemon.log" || fail "refused with: $(cat "$DIR/refused")"
report "huge_kb=$huge_kb rss_kb=$RSS"
