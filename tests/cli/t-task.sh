#!/bin/bash
# SPDX-License-Identifier: MIT
# What may happen to a restored process while its memory is still to come: it is killed, stopped, traced, executes another
# program, is checkpointed again. Every case begins with a worker that stands still before the fill has got far, so that
# something is certainly owed, and ends with a daemon that is over and has left nothing behind.
LIMIT=400
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon is one process and cannot be stopped midway for certain"

# lazy_area: START and PAGES of the area that is still to be filled.
lazy_area() {
	read -r START PAGES < <(awk '
		/^[0-9a-f]+-[0-9a-f]+ / { area = $1 }
		$1 == "Size:" { pages = $2 / 4 }
		/^VmFlags:.* um/ { sub("-.*", "", area); print "0x" area, pages; exit }' "/proc/$PID/smaps")
	[ -n "$START" ] || fail "no area of process $PID waits for pages"
}

# halfway PROGRAM ARGUMENT...: checkpointed and restored, with a worker that stands still: WORKER.
halfway() {
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	work "$@"
	dump
	daemon
	pair
	# All but one area of these programs is there from the start: no restore waits for a worker.
	kill -STOP "$WORKER" || fail "there is no worker"
	restore
	kill -CONT "$WORKER"
	lazy_area
	kill -STOP "$WORKER" || once_more "the fill was over before its worker could be stopped"
	"$LAZYD" inspect --pid "$PID" >"$DIR/whole" && fail "all was filled before the worker could be stopped"
}

worker_goes_on() { kill -CONT "$WORKER" || fail "the worker is gone"; }
end() { grep -o 'event=end .*' "$DIR/work/daemon.log"; }
is_stopped() { grep -q '^State:.[Tt]' "/proc/$PID/status"; }
faults() { grep -qs handle_userfault /proc/"$PID"/task/*/wchan; }

killed() {
	halfway bus 256
	go
	within 20 faults || fail "the process does not wait for a page"
	kill -KILL "$PID"
	within 20 is_gone "$PID" || fail "a process that waits for a page cannot be killed"
	worker_goes_on
	daemon_ok 60
	report "case=killed $(end)"
}

stopped() {
	halfway bus 256
	go
	within 20 faults || fail "the process does not wait for a page"
	kill -STOP "$PID"
	worker_goes_on
	daemon_ok 60
	is_stopped || fail "the process should be stopped"
	"$LAZYD" inspect --pid "$PID" >"$DIR/whole" || fail "filled, but $(cat "$DIR/whole")"
	kill -CONT "$PID"
	answer_ok 60
	[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
	report "case=stopped $ANSWER"
}

traced() {
	local tracer said
	halfway bus 256
	"$WORK/trace" "$DIR/say" "$PID" "$START" "$PAGES" 3 </dev/null >/dev/null 2>&1 7>&- 8>&- &
	tracer=$!
	hear 20 || fail "$LINE"
	[ "$LINE" = stopped ] || fail "instead of stopping it the tracer says: $LINE"
	worker_goes_on
	hear 60 || fail "$LINE"
	said=$LINE
	wait $tracer || fail "the tracer says: $said"
	daemon_ok 60
	go
	answer_ok 60
	[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
	report "case=traced $said $ANSWER"
}

executes() {
	halfway leave 256
	go
	hear 20 || fail "$LINE"
	[ "$LINE" = reading ] || fail "instead of reading: $LINE"
	within 20 faults || fail "the reader does not wait for a page"
	go
	answer_ok 20
	[ "$ANSWER" = executed ] || fail "$ANSWER"
	worker_goes_on
	daemon_ok 60
	report "case=executes $(end)"
}

# whole_first SECONDS: the action script of lazyd-migration(7).
whole_first() {
	cat >"$DIR/whole-first" <<-END
		#!/bin/sh
		[ "\$CRTOOLS_SCRIPT_ACTION" = pre-dump ] || exit 0
		exec "$LAZYD" inspect --pid "\$CRTOOLS_INIT_PID" --wait $1
	END
	chmod 755 "$DIR/whole-first"
}

dump_fails() {
	mkdir -p "$DIR/again"
	"$CRIU" dump -t "$PID" -D "$DIR/again" -W "$DIR/work" -o dump.log -v2 "$@" </dev/null >"$DIR/dump.out" 2>&1 \
		7>&- 8>&- && fail "criu has dumped a process that is not whole"
	rm -rf "$DIR/again"
	alive "$PID" || fail "a dump that was refused has ended the process"
}

dumped() {
	local word=pid
	halfway bus 256
	# CRIU by itself would take what is there, without a word, and zeros for the rest.
	whole_first 0
	dump_fails --action-script "$DIR/whole-first"
	grep -q 'not whole' "$DIR/work/dump.log" || fail "criu's log does not say why"
	whole_first 60
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	worker_goes_on
	dump --action-script "$DIR/whole-first"
	daemon_ok 60
	daemon
	restore
	go
	answer_ok 60
	[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
	daemon_ok 60
	report "case=dumped $ANSWER"
}

# What happens to who does not ask: it is in the manual, and this is why.
dumped_unasked() {
	halfway bus 256
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	"$CRIU" dump -t "$PID" -D "$DIR/images" -W "$DIR/work" -o dump.log -v2 </dev/null 7>&- 8>&- || fail "criu dump: status $?"
	within 20 is_gone "$PID" || fail "dumped, and not gone"
	worker_goes_on
	daemon_ok 60
	"$CRIU" restore -d -D "$DIR/images" -W "$DIR/work" -o restore.log -v2 </dev/null 7>&- 8>&- || fail "criu restore: status $?"
	go
	answer 60 && fail "criu has dumped pages that were not there: $ANSWER"
	[[ $ANSWER = *'are zero'* ]] || fail "it should have read zeros: $ANSWER"
	within 20 is_gone "$PID" || fail "the process has answered and does not end"
	report "case=dumped-unasked $ANSWER"
}

# Lost pages cannot be dumped, which CRIU notices by itself: they would be zeros in the new images.
dumped_after_loss() {
	halfway bus 256
	kill -TERM "$DAEMON_PID"
	kill -INT "$DAEMON_PID"
	worker_goes_on
	daemon_failed 60
	[ "$DAEMON_RC" = 3 ] || fail "the daemon ended with $DAEMON_RC, not 3"
	dump_fails
	go
	answer_ok 60
	[ "$(value lost)" -gt 0 ] || fail "it gave up and nothing was lost: $ANSWER"
	report "case=dumped-after-loss lost=$(value lost)"
}

# The one case in which lazyd is told to be quick about it: it is, and then the process can be dumped.
dumped_after_term() {
	halfway bus 256
	kill -TERM "$DAEMON_PID"
	worker_goes_on
	daemon_ok 60
	"$LAZYD" inspect --pid "$PID" >"$DIR/whole" || fail "the daemon is over, but $(cat "$DIR/whole")"
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	dump
	daemon
	restore
	go
	answer_ok 60
	[ "$(value lost)" = 0 ] || fail "pages were lost: $ANSWER"
	daemon_ok 60
	report "case=dumped-after-term $ANSWER"
}

for case in ${CASES:-killed stopped traced executes dumped dumped_unasked dumped_after_loss dumped_after_term}; do
	$case
done
