#!/bin/bash
# SPDX-License-Identifier: MIT
# A worker that lives and does not get on (it is stopped): the keeper notices, kills it and starts another. Once: the
# process reads every byte right and the daemon ends with 0. Each time: after five of them the process is killed, for it
# must not wait for ever, and the daemon ends with 3; so is each of a tree of five, with all that they have forked since
# the restore.
. "$(dirname "$0")/lib.sh"

[ "$DAEMON" = lazyd ] || known "nobody watches it"

stuck() { grep -c event=worker-stuck "$DIR/work/daemon.log"; }

# hold: stops the worker there is; 1 where there is none any more.
hold() { within 20 have_pair_or_end && kill -STOP "$WORKER" 2>/dev/null; }

# replaced: waits for another in the place of the one that is stopped, or the end.
replaced() {
	# shellcheck disable=SC2034 # another_pair reads it
	local last=$WORKER
	within 60 another_pair
}

work fill 1024 2
dump
daemon --stuck-timeout 2
pair
restore
hold || once_more "the fill was over before its worker could be stopped"
go
replaced || fail "nobody has taken the place of a worker that was stopped"
answer_ok 120
daemon_ok 60
[ "$(stuck)" = 1 ] || fail "$(stuck) workers were found stuck"
grep -q 'event=worker-died signal=9' "$DIR/work/daemon.log" || fail "none has died"
first=$ANSWER

# hold_all: each worker, until nobody goes on.
hold_all() {
	for ((n = 1; n <= 5; n++)); do
		hold || once_more "the fill was over after $n workers"
		replaced || fail "worker $n was stopped, and it is still there"
	done
	daemon_failed 60
	[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC"
	[[ $REASON = *'no worker gets on'* ]] || fail "the last word is: $REASON"
	[ "$(stuck)" = 5 ] || fail "$(stuck) workers were found stuck"
}

daemon --stuck-timeout 2
pair
restore
hold_all
within 20 is_gone "$PID" || fail "nobody can serve the process, and it lives"
report "$first"

# ---- with what they have forked ----

rm -rf "$DIR/images" && mkdir "$DIR/images"
work tree 400
dump
daemon --stuck-timeout 2
pair
restore
go
# Five processes were restored, this one and four below it.
has_forked() { family="$PID $(children "$PID")"; [ "$(wc -w <<<"$family")" -gt 5 ]; }
has_forked_or_end() { has_forked || is_pair_over; }
within 20 has_forked_or_end || fail "none of the tree has forked"
kill -STOP "$WORKER" || once_more "the fill was over before its worker could be stopped"
family="$PID $(children "$PID")"
hold_all
forked=$(($(wc -w <<<"$family") - 5))
[ $forked -gt 0 ] || once_more "those that were forked had ended before the worker could be stopped"
# shellcheck disable=SC2086 # a list
within 20 all_gone $family || fail "nobody can serve them, and not all of these are gone: $family"
hear 1 && fail "one of them has seen something: $LINE"
report "forked=$forked"
