#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon's worker (the child of the process that was started) in the middle of the fill, and of those
# that follow it, five in all: the process reads every byte right and the daemon ends with 0. CRIU's daemon is one
# process; killing it leaves the task with zeros where its memory was. Each worker has copiers, which end with it; the
# later ones start theirs confined.
. "$(dirname "$0")/lib.sh"

megabytes=1024
resident_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$PID/status"; }

work fill $megabytes 2
dump
copiers=()
[ "$DAEMON" = criu ] || copiers=(--copiers 2)
daemon "${copiers[@]}"
if [ "$DAEMON" = criu ]; then WORKER=$DAEMON_PID; else pair; fi
restore
# Stopped first, to see for certain that there was something left to do.
kill -STOP "$WORKER" || once_more "the fill was over before its worker could be killed"
resident=$(resident_kb)
[ "$resident" -lt $((megabytes * 1000)) ] || fail "all was filled before the worker could be killed"
if [ "$DAEMON" = criu ]; then kill -KILL "$WORKER"; else kill_worker; fi
go
kills=1
while [ "$DAEMON" = lazyd ] && [ $kills -lt 5 ] && kill_worker; do
	kills=$((kills + 1))
done
answer 120 || known "$ANSWER"
daemon_ok 60
! grep event=no-copier "$DIR/work/daemon.log" || fail "a worker could not start its copiers"
report "kills=$kills resident_kb_at_kill=$resident $ANSWER"
