#!/bin/bash
# SPDX-License-Identifier: MIT
# SIGKILL at each system call of `lazyd fill`, from its first to its last: of keeper and worker in the same instant, under
# a stand-in for systemd that starts them again with their descriptors; of the keeper alone, whose worker goes on; of the
# worker alone, which the keeper follows by another. Every page is right, the status is 0, and nothing is left behind.
#
#   EVERY    every EVERYth call only; 1 is all of them. By default some forty of each kind, other ones each time
#   WHO      both, keeper, worker: all unless told
#   WHERE    images, server: where the pages are; both unless told
# shellcheck source=tests/lib/base.sh
. "$(dirname "$0")/../lib/base.sh"
here=$(cd "$(dirname "$0")" && pwd)
# An address that is nobody's in a build with AddressSanitizer either.
PAGES=128 TASKS=3 PID_IN_IMAGES=1000 BASE=0x200000000000
SOME=25

DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-dies-at.XXXXXX") || exit 1
fail() {
	printf 'FAIL: where=%s who=%s at=%s %s\n' "${where:-}" "${who:-}" "${at:-}" "$*"
	tail -n 12 "$DIR"/out "$DIR"/restored "$DIR"/work/fill.log 2>/dev/null
	exit 1
}
# Who has lost his parent too is found by the folder.
SERVER=''
mine() { pgrep -f -- "-D $DIR/images -W $DIR/work "; }
nobody() { ! mine >/dev/null; }
# shellcheck disable=SC2046 # pids
trap 'kill -KILL $SERVER $(mine) 2>/dev/null; within 5 nobody; rm -rf -- "$DIR"' EXIT
[ -x /usr/bin/python3 ] || skip "there is no python3"
"$build/tests/lib/mkimages" "$DIR/images" base=$BASE pages=$PAGES tasks=$TASKS >"$DIR/out" 2>&1 || fail "no images"
mkfifo "$DIR/control"
exec 5<>"$DIR/control"

managed=(/usr/bin/python3 "$here/manager.py" "$DIR/control")
is_told_ready() { [ -e "$DIR/control.ready" ] || has_ended; }
has_ended() { [ -s "$DIR/ended" ]; }
has_said() { [ -s "$DIR/stats.json" ]; }
has_died() { [ -s "$DIR/armed.end" ]; }

# restores: once more where fill hung up on the restorer: both died, and the connection is not in the store yet. To it that
# is a failed restore.
restores() {
	local tries
	for tries in 1 2; do
		(cd "$DIR/work" && timeout 60 "$build/tests/cli/restorer" $PID_IN_IMAGES $BASE $PAGES $TASKS) >"$DIR/restored" && break
		[ "$who,$tries" = both,1 ] && grep -Eq 'BAD .*(reset by peer|Broken pipe)' "$DIR/restored" ||
			fail "the restorer ended with status $?"
		hung_up=$((hung_up + 1))
	done
	grep -q " right=$((PAGES * TASKS))\$" "$DIR/restored" || fail "not every page was right"
}

# dies: at call AT of WHO. 1 when it was over before that.
dies() {
	local manager=("${managed[@]}") ready=() status
	# A service manager hands on no other descriptors.
	[ "$who" = both ] || manager=() ready=(--status-fd 9)
	rm -rf "$DIR/work" "$DIR/stats.json" "$DIR/control.ready" "$DIR/armed.end" "$DIR/ended"
	mkdir "$DIR/work"
	: >"$DIR/armed"
	rm -f "$DIR/status"
	mkfifo "$DIR/status"
	exec 4<>"$DIR/status"
	(
		"${manager[@]}" "$build/tests/cli/dies_at" "$DIR/armed" "$who" "$at" "$DIR/control" \
			"$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o fill.log -v --stats "$DIR/stats.json" "${ready[@]}" \
			"${from[@]}" \
			</dev/null >"$DIR/out" 2>&1 4<&- 5<&- 9>"$DIR/status"
		echo $? >"$DIR/ended"
	) 2>/dev/null &
	if [ "$who" = both ]; then
		within 20 is_told_ready || fail "never ready"
	else
		is_ready "$DIR/status" || fail "never ready"
	fi
	exec 4<&-
	restores
	within 20 has_said || fail "no figures are written"
	within 20 has_ended || fail "it is not over"
	status=$(cat "$DIR/ended")
	within 20 nobody || fail "somebody is left: $(mine)"
	within 20 has_died || fail "the tracer has not said"
	[ "$(cat "$DIR/armed.end")" = died ] || return 1
	[ "$(figure exit_status)" = 0 ] || fail "its own status is $(figure exit_status)"
	[ "$status" = 0 ] || [ "$who,$status" = keeper,137 ] || fail "status $status"
	[ "$(figure pages_lost)" = 0 ] || fail "pages are lost"
	[ ! -e "$DIR/work/lazy-pages.socket" ] || fail "its socket is left"
}

# at_each: call of WHO
at_each() {
	local calls every deaths=0
	at=1000000 hung_up=0
	if dies; then fail "it makes a million calls"; fi
	calls=$(sed 's/over //' "$DIR/armed.end")
	every=${EVERY:-$((calls / SOME + 1))}
	for ((at = RANDOM % every; at < calls; at += every)); do
		if dies; then deaths=$((deaths + 1)); fi
	done
	[ $deaths -ge $((calls / every / 3)) ] || fail "only $deaths deaths"
	printf 'result test=dies-at where=%s who=%s calls=%s deaths=%s hung_up=%s\n' "$where" "$who" "$calls" "$deaths" "$hung_up"
}

for where in ${WHERE:-images server}; do
	from=()
	if [ "$where" = server ]; then
		mkfifo "$DIR/serving"
		"$LAZYD" serve -D "$DIR/images" -W "$DIR" -o serve.log --address unix:"$DIR/pages.socket" --status-fd 9 \
			</dev/null 9>"$DIR/serving" 5<&- &
		SERVER=$!
		is_ready "$DIR/serving" || fail "no server"
		from=(--page-server --address unix:"$DIR/pages.socket")
	fi
	for who in ${WHO:-both keeper worker}; do
		at_each
	done
done
