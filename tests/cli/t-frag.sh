#!/bin/bash
# SPDX-License-Identifier: MIT
# Every second page of 1 GiB populated: 131,072 ranges. Restored twice from one checkpoint: once left alone until all is
# filled, to see how long that takes (CRIU needs more than 20 s), and once read while it is filled. The populated pages
# must hold their bytes, the holes between them zeros.
LIMIT=400
. "$(dirname "$0")/lib.sh"

within_s=10
[ "$DAEMON" = lazyd ] || within_s=150
work frag 131072
dump
daemon
restore
daemon_ok $within_s
go
answer_ok 60
report "mode=alone $ANSWER"

daemon
restore
go
answer_ok 150
daemon_ok $within_s
report "mode=read $ANSWER"
