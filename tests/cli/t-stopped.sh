#!/bin/bash
# SPDX-License-Identifier: MIT
# The daemon, all of it, is stopped (SIGSTOP) for 3 seconds in the middle of the fill: threads wait and read nothing
# wrong, and all goes on afterwards.
. "$(dirname "$0")/lib.sh"

work fill 512 4
dump
daemon
restore
# shellcheck disable=SC2046 # a list
kill -STOP "$DAEMON_PID" $(children "$DAEMON_PID")
go
# These 3 seconds are what is tested: nothing may be heard in them.
read -r -t 3 -u 7 LINE && fail "with the daemon stopped the process says: $LINE"
daemon_is_over && fail "the daemon was not stopped"
# shellcheck disable=SC2046 # a list
kill -CONT $(children "$DAEMON_PID") "$DAEMON_PID"
answer_ok 120
[ "$(value absent)" -gt 0 ] || fail "all was there before the daemon was stopped"
daemon_ok 60
report "$ANSWER"
