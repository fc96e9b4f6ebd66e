#!/bin/bash
# SPDX-License-Identifier: MIT
# A tree of five processes of 64 MiB each, which fork, fork again and exit while their memory arrives.
. "$(dirname "$0")/lib.sh"

work tree 64
dump
daemon
restore
go
answer_ok 120
daemon_ok 60
report "$ANSWER"
