#!/bin/bash
# SPDX-License-Identifier: MIT
# For people: a real process of 512 MiB is checkpointed by CRIU, restored lazily with `lazyd fill` in the place of
# `criu lazy-pages`, and compares every byte of itself. Needs root, and a CRIU (fetched where it is missing).
: "${CRIU_VERSIONS:=4.2}"
LIMIT=120
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

say() { printf '\n%s\n' "$*"; }

say "A process fills 512 MiB and waits to be checkpointed ..."
work fill 512 1 latency
dump
say "criu $VER dump: done in $DUMP_S s; the process is gone, $LAZY_PAGES pages are in its images."
"$LAZYD" inspect -D "$DIR/images"
say "lazyd fill -D images &      criu restore --lazy-pages -D images"
daemon
restore
say "Restored in $RESTORE_S s, and it runs. It touches an eighth of its pages at random, then compares all of them."
go
answer_ok 60
daemon_ok 60
sed 's/^/    /' "$DIR/daemon.out"
say "The process says: $ANSWER"
say "Nothing was owed any more $DRAIN_S s after the restore. Every byte was right."
