#!/bin/bash
# SPDX-License-Identifier: MIT
# What a fault costs, as the thread sees it, by how many threads and processes fault, in which order, and where the bytes
# are: CRIU's daemon and `lazyd fill` by turns, ROUNDS times each, for a stand-in of the restorer and made images of 256 MiB.
# Prints a line of `name=faults where=hot|cold|remote ...` each. The remote ones come by the loopback device, with CRIU at
# both ends and lazyd at both ends. Started by run; shares the surroundings of the tests.
#
#   ROUNDS   3 unless told
#   ONLY     the cases in which this extended regular expression is found, all unless told: '^hot random 1 16'
# shellcheck source=tests/net/lib-net.sh
. "${srcdir:?}/tests/net/lib-net.sh"
# shellcheck source=bench/lib.sh
. "$srcdir/bench/lib.sh"

AT_SOURCE=(nsenter --target "$SOURCE_INIT" --pid --mount --)
SOURCE_ADDR=127.0.0.1
PAGES=65536
UNDER=()

# images PROCESSES: $DIR/images are those of as many tasks, with the same memory in all.
images() {
	if [ ! -d "$DIR/of-$1" ]; then
		"$build/tests/lib/mkimages" "$DIR/of-$1" tasks="$1" first_pid=1000 ranges=1 pages=$((PAGES / $1)) || fail "no images"
		# CRIU's page server wants to read these of the first task, whatever they say.
		printf '\x19CVT0 CT\x08\0\0\0\x08\1\x10\1\x18\1\x20\1' >"$DIR/of-$1/ids-1000.img"
		printf '\x19CVTG8\x05U\x11\0\0\0\x08\1\x1a\x0d\x08\1\x10\0\x18\0\x20\0\x28\0\x32\1x' >"$DIR/of-$1/core-1000.img"
	fi
	[ ! -d "$DIR/images" ] || [ -L "$DIR/images" ] || rmdir "$DIR/images"
	ln -sfn "of-$1" "$DIR/images"
}

# faults WHERE ORDER THREADS PROCESSES [-s]: with the sweep where that is said.
faults() {
	local WHERE=$1 touches=4096 standin figures from=()
	images "$4"
	if [ "$WHERE" = cold ]; then
		touches=1024
		cool
	fi
	if [ "$WHERE" = remote ]; then
		SOURCE=$DAEMON from=(--page-server --address "$SOURCE_ADDR" --port "$PORT")
		source_up
	fi
	daemon "${from[@]}"
	rm -f "$DIR/tell" "$DIR/told"
	mkfifo "$DIR/tell" "$DIR/told"
	(cd "$DIR/work" && exec "$bench/restorer_standin" -l $((PAGES * 4096 / $4)) -t $touches -o "$2" -T "$3" -P "$4" "${@:5}") \
		<"$DIR/tell" >"$DIR/told" 7>&- 8>&- &
	standin=$!
	exec 5>"$DIR/tell" 4<"$DIR/told"
	read -r -t 60 -u 4 _ _ figures || fail "the stand-in has not touched its memory"
	echo >&5
	read -r -t 60 -u 4 _ || fail "the stand-in could not finish"
	daemon_ok 60
	echo >&5
	exec 5>&- 4<&-
	wait "$standin" || fail "the stand-in ended with status $?"
	[ "$WHERE" != remote ] || source_over
	printf 'name=faults where=%s criu=%s daemon=%s %s\n' "$WHERE" "$VER" "$DAEMON" "$figures"
}

mapfile -t all <<'END'
hot random 1 1
hot sequential 1 1
hot strided 1 1
hot random 4 1
hot random 16 1
hot random 64 1
hot random 1 4
hot random 1 16
hot random 1 64
hot random 1 1 -s
hot sequential 1 1 -s
hot strided 1 1 -s
cold random 1 1
cold sequential 1 1
cold strided 1 1
cold random 1 1 -s
remote random 1 1
remote sequential 1 1
remote strided 1 1
remote random 1 1 -s
remote strided 1 1 -s
END
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
	for case in "${all[@]}"; do
		[[ $case =~ ${ONLY:-.} ]] || continue
		read -ra arguments <<<"$case"
		for DAEMON in criu lazyd; do
			faults "${arguments[@]}"
		done
	done
done
