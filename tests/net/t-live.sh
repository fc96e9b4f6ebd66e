#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The memory of a process that stands still goes to another on another host, while that one runs: no
# page is ever in a file. Every byte is compared, and what came over the wire is at most the memory in
# use and 1%. The two hosts are network namespaces with a veth pair between them; no CRIU is needed.
set -euo pipefail
export LC_ALL=C

build=${top_builddir:?} LAZYD=${LAZYD:?}
if [ -z "${LIVE_HOSTS:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "skip: network namespaces need root"; exit 77; }
	LIVE_HOSTS=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc bash "$0"
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-live.XXXXXX")
trap 'rm -rf -- "$tmp"' EXIT
fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
# A line that matches comes, or the writer of it ends.
line() { # FILE PATTERN PID
	local n
	for ((n = 0; n < 3000; n++)); do
		grep -sm1 "$2" "$1" && return 0
		kill -0 "$3" 2>/dev/null || break
		read -rt 0.01 <> <(:) || true
	done
	fail "no '$2' from process $3: $(cat "$1")"
}

ip link set lo up
unshare --net sleep infinity &
source=$!
until [ "$(readlink /proc/$source/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
received() { sed -n 's/^ *here: *\([0-9]*\) .*/\1/p' /proc/net/dev; }
there() { nsenter -t $source -n "$@"; }
ip link add here type veth peer name there
ip link set there netns $source
ip addr add 10.77.0.2/24 dev here && ip link set here up
there ip addr add 10.77.0.1/24 dev there && there ip link set there up
there ip link set lo up

"$build/tests/embed/move" start >"$tmp/start" &
pid=$!
line "$tmp/start" READY $pid >/dev/null

# One that runs is refused: its memory would change.
(exec sleep infinity) &
runs=$!
mkdir "$tmp/refused" "$tmp/images" "$tmp/stopped"
if there "$LAZYD" serve --pid $runs -D "$tmp/refused" >"$tmp/out" 2>&1; then
	fail "a process that runs was served"
fi
grep -q -- --stop "$tmp/out" || fail "what is to be done is not said: $(cat "$tmp/out")"

there "$LAZYD" serve --pid $pid -D "$tmp/images" --address 10.77.0.1 --once -v3 -o "$tmp/log" >"$tmp/serve" 2>&1 &
server=$!
listening=$(line "$tmp/serve" ^listening $server)
# Serve forks nothing: what nsenter became is it. Not a page is in the images.
[ "$(find "$tmp/images" -name 'pages-*.img' -size +0 | wc -l)" = 0 ] || fail "there are pages in the images"
used=$(sed -n 's/.*event=live .*bytes=\([0-9]*\).*/\1/p' "$tmp/log")
before=$(received)
got=$("$build/tests/embed/move" take "$tmp/images" $pid 10.77.0.1 "${listening##*port=}") || fail "take: $got"
after=$(received)
wait $server || fail "serve ended with $?: $(cat "$tmp/serve" "$tmp/log")"
[[ $got = *" lost=0 "* ]] || fail "pages were lost: $got"
wire=$((after - before))
[ $((wire * 100)) -le $((used * 101)) ] || fail "$wire bytes on the wire for $used in use: $got"
[ "$used" -ge $((32768 / 64 * 48 * 4096)) ] || fail "$used bytes in use are too few"
[ "$used" -le $((32768 / 64 * 49 * 4096)) ] || fail "$used bytes in use: zero pages are among them"

# A tree, stopped by serve: all of it stands still afterwards.
bash -c 'sleep infinity & (sleep infinity; :) & echo READY; wait' >"$tmp/tree" &
tree=$!
line "$tmp/tree" READY $tree >/dev/null
there "$LAZYD" serve --pid $tree --tree --stop -D "$tmp/stopped" -v3 -o "$tmp/log2" >"$tmp/serve2" 2>&1 &
server=$!
line "$tmp/serve2" ^listening $server >/dev/null
nr=$(sed -n 's/.*event=live processes=\([0-9]*\).*/\1/p' "$tmp/log2")
[ "$nr" -ge 3 ] || fail "$nr processes of the tree were seen"
for p in $tree $(pgrep -P $tree); do
	[ "$(sed 's/.*) //' /proc/"$p"/stat | cut -c1)" = T ] || fail "process $p runs"
done
kill $server
wait $server || true # it may not have been ready for signals yet
printf 'used=%s wire=%s over=%s%% %s processes=%s\n' "$used" "$wire" \
	"$(awk "BEGIN { printf \"%.2f\", ($wire - $used) * 100 / $used }")" "$got" "$nr"
