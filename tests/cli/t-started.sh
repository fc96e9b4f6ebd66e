#!/bin/bash
# SPDX-License-Identifier: MIT
# A fill that was started in an odd way: with standard output as --status-fd; with a low limit on descriptors, which may
# be raised. Worker and keeper are killed, before the restore and in it: others follow, every byte is right, and what is
# written there is not written elsewhere. Where /proc is missing or another namespace's it does not start.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "this is about lazyd's own processes"

# filled_under HOW LOG COMMAND...: a fill that COMMAND starts.
filled_under() {
	local how=$1 log=$2 fd file
	UNDER=("${@:3}")
	rm -rf "$DIR/images" && mkdir "$DIR/images"
	work fill 64 1
	dump
	daemon -o "$log" --no-sweep
	pair
	kill_worker || fail "$how: over before any restore"
	restore
	for fd in 0 1 2; do
		file=$(readlink "/proc/$KEEPER/fd/$fd")
		case $file in
		/dev/null | "$DIR/daemon.out" | "$DIR/status") ;;
		*) fail "$how: descriptor $fd is $file" ;;
		esac
	done
	kill_worker || fail "$how: over before it was touched"
	kill_keeper || fail "$how: over before it was touched"
	go
	answer_ok 60
	succession_ok 60
	report "how=$how $ANSWER"
}

# shellcheck disable=SC2016 # that shell's
filled_under status-fd daemon.log bash -c 'exec "$@" --status-fd 1 >&9' status
# shellcheck disable=SC2016
filled_under few-descriptors daemon.log bash -c 'ulimit -Sn 16 && exec "$@"' few

# Below the /proc of this namespace is that of the one above.
daemon_command --no-progress
# shellcheck disable=SC2016
for proc in 'mount -t tmpfs none /proc' 'umount -l /proc'; do
	timeout 60 unshare --mount bash -c "$proc"' && exec "$@"' proc "${DAEMON_COMMAND[@]}" 2>"$DIR/err"
	[ $? = 1 ] || fail "it has started behind $proc"
	[ "$(wc -l <"$DIR/err")" = 1 ] && grep -q "no /proc" "$DIR/err" || fail "no sentence: $(cat "$DIR/err")"
done
