#!/bin/bash
# SPDX-License-Identifier: MIT
# A working set on cold images with a real CRIU: a process that, from the moment it is restored, touches one page in PART
# of its memory at random. Its touches are recorded once; then it is restored by turns with and without --replay, with
# and without --no-sweep, ROUNDS times each, every page compared. Before each restore the pages of the images, and of no
# other file, are taken out of the page cache, and it is looked whether they are. Prints a line of `name=workingset` a
# restore. Started by run; shares the surroundings of the tests.
#
#   WHERE    local    the images are here (default)
#            remote   a `lazyd serve` on the loopback address has them
#   SIZE     512 MiB unless told; PART 10; ROUNDS 5
. "${srcdir:?}/tests/cli/lib.sh"

WHERE=${WHERE:-local}
cached_kb() { fincore -b -n -o RES "${pages_files[@]}" | awk '{ sum += $1 } END { print int(sum / 1024) }'; }
make_cold() {
	local file
	for file in "${pages_files[@]}"; do
		dd if="$file" iflag=nocache count=0 status=none || fail "cannot drop $file"
	done
	CACHED_KB=$(cached_kb)
	[ "$CACHED_KB" -lt 1024 ] || fail "$CACHED_KB kB of the images are in the page cache still"
	"$build/bench/warm" $((${SIZE:-512} * 3)) || fail "no memory to be had"
}

# once KIND OPTION...: one restore.
once() {
	local kind=${WHERE}_$1
	shift
	make_cold
	if [ "$WHERE" = remote ]; then
		rm -f "$DIR/work/serve.sock"
		"$LAZYD" serve -D "$DIR/images" --address "$DIR/work/serve.sock" --once </dev/null >/dev/null 7>&- 8>&- &
		server=$!
		within 20 test -S "$DIR/work/serve.sock" || fail "there is no server"
		set -- "$@" --page-server --address "$DIR/work/serve.sock"
	fi
	daemon "$@"
	# The process may be over by the time that criu is.
	try_restore || fail "criu restore: status $?"
	answer_ok 200
	daemon_end 60 || fail "the daemon is not over after 60 s"
	[ "$DAEMON_RC" = 0 ] || fail "the daemon ended with status $DAEMON_RC"
	[ "$WHERE" = local ] || wait "$server" || fail "the server ended with status $?"
	printf 'name=workingset case=%s who=lazyd set_us=%s restore_s=%s pages_demand=%s pages_replay=%s cached_kb=%s\n' \
		"$kind" "$(value set_us)" "$RESTORE_S" "$(figure pages_demand)" "$(figure pages_replay)" \
		"$CACHED_KB"
}

set=$DIR/touched.ws
work set "${SIZE:-512}" "${PART:-10}" "$DIR/go"
dump
touch "$DIR/go"
pages_files=("$DIR"/images/pages-*.img)
sync "${pages_files[@]}"
once record --no-sweep --record "$set"
for ((round = 0; round < ${ROUNDS:-5}; round++)); do
	once sweep
	once sweep_replay --replay "$set"
	once no_sweep --no-sweep
	once no_sweep_replay --no-sweep --replay "$set"
done
