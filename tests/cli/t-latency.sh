#!/bin/bash
# SPDX-License-Identifier: MIT
# 1 GiB, an eighth of it touched at random while the rest is being filled, each access to an absent page timed. A figure
# for the record, and every byte is compared; the test fails if there was no access to time.
. "$(dirname "$0")/lib.sh"

work fill 1024 1 latency
dump
daemon
restore
go
answer_ok 120
daemon_ok 60
[ "$(value faults)" -gt 100 ] || fail "only $(value faults) accesses were faults: $ANSWER"
report "$ANSWER"
