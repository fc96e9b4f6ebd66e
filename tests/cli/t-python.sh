#!/bin/bash
# SPDX-License-Identifier: MIT
# Python with a large heap of small objects (some 300 MB): a digest over all of it, the collector, changes.
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3
[ -x $python ] || skip "$python is missing"

start $python -I -S "$here/work/pyheap.py" "$DIR/say" 200000
heard_ready
dump
daemon
restore
go
answer_ok 120
daemon_ok 60
report "$ANSWER"
