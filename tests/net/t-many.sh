#!/bin/bash
# SPDX-License-Identifier: MIT
# One `lazyd serve` and 16 destinations at once, each a real restore in namespaces of its own, every byte of each compared;
# the image is of 48 MiB and 8 GiB of zeros, which one of them reads and the others unmap. 1,000 clients that mean ill are
# there meanwhile. The source's memory and descriptors stay what they are.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE" = lazyd ] || skip "CRIU's page server has one client"

hole_gb=8 at=0x10000000000 guests=16
# Where zeros are copied they take memory.
[ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -gt $((10 << 20)) ] || hole_gb=4

if [ -n "${GUEST:-}" ]; then
	arrive
	[ "$GUEST" != 1 ] || kill -USR2 "$PID"
	go
	answer_ok 150
	daemon_ok 50
	report "guest=$GUEST" "$ANSWER"
	exit 0
fi

# varint N, le32 N: as in images, for printf.
varint() {
	local n=$1
	for (( ; n > 127; n >>= 7 )); do
		printf '\\x%02x' $((n & 127 | 128))
	done
	printf '\\x%02x' "$n"
}
le32() { printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }

# entries: the hole's records, of 4 GiB each, present and lazy.
entries() {
	local i body pages=1048576
	for ((i = 0; i < hole_gb / 4; i++)); do
		# vaddr, flags, and nr_pages in the field of this version.
		case $VER in
		4.1) body="\\x08$(varint $((at + i * pages * 4096)))\\x10$(varint $pages)\\x20\\x06" ;;
		*) body="\\x08$(varint $((at + i * pages * 4096)))\\x10\\x00\\x20\\x06\\x28$(varint $pages)" ;;
		esac
		le32 $((${#body} / 4))
		printf '%s' "$body"
	done
}

work sparse 48 $hole_gb
dump
# The hole's pages come first in the pages file.
pages=$(echo "$DIR"/images/pages-*.img)
truncate -s ${hole_gb}G "$DIR/with-hole"
cat "$pages" >>"$DIR/with-hole"
mv "$DIR/with-hole" "$pages"
map=$DIR/images/pagemap-$PID.img
head=$((12 + $(od -An -tu4 -j8 -N4 "$map")))
{
	head -c $head "$map"
	# shellcheck disable=SC2059 # it is a format
	printf "$(entries)"
	tail -c +$((head + 1)) "$map"
} >"$DIR/map" && mv "$DIR/map" "$map"
LAZY_PAGES=$(lazy_pages "$DIR/images")
[ "$LAZY_PAGES" -gt $((hole_gb << 18)) ] || fail "the hole is not in the image: $LAZY_PAGES"
carry "$DIR/images" "$DIR/arrived"
source_up --max-clients 256
PROC=/proc

rss() { awk '$1 == "VmHWM:" { print $2 }' "/proc/$SOURCE_PID/status"; }
descriptors() { find "/proc/$SOURCE_PID/fd" -mindepth 1 | wc -l; }
rss_before=$(rss) fds_before=$(descriptors)
"$build/tests/net/garbage" "$SOURCE_ADDR" $PORT 1000 "$PID" $at >"$DIR/garbage.out" 2>&1 6>&- 7>&- 8>&- &
garbage=$!
pids=()
for ((i = 1; i <= guests; i++)); do
	destination $i
	pids+=("$GUEST_PID")
done
fds_most=$fds_before
busy() { kill -0 $garbage 2>/dev/null; }
while busy; do
	now=$(descriptors)
	[ "$now" -le "$fds_most" ] || fds_most=$now
	sleep 0.05
done
wait $garbage || fail "the garbage clients: $(cat "$DIR/garbage.out")"
for ((i = 1; i <= guests; i++)); do
	wait "${pids[i - 1]}"
	status=$?
	[ $status != 75 ] || once_more "destination $i: $(tail -n 1 "$DIR/guest-$i.out")"
	[ $status = 0 ] || fail "destination $i: status $status: $(cat "$DIR/guest-$i.out")"
	sed -n 's/^result/destination/p' "$DIR/guest-$i.out"
done
alive "$SOURCE_PID" || fail "the source is gone"
fds_idle() { [ "$(descriptors)" -le $((fds_before + 2)) ]; }
within 10 fds_idle || fail "the source had $fds_before descriptors, and has $(descriptors) without clients"
[ "$(rss)" -lt 65536 ] || fail "the source has used $(rss) KiB"
report "source=$SOURCE guests=$guests $(cat "$DIR/garbage.out") rss_kb=$(rss) rss_before_kb=$rss_before" \
	"fds_before=$fds_before fds_most=$fds_most fds_after=$(descriptors)"
source_over
