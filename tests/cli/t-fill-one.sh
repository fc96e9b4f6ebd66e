#!/bin/bash
# SPDX-License-Identifier: MIT
# 512 MiB, one thread that reads all of it in random order while it arrives, every byte compared.
. "$(dirname "$0")/lib.sh"

work fill 512 1
dump
daemon
restore
go
answer_ok 120
daemon_ok 60
report "$ANSWER"
