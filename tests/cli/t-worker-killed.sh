#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon's worker (the child of the process that was started) in the middle of the fill, and of those
# that follow it, five in all: the process reads every byte right and the daemon ends with 0. CRIU's daemon is one
# process; killing it leaves the task with zeros where its memory was.
. "$(dirname "$0")/lib.sh"

megabytes=1024
resident_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$PID/status"; }

# A worker other than the last one killed, into WORKER.
WORKER='' last=''
another_worker() {
	daemon_is_over && return 0
	WORKER=$(children "$DAEMON_PID" | head -n 1)
	[ -n "$WORKER" ] && [ "$WORKER" != "$last" ] && alive "$WORKER"
}

work fill $megabytes 2
dump
daemon
restore
if [ "$DAEMON" = criu ]; then
	WORKER=$DAEMON_PID
else
	another_worker
	[ -n "$WORKER" ] || fail "the daemon has no worker process"
fi
# Stopped first, to see for certain that there was something left to do.
kill -STOP "$WORKER" || once_more "the fill was over before its worker could be killed"
resident=$(resident_kb)
[ "$resident" -lt $((megabytes * 1000)) ] || fail "all was filled before the worker could be killed"
kill -KILL "$WORKER"
go
kills=1
while [ "$DAEMON" = lazyd ] && [ $kills -lt 5 ]; do
	last=$WORKER
	within 20 another_worker || fail "no new worker has come after $kills kills"
	daemon_is_over && break
	kill -KILL "$WORKER" 2>/dev/null && kills=$((kills + 1))
done
answer 120 || known "$ANSWER"
daemon_ok 60
report "kills=$kills resident_kb_at_kill=$resident $ANSWER"
