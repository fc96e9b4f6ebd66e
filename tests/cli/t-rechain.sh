#!/bin/bash
# SPDX-License-Identifier: MIT
# A dump is written anew by our writer, as a chain of snapshots linked by `parent`. First nothing of it is lazy and CRIU
# restores it alone: what the writer writes, criu reads. Then everything is, in the newest snapshot or in its parents:
# upstream's daemon hangs on a page that is lazy and in a parent. Every byte is compared.
LIMIT=400
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
RECHAIN=$build/tests/cli/rechain

# chain LEVELS [--lazy] PROGRAM...: dumps the program and writes it anew.
chain() {
	local levels=$1 lazy=''
	shift
	[ "$1" != --lazy ] || { lazy=--lazy; shift; }
	rm -rf "$DIR/images" "$DIR/dump"
	mkdir "$DIR/images"
	work "$@"
	dump
	mv "$DIR/images" "$DIR/dump"
	mkdir "$DIR/images"
	# shellcheck disable=SC2086 # empty or a word
	"$RECHAIN" "$DIR/dump" "$DIR/images" "$levels" $lazy || fail "rechain: status $?"
	rm -rf "$DIR/dump"
}

# eager: from the images as they are, without a daemon.
eager() {
	"$CRIU" restore -d -D "$DIR/images" -W "$DIR/work" -o restore.log -v2 </dev/null 7>&- 8>&- ||
		fail "criu restore: status $?"
	RESTORED=$EPOCHREALTIME
}

for what in "fill 64 1" "tree 16" "frag 4096"; do
	for levels in 1 3 8; do
		# shellcheck disable=SC2086 # words
		chain $levels $what
		[ "$(lazy_pages "$DIR/images")" = 0 ] || fail "rechain has left lazy pages"
		eager
		go
		answer_ok 60
		report "mode=eager levels=$levels $ANSWER"
	done
	[ "$DAEMON" = lazyd ] || continue
	for levels in 1 5; do
		# shellcheck disable=SC2086 # words
		chain $levels --lazy $what
		[ "$(lazy_pages "$DIR/images")" = "$LAZY_PAGES" ] || fail "not all that was lazy is so again"
		daemon
		restore
		go
		answer_ok 60
		daemon_ok 60
		report "mode=lazy levels=$levels $ANSWER"
	done
done
